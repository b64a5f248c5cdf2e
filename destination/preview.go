package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/apache/iceberg-go/catalog"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

var previewCommand = protocol.Command{
	Name:      "preview",
	Arguments: "STREAM",
	Summary:   "prints rows of a stream's table as a reader sees them",
	Examples: []string{
		"preview sleep --config destination.json",
		"preview orders --namespace shop --config destination.json --limit 0 --json",
	},
	Config: true,
	New: func(flags *flag.FlagSet) func(context.Context, protocol.Env) error {
		namespace := flags.String("namespace", "", "the stream's `NAMESPACE`, if it has one")
		limit := flags.Int("limit", 10, "maximum `NUMBER` of rows; 0: all")
		asJSON := flags.Bool("json", false, "print one JSON object per line")
		return func(ctx context.Context, env protocol.Env) error {
			if *limit < 0 {
				return configError("preview cannot show %d rows. Give --limit a number, or 0 for all of them.", *limit)
			}
			config, err := parseConfig(env.Config)
			if err != nil {
				return err
			}
			return preview(ctx, config, protocol.StreamID{Namespace: *namespace, Name: env.Args[0]}, *limit, *asJSON, env)
		}
	},
}

func preview(ctx context.Context, config Config, id protocol.StreamID, limit int, asJSON bool, env protocol.Env) error {
	plan, err := config.plan(protocol.ConfiguredStream{
		Stream:              protocol.Stream{Name: id.Name, Namespace: id.Namespace, JSONSchema: json.RawMessage(`{"type":"object"}`)},
		DestinationSyncMode: protocol.Append,
	})
	if err != nil {
		return err
	}
	cat, err := config.openExisting(ctx)
	if err != nil {
		return err
	}
	defer cat.Close()
	if err := tabledef.Resolve(ctx, cat, []*columnar.Plan{plan}); err != nil {
		return err
	}
	name := plan.Identifier()
	table, err := cat.LoadTable(ctx, name)
	if errors.Is(err, catalog.ErrNoSuchTable) {
		return configError("Stream %s has no table: the catalog has no %s. Run tables to list its tables.", id, strings.Join(name, "."))
	}
	if err != nil {
		return fmt.Errorf("loading table %s: %w", strings.Join(name, "."), err)
	}
	n := 0
	for row, err := range inspect.Rows(ctx, table, limit) {
		if err != nil {
			return err
		}
		n++
		if asJSON {
			text, err := terminal.JSON(row)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintln(env.Stdout, text); err != nil {
				return err
			}
			continue
		}
		if err := printRow(env, n, row); err != nil {
			return err
		}
	}
	if n == 0 && !asJSON {
		_, err = fmt.Fprintf(env.Stdout, "%s has no rows.\n", strings.Join(name, "."))
	}
	return err
}

// printRow prints a row as a block of lines with a column and its value each, since
// a row of twenty columns fits no terminal.
func printRow(env protocol.Env, number int, row inspect.Row) error {
	width := 0
	names := make([]string, len(row))
	for i, c := range row {
		names[i] = terminal.Text(c.Name)
		width = max(width, len(names[i]))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "-- row %d\n", number)
	for i, c := range row {
		text, plain := c.Value.(string)
		if plain {
			text = terminal.Text(text)
		} else {
			var err error
			if text, err = terminal.JSON(c.Value); err != nil {
				return err
			}
		}
		fmt.Fprintf(&b, "%-*s  %s\n", width, names[i], text)
	}
	_, err := fmt.Fprint(env.Stdout, b.String())
	return err
}
