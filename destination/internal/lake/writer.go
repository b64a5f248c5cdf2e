package lake

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"golang.org/x/sync/errgroup"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/budget"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rowkeys"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rowsort"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/scratch"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Staged is data files that are written but that no snapshot names yet.
type Staged struct {
	files []*stagedFile
	index *rowkeys.Index // of their rows; nil unless dedup
}

// Rows returns the number of rows written.
func (s *Staged) Rows() int64 {
	var rows int64
	for _, f := range s.files {
		rows += f.data.Count()
	}
	return rows
}

type stagedFile struct {
	data        iceberg.DataFile
	keys        *rowkeys.File         // of its rows; nil unless dedup
	deletedRows parquetfile.Positions // already, as in files that were on another branch
}

// Writer writes rows into data files. In a table that is partitioned or sorted
// it puts them aside until all are there, and writes one file after another. In
// another it writes them as they come, but puts few of them aside until they make
// a row group: readers pay for every group, and the open file for what it has to
// remember of it. It is for one goroutine; a table may have several.
type Writer struct {
	t       *Table
	by      *rowsort.Order   // nil until there are rows
	sorter  *rowsort.Sorter  // of the rows put aside; nil in a table without order
	spool   *rowsort.Spool   // of those of such a table; nil in others
	columns *rowkeys.Columns // nil unless dedup
	files   *parquetfile.RollingWriter
	of      map[int]any    // the partition of the open file
	keys    *rowkeys.File  // of the open file; nil unless dedup
	index   *rowkeys.Index // of all rows since the last Close; nil unless dedup
	staged  []*stagedFile
	ending  *errgroup.Group // of staged files that wait for the storage; nil: of none
	rows    int64           // written since the last Close
}

// endings is how many files of a writer may wait at once for the storage to have
// them safe. Storage takes many files together in little more time than one.
const endings = 16

// fewBytes is how many bytes of rows are too few for a row group.
const fewBytes = 2 << 20

// NewWriter returns a writer that has written nothing yet.
func (t *Table) NewWriter() *Writer {
	w := &Writer{t: t}
	w.files = parquetfile.NewRollingWriter(t.files, t.newDataPath, t.opts.TargetFileBytes, w.complete)
	return w
}

// Write adds rows, laid out as the table's layout says. order is the
// arrival of each row, needed only for dedup streams. It does not keep rec.
func (w *Writer) Write(ctx context.Context, rec arrow.RecordBatch, order []uint64) error {
	if rec.NumRows() == 0 {
		return nil
	}
	w.rows += rec.NumRows()
	if err := w.admit(ctx, rec, order); err != nil {
		return err
	}
	return w.t.Explain(w.add(ctx, rec, order))
}

func (w *Writer) add(ctx context.Context, rec arrow.RecordBatch, order []uint64) error {
	switch {
	case w.sorter != nil:
		if err := w.sorter.Add(ctx, rec, order); err != nil {
			return fmt.Errorf("putting rows of table %s aside: %w", w.t, err)
		}
		return nil
	case w.few(rec):
		if err := w.spool.Add(rec, order); err != nil {
			return fmt.Errorf("putting rows of table %s aside: %w", w.t, err)
		}
		if !w.spool.Full() {
			return nil
		}
		rec, order = nil, nil
	}
	return w.unspool(rec, order, math.MaxInt64)
}

// few reports whether rows are too few for a row group of their own.
func (w *Writer) few(rec arrow.RecordBatch) bool {
	return budget.SizeOf(rec) < min(w.t.few, w.t.opts.TargetFileBytes) && !parquetfile.HasHugeValues(rec)
}

// flush writes the first rows of those that were put aside, keep of them, and
// forgets the others. last arrived after them and is kept; it may be nil.
func (w *Writer) flush(ctx context.Context, last arrow.RecordBatch, order []uint64, keep int64) error {
	if w.sorter == nil {
		return w.unspool(last, order, keep)
	}
	end, err := w.t.opts.Memory.Begin(ctx, rowsort.MergeBytes)
	if err != nil {
		return err
	}
	defer end()
	return w.sorter.Finish(ctx, last, order, keep, w.group, w.files.Roll)
}

// unspool is flush in a table without order.
func (w *Writer) unspool(last arrow.RecordBatch, order []uint64, keep int64) error {
	var few arrow.RecordBatch
	if last != nil && w.few(last) {
		few, last = last, nil
	}
	rows, orders, err := w.spool.Take(keep, few, order)
	if err != nil {
		return fmt.Errorf("gathering rows of table %s: %w", w.t, err)
	}
	if rows != nil {
		if err := w.group(rows, orders); err != nil {
			return err
		}
	}
	if last == nil {
		return nil
	}
	return w.group(last, order)
}

// admit looks at rows before they are written.
func (w *Writer) admit(ctx context.Context, rec arrow.RecordBatch, order []uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := w.refuseNulls(rec); err != nil {
		return err
	}
	if w.t.plan.Dedup && int64(len(order)) != rec.NumRows() {
		return fmt.Errorf("writing to table %s: %d rows with the order of %d", w.t, rec.NumRows(), len(order))
	}
	if w.by == nil {
		w.by = rowsort.NewOrder(w.t.spec, w.t.order, rec.Schema())
		if w.by.Ordered() {
			w.sorter = rowsort.NewSorter(w.t.scratch(), w.t.opts.Memory, w.by, rec.Schema(), w.t.plan.Dedup)
		} else {
			w.spool = rowsort.NewSpool(w.t.scratch(), rec.Schema(), w.t.plan.Dedup)
		}
	}
	w.t.encodingFor(rec) // by the rows as they come: those of one partition are not like all
	return nil
}

// group writes rows as one row group.
func (w *Writer) group(rec arrow.RecordBatch, order []uint64) error {
	created, err := w.files.Open(rec, w.t.encodingFor(rec))
	if err != nil {
		return err
	}
	if created != "" {
		if w.of, err = w.by.Partition(rec, 0); err != nil {
			return fmt.Errorf("partitioning rows of table %s: %w", w.t, err)
		}
	}
	if err := w.indexRows(rec, order); err != nil {
		return err
	}
	return w.files.Write(rec)
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

// indexRows adds rows of the open file to the index.
func (w *Writer) indexRows(rec arrow.RecordBatch, order []uint64) error {
	if !w.t.plan.Dedup {
		return nil
	}
	if w.columns == nil {
		var err error
		if w.columns, err = rowkeys.NewColumns(w.t.keys, rec.Schema()); err != nil {
			return fmt.Errorf("indexing keys of table %s: %w", w.t, err)
		}
	}
	if w.index == nil {
		w.index = rowkeys.NewIndex(w.t.scratch(), w.t.opts.Memory)
	}
	if w.keys == nil {
		w.keys = rowkeys.NewFile(nil)
	}
	return w.index.AddRows(w.keys, w.columns, rec, order)
}

// complete completes a file, in the background.
func (w *Writer) complete(file *parquetfile.Writer) error {
	args := table.DataFileArgs{
		Schema: w.t.schema, Spec: w.t.spec, PartitionValues: w.of, SortOrderID: w.by.SortID(),
		Content: iceberg.EntryContentData, FormatVersion: w.t.version,
	}
	staged := &stagedFile{keys: w.keys}
	w.staged = append(w.staged, staged)
	w.keys = nil
	if w.ending == nil {
		w.ending = &errgroup.Group{}
		w.ending.SetLimit(endings)
	}
	w.ending.Go(protocol.Recovered(func() (err error) {
		staged.data, err = file.Close(args)
		return err
	}))
	return nil
}

// settle waits for the storage to have all files that are complete.
func (w *Writer) settle() error {
	if w.ending == nil {
		return nil
	}
	err := w.ending.Wait()
	w.ending = nil
	return err
}

// Close hands over the first rows of all that were written since the last
// Close, last being the last of them, or nil, and keep how many; nil when that
// is nothing. The others are deleted: rows that no state covers must not become
// visible, since they come again with the next run. The writer may be used
// further.
func (w *Writer) Close(ctx context.Context, last arrow.RecordBatch, order []uint64, keep int64) (*Staged, error) {
	if last != nil {
		if rest := max(0, keep-w.rows); rest < last.NumRows() {
			last, order = last.NewSlice(0, rest), order[:min(int64(len(order)), rest)]
		}
		if last.NumRows() == 0 {
			last = nil
		} else if err := w.admit(ctx, last, order); err != nil {
			return nil, err
		}
	}
	if err := w.t.Explain(w.finish(ctx, last, order, keep)); err != nil {
		return nil, err
	}
	staged := &Staged{files: w.staged, index: w.index}
	w.staged, w.index, w.rows = nil, nil, 0
	if len(staged.files) == 0 {
		return nil, w.t.Explain(staged.index.Close())
	}
	return staged, nil
}

// finish writes what was put aside and last, and completes the open file. Of all
// rows since the last Close it keeps the first, keep of them.
func (w *Writer) finish(ctx context.Context, last arrow.RecordBatch, order []uint64, keep int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.by != nil {
		written := w.rows - w.aside()
		if err := w.flush(ctx, last, order, max(0, keep-written)); err != nil {
			return err
		}
	}
	if err := errors.Join(w.files.Roll(), w.settle()); err != nil {
		return err
	}
	return w.truncate(ctx, keep)
}

// aside is the number of rows that were put aside.
func (w *Writer) aside() int64 {
	if w.sorter != nil {
		return w.sorter.Count()
	}
	return w.spool.Count()
}

// Abort deletes everything that was written and not handed over.
func (w *Writer) Abort() error {
	errs := []error{w.files.Abort()}
	if w.sorter != nil {
		errs = append(errs, w.sorter.Abort())
	}
	if w.spool != nil {
		errs = append(errs, w.spool.Abort())
	}
	_ = w.settle() // a file that could not be completed is gone
	errs = append(errs, w.t.discard(slices.DeleteFunc(w.staged, func(f *stagedFile) bool { return f.data == nil })))
	errs = append(errs, w.index.Close())
	w.staged, w.keys, w.index, w.rows = nil, nil, nil, 0
	return errors.Join(errs...)
}

// Discard deletes files that were never offered to a commit.
func Discard(t *Table, staged []*Staged) error {
	errs := []error{t.discard(stagedFiles(staged))}
	for _, x := range indexesOf(staged) {
		errs = append(errs, x.Close())
	}
	return errors.Join(errs...)
}

// newDataPath is the path of a data file that is yet to be made.
func (t *Table) newDataPath() string { return t.newPath(".parquet") }

func (t *Table) newPath(suffix string) string {
	return t.locations.NewDataLocation(filenames.New(suffix))
}

// scratch is where rows and keys are spilled.
func (t *Table) scratch() scratch.Files { return scratch.Files{Storage: t.files, NewPath: t.newPath} }

// encodingFor is the encoding of all the table's files; the first rows that
// are written choose it.
func (t *Table) encodingFor(rec arrow.RecordBatch) *parquetfile.Encoding {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.encoding == nil {
		t.encoding = parquetfile.NewEncoding(rec)
	}
	return t.encoding
}
