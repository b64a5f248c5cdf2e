package lake

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// Staged is data files that are written but that no snapshot names yet.
type Staged struct{ files []*stagedFile }

// Rows returns the number of rows written.
func (s *Staged) Rows() int64 {
	var rows int64
	for _, f := range s.files {
		rows += f.data.Count()
	}
	return rows
}

type stagedFile struct {
	data iceberg.DataFile
	keys []*keyBlock // of its rows, in order; only of dedup streams
	gone positions   // rows that are deleted already, as in files that were on another branch
}

// Writer writes rows into data files. It is for one goroutine; a table may
// have several.
type Writer struct {
	t      *Table
	keys   *keyColumns // nil unless dedup
	file   *parquetFile
	blocks []*keyBlock // of the open file
	staged []*stagedFile
	rows   int64 // written since the last Close
}

// NewWriter returns a writer that has written nothing yet.
func (t *Table) NewWriter() *Writer { return &Writer{t: t} }

// Write adds rows, laid out as the table's layout says, as one row group. order is the
// arrival of each row, needed only for dedup streams. It does not keep rec.
func (w *Writer) Write(ctx context.Context, rec arrow.RecordBatch, order []uint64) error {
	if rec.NumRows() == 0 {
		return nil
	}
	w.rows += rec.NumRows()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := w.refuseNulls(rec); err != nil {
		return err
	}
	if w.t.plan.Dedup {
		block, err := w.index(rec, order)
		if err != nil {
			return err
		}
		w.blocks = append(w.blocks, block)
	}
	return w.t.explain(w.write(rec))
}

func (w *Writer) write(rec arrow.RecordBatch) (err error) {
	if w.file == nil {
		if w.file, err = w.t.createParquet(rec.Schema(), w.t.encodingFor(rec)); err != nil {
			return err
		}
	}
	if err := w.file.write(rec); err != nil {
		return err
	}
	if w.file.size() >= w.t.opts.TargetFileBytes {
		return w.roll()
	}
	return nil
}

// refuseNulls guards the required columns: the Parquet writer would store a
// null in one as a zero.
func (w *Writer) refuseNulls(rec arrow.RecordBatch) error {
	for i, field := range rec.Schema().Fields() {
		if rec.Column(i).NullN() == 0 {
			continue
		}
		if f, ok := w.t.schema.FindFieldByName(field.Name); ok && f.Required {
			return w.t.configError(nil,
				"Stream %q has a record without a value for %q, which is part of its primary key. Correct the source, or choose another primary key or sync mode append.",
				w.t.plan.Stream, field.Name)
		}
	}
	return nil
}

func (w *Writer) index(rec arrow.RecordBatch, order []uint64) (*keyBlock, error) {
	if int64(len(order)) != rec.NumRows() {
		return nil, fmt.Errorf("indexing keys of table %s: %d rows with the order of %d", w.t, rec.NumRows(), len(order))
	}
	if w.keys == nil {
		var err error
		if w.keys, err = newKeyColumns(w.t.plan, rec.Schema()); err != nil {
			return nil, fmt.Errorf("indexing keys of table %s: %w", w.t, err)
		}
	}
	return w.keys.block(rec, order)
}

// roll completes the open file.
func (w *Writer) roll() error {
	file := w.file
	w.file = nil
	data, err := file.close(table.DataFileArgs{
		Schema: w.t.schema, Spec: w.t.spec, Content: iceberg.EntryContentData, FormatVersion: w.t.version,
	})
	if err != nil {
		return err
	}
	w.staged = append(w.staged, &stagedFile{data: data, keys: w.blocks})
	w.blocks = nil
	return nil
}

// Close hands over the first rows of all that were written since the last
// Close, last being the last of them, or nil, and keep how many; nil when that
// is nothing. The others are deleted: rows that no state covers must not become
// visible, since they come again with the next run. The writer may be used
// further.
func (w *Writer) Close(ctx context.Context, last arrow.RecordBatch, order []uint64, keep int64) (*Staged, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if rest := keep - w.rows; last != nil && rest > 0 {
		if rest < last.NumRows() {
			last, order = last.NewSlice(0, rest), order[:min(int64(len(order)), rest)]
		}
		if err := w.Write(ctx, last, order); err != nil {
			return nil, err
		}
	}
	if w.file != nil {
		if err := w.roll(); err != nil {
			return nil, w.t.explain(err)
		}
	}
	if keep < w.rows {
		if err := w.truncate(ctx, keep); err != nil {
			return nil, w.t.explain(err)
		}
	}
	staged := &Staged{files: w.staged}
	w.staged, w.rows = nil, 0
	if len(staged.files) == 0 {
		return nil, nil
	}
	return staged, nil
}

// Abort deletes everything that was written and not handed over.
func (w *Writer) Abort() error {
	var errs []error
	if w.file != nil {
		errs = append(errs, w.file.abort())
		w.file = nil
	}
	errs = append(errs, w.t.discard(w.staged))
	w.staged, w.blocks, w.rows = nil, nil, 0
	return errors.Join(errs...)
}

// Discard deletes files that were never offered to a commit.
func Discard(ctx context.Context, t *Table, staged []*Staged) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return t.discard(stagedFiles(staged))
}

// encodingFor is the encoding of all the table's files; the first rows that
// are written choose it.
func (t *Table) encodingFor(rec arrow.RecordBatch) *encoding {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.encoding == nil {
		t.encoding = newEncoding(rec)
	}
	return t.encoding
}
