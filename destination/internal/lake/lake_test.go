package lake

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"
	"modernc.org/sqlite"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columns"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// These tests are about what is written. That it is on disk when the catalog
// names it is for package storage to show; waiting for the disk here would
// only take time.
func TestMain(m *testing.M) {
	// The first storage to be opened puts its files in the library's place.
	if _, err := storage.Open(context.Background(), storage.Default(), "file:///nowhere"); err != nil {
		panic(err)
	}
	sqlite.RegisterConnectionHook(func(conn sqlite.ExecQuerierContext, _ string) error {
		_, err := conn.ExecContext(context.Background(), "PRAGMA synchronous = OFF", nil)
		return err
	})
	iceio.Unregister("file")
	iceio.Register("file", func(context.Context, *url.URL, map[string]string) (iceio.IO, error) { return iceio.LocalFS{}, nil })
	os.Exit(m.Run())
}

// airbyteColumns end every table; ids are provisional.
func airbyteColumns(id int) []iceberg.NestedField {
	text := iceberg.PrimitiveTypes.String
	change := &iceberg.StructType{FieldList: []iceberg.NestedField{
		{ID: id + 7, Name: "field", Type: text}, {ID: id + 8, Name: "change", Type: text}, {ID: id + 9, Name: "reason", Type: text},
	}}
	return []iceberg.NestedField{
		{ID: id, Name: "_airbyte_raw_id", Type: text, Required: true},
		{ID: id + 1, Name: "_airbyte_extracted_at", Type: iceberg.PrimitiveTypes.TimestampTz},
		{ID: id + 2, Name: "_airbyte_meta", Type: &iceberg.StructType{FieldList: []iceberg.NestedField{
			{ID: id + 4, Name: "sync_id", Type: iceberg.PrimitiveTypes.Int64},
			{ID: id + 5, Name: "changes", Type: &iceberg.ListType{ElementID: id + 6, Element: change}},
		}}},
		{ID: id + 3, Name: "_airbyte_generation_id", Type: iceberg.PrimitiveTypes.Int64},
	}
}

func planOf(name string, properties ...iceberg.NestedField) *columnar.Plan {
	for i := range properties {
		properties[i].ID = i + 1
	}
	airbyte := airbyteColumns(max(1000, len(properties)+1))
	return &columnar.Plan{
		Stream: protocol.StreamID{Namespace: "ns", Name: name}, Location: columnar.Location{Namespace: "ns", Table: name},
		Wanted: columns.Wanted{Properties: properties, Airbyte: airbyte},
		Schema: iceberg.NewSchema(0, slices.Concat(properties, airbyte)...),
	}
}

// keyed is the plan most tests use: one row per id, the highest updated_at
// wins, deleted_at deletes.
func keyed(name string) *columnar.Plan {
	p := planOf(name,
		iceberg.NestedField{Name: "id", Type: iceberg.PrimitiveTypes.Int64, Required: true},
		iceberg.NestedField{Name: "v", Type: iceberg.PrimitiveTypes.String},
		iceberg.NestedField{Name: "updated_at", Type: iceberg.PrimitiveTypes.TimestampTz},
		iceberg.NestedField{Name: "_ab_cdc_deleted_at", Type: iceberg.PrimitiveTypes.String},
	)
	p.Dedup, p.Key, p.Cursor, p.Deleted = true, []string{"id"}, "updated_at", "_ab_cdc_deleted_at"
	return p
}

func plain(name string) *columnar.Plan {
	return planOf(name,
		iceberg.NestedField{Name: "id", Type: iceberg.PrimitiveTypes.Int64},
		iceberg.NestedField{Name: "v", Type: iceberg.PrimitiveTypes.String},
	)
}

func openCatalog(t testing.TB, dir string) *catalogs.Catalog {
	t.Helper()
	files, err := storage.Open(t.Context(), storage.Default(), "file://"+dir)
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

func openTable(t testing.TB, cat catalog.Catalog, p *columnar.Plan, o Options) *Table {
	t.Helper()
	tbl, err := open(t.Context(), cat, p, o)
	if err != nil {
		t.Fatal(err)
	}
	return tbl
}

// batch makes rows from JSON objects; _airbyte_raw_id is filled in.
func batch(t testing.TB, schema *iceberg.Schema, rows ...map[string]any) arrow.RecordBatch {
	t.Helper()
	as, err := table.SchemaToArrowSchema(schema, nil, true, false)
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range rows {
		if _, ok := row["_airbyte_raw_id"]; !ok {
			row["_airbyte_raw_id"] = fmt.Sprint("raw", i)
		}
	}
	text, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, as, strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// stage writes rows with one writer; the order of the first is first.
func stage(t testing.TB, tbl *Table, first uint64, rows ...map[string]any) *Staged {
	t.Helper()
	w := tbl.NewWriter()
	var order []uint64
	for i := range rows {
		order = append(order, first+uint64(i))
	}
	s, err := w.Close(t.Context(), batch(t, tbl.schema, rows...), order, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func commit(t testing.TB, tbl *Table, state string, staged ...*Staged) {
	t.Helper()
	var raw json.RawMessage
	if state != "" {
		raw = json.RawMessage(state)
	}
	if _, err := tbl.Commit(t.Context(), staged, raw); err != nil {
		t.Fatal(err)
	}
}

func load(t testing.TB, tbl *Table) *table.Table {
	t.Helper()
	loaded, err := tbl.cat.LoadTable(context.WithoutCancel(t.Context()), tbl.id)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// lastState is the state that a table has; it must be known.
func lastState(t testing.TB, tbl *table.Table) json.RawMessage {
	t.Helper()
	state, err := LastState(context.WithoutCancel(t.Context()), tbl)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// rows reads a table back through the library's scanner, Airbyte's own
// columns left out, sorted by their JSON.
func rows(t testing.TB, tbl *table.Table) []string {
	t.Helper()
	got := []string{}
	for row, err := range Rows(t.Context(), tbl, 0) {
		if err != nil {
			t.Fatal(err)
		}
		var short Row
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

func expectRows(t testing.TB, tbl *Table, want ...string) {
	t.Helper()
	loaded := load(t, tbl)
	if want == nil {
		want = []string{}
	}
	if diff := cmp.Diff(want, rows(t, loaded), sorted); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	checkFiles(t, loaded)
}

// optionalKeys is a table's schema with nothing required, as rows could come.
func optionalKeys(tbl *Table) *iceberg.Schema {
	fields := tbl.schema.Fields()
	for i := range fields {
		fields[i].Required = false
	}
	return iceberg.NewSchema(0, fields...)
}
