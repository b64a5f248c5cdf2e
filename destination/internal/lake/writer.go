package lake

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/budget"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rowkeys"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rowsort"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Writer writes rows into data files. In a table that is partitioned or sorted it
// puts them aside until Close, and then writes one file after another. In other
// tables it writes rows as they come, but puts small batches aside until they make a
// row group: each group costs readers time, and the open file memory. A Writer is
// for one goroutine; a table may have several.
type Writer struct {
	t         *Table
	order     *rowsort.Order   // nil until there are rows
	sorter    *rowsort.Sorter  // of the rows put aside; nil in a table without order
	spool     *rowsort.Spool   // of those of such a table; nil in others
	columns   *rowkeys.Columns // nil unless dedup
	files     *parquetfile.RollingWriter
	partition map[int]any   // the partition of the open file
	keys      *rowkeys.File // of the open file; nil unless dedup
	written   *Completed    // since the last Complete, but for the open file
	rows      int64         // the same, with it
}

// minRowGroupBytes is the size from which rows are a row group of their own.
const minRowGroupBytes = 2 << 20

// NewWriter returns a writer that has written nothing yet.
func (t *Table) NewWriter() *Writer {
	w := &Writer{t: t, written: &Completed{t: t}}
	w.files = t.storage.RollingWriter(t.storage.TargetFileBytes, w.completeFile)
	return w
}

// Write adds rows, laid out as the table's layout says. Only dedup streams need the
// arrivals, a number for each row. Write does not keep rec.
func (w *Writer) Write(ctx context.Context, rec arrow.RecordBatch, arrivals []uint64) error {
	if rec.NumRows() == 0 {
		return nil
	}
	w.rows += rec.NumRows()
	if err := w.checkRows(ctx, rec, arrivals); err != nil {
		return err
	}
	return w.t.Explain(w.writeOrSpool(ctx, rec, arrivals))
}

func (w *Writer) writeOrSpool(ctx context.Context, rec arrow.RecordBatch, arrivals []uint64) error {
	switch {
	case w.sorter != nil:
		if err := w.sorter.Add(ctx, rec, arrivals); err != nil {
			return fmt.Errorf("putting rows of table %s aside: %w", w.t, err)
		}
		return nil
	case w.isTooSmall(rec):
		if err := w.spool.Add(rec, arrivals); err != nil {
			return fmt.Errorf("putting rows of table %s aside: %w", w.t, err)
		}
		if !w.spool.Full() {
			return nil
		}
		rec, arrivals = nil, nil
	}
	return w.flushSpool(rec, arrivals, math.MaxInt64)
}

// isTooSmall reports whether rows are too few for a row group of their own.
func (w *Writer) isTooSmall(rec arrow.RecordBatch) bool {
	return budget.SizeOf(rec) < min(w.t.minRowGroupBytes, w.t.storage.TargetFileBytes) && !parquetfile.HasHugeValues(rec)
}

// flush writes the first rows that were put aside, keep of them, and then last,
// which may be nil. It removes the others.
func (w *Writer) flush(ctx context.Context, last arrow.RecordBatch, arrivals []uint64, keep int64) error {
	if w.sorter == nil {
		return w.flushSpool(last, arrivals, keep)
	}
	end, err := w.t.storage.Memory.Begin(ctx, rowsort.MergeBytes)
	if err != nil {
		return err
	}
	defer end()
	return w.sorter.Finish(ctx, last, arrivals, keep, w.group, w.files.Roll)
}

// flushSpool is flush in a table without order.
func (w *Writer) flushSpool(last arrow.RecordBatch, arrivals []uint64, keep int64) error {
	var short arrow.RecordBatch
	if last != nil && w.isTooSmall(last) {
		short, last = last, nil
	}
	rows, rowArrivals, err := w.spool.Take(keep, short, arrivals)
	if err != nil {
		return fmt.Errorf("gathering rows of table %s: %w", w.t, err)
	}
	if rows != nil {
		if err := w.group(rows, rowArrivals); err != nil {
			return err
		}
	}
	if last == nil {
		return nil
	}
	return w.group(last, arrivals)
}

// checkRows checks rows before they are written.
func (w *Writer) checkRows(ctx context.Context, rec arrow.RecordBatch, arrivals []uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := w.refuseNulls(rec); err != nil {
		return err
	}
	if w.t.plan.Dedup && int64(len(arrivals)) != rec.NumRows() {
		return fmt.Errorf("writing to table %s: %d rows with the arrivals of %d", w.t, rec.NumRows(), len(arrivals))
	}
	if w.order == nil {
		w.order = rowsort.NewOrder(w.t.spec, w.t.order, rec.Schema())
		if w.order.Ordered() {
			w.sorter = rowsort.NewSorter(w.t.storage.Scratch(), w.t.storage.Memory, w.order, rec.Schema(), w.t.plan.Dedup)
		} else {
			w.spool = rowsort.NewSpool(w.t.storage.Scratch(), rec.Schema(), w.t.plan.Dedup)
		}
	}
	w.t.storage.EncodingFor(rec) // chosen by rows of all partitions
	return nil
}

// group writes rows as one row group.
func (w *Writer) group(rec arrow.RecordBatch, arrivals []uint64) error {
	created, err := w.files.Open(rec, w.t.storage.EncodingFor(rec))
	if err != nil {
		return err
	}
	if created != "" {
		if w.partition, err = w.order.Partition(rec, 0); err != nil {
			return fmt.Errorf("partitioning rows of table %s: %w", w.t, err)
		}
	}
	if err := w.indexRows(rec, arrivals); err != nil {
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
			return w.t.errorf(protocol.ConfigError, nil,
				"Stream %q has a record without a value for %q, which is part of its primary key. Correct the source, or choose another primary key or sync mode append.",
				w.t.plan.Stream, field.Name)
		}
	}
	return nil
}

// indexRows adds rows of the open file to the index.
func (w *Writer) indexRows(rec arrow.RecordBatch, arrivals []uint64) error {
	if !w.t.plan.Dedup {
		return nil
	}
	if w.columns == nil {
		var err error
		if w.columns, err = rowkeys.NewColumns(w.t.keys, rec.Schema()); err != nil {
			return fmt.Errorf("indexing keys of table %s: %w", w.t, err)
		}
	}
	if w.written.index == nil {
		w.written.index = rowkeys.NewIndex(w.t.storage.Scratch(), w.t.storage.Memory)
	}
	if w.keys == nil {
		w.keys = rowkeys.NewFile(nil)
	}
	return w.written.index.AddRows(w.keys, w.columns, rec, arrivals)
}

// completeFile completes the open file in the background.
func (w *Writer) completeFile(file *parquetfile.Writer) error {
	args := table.DataFileArgs{
		Schema: w.t.schema, Spec: w.t.spec, PartitionValues: w.partition, SortOrderID: w.order.SortID(),
		Content: iceberg.EntryContentData, FormatVersion: w.t.version,
	}
	w.written.completeLater(&stagedFile{keys: w.keys}, file, args)
	w.keys = nil
	return nil
}

// Close adds last, which may be nil, and returns the first rows since the last
// Close, keep of them; nil if there are none. It deletes the others: rows that no
// state covers must not become visible, because they come again with the next run.
// The writer can be used again.
func (w *Writer) Close(ctx context.Context, last arrow.RecordBatch, arrivals []uint64, keep int64) (*Staged, error) {
	completed, err := w.Complete(ctx, last, arrivals, keep)
	if err != nil {
		return nil, err
	}
	staged, err := completed.Staged(ctx)
	if err != nil {
		w.written = completed // for Abort
	}
	return staged, err
}

// Complete is the part of Close that does not wait for the storage, which takes the
// files in the meantime. What it returns has the other part.
func (w *Writer) Complete(ctx context.Context, last arrow.RecordBatch, arrivals []uint64, keep int64) (*Completed, error) {
	if last != nil {
		if rest := max(0, keep-w.rows); rest < last.NumRows() {
			last, arrivals = last.NewSlice(0, rest), arrivals[:min(int64(len(arrivals)), rest)]
		}
		if last.NumRows() == 0 {
			last = nil
		} else if err := w.checkRows(ctx, last, arrivals); err != nil {
			return nil, err
		}
	}
	if err := w.t.Explain(w.writeRest(ctx, last, arrivals, keep)); err != nil {
		return nil, err
	}
	completed := w.written
	completed.keep = keep
	w.written, w.rows = &Completed{t: w.t}, 0
	return completed, nil
}

// writeRest writes what was put aside and last, and completes the open file. It leaves
// out the rows that were put aside after the first ones, keep of them.
func (w *Writer) writeRest(ctx context.Context, last arrow.RecordBatch, arrivals []uint64, keep int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.order != nil {
		written := w.rows - w.spooledRows()
		if err := w.flush(ctx, last, arrivals, max(0, keep-written)); err != nil {
			return err
		}
	}
	return w.files.Roll()
}

// spooledRows is the number of rows that were put aside.
func (w *Writer) spooledRows() int64 {
	if w.sorter != nil {
		return w.sorter.Count()
	}
	return w.spool.Count()
}

// Spooled returns the size in memory of the rows that were put aside, and whether there
// are no others since the last Close.
func (w *Writer) Spooled() (bytes int64, all bool) {
	switch {
	case w.rows == 0:
		return 0, true
	case w.sorter != nil:
		bytes = w.sorter.Bytes()
	default:
		bytes = w.spool.Bytes()
	}
	return bytes, w.spooledRows() == w.rows
}

// TakeOver moves the rows of another writer of the table to this one. Both have rows,
// and all that the other has were put aside.
func (w *Writer) TakeOver(other *Writer) {
	if w.sorter != nil {
		w.sorter.TakeOver(other.sorter)
	} else {
		w.spool.TakeOver(other.spool)
	}
	w.rows, other.rows = w.rows+other.rows, 0
}

// Abort deletes everything that was written since the last Close.
func (w *Writer) Abort() error {
	errs := []error{w.files.Abort()}
	if w.sorter != nil {
		errs = append(errs, w.sorter.Abort())
	}
	if w.spool != nil {
		errs = append(errs, w.spool.Abort())
	}
	errs = append(errs, w.written.Discard())
	w.written, w.keys, w.rows = &Completed{t: w.t}, nil, 0
	return errors.Join(errs...)
}
