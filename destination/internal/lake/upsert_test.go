package lake_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/budget"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
)

// plenty is memory for all keys of a test.
const plenty = 1 << 30

// memoryForKeys is memory with so many bytes for keys, a quarter of all.
func memoryForKeys(bytes int64) *budget.Memory { return budget.NewMemory(4 * bytes) }

// Looking through a file for keys takes memory, which tasks share.
func TestKeysAreLookedForWhenThereIsMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := budget.NewMemory(plenty)
		tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Keyed("s"), lake.Options{Memory: memory})
		rows := laketest.Stage(t, tbl, 0, laketest.Version{Key: 1}.Row(), laketest.Version{Key: 3}.Row())
		if _, err := tbl.Commit(t.Context(), []*lake.Staged{rows}, nil); err != nil {
			t.Fatal(err)
		}
		between := laketest.Stage(t, tbl, 2, laketest.Version{Key: 2}.Row()) // nothing has to be rewritten for it
		end, err := memory.Begin(t.Context(), plenty)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := tbl.Commit(t.Context(), []*lake.Staged{between}, nil)
			done <- err
		}()
		synctest.Wait()
		if len(done) > 0 {
			t.Errorf("the commit waited for no memory: %v", <-done)
			done <- nil
		}
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestUpsertKeepsOneWinnerPerKey(t *testing.T) {
	for _, tc := range []struct {
		mode   lake.Upsert
		format int
		keys   int64 // bytes of memory for them
		// the last snapshot must have this kind of file, to show that the mode
		// was at work
		wantDeletes bool
	}{
		{lake.Auto, 2, plenty, false},
		{lake.CopyOnWrite, 2, plenty, false},
		{lake.MergeOnRead, 2, plenty, true},
		{lake.CopyOnWrite, 1, plenty, false},
		{lake.MergeOnRead, 3, plenty, true},
		{lake.CopyOnWrite, 3, plenty, false},
		{lake.CopyOnWrite, 2, 0, false},
		{lake.MergeOnRead, 2, 0, true},
		{lake.MergeOnRead, 3, 3000, true}, // some rounds are spilled, or parts of them
	} {
		t.Run(fmt.Sprint(tc.mode, " v", tc.format, ", ", tc.keys, " bytes for keys"), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(testsize.Of(1, 2)) {
				rng := rand.New(rand.NewPCG(seed, 7))
				p := laketest.Keyed(fmt.Sprint("s", seed))
				tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), p, lake.Options{Upsert: tc.mode, FormatVersion: tc.format, TargetFileBytes: 6000, Memory: memoryForKeys(tc.keys)})
				want := laketest.Model{}
				order := uint64(0)
				deletes := 0
				for round := range testsize.Of(4, 10) {
					var versions []laketest.Version
					writers := []*lake.Writer{tbl.NewWriter(), tbl.NewWriter()}
					for range 1 + rng.IntN(5) {
						var rows []map[string]any
						var orders []uint64
						for range 1 + rng.IntN(30) {
							v := laketest.Version{
								Key: rng.Int64N(60), Cursor: rng.Int64N(8) - 1, Order: order,
								V: fmt.Sprint(round, "-", order), Deleted: rng.IntN(6) == 0,
							}
							order++
							versions = append(versions, v)
							rows, orders = append(rows, v.Row()), append(orders, v.Order)
						}
						// Runs reach the workers in any order.
						if err := writers[rng.IntN(2)].Write(t.Context(), laketest.Batch(t, tbl.Opened().Schema(), rows...), orders); err != nil {
							t.Fatal(err)
						}
					}
					var staged []*lake.Staged
					for _, w := range writers {
						s, err := w.Close(t.Context(), nil, nil, math.MaxInt64)
						if err != nil {
							t.Fatal(err)
						}
						staged = append(staged, s)
					}
					slices.Reverse(staged)
					before := len(laketest.Load(t, tbl).Metadata().Snapshots())
					laketest.Commit(t, tbl, fmt.Sprintf(`{"round":%d}`, round), staged...)
					want.Commit(versions)
					laketest.ExpectRows(t, tbl, want.Rows()...)
					after := laketest.Load(t, tbl)
					if n := len(after.Metadata().Snapshots()) - before; n > 1 {
						t.Errorf("seed %d round %d: %d snapshots in one commit", seed, round, n)
					}
					deletes += after.CurrentSnapshot().Summary.Properties.GetInt("added-position-delete-files", 0)
					if t.Failed() {
						t.Fatalf("seed %d round %d", seed, round)
					}
				}
				if (deletes > 0) != tc.wantDeletes {
					t.Errorf("%d delete files were written", deletes)
				}
				// Nothing is left on disk that no snapshot names.
				known := map[string]bool{}
				for _, path := range laketest.Named(t, laketest.Load(t, tbl)) {
					known[laketest.PathOf(t, path)] = true
				}
				root := laketest.PathOf(t, laketest.Load(t, tbl).Location()) + "/data"
				for _, f := range laketest.DataFilesOnDisk(t, tbl) {
					if !known[root+f] {
						t.Errorf("%s is left behind", f)
					}
				}
			}
		})
	}
}

func TestUpsertRules(t *testing.T) {
	type step struct {
		rows []laketest.Version
		want []string
	}
	for name, steps := range map[string][]step{
		"an older record never replaces a newer one": {
			{[]laketest.Version{{Key: 1, Cursor: 5, V: "new"}}, []string{laketest.Version{Key: 1, Cursor: 5, V: "new"}.JSON()}},
			{[]laketest.Version{{Key: 1, Cursor: 4, V: "old"}}, []string{laketest.Version{Key: 1, Cursor: 5, V: "new"}.JSON()}},
		},
		"of equal cursors the last to arrive wins": {
			{[]laketest.Version{{Key: 1, Cursor: 5, V: "a"}, {Key: 1, Cursor: 5, V: "b"}}, []string{laketest.Version{Key: 1, Cursor: 5, V: "b"}.JSON()}},
			{[]laketest.Version{{Key: 1, Cursor: 5, V: "c"}}, []string{laketest.Version{Key: 1, Cursor: 5, V: "c"}.JSON()}},
		},
		"a null cursor is older than any": {
			{[]laketest.Version{{Key: 1, Cursor: 0, V: "a"}, {Key: 1, Cursor: -1, V: "b"}}, []string{laketest.Version{Key: 1, Cursor: 0, V: "a"}.JSON()}},
			{[]laketest.Version{{Key: 1, Cursor: -1, V: "c"}}, []string{laketest.Version{Key: 1, Cursor: 0, V: "a"}.JSON()}},
		},
		"a tombstone deletes": {
			{[]laketest.Version{{Key: 1, Cursor: 1, V: "a"}, {Key: 2, Cursor: 1, V: "b"}}, []string{laketest.Version{Key: 1, Cursor: 1, V: "a"}.JSON(), laketest.Version{Key: 2, Cursor: 1, V: "b"}.JSON()}},
			{[]laketest.Version{{Key: 1, Cursor: 2, Deleted: true}}, []string{laketest.Version{Key: 2, Cursor: 1, V: "b"}.JSON()}},
		},
		"an old tombstone does not": {
			{[]laketest.Version{{Key: 1, Cursor: 5, V: "a"}}, []string{laketest.Version{Key: 1, Cursor: 5, V: "a"}.JSON()}},
			{[]laketest.Version{{Key: 1, Cursor: 2, Deleted: true}}, []string{laketest.Version{Key: 1, Cursor: 5, V: "a"}.JSON()}},
		},
		"a tombstone without a cursor deletes what came before it": {
			{[]laketest.Version{{Key: 1, Cursor: 5, V: "a"}, {Key: 2, Cursor: 5, V: "b"}}, []string{laketest.Version{Key: 1, Cursor: 5, V: "a"}.JSON(), laketest.Version{Key: 2, Cursor: 5, V: "b"}.JSON()}},
			{[]laketest.Version{{Key: 1, Cursor: 9, V: "c"}, {Key: 1, Cursor: -1, Deleted: true}}, []string{laketest.Version{Key: 2, Cursor: 5, V: "b"}.JSON()}},
		},
		"what comes after a tombstone without a cursor is a new row": {
			{[]laketest.Version{{Key: 1, Cursor: 5, V: "a"}}, []string{laketest.Version{Key: 1, Cursor: 5, V: "a"}.JSON()}},
			{
				[]laketest.Version{{Key: 1, Cursor: 9, V: "b"}, {Key: 1, Cursor: -1, Deleted: true}, {Key: 1, Cursor: 3, V: "c"}, {Key: 1, Cursor: 2, V: "d"}},
				[]string{laketest.Version{Key: 1, Cursor: 3, V: "c"}.JSON()},
			},
			{[]laketest.Version{{Key: 1, Cursor: -1, Deleted: true}, {Key: 1, Cursor: -1, V: "e"}}, []string{laketest.Version{Key: 1, Cursor: -1, V: "e"}.JSON()}},
		},
		"a record newer than its tombstone is back": {
			{[]laketest.Version{{Key: 1, Cursor: 2, Deleted: true}, {Key: 1, Cursor: 3, V: "a"}}, []string{laketest.Version{Key: 1, Cursor: 3, V: "a"}.JSON()}},
		},
		"a tombstone of nothing leaves nothing": {
			{[]laketest.Version{{Key: 1, Cursor: 2, Deleted: true}}, nil},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, o := range []lake.Options{{Upsert: lake.CopyOnWrite}, {Upsert: lake.MergeOnRead}, {Upsert: lake.MergeOnRead, Memory: memoryForKeys(0)}} {
				tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Keyed("s"), o)
				for _, s := range steps {
					var rows []map[string]any
					for _, v := range s.rows {
						rows = append(rows, v.Row())
					}
					laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, rows...))
					laketest.ExpectRows(t, tbl, s.want...)
				}
			}
		})
	}
}

// Every type a key or a cursor can have finds its row again.
func TestUpsertOnEveryKeyAndCursorType(t *testing.T) {
	for half, keys := range []int64{plenty, 0} {
		t.Run(fmt.Sprint(keys, " bytes for keys"), func(t *testing.T) { upsertOnEveryType(t, keys, half) })
	}
}

// upsertOnEveryType tests, unless all cases are asked for, one half of the key types and the other half of the
// cursor types.
func upsertOnEveryType(t *testing.T, keys int64, half int) {
	for i, tc := range []struct {
		typ           iceberg.Type
		low, mid, top any
	}{
		{iceberg.PrimitiveTypes.Int32, -3, 0, 7},
		{iceberg.PrimitiveTypes.Int64, int64(-1) << 62, 0, int64(1) << 62},
		{iceberg.PrimitiveTypes.String, "", "a\x00b", "zzzzzzzzzzzzzzzzzzzzzzzz"},
		{iceberg.PrimitiveTypes.Date, "1960-01-01", "1970-01-01", "2026-01-01"},
		{iceberg.PrimitiveTypes.TimestampTz, "1960-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "2026-01-01T00:00:00Z"},
		{iceberg.PrimitiveTypes.Timestamp, "1960-01-01T00:00:00", "1970-01-01T00:00:00", "2026-01-01T00:00:00"},
		{iceberg.DecimalTypeOf(38, 9), "-123456789012345678901234567.5", "0.000000001", "123456789012345678901234567.5"},
		{iceberg.PrimitiveTypes.Bool, false, true, nil},
		{iceberg.PrimitiveTypes.Float64, -1.5, 0.25, 1e300},
	} {
		if (i+half)%testsize.Of(2, 1) == 0 && !tc.typ.Equals(iceberg.PrimitiveTypes.Float64) { // which is never a key
			t.Run("key "+tc.typ.String(), func(t *testing.T) {
				t.Parallel()
				p := planOf("s",
					iceberg.NestedField{Name: "a", Type: tc.typ, Required: true},
					iceberg.NestedField{Name: "b", Type: iceberg.PrimitiveTypes.String, Required: true},
					iceberg.NestedField{Name: "v", Type: iceberg.PrimitiveTypes.String})
				p.Dedup, p.Key = true, []string{"a", "b"}
				tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), p, lake.Options{Upsert: lake.MergeOnRead, Memory: memoryForKeys(keys)})
				row := func(key any, v string) map[string]any { return map[string]any{"a": key, "b": "b", "v": v} }
				laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, row(tc.low, "1"), row(tc.mid, "1")))
				laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, row(tc.mid, "2")))
				laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, row(tc.low, "3")))
				got := laketest.Rows(t, laketest.Load(t, tbl))
				if len(got) != 2 {
					t.Errorf("rows %v", got)
				}
				laketest.CheckFiles(t, laketest.Load(t, tbl))
			})
		}
		if (i+half+1)%testsize.Of(2, 1) > 0 {
			continue
		}
		t.Run("cursor "+tc.typ.String(), func(t *testing.T) {
			t.Parallel()
			low, mid, top := tc.low, tc.mid, tc.top
			p := planOf("s",
				iceberg.NestedField{Name: "id", Type: iceberg.PrimitiveTypes.Int64, Required: true},
				iceberg.NestedField{Name: "c", Type: tc.typ},
				iceberg.NestedField{Name: "v", Type: iceberg.PrimitiveTypes.String})
			p.Dedup, p.Key, p.Cursor = true, []string{"id"}, "c"
			tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), p, lake.Options{Upsert: lake.MergeOnRead, Memory: memoryForKeys(keys)})
			row := func(cursor any, v string) map[string]any { return map[string]any{"id": 1, "c": cursor, "v": v} }
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, row(nil, "null")))
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, row(mid, "mid"), row(low, "low")))
			if got := valuesOf(t, tbl, "v"); !slices.Equal(got, []string{"mid"}) {
				t.Errorf("after the middle one: %v", got)
			}
			if top != nil {
				laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, row(top, "top")))
				laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, row(mid, "mid again")))
				if got := valuesOf(t, tbl, "v"); !slices.Equal(got, []string{"top"}) {
					t.Errorf("after the highest one: %v", got)
				}
			}
		})
	}
}

func valuesOf(t testing.TB, tbl *lake.Table, column string) []string {
	t.Helper()
	var got []string
	for row, err := range inspect.Rows(t.Context(), laketest.Load(t, tbl), 0) {
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range row {
			if c.Name == column {
				got = append(got, fmt.Sprint(c.Value))
			}
		}
	}
	slices.Sort(got)
	return got
}

// A table that was appended to holds several rows of a key.
func TestUpsertIntoATableWithDuplicates(t *testing.T) {
	for _, tc := range []struct {
		lake.Options
		upgraded bool // to format version 2, which leaves the files without sequence numbers
	}{
		{lake.Options{Upsert: lake.MergeOnRead, FormatVersion: 2}, false},
		{lake.Options{Upsert: lake.MergeOnRead, FormatVersion: 2, Memory: memoryForKeys(0)}, false},
		{lake.Options{Upsert: lake.CopyOnWrite, FormatVersion: 1}, false},
		{lake.Options{Upsert: lake.CopyOnWrite, FormatVersion: 1}, true},
		{lake.Options{Upsert: lake.MergeOnRead, FormatVersion: 1}, true},
	} {
		o := tc.Options
		cat := laketest.OpenCatalog(t, t.TempDir())
		appended := laketest.Keyed("s")
		appended.Dedup, appended.Key = false, nil
		first := openTable(t, cat, appended, lake.Options{TargetFileBytes: 1, FormatVersion: o.FormatVersion})
		first.SetMinRowGroupBytes(0) // every batch makes a file
		w := first.NewWriter()
		for _, rows := range [][]map[string]any{{laketest.Version{Key: 4}.Row(), laketest.Version{Key: 3, Cursor: 2, V: "e"}.Row()}, {laketest.Version{Key: 3, Cursor: 2, V: "f"}.Row()}} {
			if err := w.Write(t.Context(), laketest.Batch(t, first.Opened().Schema(), rows...), nil); err != nil {
				t.Fatal(err)
			}
		}
		staged, err := w.Close(t.Context(), nil, nil, math.MaxInt64)
		if err != nil {
			t.Fatal(err)
		}
		laketest.Commit(t, first, "", staged)
		for _, v := range []laketest.Version{{Key: 1, Cursor: 3, V: "a"}, {Key: 1, Cursor: 9, V: "b"}, {Key: 2, Cursor: 1, V: "c"}, {Key: 2, Cursor: 2, V: "d"}, {Key: 5, Cursor: 2, V: "g"}, {Key: 5, Cursor: 2, V: "h"}} {
			laketest.Commit(t, first, "", laketest.Stage(t, first, 0, v.Row()))
		}
		if tc.upgraded {
			if _, _, err := cat.CommitTable(t.Context(), first.Opened().Identifier(), nil, []table.Update{table.NewUpgradeFormatVersionUpdate(2)}); err != nil {
				t.Fatal(err)
			}
		}
		tbl := openTable(t, cat, laketest.Keyed("s"), o)
		laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, laketest.Version{Key: 1, Cursor: 5, V: "x"}.Row(), laketest.Version{Key: 2, Cursor: 5, V: "y"}.Row(), laketest.Version{Key: 3, V: "z"}.Row(), laketest.Version{Key: 5, V: "z"}.Row()))
		laketest.ExpectRows(t, tbl, laketest.Version{Key: 1, Cursor: 9, V: "b"}.JSON(), laketest.Version{Key: 2, Cursor: 5, V: "y"}.JSON(),
			laketest.Version{Key: 3, Cursor: 2, V: "f"}.JSON(), laketest.Version{Key: 4}.JSON(), laketest.Version{Key: 5, Cursor: 2, V: "h"}.JSON())
	}
}

// A file that is copied for another key keeps its place in the order of arrival, and neighbours in it become one file.
func TestCopiedRowsKeepTheirPlaceInTime(t *testing.T) {
	for name, o := range refreshes {
		t.Run(name, func(t *testing.T) {
			cat := laketest.OpenCatalog(t, t.TempDir())
			appended := laketest.Keyed("s")
			appended.Dedup, appended.Key = false, nil
			first := openTable(t, cat, appended, lake.Options{})
			version := func(key, cursor int64, v string) laketest.Version {
				return laketest.Version{Key: key, Cursor: cursor, V: v}
			}
			for _, rows := range [][]laketest.Version{
				{version(1, 5, "first"), version(7, 5, "a"), version(9, 5, "stays")},
				{version(2, 5, "first"), version(8, 5, "b"), version(1, 5, "second")},
				{version(1, 5, "last")},
				{version(2, 5, "last"), version(8, 5, "c")},
			} {
				var all []map[string]any
				for _, v := range rows {
					all = append(all, v.Row())
				}
				laketest.Commit(t, first, "", laketest.Stage(t, first, 0, all...))
			}
			tbl := openTable(t, cat, laketest.Keyed("s"), o)
			// Rows of files 1, 2 and 4 go, and one of the staged rows.
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, version(7, 6, "new").Row(), version(8, 5, "new").Row(), version(8, 6, "newer").Row()))
			if name == "copy_on_write" {
				set, err := tbl.Storage().List(laketest.Load(t, tbl).CurrentSnapshot(), snapshots.Cache{})
				if err != nil {
					t.Fatal(err)
				}
				var sequences []int64
				for _, f := range set.Files {
					sequences = append(sequences, f.Sequence)
				}
				if slices.Sort(sequences); !slices.Equal(sequences, []int64{2, 3, 4, 5}) {
					t.Errorf("sequence numbers of the data files: %v", sequences)
				}
			}
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, version(1, 3, "old").Row(), version(2, 3, "old").Row()))
			laketest.ExpectRows(t, tbl, version(1, 5, "last").JSON(), version(2, 5, "last").JSON(), version(7, 6, "new").JSON(), version(8, 6, "newer").JSON(), version(9, 5, "stays").JSON())
		})
	}
}

// A file without a key column holds no key; a file from before a column was
// widened does.
func TestUpsertIntoOlderSchemas(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	old := planOf("s",
		iceberg.NestedField{Name: "id", Type: iceberg.PrimitiveTypes.Int32, Required: true},
		iceberg.NestedField{Name: "v", Type: iceberg.PrimitiveTypes.String})
	old.Dedup, old.Key = true, []string{"id"}
	tbl := openTable(t, cat, old, lake.Options{})
	laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, map[string]any{"id": 1, "v": "a"}, map[string]any{"id": 2, "v": "b"}, map[string]any{"id": 3, "v": "c"}))
	for i, mode := range []lake.Upsert{lake.MergeOnRead, lake.CopyOnWrite} {
		tbl = openTable(t, cat, laketest.Keyed("s"), lake.Options{Upsert: mode})
		laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, laketest.Version{Key: int64(i + 1), Cursor: 1, V: "new"}.Row()))
	}
	laketest.ExpectRows(t, tbl,
		`{"id":1,"v":"new","updated_at":"1970-01-01T00:00:01Z"}`, `{"id":2,"v":"new","updated_at":"1970-01-01T00:00:01Z"}`,
		`{"id":3,"v":"c","updated_at":null}`)
}

// The cost of a commit must not grow with the number of commits.
func TestManifestsStayFew(t *testing.T) {
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{})
	commits := testsize.Of(3, 6) * laketest.SmallManifests / 2
	for i := range commits {
		laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, map[string]any{"id": i}))
	}
	loaded := laketest.Load(t, tbl)
	manifests, err := loaded.CurrentSnapshot().Manifests(tbl.Storage().Files)
	if err != nil {
		t.Fatal(err)
	}
	if len(manifests) > laketest.SmallManifests {
		t.Errorf("%d manifests", len(manifests))
	}
	if got := len(laketest.Rows(t, loaded)); got != commits {
		t.Errorf("%d rows", got)
	}
	laketest.CheckFiles(t, loaded)
	if n := len(slices.Collect(loaded.Metadata().PreviousFiles())); n > 20 {
		t.Errorf("%d old metadata files", n)
	}
}
