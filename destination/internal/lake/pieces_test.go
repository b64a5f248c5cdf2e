package lake_test

import (
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/budget"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
)

// A small file of another program that stands for gigabytes is read in pieces, however its values are stored once for many rows.
func TestAFileThatStandsForMuchMoreIsReadInPieces(t *testing.T) {
	const long = 512 << 10
	rows := testsize.Of(96, 160) // in two columns, as many MiB
	text := strings.Repeat("all work and no play ", long/21)
	for name, props := range map[string]*parquet.WriterProperties{
		"dictionary": parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd)),
		"delta": parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd),
			parquet.WithDictionaryFor("v", false), parquet.WithEncodingFor("v", parquet.Encodings.DeltaByteArray)),
	} {
		t.Run(name, func(t *testing.T) {
			tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{})
			laketest.AddFile(t, tbl, props, rows, func(row int) string { return text[:len(text)-row%3] })
			set, err := tbl.Storage().List(laketest.Load(t, tbl).SnapshotByName(tbl.Branch()), snapshots.Cache{})
			if err != nil {
				t.Fatal(err)
			}
			r, err := parquetfile.Open(tbl.Storage().Files, set.Files[0].Data, nil, tbl.Storage().Memory)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			next, pieces, decoded := int64(0), 0, 0.0
			for p, err := range r.Pieces(t.Context(), r.AllColumns()) {
				if err != nil {
					t.Fatal(err)
				}
				got, err := r.Batch(t.Context(), p, r.AllColumns())
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
				decoded += float64(budget.SizeOf(got))
			}
			if next != int64(rows) || pieces < testsize.Of(3, 4) {
				t.Errorf("%d rows in %d pieces", next, pieces)
			}
			if most := r.DecodedBytes(); most < decoded {
				t.Errorf("the rows take %.0f bytes, and at most %.0f were expected", decoded, most)
			}
		})
	}
}
