package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filter"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

var previewCommand = cli.Command{
	Name:      "preview",
	Arguments: "TABLE",
	Summary:   "prints rows of a table as a reader sees them",
	Details: "TABLE is the name of a table, as in whoop.sleep, or of a stream, as in sleep.\n\n" +
		"Without --last, the rows come in the order of the data files. At a terminal, they are a table if that fits, or else a list of columns for each row, and\n" +
		"what is too long is cut; elsewhere nothing is. A column of an object is named with dots, as in score.state.\n\n" +
		"A condition compares a column with =, !=, <, <=, > or >=, or is null or is not null; several are joined with and.",
	Examples: []string{
		"preview sleep --config destination.json --last 5 --columns id,start,score.sleep_performance_percentage",
		`preview orders --config destination.json --limit 0 --where "total >= 100 and paid_at is null" --csv`,
	},
	Config: true,
	New: func(flags *flag.FlagSet) func(context.Context, cli.Env) error {
		o := previewOptions{}
		flags.StringVar(&o.namespace, "namespace", "", "the stream's `NAMESPACE`, if it has one")
		flags.IntVar(&o.limit, "limit", defaultLimit, "maximum `NUMBER` of rows; 0: all")
		flags.IntVar(&o.last, "last", 0, "the `NUMBER` of rows that were extracted last, by _airbyte_extracted_at, the newest first; 0: see --limit")
		flags.StringVar(&o.where, "where", "", "only rows that match a `CONDITION`, as in \"id = 12 and score.state is not null\"")
		flags.StringVar(&o.columns, "columns", "", "only these `COLUMNS`, with commas between them, as in id,score.state")
		flags.BoolVar(&o.json, "json", false, "print one JSON object per line")
		flags.BoolVar(&o.csv, "csv", false, "print comma-separated values (RFC 4180); null is nothing, an empty text \"\"")
		return func(ctx context.Context, env cli.Env) error {
			config, err := parseConfig(env.Config)
			if err == nil {
				err = o.check()
			}
			if err != nil {
				return err
			}
			return preview(ctx, config, o, env)
		}
	},
}

const defaultLimit = 10

type previewOptions struct {
	namespace, where, columns string
	limit, last               int
	json, csv                 bool
}

func (o previewOptions) check() error {
	switch {
	case o.limit < 0:
		return protocol.ConfigError.Errorf(nil, "preview cannot show %d rows. Give --limit a number, or 0 for all of them.", o.limit)
	case o.last < 0:
		return protocol.ConfigError.Errorf(nil, "preview cannot show %d rows. Give --last a number.", o.last)
	case o.last > 0 && o.limit != defaultLimit:
		return protocol.ConfigError.Errorf(nil, "Give preview either --limit or --last.")
	case o.json && o.csv:
		return protocol.ConfigError.Errorf(nil, "Give preview either --json or --csv.")
	}
	return nil
}

// selection is what the options mean for a table.
func (o previewOptions) selection(schema *iceberg.Schema) (inspect.Selection, error) {
	s := inspect.Selection{Limit: o.limit}
	if o.last > 0 {
		s.Limit, s.Newest, s.MaxBytes = o.last, true, 128<<20
	}
	if o.where != "" {
		where, err := filter.Parse(o.where)
		if err != nil {
			return s, err
		}
		if s.Where, err = where.Bind(schema); err != nil {
			return s, err
		}
	}
	if o.columns == "" {
		s.Columns = inspect.AllColumns(schema)
		return s, nil
	}
	var err error
	s.Columns, err = inspect.ParseColumns(o.columns, schema)
	return s, err
}

func preview(ctx context.Context, config Config, o previewOptions, env cli.Env) error {
	cat, err := config.openExisting(ctx)
	if err != nil {
		return err
	}
	defer cat.Close()
	table, err := loadPreviewed(ctx, config, cat, protocol.StreamID{Namespace: o.namespace, Name: env.Args[0]})
	if err != nil {
		return err
	}
	selection, err := o.selection(table.Schema())
	if err != nil {
		return err
	}
	out := rowPrinter(env, o, selection.Columns)
	n := 0
	for row, err := range inspect.Select(ctx, table, selection) {
		if err == nil {
			n++
			err = out.row(row)
		}
		if err != nil {
			return errors.Join(out.end(), tabledef.ExplainLoss(table.Identifier(), err))
		}
	}
	if n > 0 || o.json || o.csv {
		return out.end()
	}
	none := "has no rows"
	if o.where != "" {
		none = "has no such rows"
	}
	_, err = fmt.Fprintf(env.Stdout, "%s %s.\n", strings.Join(table.Identifier(), "."), none)
	return err
}

// loadPreviewed loads the table of a stream, or the one with that name.
func loadPreviewed(ctx context.Context, config Config, cat *catalogs.Catalog, id protocol.StreamID) (*table.Table, error) {
	plan, err := config.plan(protocol.ConfiguredStream{
		Stream:              protocol.Stream{Name: id.Name, Namespace: id.Namespace, JSONSchema: json.RawMessage(`{"type":"object"}`)},
		DestinationSyncMode: protocol.Append,
	})
	if err != nil {
		return nil, err
	}
	if err := tabledef.Resolve(ctx, cat, []*columnar.Plan{plan}); err != nil {
		return nil, err
	}
	name := plan.Identifier()
	loaded, err := cat.LoadTable(ctx, name)
	if errors.Is(err, catalog.ErrNoSuchTable) {
		if name, err = config.findTable(ctx, cat, id.String()); err != nil {
			return nil, err
		}
		loaded, err = cat.LoadTable(ctx, name)
	}
	if err != nil {
		return nil, tabledef.ExplainLoss(name, fmt.Errorf("loading table %s: %w", strings.Join(name, "."), err))
	}
	return loaded, nil
}
