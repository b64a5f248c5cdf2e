package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

var tablesCommand = cli.Command{
	Name:     "tables",
	Summary:  "lists the tables with rows, files, bytes and the last commit",
	Examples: []string{"tables --config destination.json", "tables --config destination.json --json"},
	Config:   true,
	New: func(flags *flag.FlagSet) func(context.Context, cli.Env) error {
		asJSON := flags.Bool("json", false, "print a JSON array")
		return func(ctx context.Context, env cli.Env) error {
			config, err := parseConfig(env.Config)
			if err != nil {
				return err
			}
			tables, err := describeTables(ctx, config)
			if tables == nil {
				return err
			}
			if *asJSON {
				out := json.NewEncoder(env.Stdout)
				out.SetIndent("", "  ")
				out.SetEscapeHTML(false)
				return errors.Join(err, out.Encode(tables))
			}
			return errors.Join(err, printTables(env, tables))
		}
	},
}

// A description says what a table consists of, and which stream it is of. If it
// cannot be read, Error says why.
type description struct {
	Table     string `json:"table"`
	Stream    string `json:"stream,omitempty"` // empty when another program made the table
	Namespace string `json:"namespace,omitempty"`
	inspect.Info
	Metadata string `json:"metadata_location"` // what engines without a catalog open, until the next commit
	Error    string `json:"error,omitempty"`
}

// describeTables describes every table of the catalog, by name, also if some cannot
// be read.
func describeTables(ctx context.Context, config Config) ([]description, error) {
	cat, err := config.openExisting(ctx)
	if err != nil {
		return nil, err
	}
	defer cat.Close()
	ids, err := catalogs.TableIDs(ctx, cat)
	if err != nil {
		return nil, err
	}
	found := []description{}
	failed := 0
	for _, id := range ids {
		d, err := describeTable(ctx, cat, id)
		if catalogs.IsDropped(ctx, cat, id, err) {
			continue
		}
		if err != nil {
			d.Error = explainTable(id, err)
			failed++
		}
		found = append(found, d)
	}
	return found, failedTables(failed)
}

func describeTable(ctx context.Context, cat *catalogs.Catalog, id table.Identifier) (description, error) {
	d := description{Table: strings.Join(id, ".")}
	loaded, err := cat.LoadTable(ctx, id)
	if err != nil {
		return d, err
	}
	d.Metadata = loaded.MetadataLocation()
	stream, _, err := tabledef.Owner(loaded)
	if err != nil {
		return d, err
	}
	d.Stream, d.Namespace = stream.Name, stream.Namespace
	d.Info, err = inspect.Describe(ctx, loaded)
	return d, err
}

// explainTable returns what is wrong with a table, and the remedy.
func explainTable(id table.Identifier, err error) string {
	if known := (*protocol.Error)(nil); errors.As(tabledef.ExplainLoss(id, err), &known) {
		return known.Message
	}
	return fmt.Sprintf("%v. If files of the table are broken, restore them from a copy. To remove the table from the catalog, run drop %s --keep-files.", err, strings.Join(id, "."))
}

func printTables(env cli.Env, found []description) error {
	write := writeTables
	if terminal.Is(env.Stdout) {
		write = writeTablesForPeople
	}
	// The sentence of one that failed would widen its column for all tables.
	sound := slices.DeleteFunc(slices.Clone(found), func(d description) bool { return d.Error != "" })
	if err := write(env, sound); err != nil {
		return err
	}
	for _, d := range found {
		if d.Error != "" {
			if _, err := fmt.Fprintf(env.Stdout, "%s  failed: %s\n", terminal.Text(d.Table), terminal.Text(d.Error)); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeTables writes a line for each table that is the same wherever it goes.
func writeTables(env cli.Env, found []description) error {
	width := len("table")
	for _, d := range found {
		width = max(width, len(d.Table))
	}
	w := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%-*s\trows\tfiles\tdelete files\tbytes\tsnapshots\tlast commit\t\n", width, "table")
	for _, d := range found {
		committed := "never"
		if !d.LastCommit.IsZero() {
			committed = d.LastCommit.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%-*s\t%d\t%d\t%d\t%d\t%d\t%s\t\n", width, terminal.Text(d.Table), d.Rows, d.DataFiles, d.PositionDeletes+d.EqualityDeletes, d.Bytes, d.Snapshots, committed)
	}
	return w.Flush()
}

// writeTablesForPeople writes a line for each table that fits the terminal, or a list if
// that is too narrow. Snapshots are left out, and deletes where there are none.
func writeTablesForPeople(env cli.Env, found []description) error {
	if len(found) == 0 {
		_, err := fmt.Fprintln(env.Stdout, "There are no tables.")
		return err
	}
	number := func(n int) terminal.Cell { return terminal.Cell{Text: terminal.Number(int64(n)), Right: true} }
	list := terminal.Table{Headings: []string{"table", "rows", "files", "size", "committed (UTC)"}}
	deletes := slices.ContainsFunc(found, func(d description) bool { return d.PositionDeletes+d.EqualityDeletes > 0 })
	if deletes {
		list.Headings = slices.Insert(list.Headings, 3, "deletes")
	}
	var rows [][]terminal.Cell
	for _, d := range found {
		committed := terminal.Cell{Text: "never", Quiet: true}
		if !d.LastCommit.IsZero() {
			committed = terminal.Cell{Text: d.LastCommit.UTC().Format("2006-01-02 15:04")}
		}
		row := []terminal.Cell{{Text: terminal.Text(d.Table)}, number(int(d.Rows)), number(d.DataFiles), {Text: terminal.Size(d.Bytes), Right: true}, committed}
		if deletes {
			row = slices.Insert(row, 3, number(d.PositionDeletes+d.EqualityDeletes))
		}
		rows = append(rows, row)
	}
	screen, width := screenOf(env)
	if list.Fit(rows, width) {
		return list.Write(screen, rows)
	}
	for _, row := range rows {
		if err := terminal.WriteList(screen, row[0].Text, list.Headings[1:], row[1:], width); err != nil {
			return err
		}
	}
	return nil
}
