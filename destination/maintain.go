package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Maintenance says how tables are kept in shape.
type Maintenance struct {
	OnWrite         bool  `json:"on_write,omitempty" jsonschema:"title=After writes,default=true" jsonschema_description:"Keep the tables in shape at the end of every write, when its states are acknowledged. If not, the maintain command is for somebody to run." jsonschema_extras:"order=0"`
	ExpireAfterDays int64 `json:"expire_after_days,omitempty" jsonschema:"title=Days snapshots are kept,default=7,minimum=1,maximum=3650" jsonschema_description:"Snapshots older than this expire, and so do the oldest of more than 100." jsonschema_extras:"order=1"`
	KeepSnapshots   int64 `json:"keep_snapshots,omitempty" jsonschema:"title=Snapshots kept,default=10,minimum=1,maximum=100000" jsonschema_description:"This many of the newest snapshots stay, whatever their age and number." jsonschema_extras:"order=2"`
	BudgetSeconds   int64 `json:"budget_seconds,omitempty" jsonschema:"title=Seconds,default=60,minimum=1,maximum=86400" jsonschema_description:"How long upkeep may take at the end of a write." jsonschema_extras:"order=3"`
}

func (m Maintenance) upkeep(thorough bool) lake.Upkeep {
	return lake.Upkeep{
		ExpireAfter:   time.Duration(m.ExpireAfterDays) * 24 * time.Hour,
		KeepSnapshots: int(m.KeepSnapshots),
		Thorough:      thorough,
	}
}

// maintain keeps the tables in shape after a write, whose rows and states are
// safe by then: nothing that goes wrong here fails it. The tables take their
// turns at random, so that when the time is not enough for all of them it is
// not always the same ones that go without.
func (w *writer) maintain(ctx context.Context) {
	m := w.config.Maintenance
	if !m.OnWrite || ctx.Err() != nil {
		return
	}
	limited, cancel := context.WithTimeout(ctx, time.Duration(m.BudgetSeconds)*time.Second)
	defer cancel()
	for _, i := range rand.Perm(len(w.lanes.all)) {
		l := w.lanes.all[i]
		var did lake.Maintained
		err := protocol.Recovered(func() (err error) {
			did, err = l.table.Maintain(limited, m.upkeep(false))
			return err
		})()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.log.Warn("upkeep of the table failed; its rows and states are safe. It is tried again after the next write, and the maintain command does it on demand", "stream", l.id.String(), "table", l.table.String(), "error", err.Error())
		case limited.Err() != nil:
			w.log.Info("the time for upkeep is over; it goes on after the next write, or with the maintain command", "table", l.table.String())
			return
		}
		if text := summary(did); text != "" {
			w.log.Info("upkeep: "+text, "table", l.table.String())
		}
	}
}

var maintainCommand = protocol.Command{
	Name:    "maintain",
	Summary: "compacts small files, expires old snapshots and removes orphans",
	Config:  true,
	New: func(flags *flag.FlagSet) func(context.Context, protocol.Env) error {
		asJSON := flags.Bool("json", false, "print a JSON array")
		return func(ctx context.Context, env protocol.Env) error {
			if len(env.Args) > 0 {
				return configError("Usage: maintain --config FILE [--json]")
			}
			config, err := parseConfig(env.Config)
			if err != nil {
				return err
			}
			done, err := maintainTables(ctx, config)
			if done == nil {
				return err
			}
			if *asJSON {
				out := json.NewEncoder(env.Stdout)
				out.SetEscapeHTML(false)
				out.SetIndent("", "  ")
				return errors.Join(err, out.Encode(done))
			}
			return errors.Join(err, printMaintained(env.Stdout, done))
		}
	},
}

// maintained is what was done to one table.
type maintained struct {
	Table string `json:"table"`
	lake.Maintained
	Error string `json:"error,omitempty"`
}

// maintainTables does all there is to do for every table of the catalog, by
// name. One that fails does not keep the others from their turn.
func maintainTables(ctx context.Context, config Config) ([]maintained, error) {
	debug.SetMemoryLimit(int64(config.Memory) << 20 * 3 / 4)
	cat, err := catalogs.OpenExisting(ctx, config.Catalog, config.Warehouse)
	if err != nil {
		return nil, err
	}
	defer cat.Close()
	ids, err := tableIDs(ctx, cat)
	if err != nil {
		return nil, err
	}
	all := []maintained{}
	var errs []error
	for _, id := range ids {
		m := maintained{Table: strings.Join(id, ".")}
		t, err := lake.Attach(ctx, cat, id)
		if err == nil {
			m.Maintained, err = t.Maintain(ctx, config.Maintenance.upkeep(true))
		}
		switch {
		case errors.Is(err, lake.ErrNotOurs):
			m.Left = []string{"this program has committed nothing to it"}
		case err != nil:
			m.Error = err.Error()
			errs = append(errs, err)
		}
		all = append(all, m)
		if ctx.Err() != nil {
			break
		}
	}
	return all, errors.Join(errs...)
}

func tableIDs(ctx context.Context, cat *catalogs.Catalog) ([]table.Identifier, error) {
	namespaces, err := cat.ListNamespaces(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("listing namespaces: %w", err)
	}
	var ids []table.Identifier
	for _, namespace := range namespaces {
		for id, err := range cat.ListTables(ctx, namespace) {
			if err != nil {
				return nil, fmt.Errorf("listing tables: %w", err)
			}
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, slices.Compare)
	return ids, nil
}

func printMaintained(out io.Writer, all []maintained) error {
	var b strings.Builder
	for _, m := range all {
		text := summary(m.Maintained)
		switch {
		case m.Error != "":
			text = strings.Trim(text+"; failed: "+m.Error, "; ")
		case text == "":
			text = "nothing to do"
		}
		fmt.Fprintf(&b, "%s: %s\n", m.Table, text)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// summary says what was done, "" when it was nothing.
func summary(m lake.Maintained) string {
	var parts []string
	if m.CompactedFiles > 0 {
		parts = append(parts, fmt.Sprintf("%d data files and %d delete files became %d", m.CompactedFiles, m.FoldedDeletes, m.IntoFiles))
	}
	if m.ExpiredSnapshots > 0 {
		parts = append(parts, fmt.Sprintf("%d snapshots expired, with %d files that only they named", m.ExpiredSnapshots, m.RemovedFiles))
	}
	if m.RemovedOrphans > 0 {
		parts = append(parts, fmt.Sprintf("%d orphans removed", m.RemovedOrphans))
	}
	return strings.Join(append(parts, m.Left...), "; ")
}
