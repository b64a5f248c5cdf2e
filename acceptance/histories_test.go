//go:build acceptance

package acceptance

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// After random histories of a stream, in which its properties change and another program changes the
// table's columns, PyIceberg and DuckDB must see what our own reader shows. That it shows what a
// model says is tested where the histories are made.
func TestEnginesReadHistories(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-run", "^TestHistories$", "./destination", "-histories", "30", "-lakes", dir)
	cmd.Dir = repository
	if _, err := finish(cmd); err != nil {
		t.Fatal(err)
	}
	lakes, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(lakes) < 30 {
		t.Fatalf("%d histories have left a table", len(lakes))
	}
	r := newReadback(t)
	for _, lake := range lakes { // each is called by its seed
		t.Run(lake.Name(), func(t *testing.T) {
			if err := r.look(lake.Name(), filepath.Join(dir, lake.Name(), "config.json"), true); err != nil {
				history, _ := os.ReadFile(filepath.Join(dir, lake.Name(), "history.txt"))
				t.Errorf("%v\nthe history:\n%s", err, history)
			}
		})
	}
}
