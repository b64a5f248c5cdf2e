package lake_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Whatever the catalog does, a commit that is reported done is there once, and
// one that is reported failed is there at most once; the rows of others are
// not touched, and no file that a snapshot names is gone.
func TestCommitUnderFaults(t *testing.T) {
	always := slices.Repeat([]laketest.Outcome{laketest.Refuses}, 10_000)
	silent := slices.Repeat([]laketest.Outcome{laketest.FailsSilently}, 10_000)
	for name, tc := range map[string]struct {
		script []laketest.Outcome
		fails  bool // the commit is reported failed
		there  bool // the rows are in the table all the same
		keeps  bool // the staged files are left on disk
	}{
		"refused twice":                   {script: []laketest.Outcome{laketest.Refuses, laketest.Refuses}, there: true},
		"refused always":                  {script: always, fails: true},
		"landed without an answer":        {script: []laketest.Outcome{laketest.LandsSilently}, there: true},
		"lost without an answer":          {script: []laketest.Outcome{laketest.FailsSilently}, there: true},
		"lost, then landed, no answers":   {script: []laketest.Outcome{laketest.FailsSilently, laketest.LandsSilently}, there: true},
		"no answer ever":                  {script: silent, fails: true, keeps: true},
		"another writer first":            {script: []laketest.Outcome{laketest.LetsOthersFirst}, there: true},
		"landed, another after":           {script: []laketest.Outcome{laketest.LandsThenOthers}, there: true},
		"refused, landed, another after":  {script: []laketest.Outcome{laketest.Refuses, laketest.LandsThenOthers}, there: true},
		"cancelled after it had landed":   {script: []laketest.Outcome{laketest.DiesAfterLanding}, there: true},
		"no answer, then always refused":  {script: append([]laketest.Outcome{laketest.FailsSilently}, always[1:]...), fails: true, keeps: true},
		"landed, then refused":            {script: []laketest.Outcome{laketest.RefusesLanded}, there: true},
		"landed, another, then refused":   {script: []laketest.Outcome{laketest.RefusesOvertaken}, there: true},
		"refused, landed, then refused":   {script: []laketest.Outcome{laketest.Refuses, laketest.RefusesLanded}, there: true},
		"landed, refused, cancelled":      {script: []laketest.Outcome{laketest.RefusesAndDies}, there: true},
		"landed, then no rights":          {script: []laketest.Outcome{laketest.FailsLanded}, there: true},
		"a success that is none":          {script: []laketest.Outcome{laketest.LiesOfLanding}, there: true},
		"silent, landed, then refused":    {script: []laketest.Outcome{laketest.FailsSilently, laketest.RefusesOvertaken}, there: true},
		"landed, no answer, state only":   {script: []laketest.Outcome{laketest.LandsSilently}, there: true},
		"another first, then no answer":   {script: []laketest.Outcome{laketest.LetsOthersFirst, laketest.LandsSilently}, there: true},
		"another first, several times":    {script: slices.Repeat([]laketest.Outcome{laketest.LetsOthersFirst}, 5), there: true},
		"another first, refused, silence": {script: []laketest.Outcome{laketest.LetsOthersFirst, laketest.Refuses, laketest.FailsSilently, laketest.LandsThenOthers}, there: true},
	} {
		for k, kind := range []string{"append", "copy_on_write", "merge_on_read", "replace", "spilled keys"} {
			if (len(name)+k)%testsize.Of(5, 1) > 0 {
				continue
			}
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				real := laketest.OpenCatalog(t, t.TempDir())
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				plan, mode := laketest.Keyed("s"), lake.Upsert(kind)
				if kind == "append" {
					plan.Dedup = false
				}
				others := openTable(t, real, plan, lake.Options{Upsert: lake.MergeOnRead})
				before := laketest.Version{Key: 1, Cursor: 1, V: "before"}
				laketest.Commit(t, others, `{"n":0}`, laketest.Stage(t, others, 0, before.Row(), laketest.Version{Key: 2, Cursor: 1, V: "before"}.Row()))
				want := []string{before.JSON(), laketest.Version{Key: 2, Cursor: 1, V: "before"}.JSON()}

				foreign := int64(100)
				cat := &laketest.Faulty{Catalog: real, Script: slices.Clone(tc.script), Cancel: cancel}
				var theirs []string
				cat.Other = func() {
					foreign++
					v := laketest.Version{Key: foreign, Cursor: 1, V: "theirs"}
					laketest.Commit(t, others, "", laketest.Stage(t, others, 0, v.Row()))
					theirs = append(theirs, v.JSON())
				}
				o := lake.Options{Upsert: mode}
				if kind == "spilled keys" {
					o = lake.Options{Upsert: lake.MergeOnRead, Memory: memoryForKeys(0)}
				}
				tbl := openTable(t, cat, plan, o)
				tbl.SetRetries(time.Millisecond, time.Minute)
				if tc.fails { // after the attempts that there are whatever the time
					tbl.SetRetries(time.Millisecond, 0)
				}
				mine := laketest.Version{Key: 2, Cursor: 2, V: "mine"}
				staged := laketest.Stage(t, tbl, 0, mine.Row())

				var err error
				state := json.RawMessage(`{"n":1}`)
				if kind == "replace" {
					_, err = tbl.Replace(ctx, []*lake.Staged{staged}, state)
				} else {
					_, err = tbl.Commit(ctx, []*lake.Staged{staged}, state)
				}
				if (err != nil) != tc.fails {
					t.Fatalf("error %v", err)
				}
				var perr *protocol.Error
				if err != nil && (!errors.As(err, &perr) || perr.Kind != protocol.TransientError) {
					t.Errorf("error %v is no transient error", err)
				}
				if tc.there {
					switch kind {
					case "append":
						want = append(want, mine.JSON())
					case "replace":
						// What came after the swap stays.
						want = []string{mine.JSON()}
						theirs = since(theirs, tc.script)
					default:
						want[1] = mine.JSON()
					}
				}
				laketest.ExpectRows(t, tbl, append(want, theirs...)...)
				wantState := `{"n":0}`
				if tc.there {
					wantState = `{"n":1}`
				}
				if got := string(laketest.LastState(t, laketest.Load(t, tbl))); got != wantState {
					t.Errorf("state %s, want %s", got, wantState)
				}
				mayBeNamed := slices.Contains(tc.script, laketest.FailsSilently) || slices.Contains(tc.script, laketest.LiesOfLanding)
				if !mayBeNamed || tc.keeps {
					laketest.ExpectFiles(t, tbl, tc.keeps)
				}
			})
		}
	}
}

// Where another writer has committed since and expired what came before, as Nessie does with each commit, nobody can know
// whether a commit that was refused is there. It is made again, and no file of it is removed that the table may need.
func TestARefusedCommitOfWhichTheHistoryIsGone(t *testing.T) {
	for _, kind := range []lake.Upsert{lake.CopyOnWrite, lake.MergeOnRead} {
		t.Run(string(kind), func(t *testing.T) {
			real := laketest.OpenCatalog(t, t.TempDir())
			others := openTable(t, real, laketest.Keyed("s"), lake.Options{Upsert: lake.MergeOnRead})
			appended := laketest.Keyed("s")
			appended.Dedup, appended.Key = false, nil
			appending := openTable(t, real, appended, lake.Options{})
			older, newer := laketest.Version{Key: 5, Cursor: 1, V: "mine"}, laketest.Version{Key: 5, Cursor: 2, V: "theirs"}
			before, theirs, also, mine := laketest.Version{Key: 1, Cursor: 1, V: "before"}, laketest.Version{Key: 2, Cursor: 1, V: "theirs"}, laketest.Version{Key: 3, Cursor: 1, V: "theirs"}, laketest.Version{Key: 4, Cursor: 1, V: "mine"}
			laketest.Commit(t, others, "", laketest.Stage(t, others, 0, before.Row()))
			cat := &laketest.Faulty{Catalog: real, Script: []laketest.Outcome{laketest.RefusesOvertaken}}
			cat.Other = func() {
				laketest.Commit(t, others, "", laketest.Stage(t, others, 0, theirs.Row()))
				laketest.Commit(t, others, "", laketest.Stage(t, others, 0, also.Row()))
				laketest.Commit(t, appending, "", laketest.Stage(t, appending, 0, newer.Row())) // the older row stays beside it
				now := laketest.Load(t, others)
				shortLog := table.NewSetPropertiesUpdate(iceberg.Properties{"write.metadata.previous-versions-max": "1"})
				var gone []int64
				for _, s := range now.Metadata().Snapshots() {
					if s.SnapshotID != now.CurrentSnapshot().SnapshotID {
						gone = append(gone, s.SnapshotID)
					}
				}
				for range 2 { // the second time, no metadata file that is listed has them
					if _, _, err := real.CommitTable(t.Context(), now.Identifier(), nil, []table.Update{shortLog, table.NewRemoveSnapshotsUpdate(gone, false)}); err != nil {
						t.Fatal(err)
					}
				}
			}
			tbl := openTable(t, cat, laketest.Keyed("s"), lake.Options{Upsert: kind})
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, mine.Row()), laketest.Stage(t, tbl, 0, older.Row()))
			laketest.ExpectRows(t, tbl, before.JSON(), theirs.JSON(), also.JSON(), mine.JSON(), newer.JSON())
			for _, uri := range laketest.Named(t, laketest.Load(t, tbl)) {
				if _, err := os.Stat(laketest.PathOf(t, uri)); err != nil {
					t.Errorf("a file that a snapshot names: %v", err)
				}
			}
		})
	}
}

// since drops the rows others wrote before the script's commit landed.
func since(theirs []string, script []laketest.Outcome) []string {
	n := 0
	for _, o := range script {
		if o == laketest.LetsOthersFirst {
			n++
		}
	}
	return theirs[n:]
}

// A state without rows is committed once, too, and found again.
func TestStateOnlyUnderFaults(t *testing.T) {
	for _, script := range [][]laketest.Outcome{{laketest.Refuses}, {laketest.LandsSilently}, {laketest.FailsSilently}, {laketest.LetsOthersFirst}, {laketest.LandsThenOthers}} {
		real := laketest.OpenCatalog(t, t.TempDir())
		others := openTable(t, real, laketest.Plain("s"), lake.Options{})
		cat := &laketest.Faulty{Catalog: real, Script: script}
		cat.Other = func() { laketest.Commit(t, others, "", laketest.Stage(t, others, 0, map[string]any{"id": 9})) }
		tbl := openTable(t, cat, laketest.Plain("s"), lake.Options{})
		laketest.Commit(t, tbl, `{"n":1}`)
		if got := string(laketest.LastState(t, laketest.Load(t, tbl))); got != `{"n":1}` {
			t.Errorf("%v: state %s", script, got)
		}
	}
}

// Writers with catalogs of their own, as processes have, land every commit
// once.
func TestConcurrentWritersLoseAndDoubleNothing(t *testing.T) {
	const writers = 4
	for kind, commits := range map[lake.Upsert]int{"append": testsize.Of(2, 10), lake.Auto: testsize.Of(2, 10), lake.MergeOnRead: testsize.Of(2, 6)} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var all sync.WaitGroup
			for n := range int64(writers) {
				cat := laketest.OpenCatalog(t, dir)
				all.Go(func() {
					plan, mode := laketest.Keyed("s"), kind
					if kind == "append" {
						plan.Dedup, mode = false, lake.Auto
					}
					// All of them make the table at once.
					tbl, err := lake.OpenUnbound(t.Context(), cat, plan, lake.Options{Upsert: mode})
					if err != nil {
						t.Error(err)
						return
					}
					for c := range int64(commits) {
						// A key of its own, and one that all of them write.
						s := laketest.Stage(t, tbl, 0,
							laketest.Version{Key: 1000*(n+1) + c, Cursor: 1, V: "own"}.Row(),
							laketest.Version{Key: c, Cursor: n, V: fmt.Sprint("shared by ", n)}.Row())
						if _, err := tbl.Commit(t.Context(), []*lake.Staged{s}, json.RawMessage(fmt.Sprintf(`{"writer":%d}`, n))); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			if t.Failed() {
				return
			}
			var want []string
			for c := range int64(commits) {
				for n := range int64(writers) {
					want = append(want, laketest.Version{Key: 1000*(n+1) + c, Cursor: 1, V: "own"}.JSON())
					if kind == "append" || n == writers-1 {
						want = append(want, laketest.Version{Key: c, Cursor: n, V: fmt.Sprint("shared by ", n)}.JSON())
					}
				}
			}
			tbl := openTable(t, laketest.OpenCatalog(t, dir), laketest.Keyed("s"), lake.Options{})
			laketest.ExpectRows(t, tbl, want...)
			laketest.ExpectFiles(t, tbl, false)
			if n := len(laketest.Load(t, tbl).Metadata().Snapshots()); n != writers*commits {
				t.Errorf("%d snapshots of %d commits", n, writers*commits)
			}
		})
	}
}

// A table is brought to its definition whatever the catalog does, as rows are committed.
func TestADefinitionIsCommittedUnderFaults(t *testing.T) {
	for name, script := range map[string][]laketest.Outcome{
		"refused":                  {laketest.Refuses, laketest.Refuses},
		"landed without an answer": {laketest.LandsSilently, laketest.LandsSilently},
		"lost without an answer":   {laketest.FailsSilently, laketest.FailsSilently},
		"lost, then landed":        {laketest.FailsSilently, laketest.LandsSilently},
		"another writer first":     {laketest.LetsOthersFirst},
	} {
		t.Run(name, func(t *testing.T) {
			real := laketest.OpenCatalog(t, t.TempDir())
			others := openTable(t, real, planOf("s", optional("id", aLong)), lake.Options{})
			cat := &laketest.Faulty{Catalog: real, Script: script, Other: func() { laketest.Commit(t, others, "", laketest.Stage(t, others, 0, map[string]any{"id": 1})) }}
			o := lake.Options{Settings: tabledef.Settings{PartitionBy: by(t, "bucket(4, id)"), SortBy: sortedBy(t, "v"), Properties: map[string]string{"comment": "x"}}}
			tbl := openTable(t, cat, planOf("s", optional("id", aLong), optional("v", aString)), o)
			loaded := laketest.Load(t, tbl)
			if diff := cmp.Diff([]string{"id long", "v string"}, columnsOf(loaded.Schema())[:2]); diff != "" {
				t.Errorf("columns (-want +got):\n%s", diff)
			}
			if by, sorted := tabledef.Clauses(loaded.Metadata()); len(by) != 1 || len(sorted) != 1 || loaded.Properties()["comment"] != "x" {
				t.Errorf("partitioned by %q, sorted by %q, properties %v", by, sorted, loaded.Properties())
			}
			if n := len(loaded.Metadata().Schemas()); n != 2 {
				t.Errorf("%d schemas", n)
			}
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, map[string]any{"id": 2, "v": "y"}))
			laketest.CheckFiles(t, laketest.Load(t, tbl))
		})
	}
}
