package lake_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
)

// A file that cannot be written is given up: it is not completed in order to be removed. None stays open.
func TestAFileThatCannotBeWrittenIsGivenUp(t *testing.T) {
	for name, o := range map[string]lake.Options{
		"copies": {Upsert: lake.CopyOnWrite}, "deletes": {Upsert: lake.MergeOnRead}, "vectors": {Upsert: lake.MergeOnRead, FormatVersion: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Keyed("s"), o)
			version := func(key, cursor int64) map[string]any {
				return laketest.Version{Key: key, Cursor: cursor, V: "x"}.Row()
			}
			kinds := map[string]bool{}
			for at, done := 0, false; !done; at++ {
				laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, version(1, int64(2*at)), version(2, int64(2*at))))
				local := tbl.Storage().Files
				files := laketest.NewObjects(at)
				tbl.Storage().Files = files
				w := tbl.NewWriter()
				staged, err := w.Close(t.Context(), laketest.Batch(t, tbl.Opened().Schema(), version(1, int64(2*at+1))), []uint64{0}, math.MaxInt64)
				if err == nil {
					_, err = tbl.Commit(t.Context(), []*lake.Staged{staged}, nil)
				}
				if abortErr := w.Abort(); abortErr != nil {
					t.Error(abortErr)
				}
				tbl.Storage().Files = local
				if done = files.Failed == ""; done != (err == nil) || err != nil && !errors.Is(err, laketest.ErrWrite) {
					t.Fatalf("write %d, of %q: error %v", at, files.Failed, err)
				}
				for _, kind := range []string{".parquet", ".puffin", "-m1-", "-m2-", "snap-"} {
					kinds[kind] = kinds[kind] || strings.Contains(files.Failed, kind)
				}
				files.Expect(t)
				laketest.ExpectFiles(t, tbl, false)
			}
			if !kinds[".parquet"] || !kinds["-m1-"] || !kinds["snap-"] {
				t.Errorf("what failed: %v", kinds)
			}
		})
	}
}

func TestRowsThatAreAbortedAreNotCompleted(t *testing.T) {
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{})
	files := laketest.NewObjects(math.MaxInt)
	tbl.Storage().Files = files
	w := tbl.NewWriter()
	if err := w.Write(t.Context(), laketest.Batch(t, tbl.Opened().Schema(), map[string]any{"id": 1, "v": strings.Repeat("x", 3<<20)}), nil); err != nil {
		t.Fatal(err)
	}
	if len(files.Writing) != 1 {
		t.Errorf("%d files are being written", len(files.Writing))
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	if files.Expect(t); files.Closed > 0 {
		t.Errorf("%d files were completed", files.Closed)
	}
	laketest.ExpectFiles(t, tbl, false)
}

// A file with rows that no state covers is copied without them.
func TestAFileThatCannotBeShortenedIsGivenUp(t *testing.T) {
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{})
	rows := laketest.Batch(t, tbl.Opened().Schema(), map[string]any{"id": 1, "v": strings.Repeat("x", 3<<20)}, map[string]any{"id": 2})
	written := 0 // files, in the attempt with the most of them
	for at := 0; ; at++ {
		files := laketest.NewObjects(at)
		tbl.Storage().Files = files
		w := tbl.NewWriter()
		err := w.Write(t.Context(), rows, nil)
		if err == nil {
			_, err = w.Close(t.Context(), nil, nil, 1)
		}
		done := files.Failed == ""
		if done != (err == nil) || err != nil && !errors.Is(err, laketest.ErrWrite) {
			t.Fatalf("write %d, of %q: error %v", at, files.Failed, err)
		}
		written = max(written, files.Closed)
		if done {
			break
		}
		if err := w.Abort(); err != nil {
			t.Error(err)
		}
		files.Expect(t)
		laketest.ExpectFiles(t, tbl, false)
	}
	if written != 2 {
		t.Errorf("%d files were written", written)
	}
}
