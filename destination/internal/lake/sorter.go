package lake

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/budget"
)

// A sorter brings rows into the order of their keys, however many there are: a
// batch is sorted in memory and put aside in a file, as a run, and the runs are
// merged when no more rows come. It needs the memory of one batch, or of the
// pieces of runs that are being merged. Rows of equal keys stay in the order in
// which they arrived: all rows, where the ordering is none.
type sorter struct {
	t      *Table
	by     *ordering
	rows   *arrow.Schema // as they come
	tagged *arrow.Schema // with tags
	runs   []*run        // in the order in which their rows arrived
	count  int64         // rows of the runs
	bytes  int64         // of them in memory, about
	long   bool          // there are rows of more than budget.LongRow
}

// Tags are columns behind those of the rows, from the sorter's way in to its
// way out.
const (
	keyTag   = iota // of the ordering
	placeTag        // among the rows of the batch, as it came
	orderTag        // the arrival the writer was told; only where it is
)

func newSorter(t *Table, by *ordering, rows *arrow.Schema, ordered bool) *sorter {
	tags := []arrow.Field{{Name: "key", Type: arrow.BinaryTypes.Binary}, {Name: "place", Type: arrow.PrimitiveTypes.Uint32}}
	if ordered {
		tags = append(tags, arrow.Field{Name: "order", Type: arrow.PrimitiveTypes.Uint64})
	}
	return &sorter{t: t, by: by, rows: rows, tagged: arrow.NewSchema(slices.Concat(rows.Fields(), tags), nil)}
}

// untag takes the tags off.
func (s *sorter) untag(tagged arrow.RecordBatch) (rec arrow.RecordBatch, order []uint64) {
	n := s.rows.NumFields()
	if tags := tagged.Columns()[n:]; len(tags) > orderTag {
		order = tags[orderTag].(*array.Uint64).Uint64Values()
	}
	return array.NewRecordBatch(s.rows, tagged.Columns()[:n], tagged.NumRows()), order
}

// add puts rows aside. It does not keep rec.
func (s *sorter) add(ctx context.Context, rec arrow.RecordBatch, order []uint64) error {
	batch, err := s.sort(rec, order)
	if err != nil {
		return err
	}
	s.long = s.long || batch.rowSize > budget.LongRow
	w, err := s.t.createRun(s.tagged, batch.rowSize > budget.LongRow)
	if err != nil {
		return err
	}
	s.runs = append(s.runs, w.run)
	w.run.first, w.run.keep = s.count, rec.NumRows()
	s.count += rec.NumRows()
	s.bytes += budget.SizeOf(rec)
	return errors.Join(s.merge(ctx, []rowSource{&once{batch}}, w), w.close())
}

// finish hands rows to out in the order of their keys: of those that were put
// aside the first, keep of them, and last, which arrived after them, nil being
// none.
func (s *sorter) finish(ctx context.Context, last arrow.RecordBatch, order []uint64, keep int64, out rowSink) error {
	for _, r := range s.runs {
		r.keep = max(0, min(r.keep, keep-r.first))
	}
	var tail []rowSource
	if last != nil {
		batch, err := s.sort(last, order)
		if err != nil {
			return err
		}
		s.long = s.long || batch.rowSize > budget.LongRow
		tail = append(tail, &once{batch})
	}
	if s.long && s.by.orders() {
		defer s.t.opts.Memory.BeginLong()()
	}
	for s.by.orders() {
		groups := mergeable(s.runs)
		if len(groups) <= 1 {
			break
		}
		if err := s.level(ctx, groups); err != nil {
			return err
		}
	}
	if err := s.mergeRuns(ctx, s.runs, tail, out); err != nil {
		return err
	}
	return s.abort()
}

// level merges each group of runs into one.
func (s *sorter) level(ctx context.Context, groups [][]*run) error {
	for _, group := range groups {
		if len(group) == 1 {
			continue
		}
		w, err := s.t.createRun(s.tagged, s.long)
		if err != nil {
			return err
		}
		at := slices.Index(s.runs, group[0])
		s.runs = slices.Insert(s.runs, at, w.run)
		if err := errors.Join(s.mergeRuns(ctx, group, nil, w), w.close()); err != nil {
			return err
		}
		w.run.keep = w.run.count
		if err := s.t.removeAll(paths(group)); err != nil {
			return err
		}
		s.runs = slices.Delete(s.runs, at+1, at+1+len(group))
	}
	return nil
}

// abort removes what was put aside.
func (s *sorter) abort() error {
	if err := s.t.removeAll(paths(s.runs)); err != nil {
		return err
	}
	s.runs, s.count, s.bytes, s.long = nil, 0, 0, false
	return nil
}

// sortedBatch is rows with tags, in order.
type sortedBatch struct {
	rec     arrow.RecordBatch
	keys    *array.Binary // of rec
	order   []uint32      // rows of rec; nil: as they lie
	rowSize int64         // bytes, about
}

func (s *sorter) sorted(tagged arrow.RecordBatch, order []uint32) *sortedBatch {
	b := &sortedBatch{rec: tagged, keys: tagged.Column(s.rows.NumFields() + keyTag).(*array.Binary), order: order}
	b.rowSize = budget.SizeOf(tagged)/max(1, tagged.NumRows()) + 1
	return b
}

func (b *sortedBatch) rows() int { return int(b.rec.NumRows()) }

func (b *sortedBatch) key(row int) []byte {
	if b.order != nil {
		row = int(b.order[row])
	}
	return b.keys.Value(row)
}

// part returns rows of the batch as they are in order.
func (b *sortedBatch) part(ctx context.Context, from, to int) (arrow.RecordBatch, error) {
	if b.order == nil {
		return b.rec.NewSlice(int64(from), int64(to)), nil
	}
	return takeRows(ctx, b.rec, b.order[from:to])
}

// sort brings the rows of a batch into order, without copying them.
func (s *sorter) sort(rec arrow.RecordBatch, order []uint64) (*sortedBatch, error) {
	keys, err := s.by.keys(rec)
	if err != nil {
		return nil, fmt.Errorf("ordering the rows of table %s: %w", s.t, err)
	}
	type entry struct {
		prefix uint64 // the beginning of the key, which seldom leaves more to compare
		row    uint32
	}
	entries := make([]entry, rec.NumRows())
	places := make([]uint32, rec.NumRows())
	for i := range entries {
		var prefix [8]byte
		copy(prefix[:], keys.key(i))
		entries[i] = entry{binary.BigEndian.Uint64(prefix[:]), uint32(i)}
		places[i] = uint32(i)
	}
	slices.SortFunc(entries, func(a, b entry) int {
		if c := cmp.Compare(a.prefix, b.prefix); c != 0 {
			return c
		}
		return cmp.Or(bytes.Compare(keys.key(int(a.row)), keys.key(int(b.row))), cmp.Compare(a.row, b.row))
	})
	var sorted []uint32
	if s.by.orders() {
		sorted = make([]uint32, len(entries))
		for i, e := range entries {
			sorted[i] = e.row
		}
	}
	column := func(typ arrow.DataType, buffers ...[]byte) arrow.Array {
		all := []*memory.Buffer{nil}
		for _, b := range buffers {
			all = append(all, memory.NewBufferBytes(b))
		}
		return array.MakeFromData(array.NewData(typ, len(entries), all, nil, 0, 0))
	}
	columns := append(slices.Clone(rec.Columns()),
		column(arrow.BinaryTypes.Binary, arrow.Int32Traits.CastToBytes(keys.ends), keys.bytes),
		column(arrow.PrimitiveTypes.Uint32, arrow.Uint32Traits.CastToBytes(places)))
	if s.tagged.NumFields() > len(columns) {
		columns = append(columns, column(arrow.PrimitiveTypes.Uint64, arrow.Uint64Traits.CastToBytes(order)))
	}
	return s.sorted(array.NewRecordBatch(s.tagged, columns, rec.NumRows()), sorted), nil
}
