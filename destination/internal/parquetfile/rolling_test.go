package parquetfile

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	iceio "github.com/apache/iceberg-go/io"
)

// A file is complete before what is to be remembered of its column chunks takes
// much memory, unless it takes all rows.
func TestAFileOfManyColumnChunksIsComplete(t *testing.T) {
	const columns, groups, chunks = 5, 7, 15 // three row groups
	var fields []arrow.Field
	for name := range strings.SplitSeq("a b c d e", " ") {
		fields = append(fields, arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Int64, Nullable: true})
	}
	schema := arrow.NewSchema(fields, nil)
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(`[{"a":1},{"b":2}]`))
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[int64]int{1 << 20: 3, OneFile: 1} {
		dir, made, complete := t.TempDir(), 0, 0
		newPath := func() string { made++; return filepath.Join(dir, strings.Repeat("x", made)) }
		w := NewRollingWriter(iceio.LocalFS{}, newPath, target, func(f *Writer) error { complete++; return f.Abort() })
		w.maxChunks = chunks
		for range groups {
			if _, err := w.Open(rec, NewEncoding(rec, nil)); err != nil {
				t.Fatal(err)
			}
			if err := w.Write(rec); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Roll(); err != nil {
			t.Fatal(err)
		}
		if made != want || complete != want {
			t.Errorf("target %d: %d files, %d complete, want %d", target, made, complete, want)
		}
	}
	if got := leafColumns(schema.Fields()); got != columns {
		t.Errorf("%d columns", got)
	}
}
