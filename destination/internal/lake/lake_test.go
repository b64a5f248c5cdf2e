package lake_test

import (
	"slices"
	"testing"

	"github.com/apache/iceberg-go"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columns"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

func TestMain(m *testing.M) { laketest.Main(m) }

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

func openTable(t testing.TB, cat lake.Catalog, p *columnar.Plan, o lake.Options) *lake.Table {
	t.Helper()
	tbl, err := lake.OpenUnbound(t.Context(), cat, p, o)
	if err != nil {
		t.Fatal(err)
	}
	return tbl
}
