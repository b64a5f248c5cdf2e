package syncer

import (
	"context"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A worker parses records into columns and writes them into Parquet files of its
// own. One goroutine does both, which is faster than handing batches from a parser
// to a writer: the two halves never take equally long.
type worker struct {
	decoder      columnar.Decoder
	streams      Streams
	limit        int // bytes of columns; more than that is written as row groups
	tasks        chan func(context.Context) error
	jobs         <-chan decodeJob
	firstBad     *firstBad
	longMessages *longMessages

	buffers  map[string]map[string]*streamBuffer // by namespace and name; see buffer.go
	all      []*streamBuffer
	touched  []*streamBuffer   // by the current job
	bytes    int               // of columns, in all buffers
	capacity int               // bytes of memory allocated for them
	free     columnar.FreeList // of buffers that had more rows
}

// A decodeJob is a batch of records and its place in the input.
type decodeJob struct {
	records  *protocol.Records
	sequence uint64
	segment  int64
}

func newWorker(streams Streams, limit int, firstBad *firstBad, longMessages *longMessages) *worker {
	return &worker{
		streams: streams, limit: limit, firstBad: firstBad, longMessages: longMessages,
		tasks: make(chan func(context.Context) error), buffers: map[string]map[string]*streamBuffer{},
	}
}

// run does jobs until there are no more, and tasks between them.
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

// drain does the queued jobs. After it has run on every worker, all jobs
// that were sent before are done.
func (w *worker) drain(ctx context.Context) error {
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

// decode parses a job's records into the buffers of their streams, and writes
// buffers to files while there is too much in memory.
func (w *worker) decode(ctx context.Context, job decodeJob) error {
	defer w.longMessages.done(len(job.records.Data))
	w.touched = w.touched[:0]
	route := func(namespace, name []byte) (*columnar.Batch, error) {
		b, ok := w.buffers[string(namespace)][string(name)]
		if !ok {
			var err error
			if b, err = w.newBuffer(string(namespace), string(name)); err != nil {
				return nil, err
			}
		}
		if !b.touched {
			b.beginJob(job.segment)
			w.touched = append(w.touched, b)
		}
		return b.batch, nil
	}
	err := w.decoder.Decode(job.records.Data, job.records.Line, job.sequence, route)
	job.records.Release() // before files are written, which takes memory of its own
	if err != nil {
		// The sync ends. The rows before the bad one may still be committed.
		w.firstBad.report(job.sequence, job.segment, err)
	}
	for _, b := range w.touched {
		b.stream.unplanned.addRows(job.segment, b.endJob())
		b.batch.Grow(&w.free)
		w.setSize(b, b.batch.Bytes(), b.batch.Capacity())
	}
	for w.bytes > w.limit {
		if err := w.writeRowGroup(ctx, w.largest(func(b *streamBuffer) int { return b.bytes })); err != nil {
			return err
		}
	}
	for w.overCapacity() {
		if err := w.writeRowGroup(ctx, w.largest(func(b *streamBuffer) int { return b.capacity })); err != nil {
			return err
		}
	}
	return nil
}

// closeFiles completes the stream's files with the rows up to a segment, and drops
// the rows after it. nil: the worker had no rows of the stream.
func (w *worker) closeFiles(ctx context.Context, s *Stream, upTo int64) (*lake.Completed, error) {
	b, ok := w.buffers[s.ID.Namespace][s.ID.Name]
	if !ok {
		return nil, nil
	}
	completed, err := b.writer.Complete(ctx, b.batch.Record(), b.batch.Order(), b.rowsUpTo(upTo))
	if err != nil {
		return nil, err
	}
	w.forget(b)
	return completed, nil
}

// forget drops the rows of a buffer, which are in complete files or are not kept. No
// memory stays free, because the commit needs it.
func (w *worker) forget(b *streamBuffer) {
	w.empty(b)
	w.free.Shrink(0)
	b.rows, b.written, b.segmentStarts = 0, 0, b.segmentStarts[:0]
}
