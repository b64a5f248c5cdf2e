package lake_test

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

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
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
	cat := laketest.OpenCatalog(t, t.TempDir())
	p := laketest.Keyed("s")
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
		o := lake.Options{}
		if tc.by != nil {
			o.PartitionBy = by(t, tc.by...)
		}
		tbl := openTable(t, cat, p, o)
		if got := laketest.Load(t, tbl).Metadata().DefaultPartitionSpec(); got != tc.current {
			t.Errorf("step %d: spec %d, want %d", i, got, tc.current)
		}
		v := laketest.Version{Key: int64(i), Cursor: int64(i) * 1e7, V: "x"}
		want = append(want, v.JSON())
		laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, v.Row()))
		laketest.ExpectRows(t, tbl, want...)
		if files := len(laketest.DataFilesOnDisk(t, tbl)); files != i+1 {
			t.Errorf("step %d: %d files", i, files)
		}
	}
	tbl := openTable(t, cat, p, lake.Options{})
	if diff := cmp.Diff(map[int32]int{0: 3, 1: 2, 2: 1, 3: 1, 4: 1}, checkPartitions(t, tbl)); diff != "" {
		t.Errorf("files by spec (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"1000 updated_at_month=month(3)",
		"1000 updated_at_month=month(3), 1001 id_bucket_4=bucket[4](1)",
		"1001 id_bucket_4=bucket[4](1)",
		"",
		"1002 id_bucket_8=bucket[8](1)",
	}, fieldsOfSpecs(laketest.Load(t, tbl).Metadata())); diff != "" {
		t.Errorf("specs (-want +got):\n%s", diff)
	}
	// Neither maintenance nor an upsert brings rows into another partition than theirs.
	dedup := openTable(t, cat, laketest.Keyed("s"), lake.Options{Upsert: lake.CopyOnWrite})
	laketest.Commit(t, dedup, "", laketest.Stage(t, dedup, 0, laketest.Version{Key: 0, Cursor: 1e7, V: "moved"}.Row()))
	want[0] = laketest.Version{Key: 0, Cursor: 1e7, V: "moved"}.JSON()
	laketest.ExpectRows(t, dedup, want...)
	if diff := cmp.Diff(map[int32]int{0: 3, 1: 2, 2: 1, 3: 1, 4: 1}, checkPartitions(t, dedup)); diff != "" {
		t.Errorf("files by spec (-want +got):\n%s", diff)
	}
}

func TestASortOrderChanges(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	for i, tc := range []struct {
		by      []string
		current int
	}{{[]string{"v"}, 1}, {nil, 1}, {[]string{"v desc", "id"}, 2}, {[]string{}, 0}, {[]string{"v"}, 1}} {
		o := lake.Options{}
		if tc.by != nil {
			o.SortBy = sortedBy(t, tc.by...)
		}
		tbl := openTable(t, cat, laketest.Plain("s"), o)
		meta := laketest.Load(t, tbl).Metadata()
		if meta.DefaultSortOrder() != tc.current || len(meta.SortOrders()) > 3 {
			t.Errorf("step %d: order %d of %v", i, meta.DefaultSortOrder(), meta.SortOrders())
		}
		laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, map[string]any{"id": 1, "v": "b"}, map[string]any{"id": 2}, map[string]any{"id": 3, "v": "a"}))
		checkPartitions(t, tbl)
		want := tc.current
		if set, err := tbl.Storage().List(laketest.Load(t, tbl).SnapshotByName(tbl.Branch()), snapshots.Cache{}); err != nil || !slices.ContainsFunc(set.Files, func(f *snapshots.LiveFile) bool {
			id := f.Data.SortOrderID()
			return id == nil && want == 0 || id != nil && *id == want
		}) {
			t.Errorf("step %d: no file of order %d, %v", i, want, err)
		}
	}
}

// Files that are merged are sorted together; one that is only copied stays as it is.
func TestACompactedFileIsInOrder(t *testing.T) {
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{Settings: tabledef.Settings{SortBy: sortedBy(t, "v desc", "id"), PartitionBy: by(t, "bucket(2, id)")}})
	var want []string
	for id := range 20 {
		v := string(rune('a' + id*7%20))
		laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, map[string]any{"id": id, "v": v}))
		want = append(want, fmt.Sprintf(`{"id":%d,"v":%q}`, id, v))
	}
	if did := laketest.Maintain(t, laketest.Impatient(t, tbl), laketest.Everything); did.CompactedFiles != 20 || did.IntoFiles != 2 {
		t.Errorf("did %+v", did)
	}
	laketest.ExpectRows(t, tbl, want...)
	checkPartitions(t, tbl)
	set, err := tbl.Storage().List(laketest.Load(t, tbl).SnapshotByName(tbl.Branch()), snapshots.Cache{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range set.Files {
		if id := f.Data.SortOrderID(); id == nil || *id != 1 {
			t.Errorf("%s does not say that it is sorted", f.Data.FilePath())
		}
	}
	laketest.ExpectFiles(t, tbl, false)
}

func TestThePartitionFollowsAColumnThatMoves(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	o := lake.Options{Settings: tabledef.Settings{PartitionBy: by(t, "truncate(2, When)"), SortBy: sortedBy(t, "When")}}
	when := func(kind string) *lake.Table {
		tbl, err := lake.Open(t.Context(), cat, sending(t, `"id":{"type":"integer"},"When":{"type":"`+kind+`"}`), o)
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
		info, err := inspect.Describe(t.Context(), laketest.Load(t, tbl))
		if err != nil || !slices.Equal(info.PartitionBy, []string{tc.by}) {
			t.Errorf("step %d: partitioned by %s, %v, want %s", i, info.PartitionBy, err, tc.by)
		}
		if diff := cmp.Diff(tc.files, checkPartitions(t, tbl)); diff != "" {
			t.Errorf("step %d: files by spec (-want +got):\n%s", i, diff)
		}
	}
}

// A partition field may not be called as a column that it is not of, nor as a field of a former spec.
func TestAPartitionFieldGetsANameOfItsOwn(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	p := planOf("s", optional("id", aLong), optional("id_bucket_4", aLong), optional("id_bucket_4_partition", aLong))
	for _, fields := range [][]string{{"bucket(4, id)"}, {}, {"bucket(4, id)", "id_bucket_4"}} {
		tbl := openTable(t, cat, p, lake.Options{Settings: tabledef.Settings{PartitionBy: by(t, fields...)}})
		laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, map[string]any{"id": 1, "id_bucket_4": 7}))
		checkPartitions(t, tbl)
	}
	// Nor may a column that comes later, whatever the table is partitioned by then.
	cat = laketest.OpenCatalog(t, t.TempDir())
	open := func(properties string, fields ...string) *lake.Table {
		tbl, err := lake.Open(t.Context(), cat, sending(t, properties), lake.Options{Settings: tabledef.Settings{PartitionBy: by(t, fields...)}})
		if err != nil {
			t.Fatal(err)
		}
		return tbl
	}
	open(`"id":{"type":"integer"}`, "bucket(4, id)")
	tbl := open(`"id":{"type":"integer"}`, "bucket(5, id)")
	changeColumns(t, tbl, func(u *table.UpdateSchema) { u.RenameColumn([]string{"id"}, "number") })
	var rows []string
	for i, fields := range [][]string{{}, {"bucket(8, id)"}, {"bucket(4, id)", "bucket(5, iD)"}} {
		tbl = open(`"id":{"type":"integer"},"iD":{"type":"integer"},"id_bucket_4":{"type":"integer"},"number_bucket_8":{"type":"integer"}`, fields...)
		send(t, tbl, fmt.Sprintf(`{"id":%d,"iD":2,"id_bucket_4":3,"number_bucket_8":4}`, i))
		checkPartitions(t, tbl)
		rows = append(rows, fmt.Sprintf(`{"number":%d,"id":2,"id_bucket_4_10faad7f":3,"number_bucket_8":4}`, i))
	}
	laketest.ExpectRows(t, tbl, rows...)
}

func TestAnotherProgramsPartitionedTableIsWritten(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	p := planOf("s", optional("id", aLong), optional("ratio", iceberg.PrimitiveTypes.Float64),
		optional("at", structOf(100, optional("day", iceberg.PrimitiveTypes.Date), optional("place", aString))))
	tbl := openTable(t, cat, p, lake.Options{})
	tx := laketest.Load(t, tbl).NewTransaction()
	if err := tx.UpdateSpec(true).AddField("ratio", iceberg.IdentityTransform{}, "r").AddField("at.day", iceberg.YearTransform{}, "y").
		AddField("_airbyte_generation_id", iceberg.IdentityTransform{}, "g").Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	tbl = openTable(t, cat, p, lake.Options{})
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
	laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, staged...))
	laketest.ExpectRows(t, tbl, want...)
	if diff := cmp.Diff(map[int32]int{1: 9}, checkPartitions(t, tbl)); diff != "" {
		t.Errorf("files by spec (-want +got):\n%s", diff)
	}
	for range 5 {
		laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, staged[0]))
		want = append(want, want[0])
	}
	laketest.Maintain(t, tbl, laketest.Everything)
	laketest.ExpectRows(t, tbl, want...)
	checkPartitions(t, tbl)
}

func TestAPartitionOfEveryType(t *testing.T) {
	for i, tc := range []struct {
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
		for k, transform := range []string{"at", "bucket(3, at)", "truncate(3, at)", "year(at)", "month(at)", "hour(at)", "day(at)"} {
			if (i+k)%testsize.Of(5, 1) > 0 {
				continue // every type and every transform is left
			}
			p := planOf("s", iceberg.NestedField{Name: "id", Type: aLong, Required: true}, optional("at", tc.typ), optional("v", aString))
			p.Dedup, p.Key = true, []string{"id"}
			o := lake.Options{Upsert: lake.CopyOnWrite, Settings: tabledef.Settings{PartitionBy: by(t, transform)}}
			if o.Check(p) != nil {
				continue // not for this type
			}
			t.Run(transform+" of "+tc.typ.String(), func(t *testing.T) {
				t.Parallel()
				tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), p, o)
				var staged []map[string]any
				for i, v := range append(tc.values, nil) {
					staged = append(staged, map[string]any{"id": i, "at": v, "v": "old"}, map[string]any{"id": 100 + i, "at": v, "v": "old"})
				}
				laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, staged...))
				before := laketest.RowsOf(t, tbl)
				// Each file is rewritten, and gives its partition on.
				for _, row := range staged[:len(staged)/2] {
					row["v"] = "new"
				}
				laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 100, staged[:len(staged)/2]...))
				laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 200, staged[0]))
				checkPartitions(t, tbl)
				laketest.CheckFiles(t, laketest.Load(t, tbl))
				laketest.Maintain(t, tbl, laketest.Everything)
				checkPartitions(t, tbl)
				after := laketest.RowsOf(t, tbl)
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
	for _, mode := range []lake.Upsert{lake.CopyOnWrite, lake.MergeOnRead} {
		cat := laketest.OpenCatalog(t, t.TempDir())
		p := laketest.Keyed("s")
		version := func(key int64, v string) laketest.Version { return laketest.Version{Key: key, Cursor: key * 1e7, V: v} }
		tbl := openTable(t, cat, p, lake.Options{Upsert: mode, Settings: tabledef.Settings{PartitionBy: by(t, "month(updated_at)")}})
		tbl = refreshing(t, tbl, p, lake.Options{Upsert: mode}, &lake.Generation{ID: 2})
		laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, of(2, version(1, "a").Row()), of(2, version(2, "a").Row()), of(2, version(3, "a").Row())))

		g := &lake.Generation{ID: 3, Minimum: 3}
		tbl = refreshing(t, tbl, p, lake.Options{Upsert: mode, Settings: tabledef.Settings{PartitionBy: by(t, "bucket(2, id)")}}, g)
		laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, of(3, version(1, "b").Row()), of(3, version(4, "b").Row())))
		tbl = refreshing(t, tbl, p, lake.Options{Upsert: mode, Settings: tabledef.Settings{PartitionBy: by(t, "truncate(2, id)"), SortBy: sortedBy(t, "v")}}, g)
		laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 10, of(3, version(4, "c").Row()), of(3, version(5, "c").Row())))
		laketest.ExpectRows(t, openTable(t, cat, p, lake.Options{}), version(1, "a").JSON(), version(2, "a").JSON(), version(3, "a").JSON())
		if _, err := tbl.Finish(t.Context(), nil, nil); err != nil {
			t.Fatal(err)
		}
		laketest.ExpectRows(t, tbl, version(1, "b").JSON(), version(4, "c").JSON(), version(5, "c").JSON())
		if specs := slices.Sorted(maps.Keys(checkPartitions(t, tbl))); !slices.Equal(specs, []int32{1, 2}) {
			t.Errorf("files are of the specs %v", specs)
		}
		if _, err := tbl.Replace(t.Context(), []*lake.Staged{laketest.Stage(t, tbl, 0, version(6, "d").Row(), version(7, "d").Row())}, nil); err != nil {
			t.Fatal(err)
		}
		laketest.ExpectRows(t, tbl, version(6, "d").JSON(), version(7, "d").JSON())
		checkPartitions(t, tbl)
	}
}

// What a killed writer leaves of its runs goes with the orphans.
func TestRunsOfAKilledWriterAreRemoved(t *testing.T) {
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{Settings: tabledef.Settings{SortBy: sortedBy(t, "v")}})
	w := tbl.NewWriter()
	for range 3 {
		if err := w.Write(t.Context(), laketest.Batch(t, tbl.Opened().Schema(), map[string]any{"id": 1, "v": "x"}), nil); err != nil {
			t.Fatal(err)
		}
	}
	left := laketest.DataFilesOnDisk(t, tbl)
	if len(left) != 3 {
		t.Fatalf("%v is on disk", left)
	}
	old := time.Now().Add(-2 * filenames.OrphanAge)
	for _, f := range left {
		if err := os.Chtimes(laketest.PathOf(t, laketest.Load(t, tbl).Location())+"/data"+f, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if did := laketest.Maintain(t, tbl, laketest.Everything); did.RemovedOrphans != 3 || len(laketest.DataFilesOnDisk(t, tbl)) != 0 {
		t.Errorf("%+v, left %v", did, laketest.DataFilesOnDisk(t, tbl))
	}
}
