package lake

import (
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/budget"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
)

// addFile adds a data file of one row group that another program wrote: for each id the text that v says.
func addFile(t *testing.T, tbl *Table, props *parquet.WriterProperties, rows int, v func(row int) string) int64 {
	t.Helper()
	schema, err := table.SchemaToArrowSchema(optionalKeys(tbl), nil, true, false)
	if err != nil {
		t.Fatal(err)
	}
	location := tbl.locations.NewDataLocation(fmt.Sprintf("theirs-%p.parquet", props))
	out, err := tbl.files.Create(location)
	if err != nil {
		t.Fatal(err)
	}
	w, err := pqarrow.NewFileWriter(schema, out, props, pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	w.NewBufferedRowGroup()
	const few = 64
	for from := 0; from < rows; from += few {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		for row := from; row < min(rows, from+few); row++ {
			for i, f := range schema.Fields() {
				switch f.Name {
				case "id":
					b.Field(i).(*array.Int64Builder).Append(int64(row))
				case "v", "_airbyte_raw_id":
					b.Field(i).(*array.StringBuilder).Append(v(row))
				default:
					b.Field(i).AppendNull()
				}
			}
		}
		if err := w.WriteBuffered(b.NewRecordBatch()); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	meta, err := w.FileMetadata()
	if err != nil {
		t.Fatal(err)
	}
	data, err := table.DataFileFromMetadata(table.DataFileArgs{
		Schema: tbl.schema, Spec: tbl.spec, FormatVersion: 2, Content: iceberg.EntryContentData, Format: iceberg.ParquetFile,
		Metadata: meta, FilePath: location, FileSize: w.RowGroupTotalBytesWritten(),
	})
	if err != nil {
		t.Fatal(err)
	}
	tx := load(t, tbl).NewTransaction()
	if err := tx.AddDataFiles(t.Context(), []iceberg.DataFile{data}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return data.FileSizeBytes()
}

// A small file of another program that stands for gigabytes is read in pieces, however its values are stored once for many rows.
func TestAFileThatStandsForMuchMoreIsReadInPieces(t *testing.T) {
	const rows, long = 320, 512 << 10 // in two columns, 320 MiB
	text := strings.Repeat("all work and no play ", long/21)
	for name, props := range map[string]*parquet.WriterProperties{
		"dictionary": parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd)),
		"delta": parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd),
			parquet.WithDictionaryFor("v", false), parquet.WithEncodingFor("v", parquet.Encodings.DeltaByteArray)),
	} {
		t.Run(name, func(t *testing.T) {
			tbl := openTable(t, openCatalog(t, t.TempDir()), plain("s"), Options{})
			addFile(t, tbl, props, rows, func(row int) string { return text[:len(text)-row%3] })
			set, err := tbl.storage().List(tbl.tip(load(t, tbl)), snapshots.Cache{})
			if err != nil {
				t.Fatal(err)
			}
			r, err := parquetfile.Open(tbl.files, set.Files[0].Data, tbl.opts.Memory)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			next, pieces := int64(0), 0
			for p, err := range r.Pieces(r.AllColumns()) {
				if err != nil {
					t.Fatal(err)
				}
				got, err := r.Batch(t.Context(), p)
				if err != nil {
					t.Fatal(err)
				}
				if bytes := budget.SizeOf(got); bytes > 2*parquetfile.PieceBytes {
					t.Fatalf("a piece takes %d MiB", bytes>>20)
				}
				if p.First != next || got.NumRows() != p.Rows {
					t.Fatalf("a piece of %d rows from %d, want %d from %d", got.NumRows(), p.First, p.Rows, next)
				}
				at := got.Schema().FieldIndices("v")[0]
				for i := range int(got.NumRows()) {
					row := p.First + int64(i)
					if id := got.Column(0).(*array.Int64).Value(i); id != row || len(got.Column(at).(*array.String).Value(i)) != len(text)-int(row%3) {
						t.Fatalf("row %d has the id %d", row, id)
					}
				}
				next += p.Rows
				pieces++
			}
			if next != rows || pieces < 4 {
				t.Errorf("%d rows in %d pieces", next, pieces)
			}
		})
	}
}
