package parquetfile

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/iceberg-go"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
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

// Readers leave a file out by its bounds, so all its values must be within, however long they are and whatever other row
// groups hold. Both encoders are tried: a column of times is left to the library.
func TestBoundsEncloseAllValues(t *testing.T) {
	const text = 1 // field id
	lengths := []int{0, 1, 15, 16, 17, 64, 4095, 4096, 4097, 5000, 70_000, hugeValue - 4}
	for _, alphabet := range []string{"ab", "aé", "\ud7ff\ue000z", "\U0010ffff", "\U0010ffffa", "世界"} {
		for _, library := range []bool{false, true} {
			t.Run(fmt.Sprintf("%q, library %v", alphabet, library), func(t *testing.T) {
				r := rand.New(rand.NewPCG(1, uint64(len(alphabet))))
				letters := []rune(alphabet)
				value := func() string {
					var b strings.Builder
					for n := lengths[r.IntN(len(lengths))]; b.Len() < n; {
						b.WriteRune(letters[r.IntN(len(letters))])
					}
					return b.String()
				}
				fields := []iceberg.NestedField{{ID: text, Name: "v", Type: iceberg.PrimitiveTypes.String}}
				if library {
					fields = append(fields, iceberg.NestedField{ID: 2, Name: "t", Type: iceberg.PrimitiveTypes.Time})
				}
				schema := iceberg.NewSchema(0, fields...)
				arrowSchema, err := table.SchemaToArrowSchema(schema, nil, true, false)
				if err != nil {
					t.Fatal(err)
				}
				for range testsize.Of(15, 200) {
					var least, most string
					path := filepath.Join(t.TempDir(), "f.parquet")
					w, err := Create(iceio.LocalFS{}, path, arrowSchema, defaultEncoding(1))
					if err != nil {
						t.Fatal(err)
					}
					for group := range 1 + r.IntN(3) {
						var rows []map[string]any
						for row := range 1 + r.IntN(3) {
							v := value()
							if rows = append(rows, map[string]any{"v": v}); group+row == 0 || v < least {
								least = v
							}
							most = max(most, v)
						}
						if err := w.Write(recordOf(t, arrowSchema, rows)); err != nil {
							t.Fatal(err)
						}
					}
					file, err := w.Close(table.DataFileArgs{Schema: schema, Spec: *iceberg.UnpartitionedSpec, Content: iceberg.EntryContentData, FormatVersion: 2})
					if err != nil {
						t.Fatal(err)
					}
					low, high := file.LowerBoundValues()[text], file.UpperBoundValues()[text]
					if low != nil && string(low) > least || high != nil && string(high) < most {
						t.Fatalf("bounds %.40q and %.40q, values from %.40q (%d) to %.40q (%d)", low, high, least, len(least), most, len(most))
					}
				}
			})
		}
	}
}
