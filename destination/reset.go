package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/checkpoint"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

var resetCommand = tableCommand(cli.Command{
	Name:    "reset",
	Summary: "empties a table and removes its state",
	Details: "Without a state, a sync reads the stream from its beginning. " + statesElsewhere + " Older snapshots keep the rows until they expire.",
	Examples: []string{
		"reset whoop.sleep --config destination.json --dry-run",
		"reset sleep --config destination.json",
	},
}, func(*flag.FlagSet) func(context.Context, *tableChange) error { return reset })

func reset(ctx context.Context, c *tableChange) error {
	t, err := c.attach(ctx)
	if err != nil {
		return err
	}
	before := t.Opened()
	info, err := inspect.Describe(ctx, before)
	if err != nil {
		return tabledef.ExplainLoss(c.id, err)
	}
	state, err := lake.LastState(ctx, before)
	unknown := errors.Is(err, lake.ErrStateUnknown) // as by reset
	switch rows := terminal.Counted(info.Rows, "rows"); {
	case err != nil && !unknown:
		return err
	case info.Rows == 0 && state == nil && !unknown:
		return c.say("is empty and has no state")
	case c.dryRun:
		return c.say("would be emptied: %s and its state.%s", rows, c.coveredBy(ctx, before, state))
	}
	done, err := t.Reset(ctx)
	if err != nil {
		return err
	}
	after, err := c.load(ctx)
	if err != nil {
		return err
	}
	keeps := ""
	if s := after.SnapshotByID(done.SnapshotID); s != nil && s.ParentSnapshotID != nil {
		keeps = fmt.Sprintf(" Snapshot %d has the rows until it expires.", *s.ParentSnapshotID)
	}
	if err := c.say("was emptied, and its state removed.%s%s", c.coveredBy(ctx, before, state), keeps); err != nil {
		return err
	}
	return c.tellSnowflake(ctx, t)
}

// statesElsewhere says what else must be done when a table and its state go back.
const statesElsewhere = "An orchestrator such as Airbyte has a state of its own: refresh the stream there, or what the table lacks now is not sent again."

// coveredBy says what starts from its beginning without the state of a table.
func (c *tableChange) coveredBy(ctx context.Context, tbl *table.Table, state json.RawMessage) string {
	kind, err := kindOf(ctx, tbl, state)
	if err == nil && kind != protocol.StreamState {
		return " The state covers all streams of its source: without it, a sync reads all of them from the beginning. " + statesElsewhere
	}
	return " Without a state, a sync reads the stream from its beginning. " + statesElsewhere
}

// kindOf is the type of a table's state.
func kindOf(ctx context.Context, tbl *table.Table, raw json.RawMessage) (protocol.StateType, error) {
	if raw == nil {
		return protocol.StreamState, nil
	}
	stored, err := checkpoint.Parse(raw)
	if err != nil {
		return "", err
	}
	files, err := tbl.FS(ctx)
	if err != nil {
		return "", err
	}
	if stored, err = stored.Load(files); err != nil {
		return "", err
	}
	state, err := protocol.ParseState(stored.State)
	return state.Type, err
}
