package lake_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// From the lines a source writes to the rows a reader sees, twice: the second
// sync has a schema that grew, and replaces and deletes.
func TestLinesBecomeRows(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	sync := func(schema string, state string, lines ...string) *lake.Table {
		t.Helper()
		plan, err := columnar.NewPlan(protocol.ConfiguredStream{
			Stream: protocol.Stream{
				Namespace: "whoop", Name: "Sleep", JSONSchema: json.RawMessage(schema),
				SourceDefinedPrimaryKey: [][]string{{"id"}}, SourceDefinedCursor: true, DefaultCursorField: []string{"updated_at"},
			},
			SyncMode: protocol.Incremental, DestinationSyncMode: protocol.AppendDedup,
		}, columnar.Options{})
		if err != nil {
			t.Fatal(err)
		}
		tbl, err := lake.Open(t.Context(), cat, plan, lake.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var d columnar.Decoder
		rows := columnar.NewBatch(tbl.Layout(), columnar.RowMeta{})
		err = d.Decode([]byte(strings.Join(lines, "\n")+"\n"), 1, 0, func(namespace, name []byte) (*columnar.Batch, error) { return rows, nil })
		if err != nil {
			t.Fatal(err)
		}
		w := tbl.NewWriter()
		if err := w.Write(t.Context(), rows.Record(), rows.Order()); err != nil {
			t.Fatal(err)
		}
		rows.Reset() // the writer keeps nothing of it
		staged, err := w.Close(t.Context(), nil, nil, math.MaxInt64)
		if err != nil {
			t.Fatal(err)
		}
		laketest.Commit(t, tbl, state, staged)
		return tbl
	}
	record := func(data string) string {
		return fmt.Sprintf(`{"type":"RECORD","record":{"namespace":"whoop","stream":"Sleep","emitted_at":1700000000000,"data":%s}}`, data)
	}
	sync(`{"type":"object","properties":{"id":{"type":"string"},"updated_at":{"type":"string","format":"date-time"},"score":{"type":["null","object"],"properties":{"strain":{"type":"number"}}}}}`,
		`{"n":1}`,
		record(`{"id":"a","updated_at":"2026-01-01T00:00:00Z","score":{"strain":1.5}}`),
		record(`{"id":"b","updated_at":"2026-01-01T00:00:00Z","score":null}`),
		record(`{"id":"a","updated_at":"2026-01-02T00:00:00+02:00","score":{"strain":2.5}}`))
	tbl := sync(`{"type":"object","properties":{"id":{"type":"string"},"updated_at":{"type":"string","format":"date-time"},"score":{"type":["null","object"],"properties":{"strain":{"type":"number"},"kilojoule":{"type":"number"}}},"_ab_cdc_deleted_at":{"type":"string"}}}`,
		`{"n":2}`,
		record(`{"id":"b","updated_at":"2026-01-03T00:00:00Z","_ab_cdc_deleted_at":"2026-01-03"}`),
		record(`{"id":"c","updated_at":"2026-01-03T00:00:00Z","score":{"strain":3,"kilojoule":4}}`))
	var got []string
	for row, err := range inspect.Rows(t.Context(), laketest.Load(t, tbl), 0) {
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(row[:3])
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(text))
	}
	want := []string{
		`{"id":"a","updated_at":"2026-01-01T22:00:00Z","score":{"strain":2.5,"kilojoule":null}}`,
		`{"id":"c","updated_at":"2026-01-03T00:00:00Z","score":{"strain":3,"kilojoule":4}}`,
	}
	if diff := cmp.Diff(want, got, laketest.Sorted); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	laketest.CheckFiles(t, laketest.Load(t, tbl))
	if tbl.String() != "whoop.sleep" {
		t.Errorf("the table is %s", tbl)
	}
}
