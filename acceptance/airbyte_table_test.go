//go:build acceptance

package acceptance

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const airbyteItems = `{"properties":{"id":{"type":"integer"},"name":{"type":"string"},"version":{"type":"number"},
	"score":{"type":"object","properties":{"a":{"type":"integer"}}},"new":{"type":"string"}}}`

// A table that Airbyte's own Iceberg destination has made goes on: its columns are used, and its rows upserted. One whose
// times are numbers is refused before anything is written, and goes on once the column is renamed.
func TestATableOfAirbytesDestinationIsContinued(t *testing.T) {
	t.Parallel()
	input := withoutStatus(messages("items", `{"id":2,"name":"changed","version":2,"score":{"a":9},"new":"x"}`, `{"id":4,"name":"added","version":1,"score":null}`))
	for _, kind := range []string{"timestamptz", "long"} {
		t.Run(kind, func(t *testing.T) {
			l := newLake(t, t.TempDir(), map[string]any{"nested": "json"})
			if err := os.Mkdir(l.dir, 0o755); err != nil {
				t.Fatal(err)
			}
			made, err := script(t.Context(), "airbyte_table.py", filepath.Join(l.dir, "catalog.db"), "file://"+l.dir, kind)
			if err != nil {
				t.Fatal(err)
			}
			write := []string{"write", "--config", l.config, "--catalog", l.configure("items", airbyteItems, []string{"version"}, "id")}
			stdout, _, code := runDestination(write, input)
			if kind == "long" {
				if code != 1 || !bytes.Contains(stdout, []byte("holds long, but now timestamptz must be written. Rename the table")) {
					t.Errorf("exit code %d: %s", code, stdout)
				}
				if _, err := script(t.Context(), "rename_column.py", filepath.Join(l.dir, "catalog.db"), "whoop.items", "_airbyte_extracted_at", "extracted_at_millis"); err != nil {
					t.Fatal(err)
				}
				stdout, _, code = runDestination(write, input)
			}
			if code != 0 {
				t.Fatalf("exit code %d: %s", code, stdout)
			}
			r := l.read(map[string]string{"items": "id"})["items"]
			if r.MetadataLocation == strings.TrimSpace(string(made)) {
				t.Fatal("nothing was written into the table")
			}
			var got []any
			for _, object := range r.Rows {
				row := object.(map[string]any)
				got = append(got, []any{row["id"], row["name"], row["version"], row["score"], row["new"]})
			}
			number := func(text string) json.Number { return json.Number(text) }
			want := []any{
				[]any{number("1"), "name 1", number("1.0"), `{"a":1}`, nil},
				[]any{number("2"), "changed", number("2.0"), `{"a":9}`, "x"},
				[]any{number("3"), "name 3", number("1.0"), `{"a":3}`, nil},
				[]any{number("4"), "added", number("1.0"), nil, nil},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("id, name, version, score and new (-want +got):\n%s", diff)
			}
		})
	}
}
