// Package rowsort brings any number of rows into the order of a partition spec and
// a sort order, and puts rows aside until they make a row group.
//
// Its terms: a run is rows in a scratch file, in order. The arrival of a row is its
// number in the input. A tag is a column that the sorter adds to rows and removes
// again. A key is bytes of the same order as the rows.
package rowsort

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
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
)

const (
	// MergeBytes is the memory that finishing a sort takes.
	MergeBytes = 2 * mergedBytes
	// groupBytes is about the size in memory of a row group made of rows that
	// were put aside by one worker; see TakeOver.
	groupBytes = 8 << 20
)

// A Sorter brings rows into the order of their keys: a batch is sorted in memory
// and put aside in a file, as a run, and the runs are merged when no more rows
// come. It needs the memory of one batch, or of the batches of runs that are
// being merged. Rows of equal keys stay in the order in which they were added.
type Sorter struct {
	files  storage.Scratch
	memory *budget.Memory
	by     *Order
	rows   *arrow.Schema
	tagged *arrow.Schema // with tags
	runs   []*run        // in the order in which their rows were added
	count  int64         // rows of the runs
	bytes  int64         // their size in memory
	long   bool          // there are rows of more than budget.LongRow
}

// The tags, behind the columns of the rows.
const (
	keyTag     = iota // in the order
	placeTag          // of the row in its batch
	arrivalTag        // if rows have arrivals
)

var arrivalField = arrow.Field{Name: "arrival", Type: arrow.PrimitiveTypes.Uint64}

// NewSorter returns an empty sorter for rows with or without arrivals.
func NewSorter(files storage.Scratch, memory *budget.Memory, by *Order, rows *arrow.Schema, arrivals bool) *Sorter {
	tags := []arrow.Field{{Name: "key", Type: arrow.BinaryTypes.Binary}, {Name: "place", Type: arrow.PrimitiveTypes.Uint32}}
	if arrivals {
		tags = append(tags, arrivalField)
	}
	return &Sorter{files: files, memory: memory, by: by, rows: rows, tagged: arrow.NewSchema(slices.Concat(rows.Fields(), tags), nil)}
}

// Count is the number of rows that were added.
func (s *Sorter) Count() int64 { return s.count }

// Bytes is the size of these rows in memory.
func (s *Sorter) Bytes() int64 { return s.bytes }

// TakeOver moves the rows of another sorter of the table behind its own.
func (s *Sorter) TakeOver(other *Sorter) {
	for _, r := range other.runs {
		r.first += s.count
	}
	s.runs = append(s.runs, other.runs...)
	s.count += other.count
	s.bytes += other.bytes
	s.long = s.long || other.long
	other.runs, other.count, other.bytes, other.long = nil, 0, 0, false
}

// untag removes the tags.
func (s *Sorter) untag(tagged arrow.RecordBatch) (rec arrow.RecordBatch, arrivals []uint64) {
	n := s.rows.NumFields()
	if tags := tagged.Columns()[n:]; len(tags) > arrivalTag {
		arrivals = tags[arrivalTag].(*array.Uint64).Uint64Values()
	}
	return array.NewRecordBatch(s.rows, tagged.Columns()[:n], tagged.NumRows()), arrivals
}

// Add puts rows aside. It does not keep rec.
func (s *Sorter) Add(ctx context.Context, rec arrow.RecordBatch, arrivals []uint64) error {
	batch, err := s.sort(rec, arrivals)
	if err != nil {
		return err
	}
	s.long = s.long || batch.rowSize > budget.LongRow
	w, err := createRun(s.files, s.tagged)
	if err != nil {
		return err
	}
	s.runs = append(s.runs, w.run)
	w.run.first, w.run.keep = s.count, rec.NumRows()
	s.count += rec.NumRows()
	s.bytes += budget.SizeOf(rec)
	return errors.Join(s.merge(ctx, []rowSource{&singleBatch{batch}}, runSink(w)), w.close())
}

// Finish hands rows to write, a row group at a time, in the order of their keys:
// of those that were added the first, keep of them, and last, which arrived after
// them and may be nil. No row group is of two partitions; endPartition is called
// after the last of each.
func (s *Sorter) Finish(ctx context.Context, last arrow.RecordBatch, arrivals []uint64, keep int64, write func(arrow.RecordBatch, []uint64) error, endPartition func() error) error {
	for _, r := range s.runs {
		r.keep = max(0, min(r.keep, keep-r.first))
	}
	var tail []rowSource
	if last != nil {
		batch, err := s.sort(last, arrivals)
		if err != nil {
			return err
		}
		s.long = s.long || batch.rowSize > budget.LongRow
		tail = append(tail, &singleBatch{batch})
	}
	if s.long {
		end, err := s.memory.BeginLong(ctx)
		if err != nil {
			return err
		}
		defer end()
	}
	for groups := mergeable(s.runs); len(groups) > 1; groups = mergeable(s.runs) {
		if err := s.mergeGroups(ctx, groups); err != nil {
			return err
		}
	}
	out := rowSink{batchBytes: groupBytes, write: func(tagged arrow.RecordBatch) error { return write(s.untag(tagged)) }}
	if s.by.partitioned() {
		out.endPartition = endPartition
	}
	if err := s.mergeRuns(ctx, s.runs, tail, out); err != nil {
		return err
	}
	return s.Abort()
}

// mergeGroups merges each group of runs into one.
func (s *Sorter) mergeGroups(ctx context.Context, groups [][]*run) error {
	for _, group := range groups {
		if len(group) == 1 {
			continue
		}
		w, err := createRun(s.files, s.tagged)
		if err != nil {
			return err
		}
		at := slices.Index(s.runs, group[0])
		s.runs = slices.Insert(s.runs, at, w.run)
		if err := errors.Join(s.mergeRuns(ctx, group, nil, runSink(w)), w.close()); err != nil {
			return err
		}
		w.run.keep = w.run.count
		if err := s.files.Remove(pathsOf(group)); err != nil {
			return err
		}
		s.runs = slices.Delete(s.runs, at+1, at+1+len(group))
	}
	return nil
}

// Abort removes what was put aside.
func (s *Sorter) Abort() error {
	if err := s.files.Remove(pathsOf(s.runs)); err != nil {
		return err
	}
	s.runs, s.count, s.bytes, s.long = nil, 0, 0, false
	return nil
}

// sortedBatch is rows with tags, in order.
type sortedBatch struct {
	rec     arrow.RecordBatch
	keys    *array.Binary // of rec
	order   []uint32      // rows of rec; nil: all as they are
	rowSize int64         // bytes, about
}

func (s *Sorter) sorted(tagged arrow.RecordBatch, order []uint32) *sortedBatch {
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

// part returns some of the rows in order.
func (b *sortedBatch) part(ctx context.Context, from, to int) (arrow.RecordBatch, error) {
	if b.order == nil {
		return b.rec.NewSlice(int64(from), int64(to)), nil
	}
	return takeRows(ctx, b.rec, b.order[from:to])
}

// sort finds the order of the rows of a batch. It does not copy them.
func (s *Sorter) sort(rec arrow.RecordBatch, arrivals []uint64) (*sortedBatch, error) {
	keys, err := s.by.keys(rec)
	if err != nil {
		return nil, fmt.Errorf("ordering rows: %w", err)
	}
	type entry struct {
		prefix uint64 // of the key, which often decides
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
	sorted := make([]uint32, len(entries))
	for i, e := range entries {
		sorted[i] = e.row
	}
	columns := append(slices.Clone(rec.Columns()),
		column(arrow.BinaryTypes.Binary, len(entries), arrow.Int32Traits.CastToBytes(keys.ends), keys.bytes),
		column(arrow.PrimitiveTypes.Uint32, len(entries), arrow.Uint32Traits.CastToBytes(places)))
	if s.tagged.NumFields() > len(columns) {
		columns = append(columns, arrivalColumn(arrivals))
	}
	return s.sorted(array.NewRecordBatch(s.tagged, columns, rec.NumRows()), sorted), nil
}

func arrivalColumn(arrivals []uint64) arrow.Array {
	return column(arrow.PrimitiveTypes.Uint64, len(arrivals), arrow.Uint64Traits.CastToBytes(arrivals))
}

// column is an array without nulls over buffers as they are.
func column(typ arrow.DataType, length int, buffers ...[]byte) arrow.Array {
	all := []*memory.Buffer{nil}
	for _, b := range buffers {
		all = append(all, memory.NewBufferBytes(b))
	}
	return array.MakeFromData(array.NewData(typ, length, all, nil, 0, 0))
}
