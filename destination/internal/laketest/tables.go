package laketest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
)

// OpenCatalog opens the catalog of a directory.
func OpenCatalog(t testing.TB, dir string) *catalogs.Catalog {
	t.Helper()
	files, err := storage.Open(t.Context(), storage.Default(), "file://"+dir, "")
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalogs.Open(t.Context(), catalogs.Default(), files)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cat.Close(); err != nil {
			t.Error(err)
		}
	})
	return cat
}

// Batch makes rows from JSON objects; _airbyte_raw_id is filled in.
func Batch(t testing.TB, schema *iceberg.Schema, rows ...map[string]any) arrow.RecordBatch {
	t.Helper()
	as, err := table.SchemaToArrowSchema(schema, nil, true, false)
	if err != nil {
		t.Fatal(err)
	}
	named := slices.Clone(rows)
	for i, row := range rows {
		if _, ok := row["_airbyte_raw_id"]; !ok {
			named[i] = maps.Clone(row) // it may be shared with other goroutines
			named[i]["_airbyte_raw_id"] = fmt.Sprint("raw", i)
		}
	}
	text, err := json.Marshal(named)
	if err != nil {
		t.Fatal(err)
	}
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, as, strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// WithTexts puts long texts into a column of a batch. As JSON, each of their bytes would
// be looked at several times.
func WithTexts(rec arrow.RecordBatch, column string, texts []string) arrow.RecordBatch {
	b := array.NewStringBuilder(memory.DefaultAllocator)
	b.AppendValues(texts, nil)
	columns := slices.Clone(rec.Columns())
	columns[rec.Schema().FieldIndices(column)[0]] = b.NewArray()
	return array.NewRecordBatch(rec.Schema(), columns, rec.NumRows())
}

// Stage writes rows with one writer; the order of the first is first.
func Stage(t testing.TB, tbl *lake.Table, first uint64, rows ...map[string]any) *lake.Staged {
	t.Helper()
	w := tbl.NewWriter()
	var order []uint64
	for i := range rows {
		order = append(order, first+uint64(i))
	}
	s, err := w.Close(t.Context(), Batch(t, tbl.Opened().Schema(), rows...), order, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Commit commits staged files with a state, "" for none.
func Commit(t testing.TB, tbl *lake.Table, state string, staged ...*lake.Staged) {
	t.Helper()
	var raw json.RawMessage
	if state != "" {
		raw = json.RawMessage(state)
	}
	if _, err := tbl.Commit(t.Context(), staged, raw); err != nil {
		t.Fatal(err)
	}
}

// Load loads a table as it is now.
func Load(t testing.TB, tbl *lake.Table) *table.Table {
	t.Helper()
	loaded, err := tbl.Catalog().LoadTable(context.WithoutCancel(t.Context()), tbl.Opened().Identifier())
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// LastState is the state that a table has; it must be known.
func LastState(t testing.TB, tbl *table.Table) json.RawMessage {
	t.Helper()
	state, err := lake.LastState(context.WithoutCancel(t.Context()), tbl)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// Rows reads a table back through the library's scanner, Airbyte's own
// columns left out, sorted by their JSON.
func Rows(t testing.TB, tbl *table.Table) []string {
	t.Helper()
	got := []string{}
	for row, err := range inspect.Rows(t.Context(), tbl, 0) {
		if err != nil {
			t.Fatal(err)
		}
		var short inspect.Row
		for _, c := range row {
			if !strings.HasPrefix(c.Name, "_a") {
				short = append(short, c)
			}
		}
		text, err := json.Marshal(short)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(text))
	}
	return got
}

// ExpectRows compares the rows of a table with what they should be, in any order, and checks its files.
func ExpectRows(t testing.TB, tbl *lake.Table, want ...string) {
	t.Helper()
	loaded := Load(t, tbl)
	if want == nil {
		want = []string{}
	}
	if diff := cmp.Diff(want, Rows(t, loaded), Sorted); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	CheckFiles(t, loaded)
}

// OptionalKeys is a table's schema with nothing required, as rows could come.
func OptionalKeys(tbl *lake.Table) *iceberg.Schema {
	fields := tbl.Opened().Schema().Fields()
	for i := range fields {
		fields[i].Required = false
	}
	return iceberg.NewSchema(0, fields...)
}

// InOrder sorts rows.
func InOrder(rows []string) []string { return slices.Sorted(slices.Values(rows)) }

// RowsAt reads a table back as it was.
func RowsAt(t *testing.T, tbl *table.Table, options ...table.ScanOption) []string {
	t.Helper()
	rows := []string{}
	_, batches, err := tbl.Scan(append(options, table.WithSelectedFields("id", "v"), table.WithRowFilter(iceberg.AlwaysTrue{}))...).ToArrowRecords(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for b, err := range batches {
		if err != nil {
			t.Fatal(err)
		}
		for i := range int(b.NumRows()) {
			rows = append(rows, fmt.Sprintf(`{"id":%s,"v":%q}`, b.Column(0).ValueStr(i), b.Column(1).ValueStr(i)))
		}
	}
	return InOrder(rows)
}
