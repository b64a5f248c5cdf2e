package laketest

import (
	"fmt"
	"iter"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/apache/iceberg-go/table/dv"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
)

// TwoFiles is a table of two data files: keys 1 to 3 and 4 to 6.
func TwoFiles(t *testing.T, o lake.Options) (*lake.Table, []*snapshots.LiveFile) {
	t.Helper()
	tbl := OpenTable(t, OpenCatalog(t, t.TempDir()), Keyed("s"), o)
	for _, first := range []int64{1, 4} {
		var all []map[string]any
		for key := first; key < first+3; key++ {
			all = append(all, Version{Key: key, Cursor: 1, V: "old"}.Row())
		}
		Commit(t, tbl, "", Stage(t, tbl, 0, all...))
	}
	set, err := tbl.Storage().List(Load(t, tbl).SnapshotByName(tbl.Branch()), snapshots.Cache{})
	if err != nil {
		t.Fatal(err)
	}
	if set.Files[0].Sequence > set.Files[1].Sequence {
		set.Files[0], set.Files[1] = set.Files[1], set.Files[0]
	}
	return tbl, set.Files
}

// AddDeletes commits delete files as another program would.
func AddDeletes(t *testing.T, tbl *lake.Table, deletes ...iceberg.DataFile) {
	t.Helper()
	tx := Load(t, tbl).NewTransaction()
	if err := tx.NewRowDelta(nil).AddDeletes(deletes...).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// RowsOf reads a table back.
func RowsOf(t *testing.T, tbl *lake.Table) []string {
	t.Helper()
	got := Rows(t, Load(t, tbl))
	slices.Sort(got)
	return got
}

// SharedDeletes writes a position delete file of several data files.
func SharedDeletes(t *testing.T, tbl *lake.Table, files []*snapshots.LiveFile) []iceberg.DataFile {
	t.Helper()
	b := array.NewRecordBuilder(memory.DefaultAllocator, table.PositionalDeleteArrowSchema)
	for _, f := range files {
		b.Field(0).(*array.StringBuilder).Append(f.Data.FilePath())
		b.Field(1).(*array.Int64Builder).Append(0)
	}
	file, err := parquetfile.Create(tbl.Storage().Files, tbl.Storage().NewPath(".parquet"), table.PositionalDeleteArrowSchema, parquetfile.PositionDeleteEncoding())
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Write(b.NewRecordBatch()); err != nil {
		t.Fatal(err)
	}
	data, err := file.Close(table.DataFileArgs{
		Schema: iceberg.PositionalDeleteSchema, Spec: tbl.Opened().Spec(), FormatVersion: 2, Content: iceberg.EntryContentPosDeletes,
	})
	if err != nil {
		t.Fatal(err)
	}
	return []iceberg.DataFile{data}
}

// SharedVectors writes the deletion vectors of several data files into one file.
func SharedVectors(t *testing.T, tbl *lake.Table, files []*snapshots.LiveFile) []iceberg.DataFile {
	t.Helper()
	spec := tbl.Opened().Spec()
	w := dv.NewDVWriter(tbl.Storage().Files, func(int32) *iceberg.PartitionSpec { return &spec })
	for _, f := range files {
		if err := w.Add(f.Data.FilePath(), []int64{0}, 0, nil); err != nil {
			t.Fatal(err)
		}
	}
	deletes, err := w.Flush(t.Context(), tbl.Storage().Locations.NewDataLocation("theirs.puffin"))
	if err != nil {
		t.Fatal(err)
	}
	if len(deletes) != 2 || deletes[0].FilePath() != deletes[1].FilePath() {
		t.Fatalf("the vectors are in %v", deletes)
	}
	return deletes
}

// AddEqualityDelete commits the deletion of a key as another program would.
func AddEqualityDelete(t *testing.T, tbl *lake.Table, key int64) {
	t.Helper()
	tx := Load(t, tbl).NewTransaction()
	schema, err := table.SchemaToArrowSchema(iceberg.NewSchema(0, tbl.Opened().Schema().Field(0)), nil, true, false)
	if err != nil {
		t.Fatal(err)
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	b.Field(0).(*array.Int64Builder).Append(key)
	keys := func(yield func(arrow.RecordBatch, error) bool) { yield(b.NewRecordBatch(), nil) }
	deletes, err := tx.WriteEqualityDeletes(t.Context(), []int{1}, iter.Seq2[arrow.RecordBatch, error](keys))
	if err != nil {
		t.Fatal(err)
	}
	AddDeletes(t, tbl, deletes...)
}

// AddFile adds a data file of one row group that another program wrote: for each id the text that v says.
func AddFile(t *testing.T, tbl *lake.Table, props *parquet.WriterProperties, rows int, v func(row int) string) int64 {
	t.Helper()
	schema, err := table.SchemaToArrowSchema(OptionalKeys(tbl), nil, true, false)
	if err != nil {
		t.Fatal(err)
	}
	location := tbl.Storage().Locations.NewDataLocation(fmt.Sprintf("theirs-%p.parquet", props))
	out, err := tbl.Storage().Files.Create(location)
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
		Schema: tbl.Opened().Schema(), Spec: tbl.Opened().Spec(), FormatVersion: 2, Content: iceberg.EntryContentData, Format: iceberg.ParquetFile,
		Metadata: meta, FilePath: location, FileSize: w.RowGroupTotalBytesWritten(),
	})
	if err != nil {
		t.Fatal(err)
	}
	tx := Load(t, tbl).NewTransaction()
	if err := tx.AddDataFiles(t.Context(), []iceberg.DataFile{data}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return data.FileSizeBytes()
}
