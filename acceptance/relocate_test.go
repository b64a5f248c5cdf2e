//go:build acceptance

package acceptance

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/acceptance/servers"
)

// A lake that was moved is read by the engines at every snapshot, as it was before. DuckDB opens its tables by their
// directories, before it is moved, before it is relocated, and afterwards.
func TestEnginesReadARelocatedLake(t *testing.T) {
	t.Parallel()
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

// A lake whose objects are in another bucket, and no longer in the old one, is read by the engines as before, and
// written on. So is a local lake that was copied into a bucket.
func TestEnginesReadALakeInAnotherBucket(t *testing.T) {
	t.Parallel()
	store := serve(t, programs().VersityGW)
	for to, from := range map[string]string{"from-bucket": "s3://" + servers.Bucket + "/first", "from-files": ""} {
		t.Run(to, func(t *testing.T) {
			dir, upsert := t.TempDir(), map[string]any{"upsert": "merge_on_read"}
			catalog := map[string]any{"type": "sqlite", "path": filepath.Join(dir, "catalog.db")}
			options := map[string]any{"catalog": catalog}
			maps.Copy(options, upsert)
			objects := filepath.Join(dir, "lake")
			if from == "" {
				from = "file://" + objects
			} else {
				options["warehouse"], options["storage"] = from, store.Storage()
				objects = filepath.Join(store.Directory, servers.Bucket, "first")
			}
			l := newLake(t, dir, options)
			stream := l.configure("items", itemSchema, []string{"version"}, "id")
			want := map[int]int{}
			write := func(l *lake, sync int) {
				t.Helper()
				var records []string
				for i := range 20 {
					id, version := i*(sync+1)%31, sync*100+i
					records = append(records, fmt.Sprintf(`{"id":%d,"version":%d,"name":"row"}`, id, version))
					want[id] = version
				}
				l.write(stream, messages("items", records...))
			}
			for sync := range 3 {
				write(l, sync)
			}
			bucket := filepath.Join(store.Directory, to)
			if err := errors.Join(os.Mkdir(bucket, 0o755), os.Rename(objects, filepath.Join(bucket, "lake"))); err != nil {
				t.Fatal(err)
			}
			options["warehouse"], options["storage"] = "s3://"+to+"/lake", store.Storage()
			moved := newLake(t, dir, options)
			moved.run("relocate", "--config", moved.config, "--from", from)
			for sync := 3; sync < 5; sync++ {
				for engine, got := range moved.versions("items") {
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("to %s, before sync %d (-want +got):\n%s", engine, sync, diff)
					}
				}
				write(moved, sync)
			}
		})
	}
}

// versions are the rows of a table on S3 to each engine: id to version.
func (l *lake) versions(name string) map[string]map[int]int {
	l.t.Helper()
	var config map[string]any
	text, err := os.ReadFile(l.config)
	if err != nil {
		l.t.Fatal(err)
	}
	unmarshal(l.t, text, &config)
	all := map[string]map[int]int{"ours": l.versionsOf(l.preview(name))}
	metadata := l.metadataLocations()["whoop."+name]
	for engine, r := range l.readFromStore(config["storage"], "", map[string][2]string{name: {metadata, "id"}})[name] {
		all[engine] = l.versionsOf(r.Rows)
	}
	return all
}

// versionsOf are rows by id, of which each must be there once.
func (l *lake) versionsOf(rows []any) map[int]int {
	l.t.Helper()
	versions := map[int]int{}
	for _, r := range rows {
		values := r.(map[string]any)
		versions[number(l.t, values["id"])] = number(l.t, values["version"])
	}
	if len(versions) != len(rows) {
		l.t.Errorf("%d rows with %d ids", len(rows), len(versions))
	}
	return versions
}
