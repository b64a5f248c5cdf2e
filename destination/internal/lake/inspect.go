package lake

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Info is what a table consists of.
type Info struct {
	Rows            int64     `json:"rows"` // that readers see
	DataFiles       int       `json:"data_files"`
	PositionDeletes int       `json:"position_delete_files"` // deletion vectors too
	EqualityDeletes int       `json:"equality_delete_files"` // never written by this program
	Bytes           int64     `json:"bytes"`                 // of all those files
	Snapshots       int       `json:"snapshots"`
	LastCommit      time.Time `json:"last_commit"`            // zero when nothing was ever committed
	PartitionBy     []string  `json:"partition_by,omitempty"` // as a configuration says it
	SortBy          []string  `json:"sort_by,omitempty"`
}

// Describe looks at a table's current snapshot. Its count of rows takes
// position deletes at their word; equality deletes it cannot count.
func Describe(ctx context.Context, tbl *table.Table) (Info, error) {
	info := Info{Snapshots: len(tbl.Metadata().Snapshots())}
	info.PartitionBy, info.SortBy = arrangement(tbl.Metadata())
	snapshot := tbl.CurrentSnapshot()
	if snapshot == nil {
		return info, nil
	}
	info.LastCommit = time.UnixMilli(snapshot.TimestampMs).UTC()
	files, err := tbl.FS(ctx)
	if err != nil {
		return info, fmt.Errorf("describing table: %w", err)
	}
	manifests, err := snapshot.Manifests(files)
	if err != nil {
		return info, fmt.Errorf("describing table: %w", err)
	}
	for _, m := range manifests {
		if err := ctx.Err(); err != nil {
			return info, err
		}
		for entry, err := range m.Entries(files, true) {
			if err != nil {
				return info, fmt.Errorf("describing table: reading %s: %w", m.FilePath(), err)
			}
			f := entry.DataFile()
			info.Bytes += f.FileSizeBytes()
			switch f.ContentType() {
			case iceberg.EntryContentData:
				info.DataFiles++
				info.Rows += f.Count()
			case iceberg.EntryContentPosDeletes:
				info.PositionDeletes++
				info.Rows -= f.Count()
			default:
				info.EqualityDeletes++
			}
		}
	}
	return info, nil
}

// arrangement is how new files are divided and their rows ordered.
func arrangement(meta table.Metadata) (partitionBy, sortBy []string) {
	schema := meta.CurrentSchema()
	named := func(source int, t iceberg.Transform) string {
		name, ok := schema.FindColumnName(source)
		if !ok {
			name = fmt.Sprint("column ", source, ", which is gone")
		}
		return PartitionBy{Transform: t, Column: name}.String()
	}
	for f := range effective(meta.PartitionSpec()) {
		partitionBy = append(partitionBy, named(f.SourceID(), f.Transform))
	}
	for _, f := range meta.SortOrder().Fields() {
		by := SortBy{Column: named(f.SourceID(), f.Transform), Descending: f.Direction == table.SortDESC}
		text := by.String()
		if _, nulls := by.direction(); nulls != f.NullOrder {
			text += ", " + string(f.NullOrder)
		}
		sortBy = append(sortBy, text)
	}
	return partitionBy, sortBy
}

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

// fileRows yields the rows of one data file.
func fileRows(ctx context.Context, tbl *table.Table, scan *table.Scan, file table.FileScanTask) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		if err := readable(ctx, tbl, file); err != nil {
			yield(nil, err)
			return
		}
		_, batches, err := scan.ReadTasks(ctx, []table.FileScanTask{file})
		if err != nil {
			yield(nil, err)
			return
		}
		for batch, err := range batches {
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range int(batch.NumRows()) {
				if !yield(rowOf(batch, i), nil) {
					return
				}
			}
		}
	}
}

// readable reads a data file and the deletes that apply to it. The library
// reads them in goroutines of its own, where a file that is broken makes it
// panic and nobody can recover.
func readable(ctx context.Context, tbl *table.Table, file table.FileScanTask) (err error) {
	defer protocol.Recover(&err)
	fs, err := tbl.FS(ctx)
	if err != nil {
		return err
	}
	for _, f := range slices.Concat([]iceberg.DataFile{file.File}, file.DeleteFiles, file.EqualityDeleteFiles) {
		if f.FileFormat() != iceberg.ParquetFile {
			continue
		}
		r, err := openParquet(fs, f.FilePath())
		if err != nil {
			return err
		}
		for p, err := range r.pieces(r.all()) {
			if err == nil {
				_, err = r.batch(ctx, p)
			}
			if err != nil {
				r.close()
				return err
			}
		}
		r.close()
	}
	return nil
}

func rowOf(batch arrow.RecordBatch, i int) Row {
	row := make(Row, batch.NumCols())
	for c, field := range batch.Schema().Fields() {
		row[c] = Cell{field.Name, valueOf(batch.Column(c), i)}
	}
	return row
}

func valueOf(a arrow.Array, i int) any {
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
		fields := a.DataType().(*arrow.StructType).Fields()
		row := make(Row, len(fields))
		for f := range fields {
			row[f] = Cell{fields[f].Name, valueOf(a.Field(f), i)}
		}
		return row
	case array.ListLike:
		start, end := a.ValueOffsets(i)
		values := make([]any, 0, end-start)
		for j := start; j < end; j++ {
			values = append(values, valueOf(a.ListValues(), int(j)))
		}
		return values
	}
	// Numbers as they are, the rest (dates, times, binary) as strings. What is
	// not a JSON number, such as NaN, is a string too.
	text := a.ValueStr(i)
	if arrow.IsInteger(a.DataType().ID()) || arrow.IsFloating(a.DataType().ID()) || arrow.IsDecimal(a.DataType().ID()) {
		if number := json.Number(text); json.Valid([]byte(text)) {
			return number
		}
	}
	return text
}
