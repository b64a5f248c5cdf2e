package parquetfile

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	iceio "github.com/apache/iceberg-go/io"
)

// Texts returns what Read does, however the values were written and wherever the nulls are.
func TestTextsAreThoseOfTheArray(t *testing.T) {
	text := arrow.BinaryTypes.String
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "required", Type: text},
		{Name: "optional", Type: text, Nullable: true},
		{Name: "empty", Type: text, Nullable: true},
		{Name: "nulls", Type: text, Nullable: true},
		{Name: "in", Type: arrow.StructOf(arrow.Field{Name: "struct", Type: text, Nullable: true}), Nullable: true},
	}, nil)
	rows := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer rows.Release()
	for i := range 3 * textsAtOnce / 2 {
		v := fmt.Sprint("value ", i%1000)
		column := func(n int) *array.StringBuilder { return rows.Field(n).(*array.StringBuilder) }
		column(0).Append(v)
		if i%3 == 0 {
			column(1).AppendNull()
		} else {
			column(1).Append(v[:i%len(v)])
		}
		column(2).Append("")
		column(3).AppendNull()
		in := rows.Field(4).(*array.StructBuilder)
		in.Append(i%5 > 0)
		if i%5 > 1 {
			in.FieldBuilder(0).(*array.StringBuilder).Append(v)
		} else {
			in.FieldBuilder(0).AppendNull()
		}
	}
	record := rows.NewRecordBatch()
	defer record.Release()

	for _, version := range []parquet.DataPageVersion{parquet.DataPageV1, parquet.DataPageV2} {
		for _, encoding := range []parquet.Encoding{parquet.Encodings.RLEDict, parquet.Encodings.Plain, parquet.Encodings.DeltaLengthByteArray} {
			t.Run(fmt.Sprint(version, " ", encoding), func(t *testing.T) {
				options := []parquet.WriterProperty{parquet.WithDataPageVersion(version), parquet.WithDataPageSize(5000), parquet.WithDictionaryDefault(encoding == parquet.Encodings.RLEDict)}
				if encoding != parquet.Encodings.RLEDict {
					options = append(options, parquet.WithEncoding(encoding))
				}
				var content bytes.Buffer
				w, err := pqarrow.NewFileWriter(schema, &content, parquet.NewWriterProperties(options...), pqarrow.DefaultWriterProps())
				if err != nil {
					t.Fatal(err)
				}
				if err := w.Write(record); err != nil {
					t.Fatal(err)
				}
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				r := openContent(t, content.Bytes())
				for column := range r.in.MetaData().Schema.NumColumns() {
					wantTexts(t, r, column)
				}
			})
		}
	}
}

func openContent(t *testing.T, content []byte) *Reader {
	t.Helper()
	r, err := open(iceio.LocalFS{}, writeContent(t, content), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func writeContent(t *testing.T, content []byte) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "file.parquet")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func wantTexts(t *testing.T, r *Reader, column int) {
	t.Helper()
	var want, got []string
	for p, err := range r.Pieces(t.Context(), []int{column}) {
		if err != nil {
			t.Fatal(err)
		}
		batch, err := r.Batch(t.Context(), p, []int{column})
		if err != nil {
			t.Fatal(err)
		}
		values := batch.Column(0)
		for i := range values.Len() {
			leaf := values
			if s, ok := values.(*array.Struct); ok {
				if leaf = s.Field(0); s.IsNull(i) {
					want = append(want, "null")
					continue
				}
			}
			if leaf.IsNull(i) {
				want = append(want, "null")
			} else {
				want = append(want, "="+leaf.(*array.String).Value(i))
			}
		}
		if !r.HasTexts(p, column) {
			t.Fatalf("column %d has no texts", column)
		}
		if err := r.Texts(t.Context(), p, column, func(values []parquet.ByteArray) {
			for _, v := range values {
				if v == nil {
					got = append(got, "null")
				} else {
					got = append(got, "="+string(v))
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(got, want) || len(want) == 0 {
		t.Errorf("column %d has %d texts %.5q, want %d: %.5q", column, len(got), got[:min(5, len(got))], len(want), want[:5])
	}
}

// A page with fewer values than its levels say is no reason to end in a panic.
func TestTextsThatAreMissing(t *testing.T) {
	values := []parquet.ByteArray{[]byte("a"), nil, nil}
	if spread(values, 1, []int16{1, 0, 1}, 1) {
		t.Errorf("two rows have the texts %q of one", values)
	}
}
