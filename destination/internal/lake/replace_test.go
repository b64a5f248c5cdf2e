package lake

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"
)

func TestReplaceSwapsAllRowsInOneCommit(t *testing.T) {
	for _, mode := range []Upsert{CopyOnWrite, MergeOnRead} {
		tbl := openTable(t, openCatalog(t, t.TempDir()), keyed("s"), Options{Upsert: mode})
		row := func(key, cursor int64, v string) version { return version{key: key, cursor: cursor, v: v} }
		commit(t, tbl, "", stage(t, tbl, 0, row(1, 1, "old").row(), row(2, 1, "old").row()))
		commit(t, tbl, "", stage(t, tbl, 0, row(1, 2, "newer").row()))

		// Nothing is seen of a refresh until it is committed.
		staged := stage(t, tbl, 0,
			row(2, 1, "a").row(), row(2, 2, "b").row(), // one row of a key here too
			row(3, 1, "c").row(), version{key: 3, cursor: 2, deleted: true}.row())
		expectRows(t, tbl, row(1, 2, "newer").json(), row(2, 1, "old").json())
		before := load(t, tbl)
		if _, err := tbl.Replace(t.Context(), []*Staged{staged}, json.RawMessage(`{"n":1}`)); err != nil {
			t.Fatal(err)
		}
		expectRows(t, tbl, row(2, 2, "b").json())
		after := load(t, tbl)
		if n := len(after.Metadata().Snapshots()) - len(before.Metadata().Snapshots()); n != 1 {
			t.Errorf("%d snapshots", n)
		}
		if after.Metadata().TableUUID() != before.Metadata().TableUUID() {
			t.Error("the table was made anew")
		}
		if got := string(lastState(t, after)); got != `{"n":1}` {
			t.Errorf("state %s", got)
		}

		// Zero rows empty the table.
		if _, err := tbl.Replace(t.Context(), nil, json.RawMessage(`{"n":2}`)); err != nil {
			t.Fatal(err)
		}
		expectRows(t, tbl)
		if got := string(lastState(t, load(t, tbl))); got != `{"n":2}` {
			t.Errorf("state %s", got)
		}
		// An empty table can be emptied, and written.
		if _, err := tbl.Replace(t.Context(), nil, nil); err != nil {
			t.Fatal(err)
		}
		commit(t, tbl, "", stage(t, tbl, 0, row(9, 1, "z").row()))
		expectRows(t, tbl, row(9, 1, "z").json())
	}
}

func TestReplaceOfATableWithoutKeysKeepsEveryRow(t *testing.T) {
	tbl := openTable(t, openCatalog(t, t.TempDir()), plain("s"), Options{})
	same := map[string]any{"id": 1, "v": "x"}
	if _, err := tbl.Replace(t.Context(), []*Staged{stage(t, tbl, 0, same, same)}, nil); err != nil {
		t.Fatal(err)
	}
	expectRows(t, tbl, `{"id":1,"v":"x"}`, `{"id":1,"v":"x"}`)
}

func TestWriterRefusesANullKeyAndNamesIt(t *testing.T) {
	tbl := openTable(t, openCatalog(t, t.TempDir()), keyed("s"), Options{})
	// The Parquet writer would store 0 if it were asked.
	rec := batch(t, optionalKeys(tbl), map[string]any{"id": 1, "v": "x"}, map[string]any{"v": "y"})
	w := tbl.NewWriter()
	err := w.Write(t.Context(), rec, []uint64{0, 1})
	if err == nil || !strings.Contains(err.Error(), `Stream "ns.s" has a record without a value for "id", which is part of its primary key`) {
		t.Errorf("error %v", err)
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	if left := dataFilesOnDisk(t, tbl); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestAbortAndDiscardLeaveNothing(t *testing.T) {
	tbl := openTable(t, openCatalog(t, t.TempDir()), keyed("s"), Options{TargetFileBytes: 1}) // a file for each batch
	w := tbl.NewWriter()
	write := func() {
		for n := range int64(3) {
			if err := w.Write(t.Context(), batch(t, tbl.schema, version{key: n, cursor: 1, v: "x"}.row()), []uint64{uint64(n)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	write()
	if n := len(dataFilesOnDisk(t, tbl)); n != 3 {
		t.Errorf("%d files", n)
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	if left := dataFilesOnDisk(t, tbl); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	write()
	staged, err := w.Close(t.Context(), nil, nil, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	if err := Discard(tbl, []*Staged{nil, staged}); err != nil {
		t.Error(err)
	}
	if left := dataFilesOnDisk(t, tbl); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	tbl.opts.TargetFileBytes = 1 << 20 // an open file is not left either
	write()
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	if left := dataFilesOnDisk(t, tbl); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestACancelledCommitChangesNothing(t *testing.T) {
	tbl := openTable(t, openCatalog(t, t.TempDir()), keyed("s"), Options{})
	staged := stage(t, tbl, 0, version{key: 1, cursor: 1, v: "x"}.row())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tbl.Commit(ctx, []*Staged{staged}, json.RawMessage(`{}`)); err == nil {
		t.Error("no error")
	}
	expectRows(t, tbl)
	if lastState(t, load(t, tbl)) != nil {
		t.Error("the state was kept")
	}
}

func TestCloseKeepsTheFirstRowsOfAWriter(t *testing.T) {
	for keep := range int64(8) {
		tbl := openTable(t, openCatalog(t, t.TempDir()), keyed("s"), Options{TargetFileBytes: 1000}) // more than one file
		tbl.minRowGroupBytes = 0
		w := tbl.NewWriter()
		var want []string
		for n := range int64(5) {
			v := version{key: n, cursor: 1, v: "x"}
			older := version{key: 0, cursor: 0, v: "older"} // loses wherever it is
			if err := w.Write(t.Context(), batch(t, tbl.schema, v.row(), older.row()), []uint64{uint64(2 * n), uint64(2*n + 1)}); err != nil {
				t.Fatal(err)
			}
			if 2*n < keep {
				want = append(want, v.json())
			}
		}
		if len(w.staged) < 2 {
			t.Fatalf("%d files", len(w.staged))
		}
		staged, err := w.Close(t.Context(), nil, nil, keep)
		if err != nil {
			t.Fatal(err)
		}
		if keep == 0 && staged != nil || keep > 0 && staged.Rows() != keep {
			t.Errorf("kept %v of %d rows", staged, keep)
		}
		commit(t, tbl, `{}`, staged)
		expectRows(t, tbl, want...)
		expectFiles(t, tbl, false)
	}
}
