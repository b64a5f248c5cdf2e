//go:build acceptance

package acceptance

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// When another program takes a table back, the source continues from the state of the rows that are left.
func TestARollbackByAnotherEngineTakesTheStateBack(t *testing.T) {
	t.Parallel()
	const schema = `{"type":"object","properties":{"id":{"type":"integer"}}}`
	for name, pad := range map[string]int{"short states": 0, "long states": 5000} {
		t.Run(name, func(t *testing.T) {
			l := newLake(t, t.TempDir(), nil)
			catalog := l.configure("s", schema, nil, "id")
			// Sync n has the ids up to n, and its state says so.
			sync := func(n int) {
				l.write(catalog, fmt.Appendf(nil, `{"type":"RECORD","record":{"stream":"s","emitted_at":1767225600123,"data":{"id":%d}}}
{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"s"},"stream_state":{"n":%d,"pad":%q}}}}
%s`, n, n, strings.Repeat("y", pad), status("s", "COMPLETE")))
			}
			at := func(want int) {
				t.Helper()
				_, states := l.state(catalog)
				if len(states) != 1 {
					t.Fatalf("states %s", states)
				}
				var s struct {
					Stream struct {
						State struct{ N int } `json:"stream_state"`
					}
				}
				if err := json.Unmarshal(states[0], &s); err != nil {
					t.Fatal(err)
				}
				if rows := len(l.preview("s")); s.Stream.State.N != want || rows != want {
					t.Errorf("the state says %d, there are %d rows, want %d", s.Stream.State.N, rows, want)
				}
			}
			back := func(snapshots string) {
				t.Helper()
				if _, err := script(t.Context(), "pyiceberg_rollback.py", filepath.Join(l.dir, "catalog.db"), "file://"+l.dir, "whoop.s", snapshots); err != nil {
					t.Fatal(err)
				}
			}
			for n := 1; n <= 5; n++ {
				sync(n)
			}
			at(5)
			back("2")
			at(3)
			sync(4) // the source goes on from there
			at(4)
			back("1")
			at(3)
			l.run("maintain", "--config", l.config)
			at(3)
			sync(4)
			sync(5)
			at(5)
			var ids []string
			for _, row := range l.preview("s") {
				ids = append(ids, fmt.Sprint(row.(map[string]any)["id"]))
			}
			slices.Sort(ids)
			if diff := cmp.Diff([]string{"1", "2", "3", "4", "5"}, ids); diff != "" {
				t.Errorf("ids (-want +got):\n%s", diff)
			}
		})
	}
}

// PyIceberg takes the parent from the child of a snapshot that it expires: the table does not begin there.
func TestAnExpiryByAnotherEngineLeavesTheState(t *testing.T) {
	t.Parallel()
	l := newLake(t, t.TempDir(), nil)
	catalog := l.configure("s", `{"type":"object","properties":{"id":{"type":"integer"}}}`, nil, "id")
	l.write(catalog, messages("s", `{"id":1}`, `{"id":2}`, `{"id":3}`))
	_, want := l.state(catalog)
	if len(want) != 1 {
		t.Fatalf("states %s", want)
	}
	if _, err := script(t.Context(), "pyiceberg_expire.py", filepath.Join(l.dir, "catalog.db"), "file://"+l.dir, "whoop.s", "id", "2"); err != nil {
		t.Fatal(err)
	}
	_, got := l.state(catalog)
	if diff := cmp.Diff(want, got); diff != "" || len(l.preview("s")) != 2 {
		t.Errorf("%d rows, states (-before +after):\n%s", len(l.preview("s")), diff)
	}
	l.write(catalog, messages("s", `{"id":4}`))
	if _, states := l.state(catalog); len(states) != 1 || len(l.preview("s")) != 3 {
		t.Errorf("afterwards there are %d rows, states %s", len(l.preview("s")), states)
	}
}
