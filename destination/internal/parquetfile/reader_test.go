package parquetfile

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	iceio "github.com/apache/iceberg-go/io"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/budget"
	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
)

// The library reads the members of a struct in goroutines of its own. A panic there would end the process.
func TestAPanicWhileAFileIsReadIsAnError(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "s", Type: arrow.StructOf(
		arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int64}, arrow.Field{Name: "b", Type: arrow.BinaryTypes.String},
	)}}, nil)
	rows := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer rows.Release()
	in := rows.Field(0).(*array.StructBuilder)
	in.Append(true)
	in.FieldBuilder(0).(*array.Int64Builder).Append(1)
	in.FieldBuilder(1).(*array.StringBuilder).Append("x")
	record := rows.NewRecordBatch()
	defer record.Release()
	var content bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &content, parquet.NewWriterProperties(), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Write(record), w.Close()); err != nil {
		t.Fatal(err)
	}
	path := writeContent(t, content.Bytes())

	panicked := 0
	for left := 0; ; left++ {
		files := &panickingFiles{left: left}
		err := readAll(t, files, path)
		if files.left >= 0 {
			if err != nil {
				t.Errorf("without a panic: %v", err)
			}
			break
		}
		panicked++
		if perr := (*goroutine.PanicError)(nil); !errors.As(err, &perr) {
			t.Errorf("a panic in read %d: error %v", left, err)
		}
	}
	if members := schema.Field(0).Type.(*arrow.StructType).NumFields(); panicked <= members {
		t.Errorf("%d reads panicked, of the footer and of %d members", panicked, members)
	}
}

func readAll(t *testing.T, files iceio.IO, path string) error {
	r, err := open(files, path, nil)
	if err != nil {
		return err
	}
	defer r.Close()
	for p, err := range r.Pieces(t.Context(), r.AllColumns()) {
		if err != nil {
			return err
		}
		if _, err := r.Batch(t.Context(), p, r.AllColumns()); err != nil {
			return err
		}
	}
	return nil
}

// panickingFiles panic in one read, after some that do not.
type panickingFiles struct {
	iceio.LocalFS
	left int // reads before the panic; negative after it
}

func (p *panickingFiles) Open(name string) (iceio.File, error) {
	f, err := p.LocalFS.Open(name)
	return panickingFile{f, p}, err
}

type panickingFile struct {
	iceio.File
	files *panickingFiles
}

func (f panickingFile) ReadAt(p []byte, offset int64) (int, error) {
	if f.files.left--; f.files.left == -1 {
		panic("a bug in a library")
	}
	return f.File.ReadAt(p, offset)
}

// A run that is told to stop does not wait for another task with long rows.
func TestAReaderOfLongRowsCanBeStopped(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "v", Type: arrow.BinaryTypes.String}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	b.Field(0).(*array.StringBuilder).Append(strings.Repeat("x", 2*budget.LongRow))
	var content bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &content, parquet.NewWriterProperties(), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Write(b.NewRecordBatch()), w.Close()); err != nil {
		t.Fatal(err)
	}
	shared := budget.NewMemory(256 << 20)
	r, err := open(iceio.LocalFS{}, writeContent(t, content.Bytes()), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.memory = shared
	end, err := shared.BeginLong(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	pieces := func(ctx context.Context) (n int, last error) {
		for _, err := range r.Pieces(ctx, r.AllColumns()) {
			n, last = n+1, err
		}
		return n, last
	}
	if n, err := pieces(ctx); n != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d pieces, %v", n, err)
	}
	end()
	if n, err := pieces(t.Context()); n != 1 || err != nil {
		t.Errorf("%d pieces, %v", n, err)
	}
}
