package main

import (
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Whichever call of a check fails, and in whichever way, the catalog holds nothing of it afterwards.
func TestACheckThatFailsRemovesItsProbe(t *testing.T) {
	if err := strikeFiles(); err != nil {
		t.Fatal(err)
	}
	check := func(f *faults) (left []string, err error) {
		dir := t.TempDir()
		config, err := parseConfig(fmt.Appendf(nil, `{"warehouse":"file://%s"}`, dir))
		if err != nil {
			t.Fatal(err)
		}
		cat, err := catalogs.Open(t.Context(), config.Catalog, config.Warehouse)
		if err != nil {
			t.Fatal(err)
		}
		defer cat.Close()
		sound := cat.Catalog
		cat.Catalog = faultyCatalog{sound, f}
		strikes.Store(dir, f)
		err = protocol.Recovered(func() error { return checkTable(t.Context(), config, cat) })()
		strikes.Delete(dir)
		cat.Catalog = sound
		namespaces, listErr := sound.ListNamespaces(t.Context(), nil)
		if listErr != nil {
			t.Fatal(listErr)
		}
		if ids, err := tableIDs(t.Context(), cat); err != nil || len(ids) > 0 || len(namespaces) > 0 {
			left = append(left, fmt.Sprint("in the catalog: ", namespaces, ids, err))
		}
		files, _ := filepath.Glob(filepath.Join(dir, "*.db", "*"))
		return append(left, files...), err
	}
	whole := &faults{at: math.MaxInt}
	if left, err := check(whole); err != nil || len(left) > 0 {
		t.Fatalf("%v; left: %q", err, left)
	}
	failed := 0
	for n := range len(whole.calls) - 1 { // the last one finds what is to be removed
		for _, kind := range []fault{failsBefore, failsAfter, panics} {
			if call := whole.calls[n]; kind == panics && (call == "Open" || call == "Read") { // in the library's goroutines
				continue
			}
			left, err := check(&faults{kind: kind, at: n})
			if len(left) > 0 { // it may have succeeded, at a second attempt
				t.Errorf("%s %d %s: %v; left: %q", whole.calls[n], n, kind, err, left)
			}
			if err != nil {
				failed++
			}
		}
	}
	if failed == 0 {
		t.Error("no check failed")
	}
}
