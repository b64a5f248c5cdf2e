package inspect

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/iceberg-go"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filter"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
)

// A Selection says which rows of a table are meant, and which of their columns.
type Selection struct {
	Where   *filter.Bound // nil: all rows
	Columns []Column      // none: those of the table
	Limit   int           // how many rows at most; 0: all
	// LastFirst reads the files of the last commits first, so that Limit leaves out those
	// of the first ones.
	LastFirst bool
	// Newest selects the rows with the highest _airbyte_extracted_at, the newest first.
	// Limit says how many, and MaxBytes how much memory they may take.
	Newest   bool
	MaxBytes int
}

// Rows yields the rows of a table as a reader sees them, at most limit if
// that is positive. It stops at the first error.
func Rows(ctx context.Context, tbl *table.Table, limit int) iter.Seq2[Row, error] {
	return Select(ctx, tbl, Selection{Limit: limit})
}

// Select yields rows of a table as a reader sees them, in the order of the commits that
// brought their files, unless the selection has another one. It stops at the first error.
func Select(ctx context.Context, tbl *table.Table, s Selection) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		r, err := newReading(ctx, tbl, s)
		if err != nil {
			yield(nil, fmt.Errorf("reading table: %w", err))
			return
		}
		if s.Newest {
			r.yieldNewest(ctx, yield)
			return
		}
		n := 0
		for _, task := range r.tasks {
			for found, err := range r.fileRows(ctx, task) {
				if err != nil {
					yield(nil, err)
					return
				}
				if !yield(found.row(), nil) {
					return
				}
				if n++; n == s.Limit {
					return
				}
			}
		}
	}
}

// A reading is what is read of a table for a selection.
type reading struct {
	tbl     *table.Table
	files   iceio.IO
	scan    *table.Scan // of all rows
	where   *filter.Bound
	columns []Column
	limit   int
	bytes   int                  // of memory for the newest rows
	tasks   []table.FileScanTask // of the files that may have such rows
	ids     []int                // of the columns that are read
}

// extractedAt is the column that says when the source sent a row.
const extractedAt = "_airbyte_extracted_at"

func newReading(ctx context.Context, tbl *table.Table, s Selection) (*reading, error) {
	r := &reading{tbl: tbl, scan: tbl.Scan(), where: s.Where, columns: s.Columns, limit: s.Limit, bytes: s.MaxBytes}
	planned := r.scan
	if s.Where != nil {
		// Only to pass over files: the rows are compared here.
		planned = tbl.Scan(table.WithRowFilter(s.Where.Expression()))
	}
	var err error
	if r.tasks, err = planned.PlanFiles(ctx); err != nil {
		return nil, err
	}
	for i := range r.tasks {
		r.tasks[i].Residual = nil
	}
	slices.SortFunc(r.tasks, func(a, b table.FileScanTask) int {
		return cmp.Or(cmp.Compare(sequence(a), sequence(b)), strings.Compare(a.File.FilePath(), b.File.FilePath()))
	})
	if s.LastFirst {
		slices.Reverse(r.tasks)
	}
	if r.files, err = tbl.FS(ctx); err != nil {
		return nil, err
	}
	schema := tbl.Schema()
	if len(r.columns) == 0 {
		r.columns = AllColumns(schema)
	}
	for _, c := range r.columns {
		r.ids = append(r.ids, c.path[len(c.path)-1].ID)
	}
	if s.Where != nil {
		r.ids = append(r.ids, s.Where.FieldIDs()...)
	}
	if at, ok := schema.FindFieldByName(extractedAt); ok && s.Newest {
		r.ids = append(r.ids, at.ID)
	}
	return r, nil
}

// sequence is a number that grows with every commit.
func sequence(task table.FileScanTask) int64 {
	if task.DataSequenceNumber == nil {
		return 0
	}
	return *task.DataSequenceNumber
}

// A foundRow is a row in a batch of its file.
type foundRow struct {
	batch   arrow.RecordBatch
	at      int   // in the batch
	number  int64 // in the file
	columns []columnReader
}

func (f foundRow) row() Row {
	row := make(Row, len(f.columns))
	for i, c := range f.columns {
		row[i] = Cell{Name: c.name, Value: c.value(f.batch.Columns(), f.at)}
	}
	return row
}

// fileRows yields the rows of one data file. Only equality deletes and defaults of columns
// are left to the library: it does not read a file that has none of an object's columns, and
// takes a file apart in goroutines of its own, where a file that is broken makes it panic and
// nobody can recover.
func (r *reading) fileRows(ctx context.Context, task table.FileScanTask) iter.Seq2[foundRow, error] {
	return func(yield func(foundRow, error) bool) {
		var (
			in          *parquetfile.Reader
			deletedRows parquetfile.Positions
			whole       bool
		)
		err := goroutine.Recovered(func() (err error) {
			if in, err = parquetfile.Open(r.files, task.File, r.tbl.Metadata(), nil); err != nil {
				return err
			}
			if whole, err = hasAll(in, r.tbl.Schema().Fields()); err != nil || !whole {
				return err
			}
			deletedRows = parquetfile.NewPositions(in.NumRows())
			for _, d := range slices.Concat(task.DeleteFiles, task.DeletionVectorFiles) {
				if err := snapshots.ReadDeletes(ctx, r.files, nil, d, task.File.FilePath(), deletedRows); err != nil {
					return err
				}
			}
			return nil
		})()
		if in != nil {
			defer in.Close()
		}
		if err == nil {
			if whole && len(task.EqualityDeleteFiles) == 0 {
				err = r.ownRows(ctx, in, deletedRows, yield)
			} else if err = readAll(ctx, r.files, slices.Concat([]iceberg.DataFile{task.File}, task.DeleteFiles, task.EqualityDeleteFiles)); err == nil {
				err = r.libraryRows(ctx, task, yield)
			}
		}
		if err != nil {
			yield(foundRow{}, fmt.Errorf("reading %s: %w", task.File.FilePath(), err))
		}
	}
}

// ownRows yields the rows of one data file as this program reads them.
func (r *reading) ownRows(ctx context.Context, in *parquetfile.Reader, deletedRows parquetfile.Positions, yield func(foundRow, error) bool) error {
	columns := in.ColumnsOf(r.ids)
	if len(columns) == 0 { // they say how many rows there are
		columns = in.AllColumns()
	}
	var err error
	for p, batch := range batches(ctx, in, columns, &err) {
		more, failed := r.batchRows(batch, p.First, deletedRows, byFieldID, yield)
		if !more {
			return failed
		}
	}
	return err
}

// libraryRows yields the rows of one data file as the library reads them.
func (r *reading) libraryRows(ctx context.Context, task table.FileScanTask, yield func(foundRow, error) bool) error {
	_, batches, err := r.scan.ReadTasks(ctx, []table.FileScanTask{task})
	if err != nil {
		return err
	}
	first := int64(0)
	for batch, err := range batches {
		if err != nil {
			return err
		}
		more, err := r.batchRows(batch, first, nil, byName, yield)
		if !more {
			return err
		}
		first += batch.NumRows()
	}
	return nil
}

// batchRows yields the rows of a batch that the filter matches. It returns false if no
// more are wanted or if it fails.
func (r *reading) batchRows(batch arrow.RecordBatch, first int64, deletedRows parquetfile.Positions, find finder, yield func(foundRow, error) bool) (bool, error) {
	var matcher *filter.Matcher
	if r.where != nil {
		var err error
		if matcher, err = r.where.In(batch.Schema()); err != nil {
			return false, err
		}
	}
	columns := make([]columnReader, len(r.columns))
	for i, c := range r.columns {
		columns[i] = c.reader(batch.Schema().Fields(), find)
	}
	for i := range int(batch.NumRows()) {
		number := first + int64(i)
		if deletedRows != nil && deletedRows.Has(number) || matcher != nil && !matcher.Matches(batch, i) {
			continue
		}
		if !yield(foundRow{batch: batch, at: i, number: number, columns: columns}, nil) {
			return false, nil
		}
	}
	return true, nil
}

// batches yields the rows of a file piece by piece. It stops at an error or a
// panic, which becomes one.
func batches(ctx context.Context, r *parquetfile.Reader, columns []int, err *error) iter.Seq2[parquetfile.Piece, arrow.RecordBatch] {
	return func(yield func(parquetfile.Piece, arrow.RecordBatch) bool) {
		next, stop := iter.Pull2(r.Pieces(ctx, columns))
		defer stop()
		for {
			var (
				p     parquetfile.Piece
				batch arrow.RecordBatch
				more  bool
			)
			*err = goroutine.Recovered(func() (err error) {
				if p, err, more = next(); more && err == nil {
					batch, err = r.Batch(ctx, p, columns)
				}
				return err
			})()
			if *err != nil || !more || !yield(p, batch) {
				return
			}
		}
	}
}

// readAll reads files for their faults.
func readAll(ctx context.Context, files iceio.IO, all []iceberg.DataFile) error {
	for _, f := range all {
		err := goroutine.Recovered(func() error {
			in, err := parquetfile.Open(files, f, nil, nil)
			if err != nil {
				return err
			}
			defer in.Close()
			for range batches(ctx, in, in.AllColumns(), &err) { //nolint:revive // reading is all there is to do
			}
			return err
		})()
		if err != nil {
			return err
		}
	}
	return nil
}
