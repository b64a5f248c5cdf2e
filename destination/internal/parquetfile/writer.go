// Package parquetfile is one data or delete file: how its columns are encoded,
// writing it row group by row group, and reading it in pieces that take a bounded
// amount of memory.
package parquetfile

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
)

// A Writer writes one file.
type Writer struct {
	path     string
	encoding *Encoding
	files    iceio.WriteFileIO
	out      iceio.FileWriter
	count    *countingWriter
	pq       *pqarrow.FileWriter

	columns, chunks int // leaf columns; of those, how many were written in all row groups
}

// MaxChunks is how many column chunks a file may have: until it is complete, a
// description of each, of about a kilobyte, is in memory.
const MaxChunks = 32 << 10

// Create starts a file.
func Create(files iceio.WriteFileIO, path string, schema *arrow.Schema, e *Encoding) (*Writer, error) {
	w := &Writer{path: path, encoding: e, files: files, columns: leafColumns(schema.Fields())}
	var err error
	if w.out, err = files.Create(path); err != nil {
		return nil, fmt.Errorf("creating %s: %w", path, err)
	}
	w.count = &countingWriter{w: w.out}
	if w.pq, err = pqarrow.NewFileWriter(schema, w.count, e.properties(), pqarrow.DefaultWriterProps()); err != nil {
		return nil, errors.Join(fmt.Errorf("creating %s: %w", path, err), w.Abort())
	}
	return w, nil
}

// Write adds one row group.
func (w *Writer) Write(rec arrow.RecordBatch) error {
	if err := w.count.buffered(func() error { return w.pq.Write(rec) }); err != nil {
		return fmt.Errorf("writing %s: %w", w.path, err)
	}
	w.chunks += w.columns
	return nil
}

func leafColumns(fields []arrow.Field) (n int) {
	for _, f := range fields {
		if nested, ok := f.Type.(arrow.NestedType); ok {
			n += leafColumns(nested.Fields())
		} else {
			n++
		}
	}
	return n
}

// Close completes the file and, on storage that can lose it, waits until it is
// safe. args says what the file is; the rest is filled in here.
func (w *Writer) Close(args table.DataFileArgs) (iceberg.DataFile, error) {
	err := w.count.buffered(w.pq.Close)
	if err = errors.Join(err, w.out.Close()); err != nil {
		w.out = nil
		return nil, errors.Join(fmt.Errorf("completing %s: %w", w.path, err), w.Abort())
	}
	w.out = nil
	meta, err := w.pq.FileMetadata()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("completing %s: %w", w.path, err), w.Abort())
	}
	args.Format, args.Metadata = iceberg.ParquetFile, meta
	args.FilePath, args.FileSize = w.path, w.count.n
	file, err := table.DataFileFromMetadata(args)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("describing %s: %w", w.path, err), w.Abort())
	}
	return file, nil
}

// Abort removes the file, which nobody knows of yet.
func (w *Writer) Abort() error {
	var err error
	if w.out != nil {
		err = w.out.Close()
	}
	if err = errors.Join(err, w.files.Remove(w.path)); err != nil {
		return fmt.Errorf("removing unfinished %s: %w", w.path, err)
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
