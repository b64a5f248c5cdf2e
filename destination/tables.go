package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

var tablesCommand = protocol.Command{
	Name:    "tables",
	Summary: "lists the tables with rows, files, bytes, snapshots and the last commit",
	Config:  true,
	New: func(flags *flag.FlagSet) func(context.Context, protocol.Env) error {
		asJSON := flags.Bool("json", false, "print a JSON array")
		return func(ctx context.Context, env protocol.Env) error {
			if len(env.Args) > 0 {
				return configError("Usage: tables --config FILE [--json]")
			}
			config, err := parseConfig(env.Config)
			if err != nil {
				return err
			}
			tables, err := describeTables(ctx, config)
			if err != nil {
				return err
			}
			if *asJSON {
				out := json.NewEncoder(env.Stdout)
				out.SetIndent("", "  ")
				out.SetEscapeHTML(false)
				return out.Encode(tables)
			}
			return printTables(env, tables)
		}
	},
}

// A description is a table's name, the stream it is of as the source names it,
// and what it consists of.
type description struct {
	Table     string `json:"table"`
	Stream    string `json:"stream,omitempty"` // empty when another program made the table
	Namespace string `json:"namespace,omitempty"`
	lake.Info
	Metadata string `json:"metadata_location"` // what engines without a catalog open, until the next commit
}

// describeTables describes every table of the catalog, by name.
func describeTables(ctx context.Context, config Config) ([]description, error) {
	cat, err := catalogs.OpenExisting(ctx, config.Catalog, config.Warehouse)
	if err != nil {
		return nil, err
	}
	defer cat.Close()
	namespaces, err := cat.ListNamespaces(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("listing namespaces: %w", err)
	}
	found := []description{}
	for _, namespace := range namespaces {
		for id, err := range cat.ListTables(ctx, namespace) {
			if err != nil {
				return nil, fmt.Errorf("listing tables: %w", err)
			}
			name := strings.Join(id, ".")
			table, err := cat.LoadTable(ctx, id)
			if err != nil {
				return nil, fmt.Errorf("loading table %s: %w", name, err)
			}
			info, err := lake.Describe(ctx, table)
			if err != nil {
				return nil, fmt.Errorf("describing table %s: %w", name, err)
			}
			stream, _, err := lake.Owner(table)
			if err != nil {
				return nil, err
			}
			found = append(found, description{name, stream.Name, stream.Namespace, info, table.MetadataLocation()})
		}
	}
	slices.SortFunc(found, func(a, b description) int { return strings.Compare(a.Table, b.Table) })
	return found, nil
}

func printTables(env protocol.Env, found []description) error {
	width := len("table")
	for _, i := range found {
		width = max(width, len(i.Table))
	}
	w := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%-*s\trows\tfiles\tdelete files\tbytes\tsnapshots\tlast commit\t\n", width, "table")
	for _, i := range found {
		committed := "never"
		if !i.LastCommit.IsZero() {
			committed = i.LastCommit.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%-*s\t%d\t%d\t%d\t%d\t%d\t%s\t\n", width, i.Table, i.Rows, i.DataFiles, i.PositionDeletes+i.EqualityDeletes, i.Bytes, i.Snapshots, committed)
	}
	return w.Flush()
}
