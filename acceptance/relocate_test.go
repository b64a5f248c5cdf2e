//go:build acceptance

package acceptance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A lake that was moved is read by the engines at every snapshot, as it was before.
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
	before := map[string]map[string]map[string][]string{"flat": at(l, "flat"), "parts": at(l, "parts")}

	moved := newLake(t, t.TempDir(), map[string]any{"upsert": "merge_on_read", "streams": partitioned})
	if out, err := exec.CommandContext(t.Context(), "mv", l.dir, moved.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	moved.run("relocate", "--config", moved.config)
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
