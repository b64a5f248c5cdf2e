package main

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filter"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/maintenance"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rowdelete"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snowflake"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

var forgetCommand = tableCommand(cli.Command{
	Name:     "forget",
	Summary:  "deletes the rows of a table that match a filter",
	Details:  "The state stays. Older snapshots keep the rows until they expire. A filter compares columns with =, !=, <, <=, > or >=, or tests them with is null or is not null; conditions are joined with and.",
	Required: []string{"where"},
	Examples: []string{
		`forget orders --where "email = 'ann@example.com'" --config destination.json --dry-run`,
		`forget sleep --where "user_id = 12 and start < 2026-01-01" --config destination.json`,
	},
}, func(flags *flag.FlagSet) func(context.Context, *tableChange) error {
	where := flags.String("where", "", "which rows, as a `FILTER`: \"user_id = 12 and start < 2026-01-01\"")
	now := flags.Bool("now", false, "also remove every older snapshot, tag and file of the table, so that nothing of the rows is left")
	return func(ctx context.Context, c *tableChange) error { return forget(ctx, c, *where, *now) }
})

func forget(ctx context.Context, c *tableChange, where string, now bool) error {
	if where == "" {
		return protocol.ConfigError.Errorf(nil, `Say which rows to delete with --where, as in --where "user_id = 12". To delete all rows, run reset.`)
	}
	rows, err := filter.Parse(where)
	if err != nil {
		return err
	}
	t, err := c.attach(ctx)
	if err != nil {
		return err
	}
	if _, err := rows.Bind(t.Opened().Schema()); err != nil {
		return err
	}
	d := rowdelete.Deletion{Table: t, Where: rows, Upsert: c.config.Upsert, Erase: now}
	var total rowdelete.Done
	for _, branch := range d.Branches(t.Opened()) {
		del := d.Delete
		if c.dryRun {
			del = func(ctx context.Context, branch string) (rowdelete.Done, error) {
				return d.Count(ctx, t.Opened(), branch)
			}
		}
		done, err := del(ctx, branch)
		if err != nil {
			return err
		}
		total.Rows += done.Rows
		total.Files += done.Files
		if branch == table.MainBranch {
			total.SnapshotID = done.SnapshotID
		}
	}
	what := fmt.Sprintf("%s of %s", terminal.Counted(total.Rows, "rows"), terminal.Counted(total.Files, "data files"))
	switch {
	case c.dryRun && now:
		return c.say("would delete %s. Of its %s, only the last one of each branch would stay", what, terminal.Counted(int64(len(t.Opened().Metadata().Snapshots())), "snapshots"))
	case now:
		return c.purge(ctx, t, what)
	case total.Rows == 0:
		return c.say("has no such rows")
	case c.dryRun:
		return c.say("would delete %s", what)
	}
	if err := c.say("deleted %s. Older snapshots have them until they expire.", what); err != nil {
		return err
	}
	return c.tellSnowflake(ctx, t)
}

// purge removes what older snapshots hold, after Snowflake shows the last one. what was
// deleted.
func (c *tableChange) purge(ctx context.Context, t *lake.Table, what string) error {
	if err := c.tellSnowflake(ctx, t); err != nil {
		return err
	}
	did, err := maintenance.Purge(ctx, t, snowflake.Tag)
	if err != nil {
		return err
	}
	if err := c.say("deleted %s, and %s with %s", what, terminal.Counted(int64(did.ExpiredSnapshots), "older snapshots"), terminal.Counted(int64(len(did.Removed)), "files")); err != nil {
		return err
	}
	if len(did.NotDone) == 0 {
		return nil
	}
	return protocol.ConfigError.Errorf(nil, "Not everything of table %s that can hold such rows was removed: %s.", c.name(), strings.Join(did.NotDone, "; "))
}
