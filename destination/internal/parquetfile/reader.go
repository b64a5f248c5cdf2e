package parquetfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/iceberg-go"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/budget"
	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
)

// A Reader reads a data or delete file piece by piece.
type Reader struct {
	path   string
	in     *file.Reader
	arrow  *pqarrow.FileReader
	groups map[string]*groupReader // of pieces that are not whole row groups, by their columns
	memory *budget.Memory          // pieces of long rows wait for it; may be nil
}

// NotParquetError is the path of a file in another format.
type NotParquetError string

func (path NotParquetError) Error() string { return "not a Parquet file: " + string(path) }

// Open opens a data file of a table, or a delete file, whose columns are those of
// no table. Pieces of long rows wait for memory if that is not nil.
func Open(files iceio.IO, f iceberg.DataFile, of table.Metadata, memory *budget.Memory) (*Reader, error) {
	if f.FileFormat() != iceberg.ParquetFile {
		return nil, NotParquetError(f.FilePath())
	}
	r, err := open(files, f.FilePath(), of)
	if err != nil {
		return nil, err
	}
	r.memory = memory
	return r, nil
}

func open(files iceio.IO, path string, of table.Metadata) (*Reader, error) {
	opened, err := files.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	fail := func(err error, closer io.Closer) error {
		return errors.Join(fmt.Errorf("opening %s: %w", path, err), closer.Close())
	}
	size, err := opened.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fail(err, opened)
	}
	in, err := file.NewParquetReader(recovering{opened}, file.WithReadProps(readProperties()))
	if err != nil {
		return nil, fail(err, opened)
	}
	if err := checkChunks(in, size); err != nil {
		return nil, fail(err, in)
	}
	withoutArrowSchema(in)
	if of != nil {
		if err := nameColumns(in.MetaData(), of); err != nil {
			return nil, fail(err, in)
		}
	}
	r, err := pqarrow.NewFileReader(in, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		return nil, fail(err, in)
	}
	return &Reader{path: path, in: in, arrow: r}, nil
}

// recovering turns panics of reading a file into errors. The library reads structs in
// goroutines of its own, where nobody else can recover.
type recovering struct{ iceio.File }

func (f recovering) ReadAt(p []byte, offset int64) (n int, err error) {
	defer goroutine.Recover(&err)
	return f.File.ReadAt(p, offset)
}

// readProperties allow larger pages than the library does: a page may hold a value
// as long as the longest message, and each byte of it may have become three.
func readProperties() *parquet.ReaderProperties {
	p := parquet.NewReaderProperties(memory.DefaultAllocator)
	p.MaxCompressedPageSize, p.MaxUncompressedPageSize = hugeRowBytes, hugeRowBytes
	return p
}

// checkChunks returns an error if a column chunk lies outside of the file. For such
// a chunk the library takes more memory than there is, or panics, and that
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
				return fmt.Errorf("column %d of row group %d is outside the file: %d bytes from byte %d", c, g, length, start)
			}
		}
	}
	return nil
}

// Close releases the file; there is nothing to lose in a file that was read.
func (r *Reader) Close() { _ = r.in.Close() }

// Schema is the columns of the file as Arrow has them.
func (r *Reader) Schema() (*arrow.Schema, error) {
	schema, err := r.arrow.Schema()
	if err != nil {
		return nil, fmt.Errorf("reading the columns of %s: %w", r.path, err)
	}
	return schema, nil
}

// ColumnsWithoutStatistics lists the Parquet paths of the columns that have no
// statistics in any row group, as those with huge values do.
func (r *Reader) ColumnsWithoutStatistics() []string {
	meta := r.in.MetaData()
	var paths []string
	for c := range meta.Schema.NumColumns() {
		has := false
		for _, group := range meta.RowGroups {
			has = has || group.Columns[c].MetaData.IsSetStatistics()
		}
		if !has {
			paths = append(paths, meta.Schema.Column(c).Path())
		}
	}
	return paths
}

// NumRows is the number of rows in the file.
func (r *Reader) NumRows() int64 { return r.in.NumRows() }

// hasFieldIDs reports whether every column carries a field id.
func (r *Reader) hasFieldIDs() bool {
	return !slices.ContainsFunc(r.AllColumns(), func(c int) bool { return r.in.MetaData().Schema.Column(c).SchemaNode().FieldID() < 0 })
}

// Columns finds columns of primitive type by field id, or by name in files that
// carry no ids. It finds none if one is missing.
func (r *Reader) Columns(fields []iceberg.NestedField) (columns []int, missing bool) {
	schema := r.in.MetaData().Schema
	for _, f := range fields {
		found := -1
		for c := range schema.NumColumns() {
			column := schema.Column(c)
			fieldID := int(column.SchemaNode().FieldID())
			if fieldID == f.ID || fieldID < 0 && column.Path() == f.Name {
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

// Read returns columns of a piece, one array each.
func (r *Reader) Read(ctx context.Context, p Piece, columns []int) ([]arrow.Array, error) {
	if err := r.CheckTimes(columns); err != nil {
		return nil, err
	}
	t, err := r.table(ctx, p, columns)
	if err != nil {
		return nil, err
	}
	defer t.Release()
	byName := make([]arrow.Array, t.NumCols())
	for i := range byName {
		if byName[i], err = concatChunks(t.Column(i).Data()); err != nil {
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

// ColumnsOf are the columns of the file that have one of the field ids or are part of a
// column that has; all columns if the file carries no ids.
func (r *Reader) ColumnsOf(ids []int) []int {
	if !r.hasFieldIDs() {
		return r.AllColumns()
	}
	return slices.DeleteFunc(r.AllColumns(), func(c int) bool {
		for node := r.in.MetaData().Schema.Column(c).SchemaNode(); node != nil; node = node.Parent() {
			if slices.Contains(ids, int(node.FieldID())) {
				return false
			}
		}
		return true
	})
}

// AllColumns are the columns of the file.
func (r *Reader) AllColumns() []int {
	columns := make([]int, r.in.MetaData().Schema.NumColumns())
	for i := range columns {
		columns[i] = i
	}
	return columns
}

// Batch returns columns of a piece as a batch. Of a struct it has the columns asked for.
func (r *Reader) Batch(ctx context.Context, p Piece, columns []int) (arrow.RecordBatch, error) {
	t, err := r.table(ctx, p, columns)
	if err != nil {
		return nil, err
	}
	defer t.Release()
	arrays := make([]arrow.Array, t.NumCols())
	for i := range arrays {
		if arrays[i], err = concatChunks(t.Column(i).Data()); err != nil {
			return nil, fmt.Errorf("reading %s: %w", r.path, err)
		}
	}
	fields := slices.Clone(t.Schema().Fields())
	for i, a := range arrays {
		arrays[i] = withFieldsRead(a)
		fields[i].Type = arrays[i].DataType()
	}
	meta := t.Schema().Metadata()
	return array.NewRecordBatch(arrow.NewSchema(fields, &meta), arrays, t.NumRows()), nil
}

// withFieldsRead is an array of structs whose type has the fields that were read. The
// library leaves all fields in the type of a struct within another one, so that they
// cannot be told from the type.
func withFieldsRead(a arrow.Array) arrow.Array {
	s, ok := a.(*array.Struct)
	if !ok {
		return a
	}
	fields := slices.Clone(s.DataType().(*arrow.StructType).Fields())
	data := s.Data()
	children := slices.Clone(data.Children())
	changed := false
	for i, child := range children {
		of := array.MakeFromData(child)
		if read := withFieldsRead(of); !arrow.TypeEqual(read.DataType(), fields[i].Type, arrow.CheckMetadata()) {
			children[i], fields[i].Type, changed = read.Data(), read.DataType(), true
		}
	}
	if !changed {
		return a
	}
	return array.MakeFromData(array.NewData(arrow.StructOf(fields...), data.Len(), data.Buffers(), children, data.NullN(), data.Offset()))
}

func concatChunks(c *arrow.Chunked) (arrow.Array, error) {
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
