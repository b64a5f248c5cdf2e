package lake

import (
	"reflect"
	"testing"
)

func TestDescribeCountsWhatReadersSee(t *testing.T) {
	tbl := openTable(t, openCatalog(t, t.TempDir()), keyed("s"), Options{Upsert: MergeOnRead})
	empty, err := Describe(t.Context(), load(t, tbl))
	if err != nil || !reflect.DeepEqual(empty, Info{}) {
		t.Errorf("an empty table is %+v, %v", empty, err)
	}
	commit(t, tbl, "", stage(t, tbl, 0, version{key: 1, cursor: 1, v: "a"}.row(), version{key: 2, cursor: 1, v: "a"}.row()))
	commit(t, tbl, "", stage(t, tbl, 0, version{key: 1, cursor: 2, v: "b"}.row()))
	got, err := Describe(t.Context(), load(t, tbl))
	if err != nil {
		t.Fatal(err)
	}
	if got.Rows != 2 || got.DataFiles != 2 || got.PositionDeletes != 1 || got.EqualityDeletes != 0 || got.Snapshots != 2 || got.Bytes == 0 || got.LastCommit.IsZero() {
		t.Errorf("%+v", got)
	}
}
