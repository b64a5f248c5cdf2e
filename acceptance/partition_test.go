//go:build acceptance

package acceptance

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const eventSchema = `{"type":"object","properties":{"id":{"type":"integer"},"version":{"type":"integer"},"moment":{"type":["null","string"],"format":"date-time"},
	"wall":{"type":["null","string"],"format":"date-time","airbyte_type":"timestamp_without_timezone"},"day":{"type":["null","string"],"format":"date"},
	"amount":{"type":["null","number"]},"whole":{"type":["null","integer"]},"place":{"type":["null","string"]},"flag":{"type":["null","boolean"]},
	"_ab_cdc_deleted_at":{"type":["null","string"],"format":"date-time"}}}`

// Values on both sides of every edge there is for a transform.
var eventValues = map[string][]string{
	"moment": {`"1969-12-31T23:59:59.999999Z"`, `"1970-01-01T00:00:00Z"`, `"2024-02-29T12:30:00Z"`, `"2026-01-01T00:30:00+05:30"`, `"0001-01-01T00:00:00Z"`, `"9999-12-31T23:59:59Z"`, "null"},
	"wall":   {`"1969-12-31T23:00:00"`, `"1970-01-01T00:00:00"`, `"2024-02-29T12:30:00"`, `"1582-10-15T00:00:00.25"`, "null"},
	"day":    {`"1969-12-31"`, `"1970-01-01"`, `"2024-02-29"`, `"0001-01-01"`, `"9999-12-31"`, "null"},
	"amount": {"-0.000000001", "0", "-12345.678901234", "99999999.5", "10", "null"},
	"whole":  {"-11", "-10", "-1", "0", "9", "10", "9223372036854775807", "null"},
	"place":  {`""`, `"a"`, `"a=b/c"`, `"\u00e9\u4e2d\ud83d\udc96 and more"`, `"null"`, `"%2F"`, `".."`, `"a long place, longer than any bound that is kept of it"`, "null"},
	"flag":   {"true", "false", "null"},
}

// However a table has been divided, from sync to sync, engines find in each of its files what the
// file's partition says, and by a filter neither more nor less than without partitions.
func TestEnginesPruneByPartition(t *testing.T) {
	t.Parallel()
	divisions := [][]string{
		{"month(moment)"},
		{"bucket(7, id)", "flag"},
		{"day"},
		{"truncate(10, whole)", "truncate(2, place)"},
		{"place"},
		{},
		{"hour(moment)", "year(wall)"},
		{"bucket(3, amount)", "bucket(3, place)", "bucket(3, day)"},
		{"truncate(500, amount)", "year(day)"},
		{"month(moment)"},
		{"day(wall)", "bucket(3, moment)"},
		{"amount"},
	}
	// Of times before 1970 DuckDB 1.5.5 looks for a single one in the wrong month and day.
	filters := []string{
		"moment < '1970-01-01T00:00:00+00:00'", "moment >= '2024-02-01T00:00:00+00:00' and moment < '2024-03-01T00:00:00+00:00'", "moment is null", "moment is not null",
		"wall < '1970-01-01T00:00:00'", "wall = '2024-02-29T12:30:00'", "day = '1969-12-31'", "day > '2024-02-28'", "day is null",
		"whole = -1", "whole >= 0", "whole < -10", "whole in (9, 10)", "whole is null",
		"place = ''", "place = 'a'", "place >= 'a'", "place = 'a=b/c'", "place is null", "place != ''", "place like 'a%'",
		"amount < 0", "amount = 10", "amount is null", "flag = true", "flag is null", "id = 7", "id in (1, 2, 3)",
	}
	for _, upsert := range []string{"merge_on_read", "copy_on_write"} {
		t.Run(upsert, func(t *testing.T) {
			l := newLake(t, t.TempDir(), nil)
			catalog := l.configure("events", eventSchema, []string{"version"}, "id")
			random := rand.New(rand.NewPCG(3, 4))
			want := map[int]int{} // id to version
			version := 0
			for round, by := range divisions {
				writeJSON(t, l.config, map[string]any{
					"warehouse": "file://" + l.dir, "namespace": "whoop", "upsert": upsert, "numbers": "decimal", "maintenance": map[string]any{"on_write": round%3 == 2},
					"streams": []any{map[string]any{"name": "events", "partition_by": by, "sort_by": []string{"place", "moment desc"}[round%2:]}},
				})
				var records []string
				for range 150 {
					version++
					id := random.IntN(400)
					record := fmt.Sprintf(`"id":%d,"version":%d`, id, version)
					for _, name := range slices.Sorted(maps.Keys(eventValues)) {
						record += fmt.Sprintf(`,%q:%s`, name, eventValues[name][random.IntN(len(eventValues[name]))])
					}
					if want[id] = version; random.IntN(8) == 0 {
						delete(want, id)
						record += `,"_ab_cdc_deleted_at":"2026-01-01T00:00:00Z"`
					}
					records = append(records, object(record))
				}
				l.write(catalog, messages("events", records...))
			}

			got := map[int]int{}
			for _, r := range l.ask(map[string]string{"events": "SELECT id, version FROM t"})["events"] {
				got[r[0]] = r[1]
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("rows (-want +got):\n%.2000s", diff)
			}
			l.read(map[string]string{"events": "id"}) // by both engines, which must agree
			found := l.partitions("events", filters...)
			for _, problem := range found.Problems {
				t.Error(problem)
			}
			files := 0
			for _, n := range found.Specs {
				files += n
			}
			if len(found.Specs) < 8 {
				t.Errorf("files by spec: %v", found.Specs)
			}
			var queries []string
			for i, filter := range filters {
				queries = append(queries, fmt.Sprintf("SELECT %d, id FROM t WHERE %s", i, filter))
				if f := found.Filters[filter]; f.Files >= files {
					t.Errorf("where %s: all %d files are read", filter, files)
				}
			}
			other := make([][]int, len(filters))
			for _, r := range l.ask(map[string]string{"events": strings.Join(queries, " UNION ALL ")})["events"] {
				other[r[0]] = append(other[r[0]], r[1])
			}
			for i, filter := range filters {
				slices.Sort(other[i])
				if ids := found.Filters[filter].IDs; !slices.Equal(ids, other[i]) {
					t.Errorf("where %s: PyIceberg has the rows %v, DuckDB %v", filter, ids, other[i])
				}
			}
			l.wantDeletes("events", upsert)

			// On demand all that can be is merged, each file within its partition.
			l.run("maintain", "--config", l.config)
			for _, problem := range l.partitions("events").Problems {
				t.Errorf("after maintenance: %s", problem)
			}
			l.read(map[string]string{"events": "id"})
		})
	}
}

// partitions is what PyIceberg finds of the partitions of a table.
type partitions struct {
	Specs    map[string]int // data files
	Problems []string
	Filters  map[string]struct {
		IDs   []int
		Files int
	}
}

func (l *lake) partitions(table string, filters ...string) partitions {
	l.t.Helper()
	args := append([]string{filepath.Join(l.dir, "catalog.db"), "file://" + l.dir, "whoop." + table}, filters...)
	out, err := script(l.t.Context(), "pyiceberg_partitions.py", args...)
	if err != nil {
		l.t.Fatal(err)
	}
	var found partitions
	unmarshal(l.t, out, &found)
	return found
}
