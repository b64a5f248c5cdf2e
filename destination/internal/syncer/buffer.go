package syncer

import (
	"cmp"
	"context"
	"slices"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A streamBuffer holds the rows of one stream that one worker has decoded: the
// last ones as columns, the others in the open files of its writer.
type streamBuffer struct {
	stream        *Stream
	batch         *columnar.Batch
	writer        *lake.Writer
	bytes         int   // of the batch, as the worker has counted them
	capacity      int   // of the batch, as the worker has counted it
	rows          int64 // decoded since files were closed
	written       int64 // of these, in files
	segmentStarts []segmentStart
	touched       bool // by the current job
}

// A segmentStart is the number of rows before those of a segment.
type segmentStart struct {
	segment int64
	rows    int64
}

func (w *worker) newBuffer(namespace, name string) (*streamBuffer, error) {
	id := protocol.StreamID{Namespace: namespace, Name: name}
	s, ok := w.streams.byID[id]
	if !ok {
		return nil, unknownStream(id, "RECORD")
	}
	b := &streamBuffer{stream: s, batch: columnar.NewBatch(s.Table.Layout(), s.rowMeta()), writer: s.Table.NewWriter()}
	if w.buffers[namespace] == nil {
		w.buffers[namespace] = map[string]*streamBuffer{}
	}
	w.buffers[namespace][name] = b
	w.all = append(w.all, b)
	return b, nil
}

// beginJob notes that the current job has rows of the stream.
func (b *streamBuffer) beginJob(segment int64) {
	b.touched = true
	if n := len(b.segmentStarts); n == 0 || b.segmentStarts[n-1].segment != segment {
		b.segmentStarts = append(b.segmentStarts, segmentStart{segment, b.rows})
	}
}

// endJob returns how many rows the job had.
func (b *streamBuffer) endJob() int64 {
	before := b.rows
	b.touched, b.rows = false, b.written+int64(b.batch.Rows())
	return b.rows - before
}

// rowsUpTo returns the number of rows in a segment and those before it.
func (b *streamBuffer) rowsUpTo(segment int64) int64 {
	for _, start := range b.segmentStarts {
		if start.segment > segment {
			return start.rows
		}
	}
	return b.rows
}

// setSize updates what the worker knows of a buffer's size. There is free memory only as
// long as buffers are small: with many of them, it would come on top of what each has.
func (w *worker) setSize(b *streamBuffer, bytes, capacity int) {
	w.bytes, w.capacity = w.bytes+bytes-b.bytes, w.capacity+capacity-b.capacity
	b.bytes, b.capacity = bytes, capacity
	w.free.Shrink(w.limit + w.limit/4 - w.capacity)
}

// largest returns the buffer with the most of what size returns.
func (w *worker) largest(size func(*streamBuffer) int) *streamBuffer {
	return slices.MaxFunc(w.all, func(a, b *streamBuffer) int { return cmp.Compare(size(a), size(b)) })
}

// overCapacity reports whether buffers take much more memory than their columns
// do. With many streams, each would keep what it once needed.
func (w *worker) overCapacity() bool { return w.capacity > 2*w.limit }

// writeRowGroup writes a buffer's columns as a row group.
func (w *worker) writeRowGroup(ctx context.Context, b *streamBuffer) error {
	rows := b.batch.Rows()
	if rows > 0 {
		if err := b.writer.Write(ctx, b.batch.Record(), b.batch.Order()); err != nil {
			return err
		}
	}
	b.written += int64(rows)
	w.empty(b)
	return nil
}

// empty drops the columns of a buffer. A stream that takes much of the memory, and of
// which rows came last, keeps it for its next rows; the memory of others is for any.
func (w *worker) empty(b *streamBuffer) {
	rows := b.batch.Rows()
	if rows == 0 && b.capacity == 0 {
		return
	}
	if rows > 0 && b.capacity > w.capacity/3 && !w.overCapacity() && slices.Contains(w.touched, b) {
		b.batch.Reset()
		w.setSize(b, 0, b.batch.Capacity())
		return
	}
	b.batch.Release(&w.free)
	w.setSize(b, 0, 0)
}
