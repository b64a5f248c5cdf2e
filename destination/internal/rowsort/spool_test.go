package rowsort

import (
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	iceio "github.com/apache/iceberg-go/io"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
)

var oneColumn = arrow.NewSchema([]arrow.Field{{Name: "v", Type: arrow.BinaryTypes.String}}, nil)

func textRows(values ...string) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, oneColumn)
	b.Field(0).(*array.StringBuilder).AppendValues(values, nil)
	return b.NewRecordBatch()
}

func testScratch(t *testing.T) storage.Scratch {
	dir := t.TempDir()
	var n atomic.Int64
	return storage.NewScratch(iceio.LocalFS{}, func(suffix string) string {
		return filepath.Join(dir, strconv.FormatInt(n.Add(1), 10)+suffix)
	})
}

// Rows come back in their order from spools that are used at the same time, one after the
// other: each has the compressors that another has left.
func TestSpoolsGiveBackTheirRows(t *testing.T) {
	files := testScratch(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 10 {
				giveBack(t, files, strings.Repeat(strconv.Itoa(i), 3*runBlock)) // several blocks
			}
		})
	}
	all.Wait()
}

func giveBack(t *testing.T, files storage.Scratch, long string) {
	s := NewSpool(files, oneColumn, true)
	for i, rows := range [][]string{{"a", "b"}, {long}, {"c"}} {
		arrivals := make([]uint64, len(rows))
		for j := range arrivals {
			arrivals[j] = uint64(10*i + j)
		}
		if err := s.Add(textRows(rows...), arrivals); err != nil {
			t.Error(err)
			return
		}
	}
	rec, arrivals, err := s.Take(4, textRows("last"), []uint64{30})
	if err != nil {
		t.Error(err)
		return
	}
	values := rec.Column(0).(*array.String)
	for i, want := range []string{"a", "b", long, "c", "last"} {
		if values.Value(i) != want || arrivals[i] != []uint64{0, 1, 10, 20, 30}[i] {
			t.Errorf("row %d is %.20q of arrival %d", i, values.Value(i), arrivals[i])
		}
	}
}

func TestAScratchFileThatHasLostItsRowsIsAnError(t *testing.T) {
	files := testScratch(t)
	s := NewSpool(files, oneColumn, false)
	w, err := createRun(files, oneColumn)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.close(); err != nil { // with a schema, and no row
		t.Fatal(err)
	}
	s.runs, s.count = append(s.runs, w.run), 1
	if _, _, err := s.Take(1, nil, nil); err == nil || !strings.Contains(err.Error(), "its rows are gone") {
		t.Errorf("says %v", err)
	}
}
