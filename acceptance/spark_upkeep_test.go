//go:build acceptance

package acceptance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/acceptance/servers"
)

// Spark's procedures maintain a table in the place of our own maintenance, which is off. The rows and the state stay,
// and the destination writes on.
func TestSparkMaintainsATable(t *testing.T) {
	t.Parallel()
	moto := serve(t, func(ctx context.Context) (*servers.Server, error) { return programs().Moto(ctx) })
	warehouse := "s3://" + servers.Bucket + "/glue"
	m := &measured{lake: newLake(t, t.TempDir(), nil), random: rand.New(rand.NewPCG(7, 8)), options: map[string]any{
		"warehouse": warehouse, "catalog": map[string]any{"type": "glue", "endpoint": moto.Endpoint}, "storage": moto.Storage(),
		"namespace": "spark", "upsert": "merge_on_read", "maintenance": map[string]any{"on_write": false},
	}}
	want := map[string]string{}
	for range 4 {
		m.sync("items", want, []string{"bucket(3, id)"}, true)
	}
	const table = "glue.spark.items"
	glue := map[string]map[string]string{"glue": glueCatalog(moto, warehouse)}
	check := func(when string, deletes bool, statements ...string) {
		t.Helper()
		got := readBySpark(t, map[string]map[string]string{table: nil}, glue, statements...)[table]
		if diff := cmp.Diff(want, m.measurements(got)); diff != "" {
			t.Errorf("rows to Spark %s (-want +got):\n%.3000s", when, diff)
		}
		if (got.Files["position_deletes"] > 0) != deletes {
			t.Errorf("%s the table has the files %v", when, got.Files)
		}
		for engine, other := range m.read("")["spark.items"] {
			other.mendLists(got)
			if diff := cmp.Diff(got, other); diff != "" {
				t.Errorf("%s the table is not the same to both (-Spark +%s):\n%.3000s", when, engine, diff)
			}
		}
		catalog := filepath.Join(filepath.Dir(m.config), "items.catalog.json")
		if at := m.positions(catalog)["items"]; at != 200 {
			t.Errorf("%s the state is %d", when, at)
		}
	}
	now := time.Now().UTC().Add(time.Minute).Format(time.DateTime)
	yesterday := time.Now().UTC().Add(-25 * time.Hour).Format(time.DateTime)
	check("after Spark's procedures", false,
		"CALL glue.system.rewrite_data_files(table => 'spark.items', options => map('rewrite-all', 'true', 'use-starting-sequence-number', 'false', 'remove-dangling-deletes', 'true'))",
		"CALL glue.system.rewrite_manifests('spark.items')",
		fmt.Sprintf("CALL glue.system.expire_snapshots(table => 'spark.items', older_than => TIMESTAMP '%s', retain_last => 1)", now),
		fmt.Sprintf("CALL glue.system.remove_orphan_files(table => 'spark.items', older_than => TIMESTAMP '%s', prefix_listing => true)", yesterday),
	)
	for range 2 {
		m.sync("items", want, []string{"bucket(3, id)"}, true)
	}
	check("after more upserts", true)
}
