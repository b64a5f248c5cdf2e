package parquetfile

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/iceberg-go"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
)

// The properties of a table say how its files are compressed and divided.
func TestPropertiesOfTheTable(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, {Name: "text", Type: arrow.BinaryTypes.String, Nullable: true},
	}, nil)
	random := rand.New(rand.NewPCG(1, 2))
	var rows []map[string]any
	for range 2000 {
		rows = append(rows, map[string]any{"n": random.IntN(1 << 40), "text": fmt.Sprintf("%x", random.Uint64())})
	}
	rec := recordOf(t, schema, rows)
	tests := []struct {
		name          string
		properties    iceberg.Properties
		codec         compress.Compression
		groups, pages int // and pages of the first column in the first group
	}{
		{"none", nil, compress.Codecs.Zstd, 1, 1},
		{"unknown", iceberg.Properties{codecKey: "lzo", levelKey: "x", pageBytesKey: "-1", rowGroupBytesKey: "0"}, compress.Codecs.Zstd, 1, 1},
		{"uncompressed", iceberg.Properties{codecKey: "uncompressed"}, compress.Codecs.Uncompressed, 1, 1},
		{"snappy", iceberg.Properties{codecKey: "snappy"}, compress.Codecs.Snappy, 1, 1},
		{"lz4", iceberg.Properties{codecKey: "lz4"}, compress.Codecs.Lz4Raw, 1, 1},
		{"gzip of a high level", iceberg.Properties{codecKey: "gzip", levelKey: "99"}, compress.Codecs.Gzip, 1, 1},
		{"brotli of a low level", iceberg.Properties{codecKey: "brotli", levelKey: "-9"}, compress.Codecs.Brotli, 1, 1},
		{"zstd of a high level", iceberg.Properties{codecKey: "zstd", levelKey: "19"}, compress.Codecs.Zstd, 1, 1},
		{"pages", iceberg.Properties{pageBytesKey: "4000"}, compress.Codecs.Zstd, 1, 4},
		{"row groups", iceberg.Properties{rowGroupBytesKey: "20000"}, compress.Codecs.Zstd, 3, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := t.TempDir() + "/file"
			w, err := Create(iceio.LocalFS{}, path, schema, NewEncoding(rec, test.properties))
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Write(rec); err != nil {
				t.Fatal(err)
			}
			ice, err := table.ArrowSchemaToIcebergWithFreshIDs(schema, false)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Close(table.DataFileArgs{Schema: ice, Spec: *iceberg.UnpartitionedSpec, Content: iceberg.EntryContentData, FormatVersion: 2}); err != nil {
				t.Fatal(err)
			}
			in, err := file.OpenParquetFile(path, false)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			chunk, err := in.MetaData().RowGroup(0).ColumnChunk(0)
			if err != nil {
				t.Fatal(err)
			}
			if chunk.Compression() != test.codec {
				t.Errorf("compressed by %s, want %s", chunk.Compression(), test.codec)
			}
			if in.NumRowGroups() < test.groups || in.NumRows() != 2000 {
				t.Errorf("%d row groups with %d rows, want at least %d with 2000", in.NumRowGroups(), in.NumRows(), test.groups)
			}
			pages, err := in.RowGroup(0).GetColumnPageReader(0)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for pages.Next() {
				n++
			}
			if err := pages.Err(); err != nil || n < test.pages {
				t.Errorf("%d pages, want at least %d: %v", n, test.pages, err)
			}
		})
	}
}

// A file begins and ends as Parquet files do when it has no rows.
func TestNoRows(t *testing.T) {
	var out bytes.Buffer
	c, err := newContent(arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil), &out, defaultEncoding(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.close(); err != nil {
		t.Fatal(err)
	}
	in, err := file.NewParquetReader(bytes.NewReader(out.Bytes()))
	if err != nil || in.NumRows() != 0 {
		t.Errorf("%d rows: %v", in.NumRows(), err)
	}
}

// However small the row groups are to be, a file has no more column chunks than memory is planned for.
func TestTinyRowGroupsTakeLittleMemory(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for i := range int64(4 * MaxChunks) {
		b.Field(0).(*array.Int64Builder).Append(i)
	}
	rec := b.NewRecordBatch()
	w, err := Create(iceio.LocalFS{}, t.TempDir()+"/file", schema, NewEncoding(rec, iceberg.Properties{rowGroupBytesKey: "1"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(rec); err != nil {
		t.Fatal(err)
	}
	if w.chunks > MaxChunks {
		t.Errorf("%d column chunks, want at most %d", w.chunks, MaxChunks)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
}
