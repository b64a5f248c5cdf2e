package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/internal/nearest"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

// tableCommand adds to a command what the verbs that change one table have in common:
// the table is the first argument, and with --dry-run they only say what they would do.
func tableCommand(c cli.Command, declare func(*flag.FlagSet) func(context.Context, *tableChange) error) cli.Command {
	c.Arguments = strings.TrimSpace("TABLE " + c.Arguments)
	c.Config = true
	c.New = func(flags *flag.FlagSet) func(context.Context, cli.Env) error {
		dryRun := flags.Bool("dry-run", false, "change nothing; print what would be done")
		do := declare(flags)
		return func(ctx context.Context, env cli.Env) error {
			config, err := parseConfig(env.Config)
			if err != nil {
				return err
			}
			config.Memory.LimitProcess()
			cat, err := config.openExisting(ctx)
			if err != nil {
				return err
			}
			defer cat.Close()
			change := &tableChange{config: config, cat: cat, dryRun: *dryRun, args: env.Args[1:], out: env.Stdout, warnings: env.Stderr}
			if change.id, err = config.findTable(ctx, cat, env.Args[0]); err != nil {
				return err
			}
			return do(ctx, change)
		}
	}
	return c
}

// A tableChange is one run of a verb that changes a table.
type tableChange struct {
	config        Config
	cat           *catalogs.Catalog
	id            table.Identifier
	dryRun        bool
	args          []string // after the table
	out, warnings io.Writer
}

// name is the table's name, as in "whoop.sleep".
func (c *tableChange) name() string { return strings.Join(c.id, ".") }

// say prints what was or would be done to the table.
func (c *tableChange) say(format string, args ...any) error {
	_, err := fmt.Fprintf(c.out, "%s: %s\n", terminal.Text(c.name()), terminal.Text(fmt.Sprintf(format, args...)))
	return err
}

// load loads the table as it is now.
func (c *tableChange) load(ctx context.Context) (*table.Table, error) {
	loaded, err := c.cat.LoadTable(ctx, c.id)
	if err != nil {
		return nil, tabledef.ExplainLoss(c.id, fmt.Errorf("loading table %s: %w", c.name(), err))
	}
	return loaded, nil
}

// attach opens the table. One that this program never wrote is refused: its rows and
// snapshots belong to another program.
func (c *tableChange) attach(ctx context.Context) (*lake.Table, error) {
	t, err := c.open(ctx)
	if errors.Is(err, lake.ErrNotOurs) {
		return nil, protocol.ConfigError.Errorf(nil, "This program has committed nothing to table %s. Change it with the program that writes it.", c.name())
	}
	return t, err
}

// open opens the table. Its error is [lake.ErrNotOurs] for one that this program never
// wrote.
func (c *tableChange) open(ctx context.Context) (*lake.Table, error) {
	options := c.config.lakeOptions()
	options.HintFailed = func(err error) {
		fmt.Fprintf(c.warnings, "warning: metadata/version-hint.text of table %s could not be written: %v\n", c.name(), err)
	}
	t, err := lake.Attach(ctx, c.cat, c.id, options)
	return t, tabledef.ExplainLoss(c.id, err)
}

// tellSnowflake makes Snowflake show the table as it is now, if the configuration
// says so.
func (c *tableChange) tellSnowflake(ctx context.Context, t *lake.Table) error {
	refresher, err := c.config.Snowflake.NewRefresher(c.config.lake(), []*lake.Table{t}, slog.New(warnings{c.warnings}))
	if err != nil {
		return err
	}
	defer refresher.Close()
	return refresher.Finish(ctx)
}

// warnings is a log handler that prints warnings and errors as lines for people.
type warnings struct{ io.Writer }

func (warnings) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (w warnings) WithAttrs([]slog.Attr) slog.Handler         { return w }
func (w warnings) WithGroup(string) slog.Handler              { return w }

// Handle prints the message.
func (w warnings) Handle(_ context.Context, r slog.Record) error {
	_, err := fmt.Fprintf(w, "warning: %s\n", r.Message)
	return err
}

// findTable finds the table that a user means: one with this name, as in whoop.sleep, or
// else that of the stream with this name, with or without its namespace, or else one with
// this name in the configuration's namespace. A table tells whose it is, also when it was
// renamed.
func (c Config) findTable(ctx context.Context, cat *catalogs.Catalog, name string) (table.Identifier, error) {
	ids, err := catalogs.TableIDs(ctx, cat)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = strings.Join(id, ".")
	}
	if at := slices.Index(names, name); at >= 0 {
		return ids[at], nil
	}
	var found []table.Identifier
	unowned := map[string]table.Identifier{} // by name
	for _, id := range ids {
		loaded, err := cat.LoadTable(ctx, id)
		if err != nil {
			continue // its own name finds it
		}
		stream, known, err := tabledef.Owner(loaded)
		if err != nil {
			continue
		}
		if !known {
			unowned[strings.Join(id, ".")] = id
			continue
		}
		if stream.Name == name || stream.String() == name {
			found = append(found, id)
		}
		names = append(names, stream.Name)
	}
	switch len(found) {
	case 0:
	case 1:
		return found[0], nil
	default:
		var tables []string
		for _, id := range found {
			tables = append(tables, strings.Join(id, "."))
		}
		return nil, protocol.ConfigError.Errorf(nil, "There are several tables of streams %s: %s. Give the name of one of them.", name, strings.Join(tables, ", "))
	}
	if id, there := unowned[c.tableOf(name)]; there { // another stream's table is not this one's
		return id, nil
	}
	if at := slices.Index(names[:len(ids)], columnar.Location{Namespace: c.Namespace, Table: name}.String()); at >= 0 {
		return ids[at], nil
	}
	if id := strings.Split(name, "."); len(id) > 1 {
		if _, err := cat.LoadTable(ctx, id); errors.Is(err, table.ErrCommitFailed) {
			return id, nil // it is being renamed, and Glue's list leaves it out
		}
	}
	for i, id := range ids {
		if bare := id[len(id)-1]; names[i] == (columnar.Location{Namespace: c.Namespace, Table: bare}).String() {
			names = append(names, bare)
		}
	}
	like := ""
	if near := nearest.Name(name, names); near != "" {
		like = " Did you mean " + near + "?"
	}
	return nil, protocol.ConfigError.Errorf(nil, "The catalog has no table and no stream %s.%s Run tables to list its tables.", name, like)
}

// tableOf is the name of the table that a stream without a namespace gets.
func (c Config) tableOf(stream string) string {
	at := columnar.Location{Namespace: c.Namespace, Table: c.Names.Legal(stream)}
	return strings.Join(at.Identifier(), ".")
}
