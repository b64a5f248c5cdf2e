package lake

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAppendKeepsEveryRowAndTheState(t *testing.T) {
	tbl := openTable(t, openCatalog(t, t.TempDir()), plain("s"), Options{})
	a, b := tbl.NewWriter(), tbl.NewWriter()
	for i, w := range []*Writer{a, b, a} {
		if err := w.Write(t.Context(), batch(t, tbl.schema, map[string]any{"id": i, "v": "x"}), nil); err != nil {
			t.Fatal(err)
		}
	}
	first, err := a.Close(t.Context(), nil, nil, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.Close(t.Context(), nil, nil, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	if first.Rows() != 2 || second.Rows() != 1 {
		t.Errorf("staged %d and %d rows", first.Rows(), second.Rows())
	}
	commit(t, tbl, `{"n": 1}`, first, nil, second)
	expectRows(t, tbl, `{"id":0,"v":"x"}`, `{"id":1,"v":"x"}`, `{"id":2,"v":"x"}`)
	if got := string(LastState(load(t, tbl))); got != `{"n": 1}` {
		t.Errorf("state %s", got)
	}
	if nothing, err := a.Close(t.Context(), nil, nil, math.MaxInt64); nothing != nil || err != nil {
		t.Errorf("an empty writer hands over %v, %v", nothing, err)
	}

	// A state without rows makes no snapshot.
	commit(t, tbl, `{"n": 2}`)
	loaded := load(t, tbl)
	if got, n := string(LastState(loaded)), len(loaded.Metadata().Snapshots()); got != `{"n": 2}` || n != 1 {
		t.Errorf("state %s, %d snapshots", got, n)
	}
	// Nothing at all commits nothing.
	commit(t, tbl, "")
	if diff := cmp.Diff(loaded.MetadataLocation(), load(t, tbl).MetadataLocation()); diff != "" {
		t.Error(diff)
	}
}
