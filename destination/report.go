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
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/report"
	"github.com/ingest-connectors/whoop-iceberg/internal/progress"
	"github.com/ingest-connectors/whoop-iceberg/internal/redact"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

var reportCommand = cli.Command{
	Name:    "report",
	Summary: "writes a page for a browser that shows what is in the tables",
	Details: "The page is one HTML file that needs no network. It has the rows, files, deletes, commits and columns of each table, its last state, the values that did not\n" +
		"fit, and what maintenance would do. It changes nothing in the lake.",
	Examples: []string{
		"report --config destination.json",
		"report --config destination.json --output lake.html",
	},
	Config:   true,
	Progress: true,
	New: func(flags *flag.FlagSet) func(context.Context, cli.Env) error {
		output := flags.String("output", "report.html", "path of the `FILE` to write; an existing one is replaced. -: standard output")
		return func(ctx context.Context, env cli.Env) error {
			config, err := parseConfig(env.Config)
			if err != nil {
				return err
			}
			config.Memory.LimitProcess()
			page, err := describeLake(ctx, config, env.Progress)
			env.Progress.End()
			if err != nil {
				return err
			}
			if *output == "-" {
				err = report.Write(env.Stdout, page, env.Secrets)
			} else if err = writePage(*output, page, env.Secrets); err == nil {
				_, err = fmt.Fprintf(env.Stdout, "%s shows %s. Open it in a browser.\n", terminal.Text(*output), terminal.Counted(int64(len(page.Tables)), "tables"))
			}
			if n := page.Failed(); n > 0 {
				err = errors.Join(err, configError("%s could not be read; the page says why.", terminal.Counted(int64(n), "tables")))
			}
			return err
		}
	},
}

// describeLake describes every table of the catalog, also if some cannot be read.
func describeLake(ctx context.Context, config Config, progress *progress.Progress) (report.Page, error) {
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
	progress.Expect("tables", len(ids))
	page.Tables = make([]report.Table, len(ids))
	options := lake.Options{ReaderTime: config.Maintenance.readerTime(), Warehouse: config.ownWarehouse(), Memory: config.Memory.Shared()}
	todo := config.Maintenance.upkeep(true)
	todo.DryRun = true
	errs := config.Memory.EachTable(len(ids), func(i int) (err error) {
		page.Tables[i], err = reportTable(ctx, cat, ids[i])
		if err != nil {
			return err
		}
		done, err := maintainTable(ctx, cat, ids[i], options, todo)
		page.Tables[i].Upkeep = report.Upkeep{Report: done.Report}
		if err != nil { // the table can be read all the same
			page.Tables[i].Upkeep.Unknown = explainTable(ids[i], err)
		}
		progress.Add("tables", 1)
		return nil
	})
	if ctx.Err() != nil {
		return page, ctx.Err()
	}
	for i, err := range errs {
		page.Tables[i].Name = strings.Join(ids[i], ".")
		if err != nil {
			page.Tables[i].Error = explainTable(ids[i], err)
		}
	}
	return page, nil
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
			err = os.Rename(file.Name(), path)
		}
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}
	if err != nil {
		return configError("The page cannot be written to %s: %v.", path, err)
	}
	return nil
}
