package syncer

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rowsort"
)

// Each worker writes files of its own, so that a stream of a few rows would have as many
// files as there are workers. When files are closed, the rows that all workers hold in
// memory of such a stream are therefore gathered, and one worker writes them all.

// gathered is what the workers hold of a stream.
type gathered struct {
	tables map[*tableCommit]*rowsInMemory
	mu     sync.Mutex
}

// rowsInMemory are the rows of a stream that are in no file.
type rowsInMemory struct {
	parts   []part
	bytes   int
	inFiles bool // some rows of the stream are in files already

	writer *worker // of all parts, once they are joined
	rows   arrow.RecordBatch
	order  []uint64
}

// A part is the rows of one worker.
type part struct {
	worker *worker
	rows   arrow.RecordBatch
	order  []uint64
}

// gather joins the rows of each table of a plan that makes one row group. No worker may
// decode meanwhile.
func (r *run) gather(ctx context.Context, plan *commitPlan) (*gathered, error) {
	g := &gathered{tables: map[*tableCommit]*rowsInMemory{}}
	if len(r.workers) == 1 {
		return g, nil
	}
	err := r.workers.each(ctx, func(w *worker, _ context.Context) error {
		for _, t := range plan.tables {
			w.offer(g, t)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for t, in := range g.tables {
		if in.inFiles || len(in.parts) < 2 || in.bytes > in.parts[0].worker.limit {
			delete(g.tables, t)
			continue
		}
		if err := in.join(); err != nil {
			return nil, fmt.Errorf("gathering rows of stream %s: %w", t.stream.ID, err)
		}
	}
	return g, nil
}

// offer adds what the worker holds of a table.
func (w *worker) offer(g *gathered, t *tableCommit) {
	b, ok := w.buffers[t.stream.ID.Namespace][t.stream.ID.Name]
	if !ok {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	in := g.tables[t]
	if in == nil {
		in = &rowsInMemory{}
		g.tables[t] = in
	}
	in.inFiles = in.inFiles || b.written > 0
	if keep := min(b.rowsUpTo(t.upTo), int64(b.batch.Rows())); keep > 0 && !in.inFiles {
		order := b.batch.Order()
		in.parts = append(in.parts, part{w, b.batch.Record().NewSlice(0, keep), order[:min(keep, int64(len(order)))]})
		in.bytes += b.bytes
	}
}

// join makes one batch of the parts.
func (in *rowsInMemory) join() error {
	var recs []arrow.RecordBatch
	for _, p := range in.parts {
		recs = append(recs, p.rows)
		in.order = append(in.order, p.order...)
	}
	var err error
	in.rows, err = rowsort.Join(recs)
	in.writer, in.parts = in.parts[0].worker, nil
	return err
}

// closeFiles completes the table's files on one worker. nil: the worker has none.
func (g *gathered) closeFiles(ctx context.Context, w *worker, t *tableCommit) (completed *lake.Completed, err error) {
	in := g.tables[t]
	if in == nil {
		return w.closeFiles(ctx, t.stream, t.upTo)
	}
	b, ok := w.buffers[t.stream.ID.Namespace][t.stream.ID.Name]
	if !ok {
		return nil, nil
	}
	if w == in.writer {
		if completed, err = b.writer.Complete(ctx, in.rows, in.order, math.MaxInt64); err != nil {
			return nil, err
		}
	}
	w.forget(b)
	return completed, nil
}
