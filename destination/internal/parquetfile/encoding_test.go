package parquetfile

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// recordOf makes rows from JSON objects.
func recordOf(t *testing.T, schema *arrow.Schema, rows []map[string]any) arrow.RecordBatch {
	t.Helper()
	text, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func TestDictionariesAreForFewValuesOnly(t *testing.T) {
	text := arrow.BinaryTypes.String
	column := func(name string, t arrow.DataType) arrow.Field {
		return arrow.Field{Name: name, Type: t, Nullable: true}
	}
	schema := arrow.NewSchema([]arrow.Field{
		column("few", text), column("many", text), column("few_numbers", arrow.PrimitiveTypes.Int64), column("many_numbers", arrow.PrimitiveTypes.Float64),
		column("o", arrow.StructOf(column("few", arrow.PrimitiveTypes.Date32), column("list", arrow.ListOf(text)))),
		column("_airbyte_raw_id", text), column("_airbyte_generation_id", arrow.PrimitiveTypes.Int64),
		column("_airbyte_meta", arrow.StructOf(column("sync_id", arrow.PrimitiveTypes.Int64))),
	}, nil)
	row := func(i int, text string) map[string]any {
		return map[string]any{
			"few": fmt.Sprint(i % 5), "many": text + fmt.Sprint(i), "few_numbers": i % 3, "many_numbers": float64(i) / 7,
			"o": map[string]any{"few": "2026-11-23", "list": []any{"a", "b"}}, "_airbyte_raw_id": fmt.Sprint(i),
		}
	}
	var short, long []map[string]any
	for i := range 100 {
		short, long = append(short, row(i, "")), append(long, row(i, strings.Repeat("text ", 100)))
	}
	e := NewEncoding(recordOf(t, schema, short), nil).properties()
	for path, want := range map[string]bool{
		"few": true, "many": false, "few_numbers": true, "many_numbers": false, "o.few": true, "o.list.list.element": true,
		"_airbyte_raw_id": false, "_airbyte_generation_id": true, "_airbyte_meta.sync_id": true,
	} {
		if got := e.DictionaryEnabledFor(path); got != want {
			t.Errorf("dictionary for %s: %v", path, got)
		}
	}
	if level := e.CompressionLevel(); level != 1 {
		t.Errorf("numbers are compressed at level %d", level)
	}
	if level := NewEncoding(recordOf(t, schema, long), nil).properties().CompressionLevel(); level != 3 {
		t.Errorf("text is compressed at level %d", level)
	}
}

// A list of which all rows are null has a column of elements that may not even
// have a buffer.
func TestAColumnWithoutValuesHasNoDictionary(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "l", Type: arrow.ListOf(arrow.PrimitiveTypes.Int64), Nullable: true}}, nil)
	if e := NewEncoding(recordOf(t, schema, []map[string]any{{"l": nil}}), nil); len(e.dictionaries) > 0 {
		t.Errorf("dictionaries for %q", e.dictionaries)
	}
}
