package readers

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/apache/iceberg-go"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columns"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

func TestMain(m *testing.M) { laketest.Main(m) }

var everyReader = []Reader{Athena, BigQuery, Databricks, DuckDB, PyIceberg, Redshift, Snowflake, Spark, Trino}

// said is what is said of each reader, without its effect and remedy.
func said(findings []Finding) []string {
	var all []string
	for _, f := range findings {
		all = append(all, string(f.Reader)+": "+f.Subject)
	}
	return all
}

func object(fields ...iceberg.NestedField) *iceberg.StructType {
	return &iceberg.StructType{FieldList: fields}
}

func list(id int, of iceberg.Type) *iceberg.ListType {
	return &iceberg.ListType{ElementID: id, Element: of}
}

// nestedObjects is a long in so many objects.
func nestedObjects(levels int) iceberg.Type {
	t := iceberg.Type(iceberg.PrimitiveTypes.Int64)
	for n := range levels {
		t = object(iceberg.NestedField{ID: 100 + n, Name: "o", Type: t})
	}
	return t
}

func TestWhatReadersCannotReadOfATable(t *testing.T) {
	long, text := iceberg.PrimitiveTypes.Int64, iceberg.PrimitiveTypes.String
	for name, tt := range map[string]struct {
		table  Table
		fields []iceberg.NestedField
		want   []string
	}{
		"nothing": {},
		"position deletes": {table: Table{PositionDeletes: true, WritesPositionDeletes: true}, want: []string{
			"databricks: table ns.t has position deletes",
		}},
		"position deletes to come": {table: Table{WritesPositionDeletes: true}, want: []string{
			"databricks: table ns.t may get position deletes",
		}},
		"deletion vectors": {table: Table{Version: 3, PositionDeletes: true, WritesPositionDeletes: true}, want: []string{
			"athena: table ns.t has format version 3", "bigquery: table ns.t has format version 3",
		}},
		"equality deletes": {table: Table{EqualityDeletes: true}, want: []string{
			"databricks: table ns.t has equality deletes", "pyiceberg: table ns.t has equality deletes", "snowflake: table ns.t has equality deletes",
		}},
		"time": {
			fields: []iceberg.NestedField{{Name: "at", Type: list(10, object(iceberg.NestedField{ID: 5, Name: "time", Type: iceberg.PrimitiveTypes.Time}))}},
			want: []string{
				`athena: table ns.t has columns of type time: "at.element.time"`, `redshift: table ns.t has columns of type time: "at.element.time"`,
				`spark: table ns.t has columns of type time: "at.element.time"`,
			},
		},
		"uuid": {
			fields: []iceberg.NestedField{{Name: "m", Type: &iceberg.MapType{KeyID: 5, KeyType: text, ValueID: 6, ValueType: iceberg.PrimitiveTypes.UUID}}},
			want:   []string{`athena: table ns.t has columns of type uuid: "m.value"`, `redshift: table ns.t has columns of type uuid: "m.value"`},
		},
		"fixed": {
			fields: []iceberg.NestedField{{Name: "f", Type: iceberg.FixedTypeOf(3)}},
			want:   []string{`athena: table ns.t has columns of type fixed: "f"`, `redshift: table ns.t has columns of type fixed: "f"`},
		},
		"nanoseconds": {
			fields: []iceberg.NestedField{{Name: "a", Type: iceberg.TimestampNsType{}}, {Name: "b", Type: iceberg.TimestampTzNsType{}}},
			want:   []string{`spark: table ns.t has columns of timestamps in nanoseconds: "a", "b"`},
		},
		"lists of lists": {
			fields: []iceberg.NestedField{{Name: "flat", Type: list(10, long)}, {Name: "grid", Type: list(11, list(12, long))}},
			want:   []string{`bigquery: table ns.t has columns that are lists of lists: "grid"`},
		},
		"15 objects": {fields: []iceberg.NestedField{{Name: "o", Type: nestedObjects(15)}}},
		"17 objects": {
			fields: []iceberg.NestedField{{Name: "o", Type: nestedObjects(17)}},
			want:   []string{`bigquery: table ns.t has columns that are objects nested more than 15 levels deep: "o` + strings.Repeat(".o", 15) + `"`},
		},
		"required in an object": {
			fields: []iceberg.NestedField{{Name: "id", Type: long, Required: true}, {Name: "o", Type: object(iceberg.NestedField{ID: 5, Name: "a", Type: long, Required: true})}},
			want:   []string{`bigquery: table ns.t has columns that are required in an object: "o.a"`},
		},
		"upper case": {
			table:  Table{Name: "Ns.t"},
			fields: []iceberg.NestedField{{Name: "userId", Type: long}, {Name: "o", Type: object(iceberg.NestedField{ID: 5, Name: "ÉA", Type: long})}},
			want:   []string{`athena: table Ns.t has names with upper-case letters: "Ns", "userId", "o.ÉA"`, `snowflake: table Ns.t has names with upper-case letters: "Ns", "userId", "o.ÉA"`},
		},
		"special characters": {
			fields: []iceberg.NestedField{{Name: "a b", Type: long}, {Name: "o", Type: object(iceberg.NestedField{ID: 5, Name: "c-d", Type: long}, iceberg.NestedField{ID: 6, Name: "é_1.x", Type: long})}},
			want:   []string{`athena: table ns.t has columns with special characters in an object: "o.c-d"`},
		},
		"only case tells apart": {
			fields: []iceberg.NestedField{{Name: "o", Type: object(iceberg.NestedField{ID: 5, Name: "a", Type: long}, iceberg.NestedField{ID: 6, Name: "A", Type: long})}, {Name: "a", Type: long}},
			want: []string{
				`athena: table ns.t has names with upper-case letters: "o.A"`, `snowflake: table ns.t has names with upper-case letters: "o.A"`,
				`athena: table ns.t has columns whose names differ only in case: "o.a", "o.A"`, `trino: table ns.t has columns whose names differ only in case: "o.a", "o.A"`,
			},
		},
		"long name": {
			fields: []iceberg.NestedField{{Name: strings.Repeat("x", 127), Type: long}, {Name: strings.Repeat("y", 128), Type: long}},
			want:   []string{`redshift: table ns.t has names longer than 127 bytes: "` + strings.Repeat("y", 128) + `"`},
		},
		"months and days": {
			table: Table{Spec: iceberg.NewPartitionSpec(
				iceberg.PartitionField{SourceIDs: []int{1}, FieldID: 1000, Name: "a", Transform: iceberg.MonthTransform{}},
				iceberg.PartitionField{SourceIDs: []int{2}, FieldID: 1001, Name: "b", Transform: iceberg.DayTransform{}},
				iceberg.PartitionField{SourceIDs: []int{3}, FieldID: 1002, Name: "c", Transform: iceberg.MonthTransform{}},
				iceberg.PartitionField{SourceIDs: []int{2}, FieldID: 1004, Name: "e", Transform: iceberg.YearTransform{}},
				iceberg.PartitionField{SourceIDs: []int{1}, FieldID: 1003, Name: "d", Transform: iceberg.BucketTransform{NumBuckets: 4}},
			)},
			fields: []iceberg.NestedField{{Name: "start", Type: iceberg.PrimitiveTypes.TimestampTz}, {Name: "wall", Type: iceberg.PrimitiveTypes.Timestamp}, {Name: "day", Type: iceberg.PrimitiveTypes.Date}},
			want:   []string{`duckdb: table ns.t is partitioned by "month(start)", "day(wall)"`},
		},
		"many": {
			fields: []iceberg.NestedField{{Name: "AA", Type: long}, {Name: "B", Type: long}, {Name: "C", Type: long}, {Name: "D", Type: long}, {Name: "E", Type: long}, {Name: "F", Type: long}, {Name: "G", Type: long}},
			want: []string{
				`athena: table ns.t has names with upper-case letters: "AA", "B", "C", "D", "E", and 2 more`,
				`snowflake: table ns.t has names with upper-case letters: "AA", "B", "C", "D", "E", and 2 more`,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range tt.fields {
				tt.fields[i].ID = i + 1
			}
			tt.table.Schema = iceberg.NewSchema(0, tt.fields...)
			if tt.table.Name == "" {
				tt.table.Name = "ns.t"
			}
			if tt.table.Version == 0 {
				tt.table.Version = 2
			}
			if diff := cmp.Diff(tt.want, said(CheckTable(everyReader, tt.table))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if found := CheckTable(nil, tt.table); found != nil {
				t.Errorf("nobody reads, and yet: %v", found)
			}
		})
	}
}

func TestWhatReadersWillNotReadUnderOptions(t *testing.T) {
	id := protocol.StreamID{Name: "sleep"}
	month, err := tabledef.ParsePartitionBy("month(start)")
	if err != nil {
		t.Fatal(err)
	}
	year, err := tabledef.ParsePartitionBy("year(start)")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		options Options
		want    []string
	}{
		"auto":          {Options{Upsert: lake.Auto}, []string{`databricks: "upsert": "auto" may write position deletes`}},
		"merge_on_read": {Options{Upsert: lake.MergeOnRead}, []string{`databricks: "upsert": "merge_on_read" may write position deletes`}},
		"preserve": {Options{Upsert: lake.CopyOnWrite, Names: columns.Preserve}, []string{
			`athena: "names": "preserve" keeps upper-case letters in names`, `snowflake: "names": "preserve" keeps upper-case letters in names`,
			`athena: "names": "preserve" keeps special characters in the names of fields in objects`,
		}},
		"json":    {Options{Upsert: lake.CopyOnWrite, Nested: columnar.JSON}, []string{`redshift: "nested": "json" writes whole objects as strings`}},
		"month":   {Options{Upsert: lake.CopyOnWrite, Streams: []Stream{{id, []tabledef.PartitionBy{year, month}}}}, []string{`duckdb: "partition_by" partitions stream sleep by "month(start)"`}},
		"nothing": {Options{Upsert: lake.CopyOnWrite, Names: columns.Lowercase, Nested: columnar.Struct}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, said(CheckOptions(everyReader, tt.options))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAFindingSaysWhatToSet(t *testing.T) {
	got := fmt.Sprint(CheckOptions([]Reader{Spark, Databricks}, Options{Upsert: lake.Auto}))
	want := `["upsert": "auto" may write position deletes: Databricks does not support them; set "upsert" to "copy_on_write", and let another program compact tables that have some]`
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// With the default options every reader can read what is appended, of whatever type it
// is. A list of lists, which BigQuery has no type for, is the source's own.
func TestEveryReaderReadsWhatIsAppendedByDefault(t *testing.T) {
	p, err := columnar.NewPlan(protocol.ConfiguredStream{DestinationSyncMode: protocol.Append, Stream: protocol.Stream{Name: "All Types", JSONSchema: json.RawMessage(`{"properties":{
		"User ID":{"type":"string"},"userId":{"type":"integer"},"n":{"type":"number"},"b":{"type":"boolean"},"d":{"type":"string","format":"date"},
		"t":{"type":"string","format":"time"},"ts":{"type":"string","format":"date-time"},"wall":{"type":"string","format":"date-time","airbyte_type":"timestamp_without_timezone"},
		"o":{"type":"object","required":["A-b"],"properties":{"A-b":{"type":"integer"},"a.B":{"type":"object"}}},"l":{"type":"array","items":{"type":"object","properties":{"x":{"type":"string"}}}},
		"any":{},"un":{"oneOf":[{"type":"string"},{"type":"integer"}]}}}`)}}, columnar.Options{Namespace: "airbyte", Names: columns.Lowercase})
	if err != nil {
		t.Fatal(err)
	}
	tbl := laketest.OpenTable(t, laketest.OpenCatalog(t, t.TempDir()), p, lake.Options{})
	table := TableOf(tbl.Opened())
	table.WritesPositionDeletes = tbl.WritesPositionDeletes()
	if found := CheckTable(everyReader, table); len(found) > 0 {
		t.Errorf("%v", found)
	}
}

func TestTableOfTellsWhichDeletesATableHas(t *testing.T) {
	for name, tt := range map[string]struct {
		options                            lake.Options
		upsert, equality, position, toCome bool
	}{
		"no rows replaced": {toCome: true},
		"merge_on_read":    {options: lake.Options{Upsert: lake.MergeOnRead}, upsert: true, position: true, toCome: true},
		"copy_on_write":    {options: lake.Options{Upsert: lake.CopyOnWrite}, upsert: true},
		"another program":  {options: lake.Options{Upsert: lake.CopyOnWrite}, equality: true},
	} {
		t.Run(name, func(t *testing.T) {
			tbl, _ := laketest.TwoFiles(t, tt.options)
			if tt.upsert {
				laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, laketest.Version{Key: 2, Cursor: 2, V: "new"}.Row()))
			}
			if tt.equality {
				laketest.AddEqualityDelete(t, tbl, 1)
			}
			got := TableOf(laketest.Load(t, tbl))
			if got.Name != "ns.s" || got.Version != 2 || got.PositionDeletes != tt.position || got.EqualityDeletes != tt.equality || tbl.WritesPositionDeletes() != tt.toCome {
				t.Errorf("%s, version %d: position deletes %t, equality deletes %t, position deletes to come %t",
					got.Name, got.Version, got.PositionDeletes, got.EqualityDeletes, tbl.WritesPositionDeletes())
			}
		})
	}
}

// A reader of the specification has limits in the table or none, and a limit is one of
// a reader of the specification.
func TestEveryLimitHasASourceAndARemedy(t *testing.T) {
	for _, f := range features {
		if f.remedy == "" || f.chosen == nil && f.found == nil || len(f.limits) == 0 {
			t.Errorf("%s: nothing finds it, or nobody is limited, or there is no remedy", f.name)
		}
		for _, l := range f.limits {
			if !slices.Contains(everyReader, l.reader) || l.effect == "" || !strings.HasPrefix(l.source, "https://") && !strings.HasPrefix(l.source, "#") {
				t.Errorf("%s: %+v", f.name, l)
			}
		}
	}
	var listed []Reader
	for _, r := range Reader("").JSONSchema().Enum {
		listed = append(listed, Reader(r.(string)))
	}
	if !slices.Equal(listed, everyReader) {
		t.Errorf("the specification lists %q", listed)
	}
}
