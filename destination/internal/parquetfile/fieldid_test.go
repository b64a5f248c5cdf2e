package parquetfile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/iceberg-go"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"
)

// A name mapping names columns at every depth. What it does not name is none of the table's columns.
func TestNamesBecomeFieldIDs(t *testing.T) {
	long, text := arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String
	object := arrow.StructOf(arrow.Field{Name: "a", Type: long, Nullable: true}, arrow.Field{Name: "unknown", Type: text, Nullable: true})
	file := arrow.NewSchema([]arrow.Field{
		{Name: "old name", Type: long, Nullable: true},
		{Name: "o", Type: object, Nullable: true},
		{Name: "l", Type: arrow.ListOf(object), Nullable: true},
		{Name: "m", Type: arrow.MapOf(text, object), Nullable: true},
		{Name: "unknown", Type: long, Nullable: true},
	}, nil)
	path := filepath.Join(t.TempDir(), "x.parquet")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := pqarrow.NewFileWriter(file, out, parquet.NewWriterProperties(), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(array.NewRecordBatch(file, array.NewRecordBuilder(memory.DefaultAllocator, file).NewRecordBatch().Columns(), 0)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	a := func(id int) *iceberg.StructType {
		return &iceberg.StructType{FieldList: []iceberg.NestedField{{ID: id, Name: "a", Type: iceberg.PrimitiveTypes.Int64}}}
	}
	schema := iceberg.NewSchema(0,
		iceberg.NestedField{ID: 1, Name: "new_name", Type: iceberg.PrimitiveTypes.Int64},
		iceberg.NestedField{ID: 2, Name: "o", Type: a(3)},
		iceberg.NestedField{ID: 4, Name: "l", Type: &iceberg.ListType{ElementID: 5, Element: a(6)}},
		iceberg.NestedField{ID: 7, Name: "m", Type: &iceberg.MapType{KeyID: 8, KeyType: iceberg.PrimitiveTypes.String, ValueID: 9, ValueType: a(10)}},
	)
	for name, tc := range map[string]struct{ mapping, want string }{
		"a mapping": {
			`[{"field-id":1,"names":["new_name","old name"]},{"field-id":2,"names":["o"],"fields":[{"field-id":3,"names":["a"]}]},
			  {"field-id":4,"names":["l"],"fields":[{"field-id":5,"names":["element"],"fields":[{"field-id":6,"names":["a"]}]}]},
			  {"field-id":7,"names":["m"],"fields":[{"field-id":8,"names":["key"]},{"field-id":9,"names":["value"],"fields":[{"field-id":10,"names":["a"]}]}]}]`,
			"old name:1 o.a:3 o.unknown:-1 l.list.element.a:6 l.list.element.unknown:-1 m.key_value.key:8 m.key_value.value.a:10 m.key_value.value.unknown:-1 unknown:-1",
		},
		"none": {"", "old name:-1 o.a:3 o.unknown:-1 l.list.element.a:6 l.list.element.unknown:-1 m.key_value.key:8 m.key_value.value.a:10 m.key_value.value.unknown:-1 unknown:-1"},
	} {
		t.Run(name, func(t *testing.T) {
			meta, err := table.NewMetadata(schema, iceberg.UnpartitionedSpec, table.UnsortedSortOrder, "file:///x", iceberg.Properties{table.DefaultNameMappingKey: tc.mapping})
			if err != nil {
				t.Fatal(err)
			}
			r, err := open(iceio.LocalFS{}, path, meta)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			var got []string
			for _, c := range r.AllColumns() {
				column := r.in.MetaData().Schema.Column(c)
				got = append(got, fmt.Sprintf("%s:%d", column.Path(), column.SchemaNode().FieldID()))
			}
			if diff := cmp.Diff(tc.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
