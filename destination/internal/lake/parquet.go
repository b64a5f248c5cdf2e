package lake

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/iceberg-go"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
)

// parquetFile is a Parquet file being written to a table.
type parquetFile struct {
	path  string
	as    *encoding
	files iceio.WriteFileIO
	out   iceio.FileWriter
	count *countingWriter
	pq    *pqarrow.FileWriter

	columns, chunks int // leaf columns; of those, how many were written in all row groups
}

// manyChunks are as many column chunks as a file may have: until it is complete,
// a description of each, of about a kilobyte, is in memory.
const manyChunks = 32 << 10

// createParquet starts a file with a name of its own under the table's data.
func (t *Table) createParquet(schema *arrow.Schema, e *encoding) (*parquetFile, error) {
	name := filenames.New(".parquet")
	f := &parquetFile{path: t.locations.NewDataLocation(name), as: e, files: t.files, columns: leaves(schema.Fields())}
	var err error
	if f.out, err = t.files.Create(f.path); err != nil {
		return nil, fmt.Errorf("creating data file of table %s: %w", t, err)
	}
	f.count = &countingWriter{w: f.out}
	if f.pq, err = pqarrow.NewFileWriter(schema, f.count, e.properties(), pqarrow.DefaultWriterProps()); err != nil {
		return nil, errors.Join(fmt.Errorf("creating %s: %w", f.path, err), f.abort())
	}
	return f, nil
}

// write adds one row group.
func (f *parquetFile) write(rec arrow.RecordBatch) error {
	if err := f.count.buffered(func() error { return f.pq.Write(rec) }); err != nil {
		return fmt.Errorf("writing %s: %w", f.path, err)
	}
	f.chunks += f.columns
	return nil
}

func leaves(fields []arrow.Field) (n int) {
	for _, f := range fields {
		if nested, ok := f.Type.(arrow.NestedType); ok {
			n += leaves(nested.Fields())
		} else {
			n++
		}
	}
	return n
}

// size is the number of bytes written so far.
func (f *parquetFile) size() int64 { return f.count.n }

// close completes the file and, on storage that can lose it, waits until it is
// safe. args says what the file is; the rest is filled in here.
func (f *parquetFile) close(args table.DataFileArgs) (iceberg.DataFile, error) {
	err := f.count.buffered(f.pq.Close)
	if err = errors.Join(err, f.out.Close()); err != nil {
		f.out = nil
		return nil, errors.Join(fmt.Errorf("completing %s: %w", f.path, err), f.abort())
	}
	f.out = nil
	meta, err := f.pq.FileMetadata()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("completing %s: %w", f.path, err), f.abort())
	}
	args.Format, args.Metadata = iceberg.ParquetFile, meta
	args.FilePath, args.FileSize = f.path, f.count.n
	file, err := table.DataFileFromMetadata(args)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("describing %s: %w", f.path, err), f.abort())
	}
	return file, nil
}

// abort removes the file, which nobody knows of yet.
func (f *parquetFile) abort() error {
	var err error
	if f.out != nil {
		err = f.out.Close()
	}
	if err = errors.Join(err, f.files.Remove(f.path)); err != nil {
		return fmt.Errorf("removing unfinished %s: %w", f.path, err)
	}
	return nil
}

type countingWriter struct {
	w io.Writer
	n int64
}

// buffers are lent to files while something is written to them. There may be
// hundreds of open files, a few for each stream, of which only some are.
var buffers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 1<<20) }}

// buffered runs write, gathering what it writes into large pieces.
func (c *countingWriter) buffered(write func() error) error {
	b, out := buffers.Get().(*bufio.Writer), c.w
	b.Reset(out)
	c.w = b
	err := write()
	if err == nil {
		err = b.Flush()
	}
	c.w = out
	b.Reset(nil)
	buffers.Put(b)
	return err
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
