package rowsort

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"

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

// runWriter writes rows to a run.
type runWriter struct {
	run *run
	out io.Closer
	buf *bufio.Writer
	ipc *ipc.Writer
}

// createRun starts a run. Long rows are not compressed, which would take as much
// memory once more, both here and where they are read.
func createRun(files storage.Scratch, schema *arrow.Schema, long bool) (*runWriter, error) {
	path, out, err := files.Create(storage.RowsSuffix)
	if err != nil {
		return nil, err
	}
	w := &runWriter{run: &run{path: path}, out: out, buf: bufio.NewWriterSize(out, 1<<18)}
	options := []ipc.Option{ipc.WithSchema(schema)}
	if !long {
		options = append(options, ipc.WithLZ4())
	}
	w.ipc = ipc.NewWriter(w.buf, options...)
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
	if err := errors.Join(w.ipc.Close(), w.buf.Flush(), w.out.Close()); err != nil {
		return fmt.Errorf("completing %s: %w", w.run.path, err)
	}
	return nil
}

// runReader reads the batches of a run.
type runReader struct {
	run *run
	in  io.Closer
	ipc *ipc.Reader
}

func openRun(files storage.Scratch, r *run, schema *arrow.Schema) (*runReader, error) {
	in, err := files.Open(r.path)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", r.path, err)
	}
	read, err := ipc.NewReader(bufio.NewReaderSize(in, 1<<16), ipc.WithSchema(schema))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", r.path, err), in.Close())
	}
	return &runReader{run: r, in: in, ipc: read}, nil
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
func (r *runReader) close() { _ = r.in.Close() }
