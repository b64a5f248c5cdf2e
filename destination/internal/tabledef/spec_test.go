package tabledef

import (
	"errors"
	"strings"
	"testing"

	"github.com/apache/iceberg-go"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

func TestASpecThatCannotBeComputedIsRefused(t *testing.T) {
	d := Definition{Plan: &columnar.Plan{Location: columnar.Location{Namespace: "ns", Table: "s"}}}
	schema := iceberg.NewSchema(0, iceberg.NestedField{ID: 1, Name: "id", Type: iceberg.PrimitiveTypes.Int64})
	theirs, err := iceberg.ParseTransform("zorder")
	if err != nil {
		t.Fatal(err)
	}
	for want, field := range map[string]iceberg.PartitionField{
		"Table ns.s is partitioned by zorder, which this version cannot compute": {SourceIDs: []int{1}, FieldID: 1000, Name: "z", Transform: theirs},
		"Table ns.s is partitioned by a column that it no longer has, as gone":   {SourceIDs: []int{77}, FieldID: 1000, Name: "gone", Transform: iceberg.IdentityTransform{}},
		"": {SourceIDs: []int{1}, FieldID: 1000, Name: "id", Transform: iceberg.IdentityTransform{}},
	} {
		err := d.CheckSpec(iceberg.NewPartitionSpec(field), schema)
		var userError *protocol.Error
		if want == "" && err != nil || want != "" && (!errors.As(err, &userError) || userError.Kind != protocol.ConfigError || !strings.Contains(userError.Message, want)) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}
