package relocation

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
)

// rewriteDeletes writes the new version of a file of position deletes or deletion
// vectors.
func (w *writer) rewriteDeletes(ctx context.Context, before, format string) (rewritten, error) {
	return w.rewriteOnce(ctx, before, func(*sizeChange) (string, error) {
		switch strings.ToUpper(format) {
		case "PARQUET":
			return w.rewritePositionDeletes(ctx, before)
		case "PUFFIN":
			return w.rewritePuffin(before)
		}
		return "", fmt.Errorf("position deletes in %s files cannot be relocated: rewrite the table with the program that created it", format)
	})
}

// batchRows is how many rows of a delete file are in memory at once.
const batchRows = 1 << 16

func (w *writer) rewritePositionDeletes(ctx context.Context, before string) (string, error) {
	opened, err := w.files.Open(w.move.Location(before))
	if err != nil {
		return "", err
	}
	in, err := file.NewParquetReader(opened)
	if err != nil {
		return "", errors.Join(err, opened.Close())
	}
	defer in.Close()
	r, err := pqarrow.NewFileReader(in, pqarrow.ArrowReadProperties{BatchSize: batchRows}, memory.DefaultAllocator)
	if err != nil {
		return "", err
	}
	schema, err := r.Schema()
	if err != nil {
		return "", err
	}
	column := -1
	for i, f := range schema.Fields() {
		if id, ok := f.Metadata.GetValue("PARQUET:field_id"); ok && id == fmt.Sprint(pathFieldID) && f.Type.ID() == arrow.STRING {
			column = i
		}
	}
	if column < 0 {
		return "", errors.New("it has no column of paths")
	}
	rows, err := r.GetRecordReader(ctx, nil, nil)
	if err != nil {
		return "", err
	}
	defer rows.Release()
	return w.create(w.locations.NewDataLocation(filenames.New(".parquet")), func(file io.Writer) error {
		props := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd), parquet.WithDictionaryDefault(true))
		out, err := pqarrow.NewFileWriter(schema, withoutClose{file}, props, pqarrow.DefaultWriterProps())
		if err != nil {
			return err
		}
		for rows.Next() {
			if err := out.Write(w.withMovedPaths(rows.RecordBatch(), column)); err != nil {
				return errors.Join(err, out.Close())
			}
		}
		if err := rows.Err(); err != nil && !errors.Is(err, io.EOF) {
			return errors.Join(err, out.Close())
		}
		return out.Close()
	})
}

// withoutClose keeps the library from closing a file that the caller closes.
type withoutClose struct{ io.Writer }

// withMovedPaths returns the rows with the new paths in one column.
func (w *writer) withMovedPaths(rows arrow.RecordBatch, column int) arrow.RecordBatch {
	paths := rows.Column(column).(*array.String)
	b := array.NewStringBuilder(memory.DefaultAllocator)
	b.Reserve(paths.Len())
	last, location := "", ""
	for i := range paths.Len() {
		if p := paths.Value(i); p != last {
			last, location = p, w.move.Location(p)
		}
		b.Append(location)
	}
	columns := slices.Clone(rows.Columns())
	columns[column] = b.NewArray()
	return array.NewRecordBatch(rows.Schema(), columns, rows.NumRows())
}

// rewritePuffin copies a file of deletion vectors. Its blobs keep their offsets, and
// the footer after them refers to the new data files.
func (w *writer) rewritePuffin(before string) (string, error) {
	in, err := w.files.Open(w.move.Location(before))
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(in)
	if err = errors.Join(err, in.Close()); err != nil {
		return "", err
	}
	const trailer = 12 // the footer's size, flags and magic
	if len(content) < trailer || !bytes.HasSuffix(content, []byte("PFA1")) {
		return "", errors.New("it is not a Puffin file")
	}
	end := len(content) - trailer
	size := int(binary.LittleEndian.Uint32(content[end:]))
	if size > end {
		return "", errors.New("its footer is larger than the file")
	}
	if content[end+4]&1 != 0 {
		return "", errors.New("its footer is compressed, which is not supported")
	}
	var footer map[string]any
	decoder := json.NewDecoder(bytes.NewReader(content[end-size : end]))
	decoder.UseNumber()
	if err := decoder.Decode(&footer); err != nil {
		return "", err
	}
	for _, blob := range objects(footer["blobs"]) {
		if props, ok := blob["properties"].(map[string]any); ok {
			for key, value := range props {
				props[key] = w.move.Location(textOf(value))
			}
		}
	}
	text, err := json.Marshal(footer)
	if err != nil {
		return "", err
	}
	return w.create(w.locations.NewDataLocation(filenames.New(".puffin")), func(file io.Writer) error {
		for _, part := range [][]byte{content[:end-size], text, binary.LittleEndian.AppendUint32(nil, uint32(len(text))), content[end+4:]} {
			if _, err := file.Write(part); err != nil {
				return err
			}
		}
		return nil
	})
}
