package lake

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/apache/iceberg-go"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/budget"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
)

// version is one version of a record, and what the model keeps of a key.
type version struct {
	key     int64
	cursor  int64 // -1: null
	order   uint64
	v       string
	deleted bool
}

func (v version) erases() bool { return v.deleted && v.cursor < 0 }

func (v version) row() map[string]any {
	row := map[string]any{"id": v.key, "v": v.v, "updated_at": nil, "_ab_cdc_deleted_at": nil}
	if v.cursor >= 0 {
		row["updated_at"] = stamp(v.cursor)
	}
	if v.deleted {
		row["_ab_cdc_deleted_at"] = "2026-01-01"
	}
	return row
}

func (v version) json() string {
	updated := "null"
	if v.cursor >= 0 {
		updated = `"` + stamp(v.cursor) + `"`
	}
	return fmt.Sprintf(`{"id":%d,"v":"%s","updated_at":%s}`, v.key, v.v, updated)
}

func stamp(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }

// plenty is memory for all keys of a test.
const plenty = 1 << 30

// memoryForKeys is memory with so many bytes for keys, a quarter of all.
func memoryForKeys(bytes int64) *budget.Memory { return budget.NewMemory(4 * bytes) }

// model is the contract of append_dedup, written down as plainly as can be.
type model map[int64]version

func (m model) commit(versions []version) {
	winners := map[int64]version{}
	erased := map[int64]bool{}
	for _, v := range slices.SortedFunc(slices.Values(versions), func(a, b version) int { return int(a.order) - int(b.order) }) {
		w, ok := winners[v.key]
		switch {
		case v.erases():
			winners[v.key], erased[v.key] = v, true
		case !ok, w.erases(), v.cursor >= w.cursor:
			winners[v.key] = v
		}
	}
	for key, w := range winners {
		if old, ok := m[key]; ok && old.cursor > w.cursor && !erased[key] {
			continue
		}
		if delete(m, key); !w.deleted {
			m[key] = w
		}
	}
}

func (m model) rows() []string {
	var rows []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		rows = append(rows, m[key].json())
	}
	return rows
}

func TestUpsertKeepsOneWinnerPerKey(t *testing.T) {
	for _, tc := range []struct {
		mode   Upsert
		format int
		keys   int64 // bytes of memory for them
		// the last snapshot must have this kind of file, to show that the mode
		// was at work
		wantDeletes bool
	}{
		{Auto, 2, plenty, false},
		{CopyOnWrite, 2, plenty, false},
		{MergeOnRead, 2, plenty, true},
		{CopyOnWrite, 1, plenty, false},
		{MergeOnRead, 3, plenty, true},
		{CopyOnWrite, 3, plenty, false},
		{CopyOnWrite, 2, 0, false},
		{MergeOnRead, 2, 0, true},
		{MergeOnRead, 3, 3000, true}, // some rounds are spilled, or parts of them
	} {
		t.Run(fmt.Sprint(tc.mode, " v", tc.format, ", ", tc.keys, " bytes for keys"), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(testsize.Of(1, 2)) {
				rng := rand.New(rand.NewPCG(seed, 7))
				p := keyed(fmt.Sprint("s", seed))
				tbl := openTable(t, openCatalog(t, t.TempDir()), p, Options{Upsert: tc.mode, FormatVersion: tc.format, TargetFileBytes: 6000, Memory: memoryForKeys(tc.keys)})
				want := model{}
				order := uint64(0)
				deletes := 0
				for round := range testsize.Of(5, 10) {
					var versions []version
					writers := []*Writer{tbl.NewWriter(), tbl.NewWriter()}
					for range 1 + rng.IntN(5) {
						var rows []map[string]any
						var orders []uint64
						for range 1 + rng.IntN(30) {
							v := version{
								key: rng.Int64N(60), cursor: rng.Int64N(8) - 1, order: order,
								v: fmt.Sprint(round, "-", order), deleted: rng.IntN(6) == 0,
							}
							order++
							versions = append(versions, v)
							rows, orders = append(rows, v.row()), append(orders, v.order)
						}
						// Runs reach the workers in any order.
						if err := writers[rng.IntN(2)].Write(t.Context(), batch(t, tbl.schema, rows...), orders); err != nil {
							t.Fatal(err)
						}
					}
					var staged []*Staged
					for _, w := range writers {
						s, err := w.Close(t.Context(), nil, nil, math.MaxInt64)
						if err != nil {
							t.Fatal(err)
						}
						staged = append(staged, s)
					}
					slices.Reverse(staged)
					before := len(load(t, tbl).Metadata().Snapshots())
					commit(t, tbl, fmt.Sprintf(`{"round":%d}`, round), staged...)
					want.commit(versions)
					expectRows(t, tbl, want.rows()...)
					after := load(t, tbl)
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
				for _, path := range named(t, load(t, tbl)) {
					known[pathOf(t, path)] = true
				}
				root := pathOf(t, load(t, tbl).Location()) + "/data"
				for _, f := range dataFilesOnDisk(t, tbl) {
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
		rows []version
		want []string
	}
	for name, steps := range map[string][]step{
		"an older record never replaces a newer one": {
			{[]version{{key: 1, cursor: 5, v: "new"}}, []string{version{key: 1, cursor: 5, v: "new"}.json()}},
			{[]version{{key: 1, cursor: 4, v: "old"}}, []string{version{key: 1, cursor: 5, v: "new"}.json()}},
		},
		"of equal cursors the last to arrive wins": {
			{[]version{{key: 1, cursor: 5, v: "a"}, {key: 1, cursor: 5, v: "b"}}, []string{version{key: 1, cursor: 5, v: "b"}.json()}},
			{[]version{{key: 1, cursor: 5, v: "c"}}, []string{version{key: 1, cursor: 5, v: "c"}.json()}},
		},
		"a null cursor is older than any": {
			{[]version{{key: 1, cursor: 0, v: "a"}, {key: 1, cursor: -1, v: "b"}}, []string{version{key: 1, cursor: 0, v: "a"}.json()}},
			{[]version{{key: 1, cursor: -1, v: "c"}}, []string{version{key: 1, cursor: 0, v: "a"}.json()}},
		},
		"a tombstone deletes": {
			{[]version{{key: 1, cursor: 1, v: "a"}, {key: 2, cursor: 1, v: "b"}}, []string{version{key: 1, cursor: 1, v: "a"}.json(), version{key: 2, cursor: 1, v: "b"}.json()}},
			{[]version{{key: 1, cursor: 2, deleted: true}}, []string{version{key: 2, cursor: 1, v: "b"}.json()}},
		},
		"an old tombstone does not": {
			{[]version{{key: 1, cursor: 5, v: "a"}}, []string{version{key: 1, cursor: 5, v: "a"}.json()}},
			{[]version{{key: 1, cursor: 2, deleted: true}}, []string{version{key: 1, cursor: 5, v: "a"}.json()}},
		},
		"a tombstone without a cursor deletes what came before it": {
			{[]version{{key: 1, cursor: 5, v: "a"}, {key: 2, cursor: 5, v: "b"}}, []string{version{key: 1, cursor: 5, v: "a"}.json(), version{key: 2, cursor: 5, v: "b"}.json()}},
			{[]version{{key: 1, cursor: 9, v: "c"}, {key: 1, cursor: -1, deleted: true}}, []string{version{key: 2, cursor: 5, v: "b"}.json()}},
		},
		"what comes after a tombstone without a cursor starts anew": {
			{[]version{{key: 1, cursor: 5, v: "a"}}, []string{version{key: 1, cursor: 5, v: "a"}.json()}},
			{
				[]version{{key: 1, cursor: 9, v: "b"}, {key: 1, cursor: -1, deleted: true}, {key: 1, cursor: 3, v: "c"}, {key: 1, cursor: 2, v: "d"}},
				[]string{version{key: 1, cursor: 3, v: "c"}.json()},
			},
			{[]version{{key: 1, cursor: -1, deleted: true}, {key: 1, cursor: -1, v: "e"}}, []string{version{key: 1, cursor: -1, v: "e"}.json()}},
		},
		"a record newer than its tombstone is back": {
			{[]version{{key: 1, cursor: 2, deleted: true}, {key: 1, cursor: 3, v: "a"}}, []string{version{key: 1, cursor: 3, v: "a"}.json()}},
		},
		"a tombstone of nothing leaves nothing": {
			{[]version{{key: 1, cursor: 2, deleted: true}}, nil},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, o := range []Options{{Upsert: CopyOnWrite}, {Upsert: MergeOnRead}, {Upsert: MergeOnRead, Memory: memoryForKeys(0)}} {
				tbl := openTable(t, openCatalog(t, t.TempDir()), keyed("s"), o)
				for _, s := range steps {
					var rows []map[string]any
					for _, v := range s.rows {
						rows = append(rows, v.row())
					}
					commit(t, tbl, "", stage(t, tbl, 0, rows...))
					expectRows(t, tbl, s.want...)
				}
			}
		})
	}
}

// Every type a key or a cursor can have finds its row again.
func TestUpsertOnEveryKeyAndCursorType(t *testing.T) {
	for _, keys := range []int64{plenty, 0} {
		t.Run(fmt.Sprint(keys, " bytes for keys"), func(t *testing.T) { upsertOnEveryType(t, keys) })
	}
}

func upsertOnEveryType(t *testing.T, keys int64) {
	for _, tc := range []struct {
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
		if !tc.typ.Equals(iceberg.PrimitiveTypes.Float64) { // which is never a key
			t.Run("key "+tc.typ.String(), func(t *testing.T) {
				t.Parallel()
				p := planOf("s",
					iceberg.NestedField{Name: "a", Type: tc.typ, Required: true},
					iceberg.NestedField{Name: "b", Type: iceberg.PrimitiveTypes.String, Required: true},
					iceberg.NestedField{Name: "v", Type: iceberg.PrimitiveTypes.String})
				p.Dedup, p.Key = true, []string{"a", "b"}
				tbl := openTable(t, openCatalog(t, t.TempDir()), p, Options{Upsert: MergeOnRead, Memory: memoryForKeys(keys)})
				row := func(key any, v string) map[string]any { return map[string]any{"a": key, "b": "b", "v": v} }
				commit(t, tbl, "", stage(t, tbl, 0, row(tc.low, "1"), row(tc.mid, "1")))
				commit(t, tbl, "", stage(t, tbl, 0, row(tc.mid, "2")))
				commit(t, tbl, "", stage(t, tbl, 0, row(tc.low, "3")))
				got := rows(t, load(t, tbl))
				if len(got) != 2 {
					t.Errorf("rows %v", got)
				}
				checkFiles(t, load(t, tbl))
			})
		}
		t.Run("cursor "+tc.typ.String(), func(t *testing.T) {
			t.Parallel()
			low, mid, top := tc.low, tc.mid, tc.top
			p := planOf("s",
				iceberg.NestedField{Name: "id", Type: iceberg.PrimitiveTypes.Int64, Required: true},
				iceberg.NestedField{Name: "c", Type: tc.typ},
				iceberg.NestedField{Name: "v", Type: iceberg.PrimitiveTypes.String})
			p.Dedup, p.Key, p.Cursor = true, []string{"id"}, "c"
			tbl := openTable(t, openCatalog(t, t.TempDir()), p, Options{Upsert: MergeOnRead, Memory: memoryForKeys(keys)})
			row := func(cursor any, v string) map[string]any { return map[string]any{"id": 1, "c": cursor, "v": v} }
			commit(t, tbl, "", stage(t, tbl, 0, row(nil, "null")))
			commit(t, tbl, "", stage(t, tbl, 0, row(mid, "mid"), row(low, "low")))
			if got := valuesOf(t, tbl, "v"); !slices.Equal(got, []string{"mid"}) {
				t.Errorf("after the middle one: %v", got)
			}
			if top != nil {
				commit(t, tbl, "", stage(t, tbl, 0, row(top, "top")))
				commit(t, tbl, "", stage(t, tbl, 0, row(mid, "mid again")))
				if got := valuesOf(t, tbl, "v"); !slices.Equal(got, []string{"top"}) {
					t.Errorf("after the highest one: %v", got)
				}
			}
		})
	}
}

func valuesOf(t testing.TB, tbl *Table, column string) []string {
	t.Helper()
	var got []string
	for row, err := range Rows(t.Context(), load(t, tbl), 0) {
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
	for _, keys := range []int64{plenty, 0} {
		cat := openCatalog(t, t.TempDir())
		appended := keyed("s")
		appended.Dedup, appended.Key = false, nil
		first := openTable(t, cat, appended, Options{})
		for _, v := range []version{{key: 1, cursor: 3, v: "a"}, {key: 1, cursor: 9, v: "b"}, {key: 2, cursor: 1, v: "c"}, {key: 2, cursor: 2, v: "d"}} {
			commit(t, first, "", stage(t, first, 0, v.row()))
		}
		tbl := openTable(t, cat, keyed("s"), Options{Upsert: MergeOnRead, Memory: memoryForKeys(keys)})
		commit(t, tbl, "", stage(t, tbl, 0, version{key: 1, cursor: 5, v: "x"}.row(), version{key: 2, cursor: 5, v: "y"}.row()))
		expectRows(t, tbl, version{key: 1, cursor: 9, v: "b"}.json(), version{key: 2, cursor: 5, v: "y"}.json())
	}
}

// A file without a key column holds no key; a file from before a column was
// widened does.
func TestUpsertIntoOlderSchemas(t *testing.T) {
	cat := openCatalog(t, t.TempDir())
	old := planOf("s",
		iceberg.NestedField{Name: "id", Type: iceberg.PrimitiveTypes.Int32, Required: true},
		iceberg.NestedField{Name: "v", Type: iceberg.PrimitiveTypes.String})
	old.Dedup, old.Key = true, []string{"id"}
	tbl := openTable(t, cat, old, Options{})
	commit(t, tbl, "", stage(t, tbl, 0, map[string]any{"id": 1, "v": "a"}, map[string]any{"id": 2, "v": "b"}, map[string]any{"id": 3, "v": "c"}))
	for i, mode := range []Upsert{MergeOnRead, CopyOnWrite} {
		tbl = openTable(t, cat, keyed("s"), Options{Upsert: mode})
		commit(t, tbl, "", stage(t, tbl, 0, version{key: int64(i + 1), cursor: 1, v: "new"}.row()))
	}
	expectRows(t, tbl,
		`{"id":1,"v":"new","updated_at":"1970-01-01T00:00:01Z"}`, `{"id":2,"v":"new","updated_at":"1970-01-01T00:00:01Z"}`,
		`{"id":3,"v":"c","updated_at":null}`)
}

func TestUpsertWritesDeletesOnlyWhenRewritingIsMuch(t *testing.T) {
	u := &upsert{t: &Table{opts: Options{Upsert: Auto}}}
	for _, tc := range []struct {
		rewrite, fresh int64
		copies         bool
	}{{rewriteLimit, 1, true}, {rewriteLimit + 1, 1, false}, {rewriteLimit + 1, rewriteLimit + 1, true}} {
		if got := u.copies(2, tc.rewrite, tc.fresh); got != tc.copies {
			t.Errorf("%d bytes to rewrite, %d new: copies is %v", tc.rewrite, tc.fresh, got)
		}
	}
}

// The cost of a commit must not grow with the number of commits.
func TestManifestsStayFew(t *testing.T) {
	tbl := openTable(t, openCatalog(t, t.TempDir()), plain("s"), Options{})
	for i := range 3 * smallManifests {
		commit(t, tbl, "", stage(t, tbl, 0, map[string]any{"id": i}))
	}
	loaded := load(t, tbl)
	manifests, err := loaded.CurrentSnapshot().Manifests(tbl.files)
	if err != nil {
		t.Fatal(err)
	}
	if len(manifests) > smallManifests {
		t.Errorf("%d manifests", len(manifests))
	}
	if got := len(rows(t, loaded)); got != 3*smallManifests {
		t.Errorf("%d rows", got)
	}
	checkFiles(t, loaded)
	if n := len(slices.Collect(loaded.Metadata().PreviousFiles())); n > 20 {
		t.Errorf("%d old metadata files", n)
	}
}
