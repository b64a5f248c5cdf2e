package lake

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	iceio "github.com/apache/iceberg-go/io"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/budget"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
)

const (
	// runSuffix is that of the names of runs, which lie among the data files:
	// what a killed process leaves of them goes with the orphans.
	runSuffix = ".arrows"
	// runBatchBytes is about the size of the pieces in which a run is read.
	runBatchBytes = 1 << 20
	// mergedRuns is how many runs are merged at once at most, and mergedBytes
	// how much of them is in memory, unless two pieces are more.
	mergedRuns  = 16
	mergedBytes = 32 << 20
	// mergeBytes is the memory that merging takes.
	mergeBytes = 2 * mergedBytes
)

// scratchFiles is storage that can save itself the trouble of making a file last
// longer than the process.
type scratchFiles interface {
	CreateScratch(name string) (iceio.FileWriter, error)
}

// A run is rows in order in a file of Arrow's stream format.
type run struct {
	path    string
	count   int64 // of rows
	largest int64 // bytes in memory of its largest piece
	first   int64 // how many rows came before those of the run
	keep    int64 // of the rows, those that came first
}

func paths(runs []*run) []string {
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

// runWriter is a sink for rows that writes them to a run.
type runWriter struct {
	run *run
	out io.Closer
	buf *bufio.Writer
	ipc *ipc.Writer
}

// createRun starts a run. Long rows are not compressed, which would take as much
// memory once more, both here and where they are read.
func (t *Table) createRun(schema *arrow.Schema, long bool) (*runWriter, error) {
	path, out, err := t.createScratch(runSuffix)
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

// createScratch starts a file that only this process needs.
func (t *Table) createScratch(suffix string) (path string, out io.WriteCloser, err error) {
	path = t.locations.NewDataLocation(filenames.New(suffix))
	create := t.files.Create
	if files, ok := t.files.(scratchFiles); ok {
		create = files.CreateScratch
	}
	if out, err = create(path); err != nil {
		return "", nil, fmt.Errorf("creating a scratch file of table %s: %w", t, err)
	}
	return path, out, nil
}

func (w *runWriter) batchBytes() int64 { return runBatchBytes }

func (w *runWriter) divides() bool { return false }

func (w *runWriter) write(_ context.Context, tagged arrow.RecordBatch) error {
	w.run.largest = max(w.run.largest, budget.SizeOf(tagged))
	w.run.count += tagged.NumRows()
	if err := w.ipc.Write(tagged); err != nil {
		return fmt.Errorf("writing %s: %w", w.run.path, err)
	}
	return nil
}

func (w *runWriter) end() error { return nil }

func (w *runWriter) close() error {
	if err := errors.Join(w.ipc.Close(), w.buf.Flush(), w.out.Close()); err != nil {
		return fmt.Errorf("completing %s: %w", w.run.path, err)
	}
	return nil
}

// runReader reads the rows of a run that are kept.
type runReader struct {
	s   *sorter
	run *run
	in  io.Closer
	ipc *ipc.Reader
}

func (s *sorter) openRun(r *run) (*runReader, error) {
	in, err := s.t.files.Open(r.path)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", r.path, err)
	}
	read, err := ipc.NewReader(bufio.NewReaderSize(in, 1<<16), ipc.WithSchema(s.tagged))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", r.path, err), in.Close())
	}
	return &runReader{s: s, run: r, in: in, ipc: read}, nil
}

func (r *runReader) next(ctx context.Context) (*sortedBatch, error) {
	for {
		tagged, err := r.ipc.Read()
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", r.run.path, err)
		}
		tagged.Retain() // the reader would take it back
		if r.run.keep < r.run.count {
			if tagged, err = r.kept(ctx, tagged); err != nil {
				return nil, fmt.Errorf("reading %s: %w", r.run.path, err)
			}
		}
		if tagged.NumRows() > 0 {
			return r.s.sorted(tagged, nil), nil
		}
	}
}

// kept leaves out the rows that came after those that are kept.
func (r *runReader) kept(ctx context.Context, tagged arrow.RecordBatch) (arrow.RecordBatch, error) {
	mask := array.NewBooleanBuilder(memory.DefaultAllocator)
	for _, place := range tagged.Column(r.s.rows.NumFields() + placeTag).(*array.Uint32).Uint32Values() {
		mask.Append(int64(place) < r.run.keep)
	}
	return compute.FilterRecordBatch(ctx, tagged, mask.NewArray(), compute.DefaultFilterOptions())
}

// close releases the file; there is nothing to lose in a file that was read.
func (r *runReader) close() { _ = r.in.Close() }

// arrivals reads runs one after another.
type arrivals struct {
	s    *sorter
	runs []*run
	open *runReader
}

func (a *arrivals) next(ctx context.Context) (*sortedBatch, error) {
	for {
		if a.open != nil {
			batch, err := a.open.next(ctx)
			if batch != nil || err != nil {
				return batch, err
			}
			a.close()
		}
		if len(a.runs) == 0 {
			return nil, nil
		}
		r := a.runs[0]
		if a.runs = a.runs[1:]; r.keep == 0 {
			continue
		}
		var err error
		if a.open, err = a.s.openRun(r); err != nil {
			return nil, err
		}
	}
}

func (a *arrivals) close() {
	if a.open != nil {
		a.open.close()
		a.open = nil
	}
}
