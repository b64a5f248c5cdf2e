package syncer

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A worker parses runs of records into columns and writes them into Parquet
// files of its own. Doing both in one goroutine is faster than handing batches
// from a parser to a writer, as the two halves are never equally long.
type worker struct {
	decoder columnar.Decoder
	lanes   Streams
	budget  int // bytes of columns held before a row group is written
	tasks   chan func(context.Context) error
	jobs    <-chan decodeJob
	broken  *breakage
	long    *longMessages

	intakes map[string]map[string]*intake // by namespace and name
	open    []*intake                     // those with rows not handed over
	touched []*intake                     // those the current job has met
	held    int                           // bytes of columns of all intakes
	taken   int                           // bytes of memory they are kept in
}

// A decodeJob is a run of records and where it stands in the input.
type decodeJob struct {
	records  *protocol.Records
	sequence uint64
	segment  int64
}

// An intake is a worker's part of a lane.
type intake struct {
	lane    *Stream
	batch   *columnar.Batch
	writer  *lake.Writer
	bytes   int   // of the batch, as counted in the worker's held
	taken   int   // of the batch, as counted in the worker's taken
	rows    int64 // decoded since the last close
	written int64 // of these, in files
	before  int64 // rows when the current job came
	marks   []segmentMark
	met     bool // by the current job
}

// A segmentMark tells how many rows came before those of a segment.
type segmentMark struct {
	segment int64
	rows    int64
}

// A breakage is the first record that could not be read. What came before it is
// as good as before any other end, so it does not stop the workers: the one who
// follows the input does, when everything before has been read.
type breakage struct {
	once  sync.Once
	found chan struct{} // closed when there is one

	mu  sync.Mutex
	job decodeJob // it was in
	err error
}

func newBreakage() *breakage { return &breakage{found: make(chan struct{})} }

func (b *breakage) report(job decodeJob, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil || job.sequence < b.job.sequence {
		b.job, b.err = job, err
	}
	b.once.Do(func() { close(b.found) })
}

func (b *breakage) reported() bool {
	select {
	case <-b.found:
		return true
	default:
		return false
	}
}

// first returns the error and the segment it is in. It is the first of the
// input once every run of records before it has been decoded.
func (b *breakage) first() (segment int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.job.segment, b.err
}

func newWorker(ls Streams, budget int, broken *breakage, long *longMessages) *worker {
	return &worker{lanes: ls, budget: budget, broken: broken, long: long, tasks: make(chan func(context.Context) error), intakes: map[string]map[string]*intake{}}
}

// run takes jobs until there are no more, and between them tasks.
func (w *worker) run(ctx context.Context, jobs <-chan decodeJob) error {
	w.jobs = jobs
	for {
		select {
		case <-ctx.Done():
			return nil
		case job, ok := <-jobs:
			if !ok {
				return nil
			}
			if err := w.decode(ctx, job); err != nil {
				return err
			}
		case task := <-w.tasks:
			if err := task(ctx); err != nil {
				return err
			}
		}
	}
}

// idle takes the jobs that are waiting. When it has run on every worker, every
// job given out before is done.
func (w *worker) idle(ctx context.Context) error {
	for {
		select {
		case job, ok := <-w.jobs:
			if !ok {
				return nil
			}
			if err := w.decode(ctx, job); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

func (w *worker) decode(ctx context.Context, job decodeJob) error {
	defer w.long.done(len(job.records.Data))
	w.touched = w.touched[:0]
	route := func(namespace, name []byte) (*columnar.Batch, error) {
		in, ok := w.intakes[string(namespace)][string(name)]
		if !ok {
			var err error
			if in, err = w.newIntake(string(namespace), string(name)); err != nil {
				return nil, err
			}
		}
		if !in.met {
			in.meet(job.segment)
			w.touched = append(w.touched, in)
		}
		return in.batch, nil
	}
	err := w.decoder.Decode(job.records.Data, job.records.Line, job.sequence, route)
	job.records.Release() // before anything is written, which takes memory of its own
	if err != nil {
		w.broken.report(job, err)
	}
	for _, in := range w.touched {
		in.met = false
		rows := in.written + int64(in.batch.Rows())
		in.lane.rows.add(job.segment, rows-in.before)
		in.rows = rows
		w.count(in, in.batch.Bytes(), in.batch.Capacity())
	}
	for w.held > w.budget {
		if err := w.flush(ctx, w.most(func(in *intake) int { return in.bytes })); err != nil {
			return err
		}
	}
	for w.crowded() {
		if err := w.flush(ctx, w.most(func(in *intake) int { return in.taken })); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) count(in *intake, bytes, taken int) {
	w.held, w.taken = w.held+bytes-in.bytes, w.taken+taken-in.taken
	in.bytes, in.taken = bytes, taken
}

// crowded tells whether batches take much more memory than they hold bytes: each
// of many streams would keep what it once needed.
func (w *worker) crowded() bool { return w.taken > 2*w.budget }

func (w *worker) newIntake(namespace, name string) (*intake, error) {
	id := protocol.StreamID{Namespace: namespace, Name: name}
	l, ok := w.lanes.byID[id]
	if !ok {
		return nil, unknownStream(id, "RECORD")
	}
	in := &intake{lane: l, batch: columnar.NewBatch(l.Table.Layout(), l.rowMeta()), writer: l.Table.NewWriter()}
	if w.intakes[namespace] == nil {
		w.intakes[namespace] = map[string]*intake{}
	}
	w.intakes[namespace][name] = in
	w.open = append(w.open, in)
	return in, nil
}

func (in *intake) meet(segment int64) {
	in.met, in.before = true, in.rows
	if n := len(in.marks); n == 0 || in.marks[n-1].segment != segment {
		in.marks = append(in.marks, segmentMark{segment, in.rows})
	}
}

// upTo counts the rows of segments up to the given one.
func (in *intake) upTo(segment int64) int64 {
	for _, m := range in.marks {
		if m.segment > segment {
			return m.rows
		}
	}
	return in.rows
}

func (w *worker) most(size func(*intake) int) *intake {
	return slices.MaxFunc(w.open, func(a, b *intake) int { return cmp.Compare(size(a), size(b)) })
}

// flush writes an intake's batch as a row group.
func (w *worker) flush(ctx context.Context, in *intake) error {
	rows := in.batch.Rows()
	if rows > 0 {
		if err := in.writer.Write(ctx, in.batch.Record(), in.batch.Order()); err != nil {
			return err
		}
	}
	in.written += int64(rows)
	w.empty(in)
	return nil
}

// empty forgets the rows of an intake's batch. A stream that has much of the
// memory keeps it for its next rows; of any other it is given back.
func (w *worker) empty(in *intake) {
	rows := in.batch.Rows()
	if rows == 0 && in.taken == 0 {
		return
	}
	if rows > 0 && in.taken > w.taken/3 && !w.crowded() {
		in.batch.Reset()
		w.count(in, 0, in.batch.Capacity())
		return
	}
	in.batch = columnar.NewBatch(in.lane.Table.Layout(), in.lane.rowMeta())
	w.count(in, 0, 0)
}

// close hands over a lane's files with the rows of segments up to the given
// one, and forgets the rows after it. It returns nil when there are none.
func (w *worker) close(ctx context.Context, l *Stream, upTo int64) (*lake.Staged, error) {
	in, ok := w.intakes[l.ID.Namespace][l.ID.Name]
	if !ok {
		return nil, nil
	}
	staged, err := in.writer.Close(ctx, in.batch.Record(), in.batch.Order(), in.upTo(upTo))
	if err != nil {
		return nil, err
	}
	w.empty(in)
	in.rows, in.written, in.marks = 0, 0, in.marks[:0]
	return staged, nil
}

// abort deletes the files that were not handed over.
func (w *worker) abort() error {
	var errs []error
	for _, in := range w.open {
		errs = append(errs, in.writer.Abort())
	}
	return errors.Join(errs...)
}
