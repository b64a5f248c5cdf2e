package lake_test

import (
	"errors"
	"math"
	"sync"
	"testing"

	iceio "github.com/apache/iceberg-go/io"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
)

// flakyFiles fails one call, once.
type flakyFiles struct {
	iceio.LocalFS
	mu     sync.Mutex // files are closed in goroutines of their own
	left   int        // calls until then
	failed string     // the call that failed
}

var errFlaky = errors.New("flaky")

func (f *flakyFiles) call(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left--
	if f.left == -1 {
		f.failed = name
		return errFlaky
	}
	return nil
}

func (f *flakyFiles) Create(name string) (iceio.FileWriter, error) {
	if err := f.call("Create"); err != nil {
		return nil, err
	}
	w, err := f.LocalFS.Create(name)
	return flakyWriter{w, f}, err
}

func (f *flakyFiles) Open(name string) (iceio.File, error) {
	if err := f.call("Open"); err != nil {
		return nil, err
	}
	file, err := f.LocalFS.Open(name)
	return flakyReader{file, f}, err
}

func (f *flakyFiles) Remove(name string) error {
	if err := f.call("Remove"); err != nil {
		return err
	}
	return f.LocalFS.Remove(name)
}

type flakyWriter struct {
	iceio.FileWriter
	files *flakyFiles
}

func (w flakyWriter) Write(p []byte) (int, error) {
	if err := w.files.call("Write"); err != nil {
		return 0, err
	}
	return w.FileWriter.Write(p)
}

func (w flakyWriter) Close() error {
	return errors.Join(w.FileWriter.Close(), w.files.call("Close"))
}

type flakyReader struct {
	iceio.File
	files *flakyFiles
}

func (r flakyReader) Read(p []byte) (int, error) {
	if err := r.files.call("Read"); err != nil {
		return 0, err
	}
	return r.File.Read(p)
}

func (r flakyReader) ReadAt(p []byte, at int64) (int, error) {
	if err := r.files.call("ReadAt"); err != nil {
		return 0, err
	}
	return r.File.ReadAt(p, at)
}

// Whichever call fails while rows are put aside, sorted and written: either all rows come out as they should,
// or the writer says so and leaves nothing behind.
func TestWritingMayFailAtAnyCall(t *testing.T) {
	for name, tc := range map[string]struct {
		o    lake.Options
		rows int64 // that are put aside
		step int   // from one call that fails to the next
	}{
		"as they come":               {o: lake.Options{}, rows: 3, step: 1},
		"with keys that are spilled": {o: lake.Options{Memory: memoryForKeys(0)}, rows: 3, step: 1},
		"partitioned and sorted, from runs of runs": {
			o: lake.Options{Settings: tabledef.Settings{PartitionBy: by(t, "bucket(2, id)"), SortBy: sortedBy(t, "v desc")}}, rows: 18, step: 4, // of a run there are three
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Keyed("s"), tc.o)
			for at, over := 0, false; !over; at += tc.step * testsize.Of(3, 1) {
				files := &flakyFiles{left: at}
				tbl.Storage().Files = files
				w := tbl.NewWriter()
				staged, err := func() (*lake.Staged, error) {
					for n := range tc.rows {
						v := laketest.Version{Key: n % 7, Cursor: n, V: "x"}
						if err := w.Write(t.Context(), laketest.Batch(t, tbl.Opened().Schema(), v.Row()), []uint64{uint64(n)}); err != nil {
							return nil, err
						}
					}
					last := laketest.Version{Key: 1, Cursor: 99, V: "y"}
					return w.Close(t.Context(), laketest.Batch(t, tbl.Opened().Schema(), last.Row()), []uint64{99}, math.MaxInt64)
				}()
				over, files.left = files.failed == "", -1
				switch {
				case over && err != nil, err != nil && !errors.Is(err, errFlaky):
					t.Fatalf("call %d, %s: %v", at, files.failed, err)
				case err != nil:
					if err := w.Abort(); err != nil {
						t.Errorf("call %d, %s: Abort: %v", at, files.failed, err)
					}
					if laketest.ExpectFiles(t, tbl, false); t.Failed() {
						t.Errorf("call %d, %s", at, files.failed)
					}
				default:
					laketest.Commit(t, tbl, "", staged)
					last := map[int64]laketest.Version{}
					for n := range tc.rows {
						last[n%7] = laketest.Version{Key: n % 7, Cursor: n, V: "x"}
					}
					last[1] = laketest.Version{Key: 1, Cursor: 99, V: "y"}
					var want []string
					for _, v := range last {
						want = append(want, v.JSON())
					}
					laketest.ExpectRows(t, tbl, want...)
				}
				if t.Failed() {
					return
				}
			}
		})
	}
}
