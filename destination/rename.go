package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

var renameCommand = tableCommand(cli.Command{
	Name:      "rename",
	Arguments: "NEW",
	Summary:   "gives a table another name",
	Details:   "NEW is a name in the same namespace, or NAMESPACE.TABLE. The files stay where they are. It prints what to add to the configuration, so that the next sync finds the table.",
	Examples: []string{
		"rename whoop.sleep nights --config destination.json --dry-run",
		"rename whoop.sleep health.nights --config destination.json",
	},
}, func(*flag.FlagSet) func(context.Context, *tableChange) error { return rename })

func rename(ctx context.Context, c *tableChange) error {
	to, err := c.config.newName(c.id, c.args[0])
	if err != nil {
		return err
	}
	name := strings.Join(to, ".")
	loaded, err := c.load(ctx)
	if err != nil {
		return err
	}
	stream, owned, err := tabledef.Owner(loaded)
	if err != nil {
		return err
	}
	hint := c.tableSetting(stream, owned, name)
	if slices.Equal(to, c.id) {
		return c.say("has this name already.%s", hint)
	}
	switch there, err := c.cat.LoadTable(ctx, to); {
	case err == nil && there.MetadataLocation() == loaded.MetadataLocation():
		return protocol.ConfigError.Errorf(nil, "Table %s is there under the name %s, too, as after a rename in Glue that was stopped halfway. To keep the new name alone, run drop %[1]s --keep-files.", c.name(), name)
	case err == nil:
		return protocol.ConfigError.Errorf(nil, "There is a table %s already. Choose another name, or drop that table first.", name)
	case !errors.Is(err, catalog.ErrNoSuchTable) && !errors.Is(err, catalog.ErrNoSuchNamespace):
		return fmt.Errorf("looking for table %s: %w", name, err)
	}
	if c.dryRun {
		return c.say("would be renamed to %s.%s", name, hint)
	}
	if err := c.renameTo(ctx, loaded, to); err != nil {
		return err
	}
	snowflake := ""
	if c.config.Snowflake.Type != "none" {
		snowflake = " Snowflake keeps the table under its old name until you drop it there."
	}
	return c.say("was renamed to %s.%s%s", name, snowflake, hint)
}

// renameTo renames the table. After an answer that says nothing, it looks whether the
// catalog has done it.
func (c *tableChange) renameTo(ctx context.Context, loaded *table.Table, to table.Identifier) error {
	if err := c.cat.CreateNamespace(ctx, to[:len(to)-1], nil); err != nil && !errors.Is(err, catalog.ErrNamespaceAlreadyExists) {
		return fmt.Errorf("creating namespace %s: %w", strings.Join(to[:len(to)-1], "."), err)
	}
	_, err := c.cat.RenameTable(ctx, c.id, to)
	if err == nil {
		return nil
	}
	if now, loadErr := c.cat.LoadTable(ctx, to); loadErr == nil && now.Metadata().TableUUID() == loaded.Metadata().TableUUID() {
		if there, checkErr := c.cat.CheckTableExists(ctx, c.id); checkErr == nil && !there {
			return nil
		}
	}
	return fmt.Errorf("renaming table %s to %s: %w", c.name(), strings.Join(to, "."), err)
}

// newName is the identifier that a user means by a new name for a table.
func (c Config) newName(old table.Identifier, text string) (table.Identifier, error) {
	to := strings.Split(text, ".")
	if len(to) == 1 {
		to = append(slices.Clone(old[:len(old)-1]), text)
	}
	return to, c.checkTableName(text)
}

// checkTableName refuses a name that not every engine can read.
func (c Config) checkTableName(name string) error {
	for part := range strings.SplitSeq(name, ".") {
		if legal := c.Names.Legal(part); legal != part || part == "" {
			return protocol.ConfigError.Errorf(nil, "The table name %q is one that not every engine can read. Write %q instead of %q.", name, legal, part)
		}
	}
	return nil
}

// tableSetting says what the configuration needs so that the stream is written to the
// table under its new name.
func (c *tableChange) tableSetting(stream protocol.StreamID, owned bool, name string) string {
	entry := StreamConfig{Name: stream.Name, Namespace: stream.Namespace, Table: c.config.Names.Legal(stream.Name)}
	for _, s := range c.config.Streams {
		if s.id() == stream {
			s.Table = cmp.Or(s.Table, entry.Table)
			entry = s
		}
	}
	found := c.config.locationOf(entry).String() // by the next sync
	entry.Table = name
	text, err := json.Marshal(entry)
	if !owned || err != nil || name == found {
		return ""
	}
	return fmt.Sprintf(` Before the next sync, write this entry into "streams" of the configuration; otherwise the sync creates a new table: %s`, text)
}
