package laketest

import (
	"crypto/rand"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
)

// AddNameless adds a file that was written for no table, as Spark's add_files does: it
// has no field ids, and the table's name mapping says what the names of its columns mean.
// A table without one gets it.
func AddNameless(t *testing.T, tbl *lake.Table, schema *arrow.Schema, rows string, int96 bool) {
	t.Helper()
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(rows))
	if err != nil {
		t.Fatal(err)
	}
	location := tbl.Storage().Locations.NewDataLocation("nameless-" + rand.Text() + ".parquet")
	out, err := tbl.Storage().Files.Create(location)
	if err != nil {
		t.Fatal(err)
	}
	w, err := pqarrow.NewFileWriter(schema, out, parquet.NewWriterProperties(), pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema(), pqarrow.WithDeprecatedInt96Timestamps(int96)))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(rec); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(PathOf(t, location))
	if err != nil {
		t.Fatal(err)
	}
	loaded := Load(t, tbl)
	tx := loaded.NewTransaction()
	if loaded.NameMapping() == nil {
		names, err := json.Marshal(tbl.Opened().Schema().NameMapping())
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.SetProperties(iceberg.Properties{table.DefaultNameMappingKey: string(names)}); err != nil {
			t.Fatal(err)
		}
	}
	data, err := iceberg.NewDataFileBuilder(tbl.Opened().Spec(), iceberg.EntryContentData, location, iceberg.ParquetFile, nil, nil, nil, rec.NumRows(), info.Size())
	if err != nil {
		t.Fatal(err)
	}
	if loaded.Metadata().Version() >= 3 {
		data.FirstRowID(loaded.Metadata().NextRowID())
	}
	if err := tx.AddDataFiles(t.Context(), []iceberg.DataFile{data.Build()}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}
