package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rollback"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

var rollbackCommand = tableCommand(cli.Command{
	Name:    "rollback",
	Summary: "sets a table back to an earlier snapshot, with its state",
	Details: "Without --to it lists the snapshots to which the table can be set back.",
	Examples: []string{
		"rollback sleep --config destination.json",
		"rollback sleep --to 2026-01-31T08:30:00Z --config destination.json --dry-run",
	},
}, func(flags *flag.FlagSet) func(context.Context, *tableChange) error {
	to := flags.String("to", "", "the id of a `SNAPSHOT`, or a time: the snapshot that was the last one then")
	return func(ctx context.Context, c *tableChange) error { return rollBack(ctx, c, *to) }
})

func rollBack(ctx context.Context, c *tableChange, to string) error {
	t, err := c.attach(ctx)
	if err != nil {
		return err
	}
	before := t.Opened()
	if to == "" {
		return printSnapshots(c.out, c.name(), rollback.Ancestors(before))
	}
	target, err := rollback.Find(before, to)
	if err != nil {
		return err
	}
	now := before.CurrentSnapshot()
	if now.SnapshotID == target.SnapshotID {
		return c.say("is at snapshot %s already", rollback.Describe(target))
	}
	_, state, err := lake.RollBack(ctx, before, target)
	if err != nil {
		return err
	}
	from := fmt.Sprintf("from snapshot %s to %s", rollback.Describe(now), rollback.Describe(target))
	next := "A sync from its own state, which the state command prints, continues there. "
	if state == nil {
		next = "That snapshot has no state: without one, a sync reads the stream from its beginning. "
	}
	next += statesElsewhere
	if c.dryRun {
		return c.say("would be rolled back %s. %s", from, next)
	}
	if err := rollback.Table(ctx, t, target); err != nil {
		return err
	}
	if err := c.say("was rolled back %s. %s", from, next); err != nil {
		return err
	}
	return c.tellSnowflake(ctx, t)
}

// printSnapshots lists snapshots, the newest and current one first.
func printSnapshots(out io.Writer, name string, all []*table.Snapshot) error {
	if len(all) == 0 {
		_, err := fmt.Fprintf(out, "%s: has no snapshot\n", terminal.Text(name))
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "snapshot\tcommitted\toperation\trows\n")
	for i, s := range all {
		operation, rows := "", ""
		if s.Summary != nil {
			operation = string(s.Summary.Operation)
			if total := s.Summary.Properties.GetInt64("total-records", -1); total >= 0 {
				rows = strconv.FormatInt(total-s.Summary.Properties.GetInt64("total-position-deletes", 0), 10)
			}
		}
		if i == 0 {
			rows += "  (current)"
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", s.SnapshotID, time.UnixMilli(s.TimestampMs).UTC().Format(time.RFC3339), terminal.Text(operation), rows)
	}
	return w.Flush()
}
