package rowdelete_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filter"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rowdelete"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
)

func TestMain(m *testing.M) { laketest.Main(m) }

func row(key int64, cursor int64, v string) laketest.Version {
	return laketest.Version{Key: key, Cursor: cursor, V: v}
}

func deletion(t *testing.T, cat lake.Catalog, tbl *lake.Table, where string, upsert lake.Upsert) rowdelete.Deletion {
	t.Helper()
	attached, err := lake.Attach(t.Context(), cat, tbl.Opened().Identifier(), lake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := filter.Parse(where)
	if err != nil {
		t.Fatal(err)
	}
	return rowdelete.Deletion{Table: attached, Where: f, Upsert: upsert}
}

// Whatever the catalog answers and whoever commits meanwhile: the rows are gone once, what others add stays, and so
// does the state.
func TestADeletionUnderFaults(t *testing.T) {
	for name, script := range map[string][]laketest.Outcome{
		"no fault": nil, "refused": {laketest.Refuses}, "no answer": {laketest.LandsSilently}, "no answer and no effect": {laketest.FailsSilently},
		"another writer was first": {laketest.LetsOthersFirst}, "another writer came next": {laketest.LandsThenOthers},
	} {
		for u, upsert := range []lake.Upsert{lake.CopyOnWrite, lake.MergeOnRead, lake.Auto} {
			for version := 1; version <= 3; version++ {
				if (len(name)+u+version)%testsize.Of(3, 1) > 0 {
					continue
				}
				t.Run(fmt.Sprintf("%s, %s, format version %d", name, upsert, version), func(t *testing.T) {
					real := laketest.OpenCatalog(t, t.TempDir())
					tbl := laketest.OpenTable(t, real, laketest.Plain("s"), lake.Options{FormatVersion: version})
					laketest.Commit(t, tbl, `{"n":1}`, laketest.Stage(t, tbl, 0, map[string]any{"id": 1, "v": "ann"}, map[string]any{"id": 2, "v": "bob"}))
					laketest.Commit(t, tbl, `{"n":2}`, laketest.Stage(t, tbl, 0, map[string]any{"id": 3, "v": "ann"}))
					want, state, wantRows := []string{`{"id":2,"v":"bob"}`}, `{"n":2}`, int64(2)
					faulty := &laketest.Faulty{Catalog: real, Script: slices.Clone(script), Other: func() {
						laketest.Commit(t, tbl, `{"n":3}`, laketest.Stage(t, tbl, 0, map[string]any{"id": 4, "v": "eve"}, map[string]any{"id": 5, "v": "ann"}))
						want, state = append(want, `{"id":4,"v":"eve"}`), `{"n":3}`
						if script[0] == laketest.LetsOthersFirst {
							wantRows++
						} else {
							want = append(want, `{"id":5,"v":"ann"}`)
						}
					}}
					done, err := deletion(t, faulty, tbl, "v = ann", upsert).Delete(t.Context(), table.MainBranch)
					if err != nil || done.Rows != wantRows || done.SnapshotID == 0 {
						t.Errorf("%+v, %v", done, err)
					}
					laketest.ExpectRows(t, tbl, want...)
					// After no answer, the table may name the files of the attempt: the removal of orphans finds them.
					laketest.ExpectFiles(t, tbl, slices.Contains(script, laketest.FailsSilently))
					if got := string(laketest.LastState(t, laketest.Load(t, tbl))); got != state {
						t.Errorf("state %s, want %s", got, state)
					}
				})
			}
		}
	}
}

// Whichever write fails: the rows stay, and no file stays open or is left.
func TestADeletionThatCannotBeWrittenLeavesNothing(t *testing.T) {
	for name, upsert := range map[string]lake.Upsert{"copies": lake.CopyOnWrite, "deletes": lake.MergeOnRead} {
		t.Run(name, func(t *testing.T) {
			cat := laketest.OpenCatalog(t, t.TempDir())
			tbl := laketest.OpenTable(t, cat, laketest.Plain("s"), lake.Options{})
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, map[string]any{"id": 1, "v": "ann"}, map[string]any{"id": 2, "v": "bob"}))
			d := deletion(t, cat, tbl, "v = ann", upsert)
			for writes := 0; ; writes++ {
				files := laketest.NewObjects(writes)
				d.Table.Storage().Files = files
				_, err := d.Delete(t.Context(), table.MainBranch)
				files.Expect(t)
				laketest.ExpectFiles(t, tbl, false)
				if files.Failed == "" && err == nil && files.Closed > 1 {
					break
				}
				if !errors.Is(err, laketest.ErrWrite) {
					t.Fatalf("write %d, of %q: error %v", writes, files.Failed, err)
				}
				laketest.ExpectRows(t, tbl, `{"id":1,"v":"ann"}`, `{"id":2,"v":"bob"}`)
			}
			laketest.ExpectRows(t, tbl, `{"id":2,"v":"bob"}`)
		})
	}
}

// A file that is rewritten keeps its place in the order of arrival, which decides between equal cursors, and rows of other
// keys that were deleted before stay deleted.
func TestADeletionLeavesTheOtherRowsAsTheyAre(t *testing.T) {
	for _, upsert := range []lake.Upsert{lake.CopyOnWrite, lake.MergeOnRead} {
		t.Run(string(upsert), func(t *testing.T) {
			cat := laketest.OpenCatalog(t, t.TempDir())
			tbl := laketest.OpenTable(t, cat, laketest.Keyed("s"), lake.Options{Upsert: lake.MergeOnRead})
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, row(1, 1, "a").Row(), row(2, 1, "ann").Row(), row(3, 1, "c").Row()))
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, row(1, 2, "b").Row()))
			sequences := func() map[int64]int64 {
				set, err := tbl.Storage().List(laketest.Load(t, tbl).CurrentSnapshot(), map[string][]iceberg.ManifestEntry{})
				if err != nil {
					t.Fatal(err)
				}
				found := map[int64]int64{}
				for _, f := range set.Files {
					found[f.Sequence]++
				}
				return found
			}
			before := sequences()
			if _, err := deletion(t, cat, tbl, "v = ann", upsert).Delete(t.Context(), table.MainBranch); err != nil {
				t.Fatal(err)
			}
			laketest.ExpectRows(t, tbl, row(1, 2, "b").JSON(), row(3, 1, "c").JSON())
			if after := sequences(); !maps.Equal(before, after) {
				t.Errorf("sequence numbers of the data files: %v before, %v after", before, after)
			}
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, row(2, 1, "again").Row())) // nothing is left to be newer than
			laketest.ExpectRows(t, tbl, row(1, 2, "b").JSON(), row(2, 1, "again").JSON(), row(3, 1, "c").JSON())
		})
	}
}

// Rows of a refresh under way would come back at its end, so they are deleted on its branch, too.
func TestADeletionReachesARefreshUnderWay(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	begin := func(g lake.Generation) *lake.Table {
		tbl := laketest.OpenTable(t, cat, laketest.Plain("s"), lake.Options{})
		if _, err := tbl.Begin(t.Context(), &g); err != nil {
			t.Fatal(err)
		}
		return tbl
	}
	of := func(key, generation int64, v string) map[string]any {
		return map[string]any{"id": key, "v": v, "_airbyte_generation_id": generation}
	}
	first := begin(lake.Generation{ID: 2})
	laketest.Commit(t, first, `{"n":1}`, laketest.Stage(t, first, 0, of(1, 2, "ann"), of(2, 2, "bob")))
	refresh := begin(lake.Generation{ID: 3, Minimum: 3})
	laketest.Commit(t, refresh, `{"n":9}`, laketest.Stage(t, refresh, 0, of(1, 3, "ann"), of(2, 3, "bob")))
	d := deletion(t, cat, first, "v = ann", lake.Auto)
	branches := d.Branches(d.Table.Opened())
	if len(branches) != 2 {
		t.Fatalf("branches %q", branches)
	}
	for _, branch := range branches {
		if done, err := d.Delete(t.Context(), branch); err != nil || done.Rows != 1 {
			t.Errorf("%s: %+v, %v", branch, done, err)
		}
	}
	next := begin(lake.Generation{ID: 3, Minimum: 3})
	if _, err := next.Finish(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	laketest.ExpectRows(t, next, `{"id":2,"v":"bob"}`)
	if got := string(laketest.LastState(t, laketest.Load(t, next))); got != `{"n":9}` {
		t.Errorf("state %s", got)
	}
}

// A filter means the columns as they are called now, whatever they were called when the files were written.
func TestADeletionFollowsColumnsThatWereRenamed(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	tbl := laketest.OpenTable(t, cat, laketest.Plan("s", `"id":{"type":"integer"},"v":{"type":"string"},"w":{"type":"string"}`), lake.Options{})
	laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, map[string]any{"id": 1, "v": "ann", "w": "x"}))
	laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, map[string]any{"id": 2, "v": "bob", "w": "ann"}))
	for _, renamed := range [][2]string{{"v", "old"}, {"w", "v"}, {"old", "w"}} {
		tx := laketest.Load(t, tbl).NewTransaction()
		if err := tx.UpdateSchema(false, true).RenameColumn(renamed[:1], renamed[1]).Commit(); err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	d := deletion(t, cat, tbl, "w = ann", lake.Auto)
	for _, branch := range d.Branches(laketest.Load(t, tbl)) {
		if done, err := d.Delete(t.Context(), branch); err != nil || done.Rows != 1 {
			t.Errorf("branch %s: %+v, %v", branch, done, err)
		}
	}
	laketest.ExpectRows(t, tbl, `{"id":2,"w":"bob","v":"ann"}`)
}

// Rows of a file that carries no field ids are found by the names that the table's name mapping has.
func TestADeletionReachesFilesWithoutFieldIDs(t *testing.T) {
	for _, upsert := range []lake.Upsert{lake.CopyOnWrite, lake.MergeOnRead} {
		cat := laketest.OpenCatalog(t, t.TempDir())
		tbl := laketest.OpenTable(t, cat, laketest.Plain("s"), lake.Options{})
		laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, map[string]any{"id": 3, "v": "eve"}))
		columns := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "v", Type: arrow.BinaryTypes.String}}, nil)
		laketest.AddNameless(t, tbl, columns, `[{"id":1,"v":"ann"},{"id":2,"v":"bob"}]`, false)
		done, err := deletion(t, cat, tbl, "v = ann", upsert).Delete(t.Context(), table.MainBranch)
		if err != nil || done.Rows != 1 {
			t.Errorf("%s: %+v, %v", upsert, done, err)
		}
		laketest.ExpectRows(t, tbl, `{"id":2,"v":"bob"}`, `{"id":3,"v":"eve"}`)
	}
}
