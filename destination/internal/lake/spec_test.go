package lake

import (
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
)

// fieldsOfSpecs shows the specs of a table in order, with the ids of fields.
func fieldsOfSpecs(meta table.Metadata) []string {
	var all []string
	for _, spec := range meta.PartitionSpecs() {
		var fields []string
		for _, f := range spec.Fields() {
			fields = append(fields, fmt.Sprintf("%d %s=%s(%d)", f.FieldID, f.Name, f.Transform, f.SourceID()))
		}
		all = append(all, strings.Join(fields, ", "))
	}
	return all
}

// A spec that was there before is used again, and so is the id of a field.
func TestASpecChangesWithoutARewrite(t *testing.T) {
	cat := openCatalog(t, t.TempDir())
	p := keyed("s")
	p.Dedup = false
	var want []string
	for i, tc := range []struct {
		by      []string
		current int
	}{
		{[]string{"month(updated_at)"}, 0},
		{nil, 0},
		{[]string{"month(updated_at)", "bucket(4, id)"}, 1},
		{[]string{"bucket(4, id)"}, 2},
		{[]string{"bucket(4, id)", "month(updated_at)"}, 1},
		{[]string{}, 3},
		{[]string{"bucket(8, id)"}, 4},
		{[]string{"month(updated_at)"}, 0},
	} {
		o := Options{}
		if tc.by != nil {
			o.PartitionBy = by(t, tc.by...)
		}
		tbl := openTable(t, cat, p, o)
		if got := load(t, tbl).Metadata().DefaultPartitionSpec(); got != tc.current {
			t.Errorf("step %d: spec %d, want %d", i, got, tc.current)
		}
		v := version{key: int64(i), cursor: int64(i) * 1e7, v: "x"}
		want = append(want, v.json())
		commit(t, tbl, "", stage(t, tbl, 0, v.row()))
		expectRows(t, tbl, want...)
		if files := len(dataFilesOnDisk(t, tbl)); files != i+1 {
			t.Errorf("step %d: %d files", i, files)
		}
	}
	tbl := openTable(t, cat, p, Options{})
	if diff := cmp.Diff(map[int32]int{0: 3, 1: 2, 2: 1, 3: 1, 4: 1}, checkPartitions(t, tbl)); diff != "" {
		t.Errorf("files by spec (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"1000 updated_at_month=month(3)",
		"1000 updated_at_month=month(3), 1001 id_bucket_4=bucket[4](1)",
		"1001 id_bucket_4=bucket[4](1)",
		"",
		"1002 id_bucket_8=bucket[8](1)",
	}, fieldsOfSpecs(load(t, tbl).Metadata())); diff != "" {
		t.Errorf("specs (-want +got):\n%s", diff)
	}
	// Neither upkeep nor an upsert brings rows into another partition than theirs.
	dedup := openTable(t, cat, keyed("s"), Options{Upsert: CopyOnWrite})
	commit(t, dedup, "", stage(t, dedup, 0, version{key: 0, cursor: 1e7, v: "moved"}.row()))
	want[0] = version{key: 0, cursor: 1e7, v: "moved"}.json()
	expectRows(t, dedup, want...)
	if diff := cmp.Diff(map[int32]int{0: 3, 1: 2, 2: 1, 3: 1, 4: 1}, checkPartitions(t, dedup)); diff != "" {
		t.Errorf("files by spec (-want +got):\n%s", diff)
	}
}

func TestASortOrderChanges(t *testing.T) {
	cat := openCatalog(t, t.TempDir())
	for i, tc := range []struct {
		by      []string
		current int
	}{{[]string{"v"}, 1}, {nil, 1}, {[]string{"v desc", "id"}, 2}, {[]string{}, 0}, {[]string{"v"}, 1}} {
		o := Options{}
		if tc.by != nil {
			o.SortBy = sortedBy(t, tc.by...)
		}
		tbl := openTable(t, cat, plain("s"), o)
		meta := load(t, tbl).Metadata()
		if meta.DefaultSortOrder() != tc.current || len(meta.SortOrders()) > 3 {
			t.Errorf("step %d: order %d of %v", i, meta.DefaultSortOrder(), meta.SortOrders())
		}
		commit(t, tbl, "", stage(t, tbl, 0, map[string]any{"id": 1, "v": "b"}, map[string]any{"id": 2}, map[string]any{"id": 3, "v": "a"}))
		checkPartitions(t, tbl)
		want := tc.current
		if set, err := tbl.storage().List(tbl.tip(load(t, tbl)), snapshots.Cache{}); err != nil || !slices.ContainsFunc(set.Files, func(f *snapshots.LiveFile) bool {
			id := f.Data.SortOrderID()
			return id == nil && want == 0 || id != nil && *id == want
		}) {
			t.Errorf("step %d: no file of order %d, %v", i, want, err)
		}
	}
}

// Files that are merged are sorted together; one that is only copied stays as it is.
func TestACompactedFileIsInOrder(t *testing.T) {
	tbl := openTable(t, openCatalog(t, t.TempDir()), plain("s"), Options{Settings: tabledef.Settings{SortBy: sortedBy(t, "v desc", "id"), PartitionBy: by(t, "bucket(2, id)")}})
	var want []string
	for id := range 20 {
		v := string(rune('a' + id*7%20))
		commit(t, tbl, "", stage(t, tbl, 0, map[string]any{"id": id, "v": v}))
		want = append(want, fmt.Sprintf(`{"id":%d,"v":%q}`, id, v))
	}
	if did := maintain(t, impatient(tbl), everything); did.CompactedFiles != 20 || did.IntoFiles != 2 {
		t.Errorf("did %+v", did)
	}
	expectRows(t, tbl, want...)
	checkPartitions(t, tbl)
	set, err := tbl.storage().List(tbl.tip(load(t, tbl)), snapshots.Cache{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range set.Files {
		if id := f.Data.SortOrderID(); id == nil || *id != 1 {
			t.Errorf("%s does not say that it is sorted", f.Data.FilePath())
		}
	}
	expectFiles(t, tbl, false)
}

func TestThePartitionFollowsAColumnThatMoves(t *testing.T) {
	cat := openCatalog(t, t.TempDir())
	o := Options{Settings: tabledef.Settings{PartitionBy: by(t, "truncate(2, When)"), SortBy: sortedBy(t, "When")}}
	when := func(kind string) *Table {
		tbl, err := Open(t.Context(), cat, sending(t, `"id":{"type":"integer"},"When":{"type":"`+kind+`"}`), o)
		if err != nil {
			t.Fatal(err)
		}
		return tbl
	}
	for i, tc := range []struct {
		kind, value, by string
		files           map[int32]int
	}{
		{"string", `"2026"`, "truncate(2, when)", map[int32]int{0: 1}},
		{"integer", `2027`, "truncate(2, when_long)", map[int32]int{0: 1, 1: 1}},
		{"string", `"2028"`, "truncate(2, when)", map[int32]int{0: 2, 1: 1}},
		{"integer", `2029`, "truncate(2, when_long)", map[int32]int{0: 2, 1: 2}},
	} {
		tbl := when(tc.kind)
		send(t, tbl, fmt.Sprintf(`{"id":%d,"When":%s}`, i, tc.value))
		info, err := Describe(t.Context(), load(t, tbl))
		if err != nil || !slices.Equal(info.PartitionBy, []string{tc.by}) {
			t.Errorf("step %d: partitioned by %s, %v, want %s", i, info.PartitionBy, err, tc.by)
		}
		if diff := cmp.Diff(tc.files, checkPartitions(t, tbl)); diff != "" {
			t.Errorf("step %d: files by spec (-want +got):\n%s", i, diff)
		}
	}
}

// A partition field may not be called as a column that it is not of.
func TestAPartitionFieldGetsANameOfItsOwn(t *testing.T) {
	cat := openCatalog(t, t.TempDir())
	p := planOf("s", optional("id", aLong), optional("id_bucket_4", aLong), optional("id_bucket_4_partition", aLong))
	for _, fields := range [][]string{{"bucket(4, id)"}, {}, {"bucket(4, id)", "id_bucket_4"}} {
		tbl := openTable(t, cat, p, Options{Settings: tabledef.Settings{PartitionBy: by(t, fields...)}})
		commit(t, tbl, "", stage(t, tbl, 0, map[string]any{"id": 1, "id_bucket_4": 7}))
		checkPartitions(t, tbl)
	}
	// Nor may a column that comes later.
	cat = openCatalog(t, t.TempDir())
	openTable(t, cat, planOf("s", optional("id", aLong)), Options{Settings: tabledef.Settings{PartitionBy: by(t, "bucket(4, id)")}})
	tbl := openTable(t, cat, p, Options{})
	commit(t, tbl, "", stage(t, tbl, 0, map[string]any{"id": 1, "id_bucket_4": 7}))
	expectRows(t, tbl, `{"id":1,"id_bucket_4":7,"id_bucket_4_partition":null}`)
}

func TestAnotherProgramsPartitionedTableIsWritten(t *testing.T) {
	cat := openCatalog(t, t.TempDir())
	p := planOf("s", optional("id", aLong), optional("ratio", iceberg.PrimitiveTypes.Float64),
		optional("at", structOf(100, optional("day", iceberg.PrimitiveTypes.Date), optional("place", aString))))
	tbl := openTable(t, cat, p, Options{})
	tx := load(t, tbl).NewTransaction()
	if err := tx.UpdateSpec(true).AddField("ratio", iceberg.IdentityTransform{}, "r").AddField("at.day", iceberg.YearTransform{}, "y").
		AddField("_airbyte_generation_id", iceberg.IdentityTransform{}, "g").Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	tbl = openTable(t, cat, p, Options{})
	var staged []map[string]any
	var want []string
	for id, place := range []string{`{"day":"2025-12-31","place":"x"}`, `{"day":"1969-12-31","place":"y"}`, `{"day":null,"place":"z"}`, "null"} {
		for _, ratio := range []any{0.5, -1.5, nil} {
			var at any
			if place != "null" {
				at = map[string]any{"day": strings.Trim(place[7:strings.Index(place, ",")], `"`), "place": place[len(place)-3 : len(place)-2]}
				if strings.Contains(place, `"day":null`) {
					at.(map[string]any)["day"] = nil
				}
			}
			staged = append(staged, map[string]any{"id": id, "ratio": ratio, "at": at})
			r := "null"
			if ratio != nil {
				r = fmt.Sprint(ratio)
			}
			want = append(want, fmt.Sprintf(`{"id":%d,"ratio":%s,"at":%s}`, id, r, place))
		}
	}
	commit(t, tbl, "", stage(t, tbl, 0, staged...))
	expectRows(t, tbl, want...)
	if diff := cmp.Diff(map[int32]int{1: 9}, checkPartitions(t, tbl)); diff != "" {
		t.Errorf("files by spec (-want +got):\n%s", diff)
	}
	for range 5 {
		commit(t, tbl, "", stage(t, tbl, 0, staged[0]))
		want = append(want, want[0])
	}
	maintain(t, tbl, everything)
	expectRows(t, tbl, want...)
	checkPartitions(t, tbl)
}

func TestAPartitionOfEveryType(t *testing.T) {
	for _, tc := range []struct {
		typ    iceberg.Type
		values []any
	}{
		{iceberg.PrimitiveTypes.Bool, []any{true, false}},
		{iceberg.PrimitiveTypes.Int32, []any{-1, 0, math.MinInt32, math.MaxInt32}},
		{aLong, []any{-1, 0, int64(math.MinInt64), int64(math.MaxInt64)}},
		{iceberg.PrimitiveTypes.Date, []any{"1969-12-31", "0001-01-01", "9999-12-31", "2024-02-29"}},
		{iceberg.PrimitiveTypes.Timestamp, []any{"1969-12-31T23:59:59.999999", "0001-01-01T00:00:00", "9999-12-31T23:59:59"}},
		{iceberg.PrimitiveTypes.TimestampTz, []any{"1969-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"}},
		{iceberg.DecimalTypeOf(38, 9), []any{"-0.000000001", "0", "12345678901234567890123456789.123456789", "-12345678901234567890123456789"}},
		{aString, []any{"", "/", "a=b&c", "..", "\u00e9\U0001f496", strings.Repeat("x", 4000), "null", "\x00"}},
	} {
		for _, transform := range []string{"at", "bucket(3, at)", "truncate(3, at)", "year(at)", "month(at)", "day(at)", "hour(at)"} {
			p := planOf("s", iceberg.NestedField{Name: "id", Type: aLong, Required: true}, optional("at", tc.typ), optional("v", aString))
			p.Dedup, p.Key = true, []string{"id"}
			o := Options{Upsert: CopyOnWrite, Settings: tabledef.Settings{PartitionBy: by(t, transform)}}
			if o.Check(p) != nil {
				continue // not for this type
			}
			t.Run(transform+" of "+tc.typ.String(), func(t *testing.T) {
				t.Parallel()
				tbl := openTable(t, openCatalog(t, t.TempDir()), p, o)
				var staged []map[string]any
				for i, v := range append(tc.values, nil) {
					staged = append(staged, map[string]any{"id": i, "at": v, "v": "old"}, map[string]any{"id": 100 + i, "at": v, "v": "old"})
				}
				commit(t, tbl, "", stage(t, tbl, 0, staged...))
				before := rowsOf(t, tbl)
				// Each file is rewritten, and gives its partition on.
				for _, row := range staged[:len(staged)/2] {
					row["v"] = "new"
				}
				commit(t, tbl, "", stage(t, tbl, 100, staged[:len(staged)/2]...))
				commit(t, tbl, "", stage(t, tbl, 200, staged[0]))
				checkPartitions(t, tbl)
				checkFiles(t, load(t, tbl))
				maintain(t, tbl, everything)
				checkPartitions(t, tbl)
				after := rowsOf(t, tbl)
				if len(after) != len(staged) {
					t.Errorf("%d rows, want %d", len(after), len(staged))
				}
				if diff := cmp.Diff(strings.ReplaceAll(strings.Join(before, "\n"), "old", "new"), strings.ReplaceAll(strings.Join(after, "\n"), "old", "new")); diff != "" {
					t.Errorf("rows (-before +after):\n%s", diff)
				}
			})
		}
	}
}

// A branch and the main one may have been written by different specs.
func TestARefreshIntoOtherPartitions(t *testing.T) {
	for _, mode := range []Upsert{CopyOnWrite, MergeOnRead} {
		cat := openCatalog(t, t.TempDir())
		p := keyed("s")
		version := func(key int64, v string) version { return version{key: key, cursor: key * 1e7, v: v} }
		tbl := openTable(t, cat, p, Options{Upsert: mode, Settings: tabledef.Settings{PartitionBy: by(t, "month(updated_at)")}})
		tbl = refreshing(t, tbl, p, Options{Upsert: mode}, &Generation{ID: 2})
		commit(t, tbl, "", stage(t, tbl, 0, of(2, version(1, "a").row()), of(2, version(2, "a").row()), of(2, version(3, "a").row())))

		g := &Generation{ID: 3, Minimum: 3}
		tbl = refreshing(t, tbl, p, Options{Upsert: mode, Settings: tabledef.Settings{PartitionBy: by(t, "bucket(2, id)")}}, g)
		commit(t, tbl, "", stage(t, tbl, 0, of(3, version(1, "b").row()), of(3, version(4, "b").row())))
		tbl = refreshing(t, tbl, p, Options{Upsert: mode, Settings: tabledef.Settings{PartitionBy: by(t, "truncate(2, id)"), SortBy: sortedBy(t, "v")}}, g)
		commit(t, tbl, "", stage(t, tbl, 10, of(3, version(4, "c").row()), of(3, version(5, "c").row())))
		expectRows(t, openTable(t, cat, p, Options{}), version(1, "a").json(), version(2, "a").json(), version(3, "a").json())
		if _, err := tbl.Finish(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		expectRows(t, tbl, version(1, "b").json(), version(4, "c").json(), version(5, "c").json())
		if specs := slices.Sorted(maps.Keys(checkPartitions(t, tbl))); !slices.Equal(specs, []int32{1, 2}) {
			t.Errorf("files are of the specs %v", specs)
		}
		if _, err := tbl.Replace(t.Context(), []*Staged{stage(t, tbl, 0, version(6, "d").row(), version(7, "d").row())}, nil); err != nil {
			t.Fatal(err)
		}
		expectRows(t, tbl, version(6, "d").json(), version(7, "d").json())
		checkPartitions(t, tbl)
	}
}

// What a killed writer leaves of its runs goes with the orphans.
func TestRunsOfAKilledWriterAreRemoved(t *testing.T) {
	tbl := openTable(t, openCatalog(t, t.TempDir()), plain("s"), Options{Settings: tabledef.Settings{SortBy: sortedBy(t, "v")}})
	w := tbl.NewWriter()
	for range 3 {
		if err := w.Write(t.Context(), batch(t, tbl.schema, map[string]any{"id": 1, "v": "x"}), nil); err != nil {
			t.Fatal(err)
		}
	}
	left := dataFilesOnDisk(t, tbl)
	if len(left) != 3 {
		t.Fatalf("%v is on disk", left)
	}
	old := time.Now().Add(-2 * orphanAge)
	for _, f := range left {
		if err := os.Chtimes(pathOf(t, load(t, tbl).Location())+"/data"+f, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if did := maintain(t, tbl, everything); did.RemovedOrphans != 3 || len(dataFilesOnDisk(t, tbl)) != 0 {
		t.Errorf("%+v, left %v", did, dataFilesOnDisk(t, tbl))
	}
}
