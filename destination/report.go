package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/charts"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/report"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/internal/osfile"
	"github.com/ingest-connectors/whoop-iceberg/internal/progress"
	"github.com/ingest-connectors/whoop-iceberg/internal/redact"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

var reportCommand = cli.Command{
	Name:    "report",
	Summary: "writes a page for a browser that shows what is in the tables",
	Details: "The page is one HTML file that needs no network. It has the rows, files, deletes, commits and columns of each table, its last state, the values that did not\n" +
		"fit, and what maintenance would do. With --charts it also has charts of the data. It changes nothing in the lake.\n\n" +
		"docs/report.md describes a file of charts; docs/charts/whoop.json is one.",
	Examples: []string{
		"report --config destination.json",
		"report --config destination.json --charts docs/charts/whoop.json --output member.html",
	},
	Config:   true,
	Progress: true,
	New: func(flags *flag.FlagSet) func(context.Context, cli.Env) error {
		descriptions := flags.String("charts", "", "path of a JSON `FILE` that describes charts of the data")
		output := flags.String("output", "report.html", "path of the `FILE` to write; an existing one is replaced. -: standard output")
		return func(ctx context.Context, env cli.Env) error {
			config, err := parseConfig(env.Config)
			if err != nil {
				return err
			}
			config.Memory.LimitProcess()
			var described []charts.Description
			if *descriptions != "" {
				if described, err = readDescriptions(*descriptions); err != nil {
					return err
				}
			}
			page, err := describeLake(ctx, config, described, env.Progress)
			env.Progress.End()
			if err != nil {
				return err
			}
			if *output == "-" {
				err = report.Write(env.Stdout, page, env.Secrets)
			} else if err = writePage(*output, page, env.Secrets); err == nil {
				shows := terminal.Counted(int64(len(page.Tables)), "tables")
				if n := len(page.Charts); n > 0 {
					shows += " and " + terminal.Counted(int64(n), "charts")
				}
				_, err = fmt.Fprintf(env.Stdout, "%s shows %s. Open it in a browser.\n", terminal.Text(*output), shows)
			}
			if n := page.Failed(); n > 0 {
				err = errors.Join(err, protocol.ConfigError.Errorf(nil, "%s of the page could not be read; the page says why.", terminal.Counted(int64(n), "parts")))
			}
			return err
		}
	},
}

func readDescriptions(path string) ([]charts.Description, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, protocol.ConfigError.Errorf(nil, "The charts file cannot be read: %v.", err)
	}
	return charts.Parse(text)
}

// describeLake describes every table of the catalog, also if some cannot be read, and reads
// the charts.
func describeLake(ctx context.Context, config Config, described []charts.Description, progress *progress.Progress) (report.Page, error) {
	page := report.Page{Warehouse: config.Warehouse, Catalog: config.Catalog.Type, Version: cli.Version, Made: time.Now()}
	cat, err := config.openExisting(ctx)
	if err != nil {
		return page, err
	}
	defer cat.Close()
	ids, err := catalogs.TableIDs(ctx, cat)
	if err != nil {
		return page, err
	}
	bound, err := bindCharts(ctx, config, cat, described)
	if err != nil {
		return page, err
	}
	progress.Expect("tables", len(ids))
	page.Tables = make([]report.Table, len(ids))
	options := config.lakeOptions()
	todo := config.Maintenance.options(true)
	todo.DryRun = true
	errs := config.Memory.EachTable(len(ids), func(i int) (err error) {
		page.Tables[i], err = reportTable(ctx, cat, ids[i])
		if err != nil {
			return err
		}
		done, err := maintainTable(ctx, cat, ids[i], options, todo)
		page.Tables[i].Maintenance = report.Maintenance{Report: done.Report}
		if err != nil { // the table can be read all the same
			page.Tables[i].Maintenance.Unknown = explainTable(ids[i], err)
		}
		progress.Add("tables", 1)
		return nil
	})
	if ctx.Err() != nil {
		return page, ctx.Err()
	}
	kept := page.Tables[:0]
	for i, err := range errs {
		if catalogs.IsDropped(ctx, cat, ids[i], err) {
			continue
		}
		t := page.Tables[i]
		t.Name = strings.Join(ids[i], ".")
		if err != nil {
			t.Error = explainTable(ids[i], err)
		}
		kept = append(kept, t)
	}
	page.Tables = kept
	page.Charts, err = readCharts(ctx, config, bound, progress)
	return page, err
}

// bindCharts finds the tables and columns of charts before anything is read.
func bindCharts(ctx context.Context, config Config, cat *catalogs.Catalog, described []charts.Description) ([]*charts.Bound, error) {
	var all []*charts.Bound
	tables := map[string]*table.Table{} // by the names in the descriptions
	for _, d := range described {
		if tables[d.Table] == nil {
			id, err := config.findTable(ctx, cat, d.Table)
			if err != nil {
				return nil, d.Fault(err)
			}
			if tables[d.Table], err = cat.LoadTable(ctx, id); err != nil {
				return nil, d.Fault(tabledef.ExplainLoss(id, err))
			}
		}
		bound, err := d.Bind(tables[d.Table])
		if err != nil {
			return nil, err
		}
		all = append(all, bound)
	}
	return all, nil
}

// readCharts reads the rows of charts, several at the same time. One that cannot be read
// has its error.
func readCharts(ctx context.Context, config Config, bound []*charts.Bound, progress *progress.Progress) ([]charts.Chart, error) {
	progress.Expect("charts", len(bound))
	all := make([]charts.Chart, len(bound))
	errs := config.Memory.EachTable(len(bound), func(i int) (err error) {
		all[i], err = bound[i].Read(ctx)
		progress.Add("charts", 1)
		return err
	})
	for i, err := range errs {
		if err != nil {
			all[i].Error = explainTable(bound[i].Table(), err)
		}
	}
	return all, ctx.Err()
}

func reportTable(ctx context.Context, cat *catalogs.Catalog, id table.Identifier) (report.Table, error) {
	loaded, err := cat.LoadTable(ctx, id)
	if err != nil {
		return report.Table{}, err
	}
	return report.Describe(ctx, loaded)
}

// writePage writes the page to a file. One that is there is replaced as a whole.
func writePage(path string, page report.Page, secrets *redact.Redactor) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".report-*.html")
	if err == nil {
		if err = errors.Join(report.Write(file, page, secrets), file.Close()); err == nil {
			err = osfile.Rename(file.Name(), path)
		}
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}
	if err != nil {
		return protocol.ConfigError.Errorf(nil, "The page cannot be written to %s: %v.", path, err)
	}
	return nil
}
