//go:build acceptance

package acceptance

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/acceptance/servers"
)

// Files in an object store and a shared catalog: kill -9 and SIGTERM cost no more than on local files. What they leave
// behind is removed when it is older than a day.
func TestKilledFeedOnS3ResumedFromItsTablesHasEveryRowOnce(t *testing.T) {
	t.Parallel()
	store, database, glue := serve(t, programs().VersityGW), serve(t, servers.Postgres), serve(t, programs().Moto)
	nessie := serve(t, func(ctx context.Context) (*servers.Server, error) { return programs().Nessie(ctx, store) })
	for name, lake := range map[string]struct {
		warehouse string
		catalog   map[string]any
	}{
		"postgres": {"s3://" + servers.Bucket + "/killed", map[string]any{"type": "postgres", "uri": database.Endpoint}},
		"glue":     {"s3://" + servers.Bucket + "/glue", map[string]any{"type": "glue", "endpoint": glue.Endpoint}},
		"nessie":   {servers.NessieWarehouse, map[string]any{"type": "rest", "uri": nessie.Endpoint}},
	} {
		t.Run(name, func(t *testing.T) {
			options := map[string]any{"warehouse": lake.warehouse, "storage": store.Storage(), "catalog": lake.catalog}
			maps.Copy(options, smallCommits)
			killedOnS3(t, store, options)
		})
	}
}

func killedOnS3(t *testing.T, store *servers.Server, options map[string]any) {
	t.Helper()
	f := feed{lengths: map[string]int{"log": 40_000, "accounts": 20_000, "totals": 10_000}, version: 1}
	left, random := kills(t, 0.1)
	for lakes := 0; left > 0; lakes++ {
		options["namespace"] = fmt.Sprintf("lake%d", lakes)
		l := newLake(t, t.TempDir(), options)
		catalog := f.configure(l)
		from := map[string]int{}
		left -= f.stopped(l, catalog, random, from, func(a *attempt) {
			clear(from)
			maps.Copy(from, l.positions(catalog))
			for stream, n := range a.echoed {
				if from[stream] < n {
					t.Fatalf("state %d of %s was echoed, the table is at %d", n, stream, from[stream])
				}
			}
			l.wantFeed(from["log"], from["accounts"])
		})
		if t.Failed() {
			return
		}
		for range 2 { // before and after what is left behind is removed
			l.wantFeed(f.lengths["log"], f.lengths["accounts"])
			if totals := len(l.preview("totals")); totals != f.lengths["totals"] {
				t.Errorf("totals holds %d rows", totals)
			}
			pass(t, store)
			l.run("maintain", "--config", l.config)
		}
		if options["warehouse"] != servers.NessieWarehouse { // Nessie forbids to remove files: its history may need them
			l.run("maintain", "--config", l.config, "--orphans", "all")
			l.wantNoLeftovers(store)
		}
		if t.Failed() {
			return
		}
	}
}

// wantFeed checks that log and accounts hold so many of their records, each once.
func (l *lake) wantFeed(log, accounts int) {
	l.t.Helper()
	for stream, want := range map[string]map[int]int{"log": seriesAt(log), "accounts": accountsAt(accounts)} {
		if len(want) == 0 {
			continue // there may be no table yet
		}
		got, rows := map[int]int{}, 0
		for _, r := range l.preview(stream) {
			values := r.(map[string]any)
			got[number(l.t, values["id"])] = number(l.t, values["version"])
			rows++
		}
		if diff := cmp.Diff(want, got); diff != "" || rows != len(got) {
			l.t.Errorf("%s has %d rows of %d ids (-want +got):\n%.2000s", stream, rows, len(got), diff)
		}
	}
}

// seriesAt is what log must hold after so many of its records: id to version.
func seriesAt(n int) map[int]int {
	rows := map[int]int{}
	for i := range n {
		rows[i] = i
	}
	return rows
}

func number(t testing.TB, value any) int {
	t.Helper()
	n, err := value.(json.Number).Int64()
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}
