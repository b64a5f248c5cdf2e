package syncer

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rowsort"
)

// Each worker writes files of its own, so that a stream of a few rows would have as many
// files as there are workers. When files are closed, the rows that all workers hold of
// such a stream, in memory or put aside, are therefore gathered, and one worker writes
// them all.

// gathered is what the workers hold of each table.
type gathered struct {
	tables map[*tableCommit]*fewRows
	mu     sync.Mutex
}

// fewRows are the rows of a stream that are in no data file.
type fewRows struct {
	parts   []part
	bytes   int
	inFiles bool // some rows of the stream are in data files already

	writer *worker // of all parts, once they are joined
	rows   arrow.RecordBatch
	order  []uint64
}

// A part is the rows of one worker.
type part struct {
	worker *worker
	aside  *lake.Writer // has put the first rows aside; nil: there are none
	rows   arrow.RecordBatch
	order  []uint64
}

// gather joins the rows of each table of a plan that makes one row group. No worker may
// decode meanwhile.
func (r *run) gather(ctx context.Context, plan *commitPlan) (*gathered, error) {
	g := &gathered{tables: map[*tableCommit]*fewRows{}}
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
	assigned := map[*worker]int{} // bytes
	for t, in := range g.tables {
		if in.inFiles || len(in.parts) < 2 || in.bytes > in.parts[0].worker.limit {
			delete(g.tables, t)
			continue
		}
		if err := in.join(assigned); err != nil {
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
		in = &fewRows{}
		g.tables[t] = in
	}
	p := part{worker: w}
	asideBytes := int64(0)
	keep := b.rowsUpTo(t.upTo)
	if b.written > 0 {
		var all bool
		p.aside = b.writer
		asideBytes, all = b.writer.Spooled()
		in.inFiles = in.inFiles || !all || keep < b.rows // which are not told apart there
	}
	if keep == 0 || in.inFiles {
		return
	}
	kept := min(keep, int64(b.batch.Rows()))
	order := b.batch.Order()
	p.rows, p.order = b.batch.Record().NewSlice(0, kept), order[:min(kept, int64(len(order)))]
	in.parts = append(in.parts, p)
	in.bytes += b.bytes + int(asideBytes)
}

// join makes one batch of what the parts have in memory, and gives what they have put
// aside to one writer: that of the worker with the least assigned so far.
func (in *fewRows) join(assigned map[*worker]int) error {
	candidates := slices.DeleteFunc(slices.Clone(in.parts), func(p part) bool { return p.aside == nil })
	if len(candidates) == 0 {
		candidates = in.parts
	}
	chosen := slices.MinFunc(candidates, func(a, b part) int { return cmp.Compare(assigned[a.worker], assigned[b.worker]) })
	var recs []arrow.RecordBatch
	for _, p := range in.parts {
		recs = append(recs, p.rows)
		in.order = append(in.order, p.order...)
		if p.aside != nil && p.worker != chosen.worker {
			chosen.aside.TakeOver(p.aside)
		}
	}
	in.writer = chosen.worker
	assigned[in.writer] += in.bytes
	var err error
	in.rows, err = rowsort.Join(recs)
	in.parts = nil
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
