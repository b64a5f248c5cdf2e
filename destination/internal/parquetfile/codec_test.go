package parquetfile

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	iceio "github.com/apache/iceberg-go/io"
)

// What a long page is compressed to takes the memory that it needs, not that of the page.
func TestLongPagesAreCompressedIntoLittleMemory(t *testing.T) {
	codec, err := compress.GetCodec(compress.Codecs.Zstd)
	if err != nil {
		t.Fatal(err)
	}
	text := []byte(strings.Repeat("0123456789", longPage/5))
	uneven := append(bytes.Clone(text), textOf(longPage)...) // its beginning lets expect too little
	for name, page := range map[string][]byte{"short": text[:longPage-1], "long": text, "uneven": uneven} {
		reserved := make([]byte, 0, max(0, codec.CompressBound(int64(len(page)))))
		compressed := codec.EncodeLevel(reserved, page, 3)
		if got := codec.Decode(nil, compressed); !bytes.Equal(got, page) {
			t.Errorf("%s: %d bytes become %d", name, len(page), len(got))
		}
		if took := max(cap(reserved), cap(compressed)); name == "long" && took > len(page)/100 {
			t.Errorf("a page of %d bytes takes %d, and is %d", len(page), took, len(compressed))
		}
	}
}

// textOf returns text that compresses badly.
func textOf(size int) []byte {
	b := make([]byte, size)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = ' ' + byte(x>>25)%64
	}
	return b
}

// The library reads no page of more than 64 MiB unless told otherwise; the rows of long values must be found and rewritten all the same.
func TestLongPagesAreReadBack(t *testing.T) {
	value := strings.Repeat("x", 65<<20)
	b := array.NewStringBuilder(memory.DefaultAllocator)
	b.Append(value)
	schema := arrow.NewSchema([]arrow.Field{{Name: "v", Type: arrow.BinaryTypes.String}}, nil)
	path := filepath.Join(t.TempDir(), "long.parquet")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := pqarrow.NewFileWriter(schema, out, parquet.NewWriterProperties(parquet.WithDictionaryDefault(false), parquet.WithStats(false)), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Write(array.NewRecordBatch(schema, []arrow.Array{b.NewArray()}, 1)), w.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := open(iceio.LocalFS{}, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for p, err := range r.Pieces(t.Context(), r.AllColumns()) {
		if err != nil {
			t.Fatal(err)
		}
		rec, err := r.Batch(t.Context(), p, r.AllColumns())
		if err != nil {
			t.Fatal(err)
		}
		if got := rec.Column(0).(*array.String).Value(0); got != value {
			t.Errorf("%d bytes are read, want %d", len(got), len(value))
		}
	}
}
