package lake

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/iceberg-go"
	iceio "github.com/apache/iceberg-go/io"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/budget"
)

// parquetReader reads a data or delete file piece by piece.
type parquetReader struct {
	path   string
	in     *file.Reader
	arrow  *pqarrow.FileReader
	partly map[string]*groupReader // by the columns that they read
	memory *budget.Memory          // that pieces of long rows are read in one at a time; may be nil
}

// notParquet is the path of a file in another format.
type notParquet string

func (path notParquet) Error() string { return "not a Parquet file: " + string(path) }

func (t *Table) openParquet(f iceberg.DataFile) (*parquetReader, error) {
	return openDataFile(t.files, f, t.opts.Memory)
}

// openDataFile opens a data or delete file. Pieces of long rows wait for memory
// if that is not nil.
func openDataFile(files iceio.IO, f iceberg.DataFile, pieces *budget.Memory) (*parquetReader, error) {
	if f.FileFormat() != iceberg.ParquetFile {
		return nil, notParquet(f.FilePath())
	}
	r, err := openParquet(files, f.FilePath())
	if err != nil {
		return nil, err
	}
	r.memory = pieces
	return r, nil
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
	in, err := file.NewParquetReader(opened, file.WithReadProps(readProperties()))
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

// readProperties are the library's, but for pages, which may hold a value as long
// as the longest message, and each byte of it may have become three.
func readProperties() *parquet.ReaderProperties {
	p := parquet.NewReaderProperties(memory.DefaultAllocator)
	p.MaxCompressedPageSize, p.MaxUncompressedPageSize = hugeRowBytes, hugeRowBytes
	return p
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

// read returns columns of a piece, one array each.
func (r *parquetReader) read(ctx context.Context, p piece, columns []int) ([]arrow.Array, error) {
	t, err := r.table(ctx, p, columns)
	if err != nil {
		return nil, err
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

// all are the columns of a file.
func (r *parquetReader) all() []int {
	columns := make([]int, r.in.MetaData().Schema.NumColumns())
	for i := range columns {
		columns[i] = i
	}
	return columns
}

// batch returns all columns of a piece.
func (r *parquetReader) batch(ctx context.Context, p piece) (arrow.RecordBatch, error) {
	t, err := r.table(ctx, p, r.all())
	if err != nil {
		return nil, err
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
