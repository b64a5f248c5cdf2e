package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/checkpoint"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/maintenance"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/metrics"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/syncer"
	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
	"github.com/ingest-connectors/whoop-iceberg/internal/progress"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

// Maintenance says how tables are kept in shape.
type Maintenance struct {
	OnWrite         bool  `json:"on_write,omitempty" jsonschema:"title=After writes,default=true"`
	ExpireAfterDays int64 `json:"expire_after_days,omitempty" jsonschema:"title=Days snapshots are kept,default=7,minimum=1,maximum=3650"`
	KeepSnapshots   int64 `json:"keep_snapshots,omitempty" jsonschema:"title=Snapshots kept,default=10,minimum=1,maximum=100000"`
	ReaderMinutes   int64 `json:"reader_minutes,omitempty" jsonschema:"title=Minutes for readers,default=60,minimum=1,maximum=10080"`
	BudgetSeconds   int64 `json:"budget_seconds,omitempty" jsonschema:"title=Seconds,default=60,minimum=1,maximum=86400"`
}

// Descriptions describes the keys in the specification.
func (Maintenance) Descriptions() map[string]string {
	return map[string]string{
		"on_write":          "Maintain the tables at the end of every write, after its states are acknowledged. Otherwise somebody must run the maintain command.",
		"expire_after_days": "A snapshot expires when it was superseded this long ago. If there are more than 100 snapshots, the oldest expire, too.",
		"keep_snapshots":    "This many of the newest snapshots are kept, whatever their age and number.",
		"reader_minutes":    "Snapshots and metadata files are kept at least this long after they were superseded, for queries that started before.",
		"budget_seconds":    "How long maintenance may take at the end of a write.",
	}
}

func (m Maintenance) readerTime() time.Duration { return time.Duration(m.ReaderMinutes) * time.Minute }

func (m Maintenance) options(thorough bool) maintenance.Options {
	return maintenance.Options{
		ExpireAfter:   time.Duration(m.ExpireAfterDays) * 24 * time.Hour,
		KeepSnapshots: int(m.KeepSnapshots),
		Neighbours:    &maintenance.Neighbours{},
		Thorough:      thorough,
	}
}

// afterWrite is the maintenance at the end of a write.
type afterWrite struct {
	Maintenance
	log        *slog.Logger
	progress   *progress.Progress
	measured   *metrics.Metrics
	options    maintenance.Options
	unfinished atomic.Int64 // tables for which there was not enough time
	orphans    atomic.Bool  // some table has looked for orphans, as each does once a day
}

// maintain maintains the tables, several at once. The rows and states are safe by then, so
// no failure here makes the write fail. The tables are maintained in random order: if
// the time is too short for all, it is not always the same ones that are left.
func (w *afterWrite) maintain(ctx context.Context, memory syncer.Memory, streams []*syncer.Stream, states *checkpoint.Files, catalog *catalogs.Catalog) {
	if !w.OnWrite || ctx.Err() != nil {
		return
	}
	limited, cancel := context.WithTimeout(ctx, time.Duration(w.BudgetSeconds)*time.Second)
	defer cancel()
	w.progress.Doing("maintaining " + terminal.Counted(int64(len(streams)), "tables"))
	defer w.progress.Doing("")
	order := rand.Perm(len(streams))
	errs := memory.EachTable(len(streams), func(i int) error {
		if limited.Err() == nil {
			return w.table(limited, streams[order[i]])
		}
		w.unfinished.Add(1)
		return nil
	})
	if ctx.Err() != nil {
		return
	}
	for i, err := range errs {
		if stream := streams[order[i]]; err != nil {
			w.log.Warn("maintenance of the table failed; its rows and states are safe. It runs again after the next write, or when you run maintain", "stream", stream.ID.String(), "table", stream.Table.String(), "error", err.Error())
		}
	}
	if n := w.unfinished.Load(); n > 0 {
		w.log.Info("maintenance has used its time; it continues after the next write, or when you run maintain", "unfinished_tables", n)
		return
	}
	if !w.orphans.Load() {
		return
	}
	removed, left, err := states.Remove(limited, maintenance.StateFiles(catalog), false)
	if err != nil && limited.Err() == nil {
		w.log.Warn("old state files could not be removed; maintenance tries again another day, or when you run maintain", "error", err.Error())
	}
	for _, file := range removed {
		w.log.Debug("maintenance removed a state file", "file", file)
	}
	for _, why := range left {
		w.log.Info("maintenance: " + why)
	}
}

// table maintains one table, as far as there is time.
func (w *afterWrite) table(ctx context.Context, stream *syncer.Stream) error {
	var did maintenance.Report
	began := time.Now()
	err := goroutine.Recovered(func() (err error) {
		did, err = maintenance.Maintain(ctx, stream.Table, w.options)
		return err
	})()
	w.measured.Maintained(stream.Measured(), time.Since(began), did, err)
	if outOfTime := ctx.Err() != nil; outOfTime && err == nil {
		w.unfinished.Add(1)
		return nil
	}
	if text := summary(did); text != "" {
		w.log.Info("maintenance: "+text, "table", stream.Table.String())
		w.progress.Print("%s: %s", stream.Table, text)
	}
	for _, file := range did.Removed {
		w.log.Debug("maintenance removed a file", "table", stream.Table.String(), "file", file)
	}
	if did.LookedForOrphans {
		w.orphans.Store(true)
	}
	return err
}

var maintainCommand = cli.Command{
	Name:    "maintain",
	Summary: "compacts small files, expires old snapshots and removes orphans",
	Details: "A write does the same after its last commit, for as long as the configuration allows.",
	Examples: []string{
		"maintain --config destination.json",
		"maintain --config destination.json --orphans all --dry-run",
	},
	Config:   true,
	Progress: true,
	New: func(flags *flag.FlagSet) func(context.Context, cli.Env) error {
		asJSON := flags.Bool("json", false, "print a JSON array, with every file that was removed")
		orphans := flags.String("orphans", "own", "which orphans to remove, `own|all`: own are those that this program created, as their names show; all are any below the table locations")
		dryRun := flags.Bool("dry-run", false, "change nothing; say what would be done, and list what would be removed")
		return func(ctx context.Context, env cli.Env) error {
			if *orphans != "own" && *orphans != "all" {
				return protocol.ConfigError.Errorf(nil, "--orphans is %q. It must be own or all.", *orphans)
			}
			config, err := parseConfig(env.Config)
			if err != nil {
				return err
			}
			u := config.Maintenance.options(true)
			u.AllOrphans, u.DryRun = *orphans == "all", *dryRun
			done, err := maintainTables(ctx, config, u, env.Progress)
			env.Progress.End()
			if done == nil {
				return err
			}
			if *asJSON {
				out := json.NewEncoder(env.Stdout)
				out.SetEscapeHTML(false)
				out.SetIndent("", "  ")
				return errors.Join(err, out.Encode(done))
			}
			return errors.Join(err, printMaintained(env.Stdout, done, u.DryRun))
		}
	},
}

// maintained is what was done to one table, or to the state files.
type maintained struct {
	Table string `json:"table"`
	maintenance.Report
	Error string `json:"error,omitempty"`
}

// maintainTables does all maintenance that every table of the catalog needs, also if
// some fail. It returns what was done by the names of the tables.
func maintainTables(ctx context.Context, config Config, u maintenance.Options, progress *progress.Progress) ([]maintained, error) {
	config.Memory.LimitProcess()
	cat, err := config.openExisting(ctx)
	if err != nil {
		return nil, err
	}
	defer cat.Close()
	ids, err := catalogs.TableIDs(ctx, cat)
	if err != nil {
		return nil, err
	}
	progress.Expect("tables", len(ids))
	progress.Doing("maintaining")
	all := make([]maintained, len(ids))
	options := config.lakeOptions()
	errs := config.Memory.EachTable(len(ids), func(i int) (err error) {
		if ctx.Err() == nil {
			if all[i], err = maintainTable(ctx, cat, ids[i], options, u); catalogs.IsDropped(ctx, cat, ids[i], err) {
				all[i], err = maintained{}, nil
			}
			progress.Add("tables", 1)
			progress.Add("compacted files", int64(all[i].CompactedFiles))
			progress.Add("removed files", int64(len(all[i].Removed)))
		}
		return err
	})
	failed := 0
	for i, err := range errs {
		if err != nil {
			all[i].Table, all[i].Error = strings.Join(ids[i], "."), explainTable(ids[i], err)
			failed++
		}
	}
	all = slices.DeleteFunc(all, func(m maintained) bool { return m.Table == "" }) // not begun, or dropped in the meantime
	if ctx.Err() != nil {
		return all, failedTables(failed)
	}
	states, err := maintainStates(ctx, cat, u)
	if len(states.Removed)+len(states.NotDone) > 0 {
		all = append(all, states)
	}
	return all, errors.Join(failedTables(failed), err)
}

func maintainTable(ctx context.Context, cat *catalogs.Catalog, id table.Identifier, o lake.Options, u maintenance.Options) (maintained, error) {
	m := maintained{Table: strings.Join(id, ".")}
	var removed []string
	o.Removed = func(file string) { removed = append(removed, file) }
	var unhinted []string
	o.HintFailed = func(err error) {
		unhinted = []string{"metadata/version-hint.text could not be written: " + err.Error()}
	}
	t, err := lake.Attach(ctx, cat, id, o)
	if err == nil {
		m.Report, err = maintenance.Maintain(ctx, t, u)
		m.Removed, m.NotDone = append(m.Removed, removed...), append(m.NotDone, unhinted...)
	}
	if errors.Is(err, lake.ErrNotOurs) {
		m.NotDone = []string{"this program has committed nothing to it"}
		return m, nil
	}
	return m, err
}

// maintainStates removes the state files that no table refers to.
func maintainStates(ctx context.Context, cat *catalogs.Catalog, u maintenance.Options) (m maintained, err error) {
	files := checkpoint.NewFiles(cat.Storage())
	m.Table = files.Dir()
	m.Removed, m.NotDone, err = files.Remove(ctx, maintenance.StateFiles(cat), u.DryRun)
	m.RemovedOrphans = len(m.Removed)
	return m, err
}

// failedTables returns the error of a verb that has printed on the line of each
// table what is wrong with it.
func failedTables(n int) error {
	switch n {
	case 0:
		return nil
	case 1:
		return protocol.ConfigError.Errorf(nil, "1 table failed; its line says why.")
	}
	return protocol.ConfigError.Errorf(nil, "%d tables failed; their lines say why.", n)
}

func printMaintained(out io.Writer, all []maintained, dryRun bool) error {
	var b strings.Builder
	for _, m := range all {
		did := m.Report
		did.NotDone = nil
		text := summary(did)
		if dryRun && text != "" {
			text = "would be done: " + text
		}
		text = strings.Join(slices.DeleteFunc(append([]string{text}, m.NotDone...), func(s string) bool { return s == "" }), "; ")
		switch {
		case m.Error != "":
			text = strings.Trim(text+"; failed: "+m.Error, "; ")
		case text == "":
			text = "nothing to do"
		}
		fmt.Fprintf(&b, "%s: %s\n", terminal.Text(m.Table), text)
		if dryRun {
			for _, file := range m.Removed {
				fmt.Fprintf(&b, "  %s\n", terminal.Text(file))
			}
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// summary returns what was done, or "" if nothing was.
func summary(m maintenance.Report) string {
	var parts []string
	if m.CompactedFiles > 0 {
		parts = append(parts, fmt.Sprintf("%d data files and %d delete files compacted into %d", m.CompactedFiles, m.FoldedDeletes, m.IntoFiles))
	}
	if m.ExpiredSnapshots > 0 {
		parts = append(parts, fmt.Sprintf("%d snapshots expired, with %d files that only they named", m.ExpiredSnapshots, m.RemovedFiles))
	}
	if m.RemovedOrphans > 0 {
		parts = append(parts, fmt.Sprintf("%d orphans removed", m.RemovedOrphans))
	}
	return strings.Join(append(parts, m.NotDone...), "; ")
}
