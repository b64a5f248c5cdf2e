package lake

import (
	"bytes"
	"context"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// A rowSource hands out rows in order, nil when there are no more.
type rowSource interface {
	next(ctx context.Context) (*sortedBatch, error)
}

// A rowSink takes rows in order, with their tags.
type rowSink interface {
	batchBytes() int64 // about how much it wants at once
	divides() bool     // it wants no two partitions at once, and to be told where one ends
	write(ctx context.Context, tagged arrow.RecordBatch) error
	end() error // of a partition
}

// once is a source of one batch.
type once struct{ batch *sortedBatch }

func (o *once) next(context.Context) (*sortedBatch, error) {
	b := o.batch
	o.batch = nil
	return b, nil
}

// mergeRuns merges runs, and sources whose rows arrived after theirs.
func (s *sorter) mergeRuns(ctx context.Context, runs []*run, more []rowSource, out rowSink) error {
	if !s.by.orders() {
		in := &arrivals{s: s, runs: runs}
		defer in.close()
		return s.merge(ctx, append([]rowSource{in}, more...), out)
	}
	var sources []rowSource
	for _, r := range runs {
		if r.keep == 0 {
			continue
		}
		in, err := s.openRun(r)
		if err != nil {
			return err
		}
		defer in.close()
		sources = append(sources, in)
	}
	return s.merge(ctx, append(sources, more...), out)
}

// cursor stands before the next row of a source.
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

// merge merges sources, of which one whose rows arrived earlier comes earlier.
func (s *sorter) merge(ctx context.Context, sources []rowSource, out rowSink) error {
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
	var partition []byte // its part of the keys; nil: any
	for len(cursors) > 0 {
		// The lowest key, of equal ones the earlier source's, and who is next.
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
		if key := c.key(); out.divides() && (partition == nil || !bytes.HasPrefix(key, partition)) {
			if err := g.end(ctx); err != nil {
				return err
			}
			partition = append(partition[:0], partitionPart(key)...)
		}
		to := c.at + 1
		for most := c.at + g.room(c.batch); to < c.batch.rows() && to < most; to++ {
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

// gatherer gathers rows from several batches into one. Of each batch those come
// one after the other, with others between them.
type gatherer struct {
	out   rowSink
	parts []span // what is taken of each batch
	picks []span // the same in the order in which it was taken
	bytes int64
	begun bool // something was written since the last end
}

type span struct {
	batch    *sortedBatch
	from, to int
}

// room is how many rows of a batch there is room for, one at least.
func (g *gatherer) room(b *sortedBatch) int {
	return int(max(1, (g.out.batchBytes()-g.bytes)/b.rowSize))
}

func (g *gatherer) add(ctx context.Context, b *sortedBatch, from, to int) error {
	g.parts = extend(g.parts, b, from, to, len(g.parts))
	g.picks = extend(g.picks, b, from, to, 1)
	if g.bytes += int64(to-from) * b.rowSize; g.bytes >= g.out.batchBytes() {
		return g.flush(ctx)
	}
	return nil
}

// extend adds rows to one of the last spans, if they follow what it is of.
func extend(spans []span, b *sortedBatch, from, to, last int) []span {
	for i := len(spans) - 1; i >= 0 && last > 0; i, last = i-1, last-1 {
		if spans[i].batch == b {
			spans[i].to = to
			return spans
		}
	}
	return append(spans, span{b, from, to})
}

// flush hands on what was gathered.
func (g *gatherer) flush(ctx context.Context) error {
	if len(g.parts) == 0 {
		return nil
	}
	starts := map[*sortedBatch]int{} // where the rows of each batch would have begun from its first on
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
	rec, err := joinRows(recs)
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
	return g.out.write(ctx, rec)
}

func (g *gatherer) end(ctx context.Context) error {
	if err := g.flush(ctx); err != nil {
		return err
	}
	if !g.begun {
		return nil
	}
	g.begun = false
	return g.out.end()
}

// takeRows copies rows, in the order in which they are named.
func takeRows(ctx context.Context, rec arrow.RecordBatch, rows []uint32) (arrow.RecordBatch, error) {
	indices := array.MakeFromData(array.NewData(arrow.PrimitiveTypes.Uint32, len(rows),
		[]*memory.Buffer{nil, memory.NewBufferBytes(arrow.Uint32Traits.CastToBytes(rows))}, nil, 0, 0))
	taken, err := compute.Take(ctx, compute.TakeOptions{}, compute.NewDatumWithoutOwning(rec), compute.NewDatumWithoutOwning(indices))
	if err != nil {
		return nil, fmt.Errorf("copying rows in order: %w", err)
	}
	return taken.(*compute.RecordDatum).Value, nil
}

// joinRows makes one batch of several.
func joinRows(recs []arrow.RecordBatch) (arrow.RecordBatch, error) {
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
