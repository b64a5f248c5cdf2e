package lake_test

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
)

func TestReplaceSwapsAllRowsInOneCommit(t *testing.T) {
	for _, mode := range []lake.Upsert{lake.CopyOnWrite, lake.MergeOnRead} {
		tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Keyed("s"), lake.Options{Upsert: mode})
		row := func(key, cursor int64, v string) laketest.Version {
			return laketest.Version{Key: key, Cursor: cursor, V: v}
		}
		laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, row(1, 1, "old").Row(), row(2, 1, "old").Row()))
		laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, row(1, 2, "newer").Row()))

		// Nothing is seen of a refresh until it is committed.
		staged := laketest.Stage(t, tbl, 0,
			row(2, 1, "a").Row(), row(2, 2, "b").Row(), // one row of a key here too
			row(3, 1, "c").Row(), laketest.Version{Key: 3, Cursor: 2, Deleted: true}.Row())
		laketest.ExpectRows(t, tbl, row(1, 2, "newer").JSON(), row(2, 1, "old").JSON())
		before := laketest.Load(t, tbl)
		if _, err := tbl.Replace(t.Context(), []*lake.Staged{staged}, json.RawMessage(`{"n":1}`)); err != nil {
			t.Fatal(err)
		}
		laketest.ExpectRows(t, tbl, row(2, 2, "b").JSON())
		after := laketest.Load(t, tbl)
		if n := len(after.Metadata().Snapshots()) - len(before.Metadata().Snapshots()); n != 1 {
			t.Errorf("%d snapshots", n)
		}
		if after.Metadata().TableUUID() != before.Metadata().TableUUID() {
			t.Error("the table was created again")
		}
		if got := string(laketest.LastState(t, after)); got != `{"n":1}` {
			t.Errorf("state %s", got)
		}

		// Zero rows empty the table.
		if _, err := tbl.Replace(t.Context(), nil, json.RawMessage(`{"n":2}`)); err != nil {
			t.Fatal(err)
		}
		laketest.ExpectRows(t, tbl)
		if got := string(laketest.LastState(t, laketest.Load(t, tbl))); got != `{"n":2}` {
			t.Errorf("state %s", got)
		}
		// An empty table can be emptied, and written.
		if _, err := tbl.Replace(t.Context(), nil, nil); err != nil {
			t.Fatal(err)
		}
		laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, row(9, 1, "z").Row()))
		laketest.ExpectRows(t, tbl, row(9, 1, "z").JSON())
	}
}

func TestReplaceOfATableWithoutKeysKeepsEveryRow(t *testing.T) {
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{})
	same := map[string]any{"id": 1, "v": "x"}
	if _, err := tbl.Replace(t.Context(), []*lake.Staged{laketest.Stage(t, tbl, 0, same, same)}, nil); err != nil {
		t.Fatal(err)
	}
	laketest.ExpectRows(t, tbl, `{"id":1,"v":"x"}`, `{"id":1,"v":"x"}`)
}

func TestWriterRefusesANullKeyAndNamesIt(t *testing.T) {
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Keyed("s"), lake.Options{})
	// The Parquet writer would store 0 if it were asked.
	rec := laketest.Batch(t, laketest.OptionalKeys(tbl), map[string]any{"id": 1, "v": "x"}, map[string]any{"v": "y"})
	w := tbl.NewWriter()
	err := w.Write(t.Context(), rec, []uint64{0, 1})
	if err == nil || !strings.Contains(err.Error(), `Stream "ns.s" has a record without a value for "id", which is part of its primary key`) {
		t.Errorf("error %v", err)
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	if left := laketest.DataFilesOnDisk(t, tbl); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestAbortAndDiscardLeaveNothing(t *testing.T) {
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Keyed("s"), lake.Options{TargetFileBytes: 1}) // a file for each batch
	w := tbl.NewWriter()
	write := func() {
		for n := range int64(3) {
			if err := w.Write(t.Context(), laketest.Batch(t, tbl.Opened().Schema(), laketest.Version{Key: n, Cursor: 1, V: "x"}.Row()), []uint64{uint64(n)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	write()
	if n := len(laketest.DataFilesOnDisk(t, tbl)); n != 3 {
		t.Errorf("%d files", n)
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	if left := laketest.DataFilesOnDisk(t, tbl); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	write()
	staged, err := w.Close(t.Context(), nil, nil, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	if err := lake.Discard(tbl, []*lake.Staged{nil, staged}); err != nil {
		t.Error(err)
	}
	if left := laketest.DataFilesOnDisk(t, tbl); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	tbl.Storage().TargetFileBytes = 1 << 20 // an open file is not left either
	write()
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	if left := laketest.DataFilesOnDisk(t, tbl); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestACancelledCommitChangesNothing(t *testing.T) {
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Keyed("s"), lake.Options{})
	staged := laketest.Stage(t, tbl, 0, laketest.Version{Key: 1, Cursor: 1, V: "x"}.Row())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tbl.Commit(ctx, []*lake.Staged{staged}, json.RawMessage(`{}`)); err == nil {
		t.Error("no error")
	}
	laketest.ExpectRows(t, tbl)
	if laketest.LastState(t, laketest.Load(t, tbl)) != nil {
		t.Error("the state was kept")
	}
}

func TestCloseKeepsTheFirstRowsOfAWriter(t *testing.T) {
	for keep := range int64(8) {
		tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Keyed("s"), lake.Options{TargetFileBytes: 300}) // more than one file
		tbl.SetMinRowGroupBytes(0)
		w := tbl.NewWriter()
		var want []string
		for n := range int64(5) {
			v := laketest.Version{Key: n, Cursor: 1, V: "x"}
			older := laketest.Version{Key: 0, Cursor: 0, V: "older"} // loses wherever it is
			if err := w.Write(t.Context(), laketest.Batch(t, tbl.Opened().Schema(), v.Row(), older.Row()), []uint64{uint64(2 * n), uint64(2*n + 1)}); err != nil {
				t.Fatal(err)
			}
			if 2*n < keep {
				want = append(want, v.JSON())
			}
		}
		if w.Files() < 2 {
			t.Fatalf("%d files", w.Files())
		}
		staged, err := w.Close(t.Context(), nil, nil, keep)
		if err != nil {
			t.Fatal(err)
		}
		if keep == 0 && staged != nil || keep > 0 && staged.Rows() != keep {
			t.Errorf("kept %v of %d rows", staged, keep)
		}
		laketest.Commit(t, tbl, `{}`, staged)
		laketest.ExpectRows(t, tbl, want...)
		laketest.ExpectFiles(t, tbl, false)
	}
}
