package inspect

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/iceberg-go"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Row is one row of a table. Its values are what JSON can hold: strings,
// booleans, json.Number, nil, []any, and Row for structs. Times are RFC 3339,
// in UTC where the column has a zone.
type Row []Cell

// Cell is a named value.
type Cell struct {
	Name  string
	Value any
}

// MarshalJSON writes an object with the columns in the table's order.
func (r Row) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false) // text stays as it is; whoever wants it escaped does so
	b.WriteByte('{')
	for i, c := range r {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := out.Encode(c.Name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := out.Encode(c.Value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Rows yields the rows of a table as a reader sees them, at most limit if
// that is positive. It stops at the first error.
func Rows(ctx context.Context, tbl *table.Table, limit int) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		scan := tbl.Scan()
		files, err := scan.PlanFiles(ctx)
		if err != nil {
			yield(nil, fmt.Errorf("reading table: %w", err))
			return
		}
		n := 0
		for _, file := range files {
			for row, err := range fileRows(ctx, tbl, scan, file) {
				if err != nil {
					yield(nil, fmt.Errorf("reading %s: %w", file.File.FilePath(), err))
					return
				}
				if !yield(row, nil) {
					return
				}
				if n++; n == limit {
					return
				}
			}
		}
	}
}

// fileRows yields the rows of one data file. Equality deletes, files without
// field ids and defaults of columns are left to the library; it does not read
// a file that has none of an object's columns, and takes a file apart in
// goroutines of its own, where a file that is broken makes it panic and nobody
// can recover.
func fileRows(ctx context.Context, tbl *table.Table, scan *table.Scan, task table.FileScanTask) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		files, err := tbl.FS(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		var (
			in      *parquetfile.Reader
			columns []cellReader
			gone    parquetfile.Positions
		)
		err = protocol.Recovered(func() (err error) {
			if in, err = parquetfile.Open(files, task.File, nil); err != nil {
				return err
			}
			if columns, err = fileCellReaders(in, tbl.Schema().Fields()); err != nil || columns == nil {
				return err
			}
			gone = parquetfile.NewPositions(in.NumRows())
			for _, d := range slices.Concat(task.DeleteFiles, task.DeletionVectorFiles) {
				if err := snapshots.ReadDeletes(ctx, files, nil, d, task.File.FilePath(), gone); err != nil {
					return err
				}
			}
			return nil
		})()
		if in != nil {
			defer in.Close()
		}
		if err == nil && (columns == nil || len(task.EqualityDeleteFiles) > 0) {
			if err = readAll(ctx, files, slices.Concat([]iceberg.DataFile{task.File}, task.DeleteFiles, task.EqualityDeleteFiles)); err == nil {
				libraryRows(ctx, tbl, scan, task)(yield)
				return
			}
		}
		if err != nil {
			yield(nil, err)
			return
		}
		for p, batch := range batches(ctx, in, &err) {
			for i := range int(batch.NumRows()) {
				if !gone.Has(p.First+int64(i)) && !yield(rowOf(columns, batch.Columns(), i), nil) {
					return
				}
			}
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// batches yields the rows of a file piece by piece. It stops at an error or a
// panic, which becomes one.
func batches(ctx context.Context, r *parquetfile.Reader, err *error) iter.Seq2[parquetfile.Piece, arrow.RecordBatch] {
	return func(yield func(parquetfile.Piece, arrow.RecordBatch) bool) {
		next, stop := iter.Pull2(r.Pieces(r.AllColumns()))
		defer stop()
		for {
			var (
				p     parquetfile.Piece
				batch arrow.RecordBatch
				more  bool
			)
			*err = protocol.Recovered(func() (err error) {
				if p, err, more = next(); more && err == nil {
					batch, err = r.Batch(ctx, p, r.AllColumns())
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
		err := protocol.Recovered(func() error {
			in, err := parquetfile.Open(files, f, nil)
			if err != nil {
				return err
			}
			defer in.Close()
			for range batches(ctx, in, &err) { //nolint:revive // reading is all there is to do
			}
			return err
		})()
		if err != nil {
			return err
		}
	}
	return nil
}

// libraryRows yields the rows of one data file as the library reads them.
func libraryRows(ctx context.Context, tbl *table.Table, scan *table.Scan, task table.FileScanTask) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		_, batches, err := scan.ReadTasks(ctx, []table.FileScanTask{task})
		if err != nil {
			yield(nil, err)
			return
		}
		for batch, err := range batches {
			if err != nil {
				yield(nil, err)
				return
			}
			columns := cellReaders(tbl.Schema().Fields(), batch.Schema().Fields(), byPosition)
			for i := range int(batch.NumRows()) {
				if !yield(rowOf(columns, batch.Columns(), i), nil) {
					return
				}
			}
		}
	}
}

// A cellReader shows the values of a table's column in the rows of a file,
// which may have it under another name, as a narrower type, or not at all.
type cellReader struct {
	column  iceberg.NestedField
	at      int          // among the columns or fields of the file, -1 if it has none
	fields  []cellReader // of a struct; key and value of a map
	element *cellReader  // of a list; the entry of a map
}

// fileCellReaders finds columns in a file by field id. There are none if that does
// not find them: the file has no ids, or a column that it lacks has a default.
func fileCellReaders(r *parquetfile.Reader, columns []iceberg.NestedField) ([]cellReader, error) {
	schema, err := r.Schema()
	if err != nil || !r.HasFieldIDs() {
		return nil, err
	}
	found := cellReaders(columns, schema.Fields(), byFieldID)
	if slices.ContainsFunc(found, cellReader.defaults) {
		return nil, nil
	}
	return found, nil
}

// defaults reports whether a value that the file lacks is not null.
func (c cellReader) defaults() bool {
	return c.at < 0 && c.column.InitialDefault != nil || slices.ContainsFunc(c.fields, cellReader.defaults) || c.element != nil && c.element.defaults()
}

// byFieldID and byPosition find a column among those of a file.
func byFieldID(in []arrow.Field, column iceberg.NestedField, _ int) int {
	return parquetfile.IndexByID(in, column.ID)
}

func byPosition(_ []arrow.Field, _ iceberg.NestedField, i int) int { return i }

func cellReaders(columns []iceberg.NestedField, in []arrow.Field, find func([]arrow.Field, iceberg.NestedField, int) int) []cellReader {
	found := make([]cellReader, len(columns))
	for i, column := range columns {
		at := find(in, column, i)
		if at < 0 {
			found[i] = cellReader{column: column, at: -1}
			continue
		}
		found[i] = newCellReader(column, in[at].Type, find)
		found[i].at = at
	}
	return found
}

func newCellReader(column iceberg.NestedField, in arrow.DataType, find func([]arrow.Field, iceberg.NestedField, int) int) cellReader {
	c := cellReader{column: column}
	switch t := column.Type.(type) {
	case *iceberg.StructType:
		if in, ok := in.(*arrow.StructType); ok {
			c.fields = cellReaders(t.FieldList, in.Fields(), find)
		}
	case *iceberg.ListType:
		if in, ok := in.(arrow.ListLikeType); ok {
			element := newCellReader(t.ElementField(), in.Elem(), find)
			c.element = &element
		}
	case *iceberg.MapType:
		if in, ok := in.(*arrow.MapType); ok {
			entry := cellReader{fields: cellReaders([]iceberg.NestedField{t.KeyField(), t.ValueField()}, in.Elem().(*arrow.StructType).Fields(), byPosition)}
			c.element = &entry
		}
	}
	return c
}

func rowOf(columns []cellReader, in []arrow.Array, i int) Row {
	row := make(Row, len(columns))
	for n, c := range columns {
		row[n].Name = c.column.Name
		if c.at >= 0 {
			row[n].Value = c.value(in[c.at], i)
		}
	}
	return row
}

func (c cellReader) value(a arrow.Array, i int) any {
	if a.IsNull(i) {
		return nil
	}
	switch a := a.(type) {
	case *array.String:
		return a.Value(i)
	case *array.LargeString:
		return a.Value(i)
	case *array.Boolean:
		return a.Value(i)
	case *array.Timestamp:
		t := a.Value(i).ToTime(a.DataType().(*arrow.TimestampType).Unit)
		if a.DataType().(*arrow.TimestampType).TimeZone == "" {
			return t.Format("2006-01-02T15:04:05.999999999")
		}
		return t.UTC().Format(time.RFC3339Nano)
	case *array.Struct:
		fields := make([]arrow.Array, a.NumField())
		for f := range fields {
			fields[f] = a.Field(f)
		}
		return rowOf(c.fields, fields, i)
	case array.ListLike:
		start, end := a.ValueOffsets(i)
		values := make([]any, 0, end-start)
		for j := start; j < end; j++ {
			values = append(values, c.element.value(a.ListValues(), int(j)))
		}
		return values
	}
	text := a.ValueStr(i)
	if f, ok := a.(*array.Float32); ok && c.column.Type.Equals(iceberg.PrimitiveTypes.Float64) {
		text = strconv.FormatFloat(float64(f.Value(i)), 'g', -1, 64)
	}
	// Numbers as they are, the rest (dates, times, binary) as strings. What is
	// not a JSON number, such as NaN, is a string too.
	if arrow.IsInteger(a.DataType().ID()) || arrow.IsFloating(a.DataType().ID()) || arrow.IsDecimal(a.DataType().ID()) {
		if number := json.Number(text); json.Valid([]byte(text)) {
			return number
		}
	}
	return text
}
