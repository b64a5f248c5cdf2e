package lake_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/apache/iceberg-go"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columns"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
)

// Manifests are Avro files, whose names have letters, digits and underscores only.
func TestATableIsPartitionedByAColumnOfAnyName(t *testing.T) {
	for _, name := range []string{"my col", "größe", "a-b", "1st", "a/b", "x%y", "日本", "a=b", "Ünder·", "\U0001f496"} {
		cat := laketest.OpenCatalog(t, t.TempDir())
		t.Run(name, func(t *testing.T) {
			p := sending(t, `"id":{"type":"integer"},"`+name+`":{"type":"string"}`, "id")
			p.Wanted.Names = columns.Preserve
			var rows []string
			for i, fields := range [][]string{{"truncate(2, " + name + ")"}, {"bucket(4, " + name + ")", "identity(" + name + ")"}, {"truncate(2, " + name + ")"}} {
				tbl, err := lake.Open(t.Context(), cat, p, lake.Options{Settings: tabledef.Settings{PartitionBy: by(t, fields...)}})
				if err != nil {
					t.Fatal(err)
				}
				send(t, tbl, fmt.Sprintf(`{"id":0,%q:"%[2]d"}`, name, i), fmt.Sprintf(`{"id":%d,%q:"same"}`, i+1, name))
				checkPartitions(t, tbl)
				rows = append(rows, fmt.Sprintf(`{"id":%d,%q:"same"}`, i+1, name))
				if i == 2 {
					laketest.Maintain(t, tbl, laketest.Everything)
					checkPartitions(t, tbl)
					laketest.ExpectRows(t, tbl, append(rows, fmt.Sprintf(`{"id":0,%q:"2"}`, name))...)
				}
			}
		})
	}
}

func TestPartitionFieldsOfAnyNameThatAnotherProgramAdded(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	tbl := openTable(t, cat, laketest.Plain("s"), lake.Options{})
	add := func(column, name string) {
		t.Helper()
		tx := laketest.Load(t, tbl).NewTransaction()
		if err := tx.UpdateSpec(true).AddField(column, iceberg.IdentityTransform{}, name).Commit(); err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	add("id", "an id-1")
	tbl = openTable(t, cat, laketest.Plain("s"), lake.Options{})
	laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, map[string]any{"id": 1, "v": "x"}))
	laketest.ExpectRows(t, tbl, `{"id":1,"v":"x"}`)
	checkPartitions(t, tbl)
	// Iceberg's Java library writes such letters as they are, and the manifest could not be read.
	add("v", "größe")
	if _, err := lake.Open(t.Context(), cat, laketest.Plain("s"), lake.Options{}); err == nil || !strings.Contains(err.Error(), `Table ns.s has, or had, the partition field "größe"`) {
		t.Errorf("error %v", err)
	}
}
