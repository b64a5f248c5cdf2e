package lake_test

import (
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	iceio "github.com/apache/iceberg-go/io"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
)

// objects are files that appear when they are closed, as on S3. One of their writes fails.
type objects struct {
	iceio.LocalFS
	mu      sync.Mutex
	left    int             // writes until then
	failed  string          // the file whose write it was
	writing map[string]bool // files that are neither closed nor given up
	closed  int
	wrong   []string // what was done to files and must not be
}

func (o *objects) Create(name string) (iceio.FileWriter, error) {
	w, err := o.LocalFS.Create(name)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writing[name] = true
	return &objectWriter{w, name, o}, nil
}

// end notes that a file is closed or given up.
func (o *objects) end(name, how string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.writing[name] || how == "closed" && name == o.failed {
		o.wrong = append(o.wrong, name+" is "+how)
	}
	if how == "closed" {
		o.closed++
	}
	delete(o.writing, name)
}

type objectWriter struct {
	iceio.FileWriter
	name    string
	objects *objects
}

func (w *objectWriter) Write(p []byte) (int, error) {
	w.objects.mu.Lock()
	w.objects.left--
	fails := w.objects.left == -1
	if fails {
		w.objects.failed = w.name
	}
	w.objects.mu.Unlock()
	if fails {
		return 0, errFlaky
	}
	return w.FileWriter.Write(p)
}

func (w *objectWriter) Close() error {
	w.objects.end(w.name, "closed")
	return w.FileWriter.Close()
}

func (w *objectWriter) Abort() error {
	w.objects.end(w.name, "given up")
	return errors.Join(w.FileWriter.Close(), w.objects.Remove(w.name))
}

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
				files := &objects{left: at, writing: map[string]bool{}}
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
				if done = files.failed == ""; done != (err == nil) || err != nil && !errors.Is(err, errFlaky) {
					t.Fatalf("write %d, of %q: error %v", at, files.failed, err)
				}
				for _, kind := range []string{".parquet", ".puffin", "-m1-", "-m2-", "snap-"} {
					kinds[kind] = kinds[kind] || strings.Contains(files.failed, kind)
				}
				if len(files.wrong)+len(files.writing) > 0 {
					t.Errorf("write %d, of %s: %q; still open: %q", at, files.failed, files.wrong, slices.Collect(maps.Keys(files.writing)))
				}
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
	files := &objects{left: math.MaxInt, writing: map[string]bool{}}
	tbl.Storage().Files = files
	w := tbl.NewWriter()
	if err := w.Write(t.Context(), laketest.Batch(t, tbl.Opened().Schema(), map[string]any{"id": 1, "v": strings.Repeat("x", 3<<20)}), nil); err != nil {
		t.Fatal(err)
	}
	if len(files.writing) != 1 {
		t.Errorf("%d files are being written", len(files.writing))
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	if files.closed+len(files.writing)+len(files.wrong) > 0 {
		t.Errorf("%d closed, %d still open, %q", files.closed, len(files.writing), files.wrong)
	}
	laketest.ExpectFiles(t, tbl, false)
}
