//go:build acceptance

package acceptance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A lake that was moved is read by the engines at every snapshot, as it was before. DuckDB opens its tables by their
// directories, before it is moved, before it is relocated, and afterwards.
func TestEnginesReadARelocatedLake(t *testing.T) {
	dir := t.TempDir()
	partitioned := []any{map[string]any{"name": "parts", "partition_by": []string{"bucket(2, id)", "truncate(1, v)"}}}
	l := newLake(t, dir, map[string]any{"upsert": "merge_on_read", "streams": partitioned})
	const schema = `{"type":"object","properties":{"id":{"type":"integer"},"v":{"type":"string"}}}`
	for _, name := range []string{"flat", "parts"} {
		catalog := l.configure(name, schema, nil, "id")
		for sync := range 4 {
			var records []string
			for i := range 20 {
				records = append(records, fmt.Sprintf(`{"id":%d,"v":"%d of %d"}`, i*(sync+1)%31, i, sync))
			}
			l.write(catalog, messages(name, records...))
		}
	}
	at := func(l *lake, name string) (found map[string]map[string][]string) {
		out, err := script(t.Context(), "snapshots.py", filepath.Join(l.dir, "catalog.db"), "file://"+l.dir, "whoop."+name, "v")
		if err != nil {
			t.Fatal(err)
		}
		unmarshal(t, out, &found)
		return found
	}
	directories := func(l *lake) (found [][]string) {
		out, err := script(t.Context(), "duckdb_directory.py", "v", l.dir+"/whoop.db/flat", l.dir+"/whoop.db/parts")
		if err != nil {
			t.Fatal(err)
		}
		unmarshal(t, out, &found)
		return found
	}
	byDirectory := directories(l)
	for i, name := range []string{"flat", "parts"} {
		var rows []string
		for _, row := range l.preview(name) {
			rows = append(rows, row.(map[string]any)["v"].(string))
		}
		slices.Sort(rows)
		if diff := cmp.Diff(rows, byDirectory[i]); diff != "" {
			t.Errorf("%s by its directory (-want +got):\n%s", name, diff)
		}
	}
	before := map[string]map[string]map[string][]string{"flat": at(l, "flat"), "parts": at(l, "parts")}

	moved := newLake(t, t.TempDir(), map[string]any{"upsert": "merge_on_read", "streams": partitioned})
	if out, err := exec.CommandContext(t.Context(), "mv", l.dir, moved.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if diff := cmp.Diff(byDirectory, directories(moved)); diff != "" {
		t.Errorf("by directories before it is relocated (-want +got):\n%s", diff)
	}
	moved.run("relocate", "--config", moved.config)
	if diff := cmp.Diff(byDirectory, directories(moved)); diff != "" {
		t.Errorf("by directories (-want +got):\n%s", diff)
	}
	if _, err := os.Stat(l.dir); err == nil {
		t.Error("the old place is there again")
	}
	for name, want := range before {
		if len(want["DuckDB"]) < 4 {
			t.Errorf("%d snapshots of %s", len(want["DuckDB"]), name)
		}
		if diff := cmp.Diff(want, at(moved, name)); diff != "" {
			t.Errorf("%s (-before +after):\n%s", name, diff)
		}
		catalog := moved.configure(name, schema, nil, "id")
		moved.write(catalog, messages(name, `{"id":1,"v":"after"}`))
		moved.wantDeletes(name, "merge_on_read")
	}
	moved.read(map[string]string{"flat": "id", "parts": "id"})
}
