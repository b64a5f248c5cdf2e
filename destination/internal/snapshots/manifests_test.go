package snapshots

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/apache/iceberg-go"
)

func TestTheHeaderOfAManifestFitsTenThousandColumns(t *testing.T) {
	day := iceberg.NestedField{ID: 1, Name: "o", Type: &iceberg.StructType{FieldList: []iceberg.NestedField{{ID: 2, Name: "day", Type: iceberg.PrimitiveTypes.Date}}}}
	few := iceberg.NewSchema(7, day, iceberg.NestedField{ID: 3, Name: "text", Type: iceberg.PrimitiveTypes.String})
	spec, err := iceberg.NewPartitionSpecOpts(iceberg.WithSpecID(1), iceberg.AddPartitionFieldBySourceID(2, "o.day", iceberg.IdentityTransform{}, few, nil))
	if err != nil {
		t.Fatal(err)
	}
	fields := few.Fields()
	for i := range 10_000 {
		fields = append(fields, iceberg.NestedField{ID: 10 + i, Name: fmt.Sprint("a column of number ", i), Type: iceberg.PrimitiveTypes.String, Doc: "what its source calls it"})
	}
	for _, s := range []*iceberg.Schema{few, iceberg.NewSchema(8, fields...)} {
		header, err := headerSchema(s, spec)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(header)
		if err != nil || len(text) > 1<<20 || header.ID != s.ID {
			t.Errorf("%d columns: %d bytes of schema %d, %v", s.NumFields(), len(text), header.ID, err)
		}
		if got, want := spec.PartitionType(header).String(), spec.PartitionType(few).String(); got != want {
			t.Errorf("%d columns: files are partitioned by %s, want %s", s.NumFields(), got, want)
		}
		if s == few && header != few {
			t.Error("a header that fits is not the schema's own")
		}
	}
}
