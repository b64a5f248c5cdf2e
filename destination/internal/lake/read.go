package lake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/iceberg-go"
	iceio "github.com/apache/iceberg-go/io"
)

// parquetReader reads a data or delete file by row groups.
type parquetReader struct {
	path  string
	in    *file.Reader
	arrow *pqarrow.FileReader
}

func (t *Table) openParquet(f iceberg.DataFile) (*parquetReader, error) {
	path := f.FilePath()
	if f.FileFormat() != iceberg.ParquetFile {
		return nil, t.configError(nil, "Table %s has a file that is not Parquet, %s. Rewrite the table with the program that made it.", t, path)
	}
	return openParquet(t.files, path)
}

func openParquet(files iceio.IO, path string) (*parquetReader, error) {
	opened, err := files.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	size, err := opened.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), opened.Close())
	}
	in, err := file.NewParquetReader(opened)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), opened.Close())
	}
	if err := checkChunks(in, size); err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), in.Close())
	}
	r, err := pqarrow.NewFileReader(in, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), in.Close())
	}
	return &parquetReader{path: path, in: in, arrow: r}, nil
}

// checkChunks reports whether the column chunks of a file lie in it. Of those
// that do not the library takes more memory than there is, or panics, and that
// in goroutines of its own, where nobody can recover.
func checkChunks(in *file.Reader, size int64) error {
	for g, group := range in.MetaData().RowGroups {
		for c, chunk := range group.Columns {
			meta := chunk.MetaData
			if meta == nil {
				return fmt.Errorf("column %d of row group %d has no metadata", c, g)
			}
			start := meta.DataPageOffset
			if meta.DictionaryPageOffset != nil && *meta.DictionaryPageOffset > 0 {
				start = min(start, *meta.DictionaryPageOffset)
			}
			if length := meta.TotalCompressedSize; start < 0 || length < 0 || start > size-length {
				return fmt.Errorf("column %d of row group %d lies outside of the file: %d bytes from byte %d", c, g, length, start)
			}
		}
	}
	return nil
}

// close releases the file; there is nothing to lose in a file that was read.
func (r *parquetReader) close() { _ = r.in.Close() }

// leaves finds columns of primitive type by field id, or by name in files that
// carry no ids.
func (r *parquetReader) leaves(ids []int, names []string) (columns []int, missing bool) {
	schema := r.in.MetaData().Schema
	for i, id := range ids {
		found := -1
		for c := range schema.NumColumns() {
			column := schema.Column(c)
			fieldID := int(column.SchemaNode().FieldID())
			if fieldID == id || fieldID < 0 && column.Path() == names[i] {
				found = c
			}
		}
		if found < 0 {
			return nil, true
		}
		columns = append(columns, found)
	}
	return columns, false
}

// groups yields the row groups and the position of the first row of each.
func (r *parquetReader) groups() iter.Seq2[int, int64] {
	return func(yield func(int, int64) bool) {
		var first int64
		for g := range r.in.NumRowGroups() {
			if !yield(g, first) {
				return
			}
			first += r.in.MetaData().RowGroups[g].NumRows
		}
	}
}

// read returns columns of a row group, one array each.
func (r *parquetReader) read(ctx context.Context, group int, columns []int) ([]arrow.Array, error) {
	t, err := r.arrow.RowGroup(group).ReadTable(ctx, columns)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", r.path, err)
	}
	defer t.Release()
	byName := make([]arrow.Array, t.NumCols())
	for i := range byName {
		if byName[i], err = whole(t.Column(i).Data()); err != nil {
			return nil, fmt.Errorf("reading %s: %w", r.path, err)
		}
	}
	// The table has the columns in the file's order, not in the one asked for.
	arrays := make([]arrow.Array, len(columns))
	for i, c := range columns {
		at := t.Schema().FieldIndices(r.in.MetaData().Schema.Column(c).Path())
		if len(at) != 1 {
			return nil, fmt.Errorf("reading %s: column %q is ambiguous", r.path, r.in.MetaData().Schema.Column(c).Path())
		}
		arrays[i] = byName[at[0]]
	}
	return arrays, nil
}

// batch returns all columns of a row group.
func (r *parquetReader) batch(ctx context.Context, group int) (arrow.RecordBatch, error) {
	leaves := make([]int, r.in.MetaData().Schema.NumColumns())
	for i := range leaves {
		leaves[i] = i
	}
	t, err := r.arrow.RowGroup(group).ReadTable(ctx, leaves)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", r.path, err)
	}
	defer t.Release()
	columns := make([]arrow.Array, t.NumCols())
	for i := range columns {
		if columns[i], err = whole(t.Column(i).Data()); err != nil {
			return nil, fmt.Errorf("reading %s: %w", r.path, err)
		}
	}
	return array.NewRecordBatch(t.Schema(), columns, t.NumRows()), nil
}

func whole(c *arrow.Chunked) (arrow.Array, error) {
	switch chunks := c.Chunks(); len(chunks) {
	case 0:
		return array.MakeArrayOfNull(memory.DefaultAllocator, c.DataType(), 0), nil
	case 1:
		chunks[0].Retain()
		return chunks[0], nil
	default:
		return array.Concatenate(chunks, memory.DefaultAllocator)
	}
}
