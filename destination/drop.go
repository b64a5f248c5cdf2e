package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/maintenance"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

var dropCommand = tableCommand(cli.Command{
	Name:    "drop",
	Summary: "removes a table with its files",
	Details: "Files that other programs created stay, and so do all files if another table may need them. " +
		"With --keep-files the table is only removed from the catalog, which works even if its files are broken or gone.",
	Examples: []string{
		"drop whoop.sleep --config destination.json --dry-run",
		"drop whoop.sleep --config destination.json --keep-files",
	},
}, func(flags *flag.FlagSet) func(context.Context, *tableChange) error {
	keepFiles := flags.Bool("keep-files", false, "remove the table from the catalog and leave its files")
	return func(ctx context.Context, c *tableChange) error { return drop(ctx, c, *keepFiles) }
})

func drop(ctx context.Context, c *tableChange, keepFiles bool) error {
	loaded, err := c.load(ctx)
	switch {
	case err != nil && (keepFiles || errors.Is(err, fs.ErrNotExist)): // or an earlier drop was interrupted at its end
		return c.unregister(ctx, "Its files could not be found.")
	case err != nil:
		return err
	case keepFiles:
		return c.unregister(ctx, "Its files stay where they are; the last metadata file is "+loaded.MetadataLocation()+".")
	}
	t, err := c.open(ctx)
	if errors.Is(err, lake.ErrNotOurs) {
		return c.unregister(ctx, "Its files stay, because other programs created them; the last metadata file is "+loaded.MetadataLocation()+".")
	}
	if err != nil {
		return err
	}
	done, err := maintenance.Drop(ctx, t, c.dryRun)
	if err != nil {
		return err
	}
	was := "was"
	if c.dryRun {
		was = "would be"
	}
	if done.Because != "" {
		return c.say("%s removed from the catalog.%s Its files stay: %s.", was, c.inSnowflake(), done.Because)
	}
	others := ""
	if done.Others > 0 {
		others = fmt.Sprintf(" Left below %s: %s that other programs created or may need.", loaded.Location(), terminal.Counted(int64(done.Others), "files"))
	}
	return c.say("%s dropped, with %s.%s%s", was, terminal.Counted(int64(done.Removed), "files"), others, c.inSnowflake())
}

// unregister removes the table from the catalog. files says what becomes of its files.
func (c *tableChange) unregister(ctx context.Context, files string) error {
	if c.dryRun {
		return c.say("would be removed from the catalog. %s%s", files, c.inSnowflake())
	}
	if err := c.cat.DropTable(ctx, c.id); err != nil {
		return fmt.Errorf("removing table %s from the catalog: %w", c.name(), err)
	}
	return c.say("was removed from the catalog. %s%s", files, c.inSnowflake())
}

// inSnowflake says what is left to do in Snowflake when a table is gone.
func (c *tableChange) inSnowflake() string {
	if c.config.Snowflake.Type == "none" {
		return ""
	}
	return " Snowflake still has a table for it: drop it there, too."
}
