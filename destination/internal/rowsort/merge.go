package rowsort

import (
	"bytes"
	"context"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// A rowSource returns rows in order, nil at the end.
type rowSource interface {
	next(ctx context.Context) (*sortedBatch, error)
}

// A rowSink takes rows in order, with their tags.
type rowSink struct {
	batchBytes   int64 // about the size of what is written at once
	write        func(tagged arrow.RecordBatch) error
	endPartition func() error // nil: a batch may have rows of several partitions
}

// runSink returns the sink that writes a run.
func runSink(w *runWriter) rowSink { return rowSink{batchBytes: runBatchBytes, write: w.write} }

// singleBatch is a source of one batch.
type singleBatch struct{ batch *sortedBatch }

func (o *singleBatch) next(context.Context) (*sortedBatch, error) {
	b := o.batch
	o.batch = nil
	return b, nil
}

// sortedRun is a source of the rows of a run that are kept.
type sortedRun struct {
	*runReader
	s *Sorter
}

func (r sortedRun) next(ctx context.Context) (*sortedBatch, error) {
	for {
		tagged, err := r.runReader.next()
		if tagged == nil || err != nil {
			return nil, err
		}
		if r.run.keep < r.run.count {
			if tagged, err = r.keepFirst(ctx, tagged); err != nil {
				return nil, fmt.Errorf("reading %s: %w", r.run.path, err)
			}
		}
		if tagged.NumRows() > 0 {
			return r.s.sorted(tagged, nil), nil
		}
	}
}

// keepFirst leaves out the rows that were added after those that are kept.
func (r sortedRun) keepFirst(ctx context.Context, tagged arrow.RecordBatch) (arrow.RecordBatch, error) {
	mask := array.NewBooleanBuilder(memory.DefaultAllocator)
	for _, place := range tagged.Column(r.s.rows.NumFields() + placeTag).(*array.Uint32).Uint32Values() {
		mask.Append(int64(place) < r.run.keep)
	}
	return compute.FilterRecordBatch(ctx, tagged, mask.NewArray(), compute.DefaultFilterOptions())
}

// mergeRuns merges runs, and sources whose rows were added after theirs.
func (s *Sorter) mergeRuns(ctx context.Context, runs []*run, more []rowSource, out rowSink) error {
	var sources []rowSource
	for _, r := range runs {
		if r.keep == 0 {
			continue
		}
		in, err := openRun(s.files, r, s.tagged)
		if err != nil {
			return err
		}
		defer in.close()
		sources = append(sources, sortedRun{in, s})
	}
	return s.merge(ctx, append(sources, more...), out)
}

// A cursor is before the next row of a source.
type cursor struct {
	rowSource
	batch *sortedBatch
	at    int
}

func (c *cursor) key() []byte { return c.batch.key(c.at) }

// advance goes to a row of the batch, or to the next batch; false is the end.
func (c *cursor) advance(ctx context.Context, to int) (more bool, err error) {
	if c.at = to; c.batch != nil && c.at < c.batch.rows() {
		return true, nil
	}
	c.at = 0
	c.batch, err = c.next(ctx)
	return c.batch != nil, err
}

// merge merges sources, which are in the order in which their rows were added.
func (s *Sorter) merge(ctx context.Context, sources []rowSource, out rowSink) error {
	ctx = compute.WithAllocator(ctx, memory.DefaultAllocator)
	exec := compute.GetExecCtx(ctx)
	exec.NumParallel = 1 // other workers merge at the same time
	ctx = compute.SetExecCtx(ctx, exec)
	var cursors []*cursor
	for _, source := range sources {
		c := &cursor{rowSource: source}
		more, err := c.advance(ctx, 0)
		if err != nil {
			return err
		}
		if more {
			cursors = append(cursors, c)
		}
	}
	g := gatherer{out: out}
	var partition []byte // its part of the keys; nil: none yet
	for len(cursors) > 0 {
		// The sources with the lowest key and the next higher one; of equal keys, the
		// earlier source has the lower.
		lowest, second := 0, -1
		for i, c := range cursors[1:] {
			switch i++; {
			case bytes.Compare(c.key(), cursors[lowest].key()) < 0:
				lowest, second = i, lowest
			case second < 0 || bytes.Compare(c.key(), cursors[second].key()) < 0:
				second = i
			}
		}
		c := cursors[lowest]
		if key := c.key(); out.endPartition != nil && (partition == nil || !bytes.HasPrefix(key, partition)) {
			if err := g.end(ctx); err != nil {
				return err
			}
			partition = append(partition[:0], partitionPart(key)...)
		}
		to := c.at + 1
		for most := c.at + g.capacityFor(c.batch); to < c.batch.rows() && to < most; to++ {
			key := c.batch.key(to)
			if !bytes.HasPrefix(key, partition) {
				break
			}
			if second >= 0 {
				if d := bytes.Compare(key, cursors[second].key()); d > 0 || d == 0 && second < lowest {
					break
				}
			}
		}
		if err := g.add(ctx, c.batch, c.at, to); err != nil {
			return err
		}
		more, err := c.advance(ctx, to)
		if err != nil {
			return err
		}
		if !more {
			cursors = append(cursors[:lowest], cursors[lowest+1:]...)
		}
	}
	return g.end(ctx)
}

// gatherer gathers rows of several batches into one. The rows of each batch come
// in order, with rows of other batches between them.
type gatherer struct {
	out   rowSink
	parts []span // what is taken of each batch
	picks []span // the same in the order in which it was taken
	bytes int64
	begun bool // something was written for the current partition
}

type span struct {
	batch    *sortedBatch
	from, to int
}

// capacityFor is how many rows of a batch there is room for, one at least.
func (g *gatherer) capacityFor(b *sortedBatch) int {
	return int(max(1, (g.out.batchBytes-g.bytes)/b.rowSize))
}

func (g *gatherer) add(ctx context.Context, b *sortedBatch, from, to int) error {
	g.parts = extend(g.parts, b, from, to, len(g.parts))
	g.picks = extend(g.picks, b, from, to, 1)
	if g.bytes += int64(to-from) * b.rowSize; g.bytes >= g.out.batchBytes {
		return g.flush(ctx)
	}
	return nil
}

// extend adds rows to one of the last spans if that is of their batch.
func extend(spans []span, b *sortedBatch, from, to, last int) []span {
	for i := len(spans) - 1; i >= 0 && last > 0; i, last = i-1, last-1 {
		if spans[i].batch == b {
			spans[i].to = to
			return spans
		}
	}
	return append(spans, span{b, from, to})
}

// flush writes what was gathered.
func (g *gatherer) flush(ctx context.Context) error {
	if len(g.parts) == 0 {
		return nil
	}
	starts := map[*sortedBatch]int{} // the place of the first row of each batch, if all its rows were there
	var recs []arrow.RecordBatch
	rows := 0
	for _, p := range g.parts {
		rec, err := p.batch.part(ctx, p.from, p.to)
		if err != nil {
			return err
		}
		recs = append(recs, rec)
		starts[p.batch] = rows - p.from
		rows += p.to - p.from
	}
	rec, err := Join(recs)
	if err != nil {
		return err
	}
	if len(g.picks) > len(g.parts) {
		order := make([]uint32, 0, rows)
		for _, p := range g.picks {
			for row := p.from; row < p.to; row++ {
				order = append(order, uint32(starts[p.batch]+row))
			}
		}
		if rec, err = takeRows(ctx, rec, order); err != nil {
			return err
		}
	}
	g.parts, g.picks, g.bytes, g.begun = g.parts[:0], g.picks[:0], 0, true
	return g.out.write(rec)
}

func (g *gatherer) end(ctx context.Context) error {
	if err := g.flush(ctx); err != nil {
		return err
	}
	if !g.begun || g.out.endPartition == nil {
		return nil
	}
	g.begun = false
	return g.out.endPartition()
}

// takeRows copies the given rows, in their order.
func takeRows(ctx context.Context, rec arrow.RecordBatch, rows []uint32) (arrow.RecordBatch, error) {
	indices := array.MakeFromData(array.NewData(arrow.PrimitiveTypes.Uint32, len(rows),
		[]*memory.Buffer{nil, memory.NewBufferBytes(arrow.Uint32Traits.CastToBytes(rows))}, nil, 0, 0))
	taken, err := compute.Take(ctx, compute.TakeOptions{}, compute.NewDatumWithoutOwning(rec), compute.NewDatumWithoutOwning(indices))
	if err != nil {
		return nil, fmt.Errorf("copying rows in order: %w", err)
	}
	return taken.(*compute.RecordDatum).Value, nil
}

// Join makes one batch of several.
func Join(recs []arrow.RecordBatch) (arrow.RecordBatch, error) {
	if len(recs) == 1 {
		return recs[0], nil
	}
	columns := make([]arrow.Array, recs[0].NumCols())
	var rows int64
	for i := range columns {
		parts := make([]arrow.Array, len(recs))
		for j, r := range recs {
			parts[j] = r.Column(i)
		}
		var err error
		if columns[i], err = array.Concatenate(parts, memory.DefaultAllocator); err != nil {
			return nil, fmt.Errorf("joining rows: %w", err)
		}
		rows = int64(columns[i].Len())
	}
	return array.NewRecordBatch(recs[0].Schema(), columns, rows), nil
}
