package lake_test

import (
	"reflect"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
)

func TestDescribeCountsWhatReadersSee(t *testing.T) {
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Keyed("s"), lake.Options{Upsert: lake.MergeOnRead})
	empty, err := inspect.Describe(t.Context(), laketest.Load(t, tbl))
	if err != nil || !reflect.DeepEqual(empty, inspect.Info{}) {
		t.Errorf("an empty table is %+v, %v", empty, err)
	}
	laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, laketest.Version{Key: 1, Cursor: 1, V: "a"}.Row(), laketest.Version{Key: 2, Cursor: 1, V: "a"}.Row()))
	laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, laketest.Version{Key: 1, Cursor: 2, V: "b"}.Row()))
	got, err := inspect.Describe(t.Context(), laketest.Load(t, tbl))
	if err != nil {
		t.Fatal(err)
	}
	if got.Rows != 2 || got.DataFiles != 2 || got.PositionDeletes != 1 || got.EqualityDeletes != 0 || got.Snapshots != 2 || got.Bytes == 0 || got.LastCommit.IsZero() {
		t.Errorf("%+v", got)
	}
}
