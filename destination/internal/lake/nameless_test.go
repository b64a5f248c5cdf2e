package lake_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/maintenance"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// nameless are the columns of files that Spark, pandas and others write for no table, in
// the types that those choose.
func nameless(at arrow.TimeUnit, more ...arrow.Field) *arrow.Schema {
	return arrow.NewSchema(append([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int32, Nullable: true},
		{Name: "v", Type: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}, Nullable: true},
		{Name: "updated_at", Type: &arrow.TimestampType{Unit: at, TimeZone: "UTC"}, Nullable: true},
		{Name: "_airbyte_raw_id", Type: arrow.BinaryTypes.LargeString},
	}, more...), nil)
}

const namelessRows = `[{"id":1,"v":"a","updated_at":"1970-01-01 00:00:05Z","_airbyte_raw_id":"x","n":{"x":1}},
	{"id":2,"v":"b","updated_at":"1970-01-01 00:00:05Z","_airbyte_raw_id":"y","n":{"x":1}},{"id":3,"v":"c","updated_at":"1970-01-01 00:00:05Z","_airbyte_raw_id":"z","n":{"x":1}}]`

// The rows of such a file are found by their keys, under whatever names the columns have
// now, they win and lose by their cursors in any unit, and can be copied.
func TestFilesWithoutFieldIDs(t *testing.T) {
	extra := arrow.Field{Name: "n", Type: arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int64, Nullable: true}), Nullable: true}
	for name, tc := range map[string]struct {
		upsert  lake.Upsert
		columns *arrow.Schema
	}{
		"copied, milliseconds":                     {lake.CopyOnWrite, nameless(arrow.Millisecond)},
		"copied, microseconds":                     {lake.CopyOnWrite, nameless(arrow.Microsecond)},
		"copied, nanoseconds":                      {lake.CopyOnWrite, nameless(arrow.Nanosecond)},
		"copied, a column the table has not":       {lake.CopyOnWrite, nameless(arrow.Millisecond, extra)},
		"deletes, milliseconds":                    {lake.MergeOnRead, nameless(arrow.Millisecond)},
		"deletes, a column that the table has not": {lake.MergeOnRead, nameless(arrow.Nanosecond, extra)},
	} {
		t.Run(name, func(t *testing.T) {
			tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Keyed("s"), lake.Options{Upsert: tc.upsert})
			laketest.AddNameless(t, tbl, tc.columns, namelessRows, false)
			changeColumns(t, tbl, func(u *table.UpdateSchema) { u.RenameColumn([]string{"id"}, "key").RenameColumn([]string{"v"}, "w") })
			made := func(key, cursor int64, v string) laketest.Version {
				return laketest.Version{Key: key, Cursor: cursor, V: v}
			}
			want := func(rows ...string) {
				t.Helper()
				renamed := strings.NewReplacer(`"id"`, `"key"`, `"v"`, `"w"`)
				for i, row := range rows {
					rows[i] = renamed.Replace(row)
				}
				laketest.ExpectRows(t, tbl, rows...)
			}
			want(made(1, 5, "a").JSON(), made(2, 5, "b").JSON(), made(3, 5, "c").JSON())
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, made(1, 6, "newer").Row(), made(2, 4, "older").Row()))
			want(made(1, 6, "newer").JSON(), made(2, 5, "b").JSON(), made(3, 5, "c").JSON())
			for key := int64(4); key < 10; key++ {
				laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, made(key, 1, "d").Row()))
			}
			laketest.Maintain(t, tbl, maintenance.Options{Thorough: true})
			want(made(1, 6, "newer").JSON(), made(2, 5, "b").JSON(), made(3, 5, "c").JSON(), made(4, 1, "d").JSON(), made(5, 1, "d").JSON(),
				made(6, 1, "d").JSON(), made(7, 1, "d").JSON(), made(8, 1, "d").JSON(), made(9, 1, "d").JSON())
		})
	}
}

// A reader that filters by times passes over no copy of a file whose times are in another unit
// than the table's.
func TestCopiedTimesOfAnyUnitAreFoundByFilters(t *testing.T) {
	nanos := arrow.Field{Name: "at", Type: &arrow.TimestampType{Unit: arrow.Nanosecond}, Nullable: true}
	for _, unit := range []arrow.TimeUnit{arrow.Millisecond, arrow.Microsecond, arrow.Nanosecond} {
		tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Keyed("s"), lake.Options{Upsert: lake.CopyOnWrite, FormatVersion: 3})
		changeColumns(t, tbl, func(u *table.UpdateSchema) {
			u.AddColumn([]string{"at"}, iceberg.PrimitiveTypes.TimestampNs, "", false, nil)
		})
		tbl = openTable(t, tbl.Catalog(), laketest.Keyed("s"), lake.Options{Upsert: lake.CopyOnWrite})
		laketest.AddNameless(t, tbl, nameless(unit, nanos), strings.ReplaceAll(namelessRows, `"n":{"x":1}`, `"at":"1970-01-01 00:00:05"`), false)
		laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, laketest.Version{Key: 1, Cursor: 9, V: "new"}.Row()))
		planned := func(e iceberg.BooleanExpression) int {
			t.Helper()
			tasks, err := laketest.Load(t, tbl).Scan(table.WithRowFilter(e)).PlanFiles(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return len(tasks)
		}
		second := iceberg.Timestamp(1_000_000)
		if planned(iceberg.EqualTo(iceberg.Reference("updated_at"), 5*second)) != 1 {
			t.Errorf("%s: the copy is passed over", unit)
		}
		if unit == arrow.Microsecond && planned(iceberg.LessThan(iceberg.Reference("updated_at"), 5*second)) != 0 {
			t.Errorf("%s: the copy has no bounds", unit)
		}
		at := iceberg.Reference("at")
		if planned(iceberg.EqualTo(at, 5*second)) != 1 || planned(iceberg.LessThan(at, 5*second)) != 0 {
			t.Errorf("%s: nanoseconds of a column of nanoseconds have no bounds, or others", unit)
		}
	}
}

// Columns that are added come into the name mapping, too: without it, readers would find nulls in such a file that has them.
func TestAddedColumnsComeIntoTheNameMapping(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	properties := `"id":{"type":"integer"},"v":{"type":"string"},"updated_at":{"type":"string","format":"date-time"},"o":{"type":"object","properties":{"x":{"type":"integer"}}}`
	open := func(properties string) *lake.Table {
		plan := sending(t, properties, "id")
		plan.Cursor = "updated_at"
		return openTable(t, cat, plan, lake.Options{})
	}
	laketest.AddNameless(t, open(properties), nameless(arrow.Microsecond), namelessRows, false)
	later := open(strings.Replace(properties, `"x":{"type":"integer"}`, `"x":{"type":"integer"},"y":{"type":"string"}`, 1) +
		`,"w":{"type":"string"},"l":{"type":"array","items":{"type":"object","properties":{"z":{"type":"number"}}}}`)
	meta := laketest.Load(t, later).Metadata()
	if len(meta.CurrentSchema().Fields()) != len(open(properties).Opened().Schema().Fields()) {
		t.Error("columns went")
	}
	order := cmpopts.SortSlices(func(a, b iceberg.MappedField) bool { return *a.FieldID < *b.FieldID })
	if diff := cmp.Diff(meta.CurrentSchema().NameMapping(), meta.NameMapping(), order, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	laketest.AddNameless(t, later, nameless(arrow.Microsecond, arrow.Field{Name: "w", Type: arrow.BinaryTypes.String, Nullable: true}), `[{"id":7,"_airbyte_raw_id":"w","w":"there"}]`, false)
	if rows := laketest.Rows(t, laketest.Load(t, later)); !strings.Contains(strings.Join(rows, "\n"), `"there"`) {
		t.Errorf("a file with the new column is read as %s", rows)
	}
}

// A column that was renamed keeps its values in such a file when another property gets its former name.
func TestANameInTheNameMappingStaysWithItsColumn(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	properties := `"id":{"type":"integer"},"v":{"type":"string"},"updated_at":{"type":"string","format":"date-time"}`
	open := func(properties string) *lake.Table {
		plan := sending(t, properties, "id")
		plan.Cursor = "updated_at"
		return openTable(t, cat, plan, lake.Options{})
	}
	tbl := open(properties)
	laketest.AddNameless(t, tbl, nameless(arrow.Microsecond), namelessRows, false)
	changeColumns(t, tbl, func(u *table.UpdateSchema) { u.RenameColumn([]string{"v"}, "w") })
	later := open(properties + `,"V":{"type":"string"}`)
	if f, there := later.Opened().Schema().FindFieldByName("v"); !there {
		t.Fatalf("no column has the former name: %v", f)
	}
	for _, row := range laketest.Rows(t, laketest.Load(t, later)) {
		if !strings.Contains(row, `"w":"`) || strings.Contains(row, `"v":"`) {
			t.Errorf("a row is read as %s", row)
		}
	}
}

// What cannot be taken over is said.
func TestFilesThatCannotBeCopied(t *testing.T) {
	object := arrow.Field{Name: "o", Type: arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, arrow.Field{Name: "y", Type: arrow.PrimitiveTypes.Int64, Nullable: true}), Nullable: true}
	base := nameless(arrow.Nanosecond).Fields()
	for want, columns := range map[string][]arrow.Field{
		"has a field o.y, which the table does not have":                        append(base, object),
		"has timestamps of the old form INT96 in column updated_at. Rewrite it": base,
	} {
		plan := sending(t, `"id":{"type":"integer"},"v":{"type":"string"},"updated_at":{"type":"string","format":"date-time"},"o":{"type":"object","properties":{"x":{"type":"integer"}}}`, "id")
		plan.Cursor = "updated_at"
		tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), plan, lake.Options{Upsert: lake.CopyOnWrite})
		laketest.AddNameless(t, tbl, arrow.NewSchema(columns, nil), namelessRows, len(columns) == len(base))
		_, err := tbl.Commit(t.Context(), []*lake.Staged{laketest.Stage(t, tbl, 0, map[string]any{"id": 1, "updated_at": laketest.Stamp(9)})}, nil)
		var userError *protocol.Error
		if !errors.As(err, &userError) || userError.Kind != protocol.ConfigError || !strings.Contains(userError.Message, want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
