// Package parquetfile writes and reads one data or delete file: row group by row
// group, and in pieces that take a bounded amount of memory.
//
// Its terms: a piece is consecutive rows of a row group that are decoded together.
// A long row takes more than [budget.LongRow]. Positions are numbers of rows in a
// file.
package parquetfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/iceberg-go"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/budget"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
)

// A Writer writes one file.
type Writer struct {
	path     string
	encoding *Encoding
	files    iceio.WriteFileIO
	out      iceio.FileWriter // nil when it is closed
	count    *countingWriter
	content  content

	columns, chunks int // leaf columns of the schema, and column chunks in the file
}

// content is what a file holds.
type content interface {
	// rowGroup adds a row group.
	rowGroup(rec arrow.RecordBatch) error
	// close adds the footer.
	close() (*metadata.FileMetaData, error)
}

// MaxChunks is how many column chunks a file may have. About a kilobyte for each
// is in memory until the file is complete.
const MaxChunks = 32 << 10

// Create starts a file.
func Create(files iceio.WriteFileIO, path string, schema *arrow.Schema, e *Encoding) (*Writer, error) {
	w := &Writer{path: path, encoding: e, files: files, columns: leafColumns(schema.Fields())}
	var err error
	if w.out, err = files.Create(path); err != nil {
		return nil, fmt.Errorf("creating %s: %w", path, err)
	}
	w.count = &countingWriter{w: w.out}
	if w.content, err = newContent(schema, w.count, e); err != nil {
		return nil, errors.Join(fmt.Errorf("creating %s: %w", path, err), w.Abort())
	}
	return w, nil
}

// Write adds one row group, or several if the table has smaller ones: as small as MaxChunks
// allows.
func (w *Writer) Write(rec arrow.RecordBatch) error {
	rows := rec.NumRows()
	size := max(1, rows)
	if bytes := budget.SizeOf(rec); bytes > w.encoding.rowGroupBytes {
		groups := int64(max(1, MaxChunks/max(1, w.columns)))
		size = max((rows+groups-1)/groups, int64(float64(rows)*float64(w.encoding.rowGroupBytes)/float64(bytes)))
	}
	for first := int64(0); first < rows; first += size {
		group := rec.NewSlice(first, min(first+size, rows))
		if err := w.count.buffered(func() error { return w.content.rowGroup(group) }); err != nil {
			return fmt.Errorf("writing %s: %w", w.path, err)
		}
		w.chunks += w.columns
	}
	return nil
}

// Bytes is how much is written so far.
func (w *Writer) Bytes() int64 { return w.count.n }

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

// Close completes the file and waits until the storage has it safe. It fills in
// what args does not say.
func (w *Writer) Close(args table.DataFileArgs) (iceberg.DataFile, error) {
	var meta *metadata.FileMetaData
	err := w.count.buffered(func() (err error) {
		meta, err = w.content.close()
		return err
	})
	if err == nil {
		out := w.out
		w.out = nil
		err = out.Close()
	}
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

// Abort removes the file.
func (w *Writer) Abort() error {
	var err error
	if out := w.out; out != nil {
		w.out = nil
		err = storage.Abort(w.files, w.path, out)
	} else {
		err = w.files.Remove(w.path)
	}
	if err != nil {
		return fmt.Errorf("removing unfinished %s: %w", w.path, err)
	}
	return nil
}

type countingWriter struct {
	w io.Writer
	n int64
}

// buffers belong to files only while something is written to them: of hundreds of
// open files, only a few are written at a time.
var buffers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 1<<20) }}

// buffered runs write with a buffer before the file.
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
