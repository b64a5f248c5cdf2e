package rowsort

import (
	"errors"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/budget"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
)

// A Spool puts rows of a table that has no order aside, a few at a time, until they
// make a row group. Rows come out in the order in which they were added.
type Spool struct {
	files  storage.Scratch
	rows   *arrow.Schema // as they come
	stored *arrow.Schema // with their arrivals, where they have any
	runs   []*run        // one for each batch
	count  int64         // of rows
	bytes  int64
}

// NewSpool returns an empty spool for rows with or without arrivals.
func NewSpool(files storage.Scratch, rows *arrow.Schema, arrivals bool) *Spool {
	s := &Spool{files: files, rows: rows, stored: rows}
	if arrivals {
		s.stored = arrow.NewSchema(append(slices.Clone(rows.Fields()), arrivalField), nil)
	}
	return s
}

// Count is the number of rows in the spool.
func (s *Spool) Count() int64 { return s.count }

// Bytes is the size of the rows in memory.
func (s *Spool) Bytes() int64 { return s.bytes }

// Full reports whether the rows make a row group.
func (s *Spool) Full() bool { return s.bytes >= groupBytes }

// Add puts rows aside. It does not keep rec.
func (s *Spool) Add(rec arrow.RecordBatch, arrivals []uint64) error {
	w, err := createRun(s.files, s.stored)
	if err != nil {
		return err
	}
	s.runs = append(s.runs, w.run)
	s.count += rec.NumRows()
	s.bytes += budget.SizeOf(rec)
	return errors.Join(w.write(s.join(rec, arrivals)), w.close())
}

// TakeOver moves the rows of another spool of the table behind its own.
func (s *Spool) TakeOver(other *Spool) {
	s.runs = append(s.runs, other.runs...)
	s.count += other.count
	s.bytes += other.bytes
	other.runs, other.count, other.bytes = nil, 0, 0
}

// Take empties the spool. It returns the first rows, keep of them, and then last,
// which arrived after them and may be nil; nil if that is no row.
func (s *Spool) Take(keep int64, last arrow.RecordBatch, arrivals []uint64) (arrow.RecordBatch, []uint64, error) {
	var recs []arrow.RecordBatch
	for _, r := range s.runs {
		if keep <= 0 {
			break
		}
		rec, err := s.read(r)
		if err != nil {
			return nil, nil, err
		}
		rec = rec.NewSlice(0, min(keep, rec.NumRows()))
		keep -= rec.NumRows()
		recs = append(recs, rec)
	}
	if last != nil {
		recs = append(recs, s.join(last, arrivals))
	}
	if err := s.Abort(); err != nil || len(recs) == 0 {
		return nil, nil, err
	}
	all, err := Join(recs)
	if err != nil {
		return nil, nil, err
	}
	n := s.rows.NumFields()
	arrivals = nil
	if s.stored.NumFields() > n {
		arrivals = all.Column(n).(*array.Uint64).Uint64Values()
	}
	return array.NewRecordBatch(s.rows, all.Columns()[:n], all.NumRows()), arrivals, nil
}

// join returns rows with their arrivals as a column.
func (s *Spool) join(rec arrow.RecordBatch, arrivals []uint64) arrow.RecordBatch {
	if s.stored.NumFields() == s.rows.NumFields() {
		return rec
	}
	return array.NewRecordBatch(s.stored, append(slices.Clone(rec.Columns()), arrivalColumn(arrivals)), rec.NumRows())
}

func (s *Spool) read(r *run) (arrow.RecordBatch, error) {
	in, err := openRun(s.files, r, s.stored)
	if err != nil {
		return nil, err
	}
	defer in.close()
	rec, err := in.next()
	if err == nil && rec == nil {
		err = fmt.Errorf("reading %s: its rows are gone", r.path)
	}
	return rec, err
}

// Abort removes what was put aside.
func (s *Spool) Abort() error {
	if err := s.files.Remove(pathsOf(s.runs)); err != nil {
		return err
	}
	s.runs, s.count, s.bytes = nil, 0, 0
	return nil
}
