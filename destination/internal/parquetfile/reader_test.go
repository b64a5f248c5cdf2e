package parquetfile

import (
	"bytes"
	"errors"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	iceio "github.com/apache/iceberg-go/io"

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
	for p, err := range r.Pieces(r.AllColumns()) {
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
