package rowsort

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/klauspost/compress/s2"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/budget"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
)

const (
	// runBatchBytes is about the size of the batches in which a run is read.
	runBatchBytes = 1 << 20
	// mergedRuns is the largest number of runs that are merged at once, and
	// mergedBytes how much of them is in memory, unless two batches are more.
	mergedRuns  = 16
	mergedBytes = 32 << 20
)

// A run is rows in a scratch file of Arrow's stream format.
type run struct {
	path    string
	count   int64 // of rows
	largest int64 // bytes in memory of its largest batch
	first   int64 // number of rows that were added before those of the run
	keep    int64 // number of its rows to keep, those that were added first
}

func pathsOf(runs []*run) []string {
	all := make([]string, len(runs))
	for i, r := range runs {
		all[i] = r.path
	}
	return all
}

// mergeable cuts a list of runs into groups that can be merged at once.
func mergeable(runs []*run) [][]*run {
	var groups [][]*run
	var bytes int64
	for _, r := range runs {
		last := len(groups) - 1
		if last < 0 || len(groups[last]) == mergedRuns || len(groups[last]) >= 2 && bytes+r.largest > mergedBytes {
			groups, bytes = append(groups, nil), 0
			last++
		}
		groups[last] = append(groups[last], r)
		bytes += r.largest
	}
	return groups
}

// runBlock is the size of the blocks in which a run is compressed. A compressor and a
// decompressor need about twice as much each.
const runBlock = 64 << 10

// Idle ones of either.
var (
	compressors   = sync.Pool{New: func() any { return s2.NewWriter(nil, s2.WriterConcurrency(1), s2.WriterBlockSize(runBlock)) }}
	decompressors = sync.Pool{New: func() any { return s2.NewReader(nil, s2.ReaderMaxBlockSize(runBlock)) }}
)

// runWriter writes rows to a run. It compresses the file, and not each Arrow buffer: those
// of a few rows are too small for that, and those of long rows would be in memory twice.
type runWriter struct {
	run *run
	out io.Closer
	s2  *s2.Writer
	ipc *ipc.Writer
}

func createRun(files storage.Scratch, schema *arrow.Schema) (*runWriter, error) {
	path, out, err := files.Create(storage.RowsSuffix)
	if err != nil {
		return nil, err
	}
	w := &runWriter{run: &run{path: path}, out: out, s2: compressors.Get().(*s2.Writer)}
	w.s2.Reset(out)
	w.ipc = ipc.NewWriter(w.s2, ipc.WithSchema(schema))
	return w, nil
}

func (w *runWriter) write(rec arrow.RecordBatch) error {
	w.run.largest = max(w.run.largest, budget.SizeOf(rec))
	w.run.count += rec.NumRows()
	if err := w.ipc.Write(rec); err != nil {
		return fmt.Errorf("writing %s: %w", w.run.path, err)
	}
	return nil
}

func (w *runWriter) close() error {
	err := errors.Join(w.ipc.Close(), w.s2.Close(), w.out.Close())
	w.s2.Reset(nil)
	compressors.Put(w.s2)
	if err != nil {
		return fmt.Errorf("completing %s: %w", w.run.path, err)
	}
	return nil
}

// runReader reads the batches of a run.
type runReader struct {
	run *run
	in  io.Closer
	s2  *s2.Reader
	ipc *ipc.Reader
}

func openRun(files storage.Scratch, r *run, schema *arrow.Schema) (*runReader, error) {
	in, err := files.Open(r.path)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", r.path, err)
	}
	opened := &runReader{run: r, in: in, s2: decompressors.Get().(*s2.Reader)}
	opened.s2.Reset(in)
	if opened.ipc, err = ipc.NewReader(opened.s2, ipc.WithSchema(schema)); err != nil {
		opened.close()
		return nil, fmt.Errorf("opening %s: %w", r.path, err)
	}
	return opened, nil
}

// next returns the next batch, nil at the end.
func (r *runReader) next() (arrow.RecordBatch, error) {
	rec, err := r.ipc.Read()
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", r.run.path, err)
	}
	rec.Retain() // the reader would take it back
	return rec, nil
}

// close releases the file; there is nothing to lose in a file that was read.
func (r *runReader) close() {
	_ = r.in.Close()
	r.s2.Reset(nil)
	decompressors.Put(r.s2)
}
