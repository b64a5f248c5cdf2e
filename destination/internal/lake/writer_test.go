package lake_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/iceberg-go"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
)

// Batches of a few rows become large row groups, in the order of arrival, cut off where Close says,
// and leave nothing beside the data files.
func TestFewRowsBecomeLargeRowGroups(t *testing.T) {
	// Of each batch the number of rows, of 4 KiB each. 600 are more than a few; 2,000 fill a row group.
	batches := []int{10, 100, 400, 600, 1, 400, 400, 400, 400, 400, 400, 400, 20}
	all := 0
	for _, n := range batches {
		all += n
	}
	const maxLast = 700
	schema := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Keyed("s"), lake.Options{}).Opened().Schema()
	var rows []map[string]any
	var texts []string
	for n := range all + maxLast {
		rows = append(rows, laketest.Version{Key: int64(n), Cursor: 1}.Row())
		texts = append(texts, fmt.Sprint(n, strings.Repeat(" ", 4<<10)))
	}
	of := func(from, n int) (arrow.RecordBatch, []uint64) {
		order := make([]uint64, n)
		for i := range order {
			order[i] = uint64(from + i)
		}
		return laketest.WithTexts(laketest.Batch(t, schema, rows[from:from+n]...), "v", texts[from:from+n]), order
	}
	var written []arrow.RecordBatch
	var orders [][]uint64
	sent := 0
	for _, n := range batches {
		rec, order := of(sent, n)
		written, orders = append(written, rec), append(orders, order)
		sent += n
	}
	for i, tc := range []struct {
		name   string
		keep   int
		last   int // rows handed to Close
		groups int
	}{
		{"everything", all, 0, 4}, // 510 before the 600, 600, 2,401, the rest
		{"with a last batch", all + 5, 5, 4},
		{"with a large last one", all + 700, 700, 5},
		{"part of the last one", all + 3, 5, 4},
		{"part of the few", all - 30, 5, 4},
		{"none of the few", 510 + 600 + 2401, 5, 3},
		{"none but the first", 300, 5, 1},
		{"nothing", 0, 5, 0},
	} {
		if i%testsize.Of(2, 1) > 0 {
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Keyed("s"), lake.Options{})
			w := tbl.NewWriter()
			for i, rec := range written {
				if err := w.Write(t.Context(), rec, orders[i]); err != nil {
					t.Fatal(err)
				}
			}
			var last arrow.RecordBatch
			var order []uint64
			if tc.last > 0 {
				last, order = of(sent, tc.last)
			}
			staged, err := w.Close(t.Context(), last, order, int64(tc.keep))
			if err != nil {
				t.Fatal(err)
			}
			if tc.keep == 0 {
				if left := laketest.DataFilesOnDisk(t, tbl); staged != nil || len(left) > 0 {
					t.Errorf("kept %v, left %v", staged, left)
				}
				return
			}
			groups := 0
			for _, f := range staged.Files() {
				in, err := file.OpenParquetFile(laketest.PathOf(t, f.FilePath()), false)
				if err != nil {
					t.Fatal(err)
				}
				groups += in.NumRowGroups()
				in.Close()
			}
			if groups != tc.groups {
				t.Errorf("%d row groups, not %d", groups, tc.groups)
			}
			laketest.Commit(t, tbl, "", staged)
			laketest.CheckFiles(t, laketest.Load(t, tbl))
			laketest.ExpectFiles(t, tbl, false)
			var got, want []string
			for row, err := range inspect.Rows(t.Context(), laketest.Load(t, tbl), 0) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, fmt.Sprint(row[0]))
			}
			for n := range tc.keep {
				want = append(want, fmt.Sprintf("{id %d}", n))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("keys in the file (-want +got):\n%.2000s", diff)
			}
		})
	}
}

// A file that is shortened stays one file, also when a value without statistics
// comes after more rows than are read at once.
func TestAShortenedFileWithALateHugeValueStaysOne(t *testing.T) {
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{})
	const long = 5 * parquetfile.PieceBytes / 4 / (200 << 10)
	var rows []map[string]any
	var texts []string
	for id := range long + 2 {
		rows = append(rows, map[string]any{"id": id})
		texts = append(texts, fmt.Sprint(id, strings.Repeat(" ", 200<<10)))
	}
	texts[long], texts[long+1] = strings.Repeat("x", 300<<10), "cut off"
	w := tbl.NewWriter()
	if err := w.Write(t.Context(), laketest.WithTexts(laketest.Batch(t, tbl.Opened().Schema(), rows...), "v", texts), nil); err != nil {
		t.Fatal(err)
	}
	staged, err := w.Close(t.Context(), nil, nil, long+1)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(staged.Files()); n != 1 || staged.Rows() != long+1 {
		t.Errorf("%d files of %d rows", n, staged.Rows())
	}
	for _, f := range staged.Files() {
		for name, want := range map[string]bool{"id": true, "v": false} {
			field, _ := tbl.Opened().Schema().FindFieldByName(name)
			if _, has := f.LowerBoundValues()[field.ID]; has != want {
				t.Errorf("column %s has bounds: %v", name, has)
			}
		}
	}
	laketest.Commit(t, tbl, "", staged)
	laketest.ExpectFiles(t, tbl, false)
}

// Of the versions of a key the last one wins, whichever of them were put aside.
func TestFewRowsKeepTheirOrderOfArrival(t *testing.T) {
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Keyed("s"), lake.Options{})
	first, second := tbl.NewWriter(), tbl.NewWriter()
	want := laketest.Model{}
	var all []laketest.Version
	for n := range 60 {
		v := laketest.Version{Key: int64(n % 7), Cursor: 1, Order: uint64(n), V: fmt.Sprint(n)}
		all = append(all, v)
		w := first
		if n%3 == 0 {
			w = second
		}
		if err := w.Write(t.Context(), laketest.Batch(t, tbl.Opened().Schema(), v.Row()), []uint64{v.Order}); err != nil {
			t.Fatal(err)
		}
	}
	want.Commit(all)
	var staged []*lake.Staged
	for _, w := range []*lake.Writer{second, first} {
		s, err := w.Close(t.Context(), nil, nil, math.MaxInt64)
		if err != nil {
			t.Fatal(err)
		}
		staged = append(staged, s)
	}
	laketest.Commit(t, tbl, "", slices.Concat(staged)...)
	laketest.ExpectRows(t, tbl, want.Rows()...)
	laketest.ExpectFiles(t, tbl, false)
}

// What one writer has put aside another one writes, in the files that it would write alone.
func TestAWriterTakesOverWhatOthersPutAside(t *testing.T) {
	for name, tc := range map[string]struct {
		partitionBy, sortBy []string
		files               int
	}{
		"neither sorted nor partitioned": {nil, nil, 1},
		"sorted":                         {nil, []string{"v desc"}, 1},
		"partitioned":                    {[]string{"truncate(3, id)"}, nil, 3},
	} {
		t.Run(name, func(t *testing.T) {
			o := lake.Options{}
			o.PartitionBy, o.SortBy = by(t, tc.partitionBy...), sortedBy(t, tc.sortBy...)
			tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Keyed("s"), o)
			writers := []*lake.Writer{tbl.NewWriter(), tbl.NewWriter(), tbl.NewWriter()}
			want := laketest.Model{}
			order := uint64(0)
			for round := range 3 { // the writers are used again
				var all []laketest.Version
				for n := range 30 {
					v := laketest.Version{Key: int64(n % 7), Cursor: 1, Order: order, V: fmt.Sprint(round, "-", n)}
					order++
					all = append(all, v)
					if err := writers[n%(1+round)].Write(t.Context(), laketest.Batch(t, tbl.Opened().Schema(), v.Row()), []uint64{v.Order}); err != nil {
						t.Fatal(err)
					}
				}
				var sum int64
				for i, w := range writers {
					bytes, whole := w.Spooled()
					if !whole || bytes > 0 != (i <= round) {
						t.Errorf("round %d: writer %d has put %d bytes aside, %t", round, i, bytes, whole)
					}
					sum += bytes
				}
				for _, w := range writers[1 : 1+round] {
					writers[0].TakeOver(w)
				}
				if bytes, whole := writers[0].Spooled(); bytes != sum || !whole {
					t.Errorf("round %d: %d of %d bytes are put aside, %t", round, bytes, sum, whole)
				}
				var staged []*lake.Staged
				for i, w := range writers {
					s, err := w.Close(t.Context(), nil, nil, math.MaxInt64)
					if err != nil {
						t.Fatal(err)
					}
					if s != nil && i > 0 {
						t.Errorf("round %d: writer %d has %d rows", round, i, s.Rows())
					}
					staged = append(staged, s)
				}
				laketest.Commit(t, tbl, "", staged...)
				want.Commit(all)
				laketest.ExpectRows(t, tbl, want.Rows()...)
				laketest.ExpectFiles(t, tbl, false)
				if files := laketest.Load(t, tbl).CurrentSnapshot().Summary.Properties.GetInt("added-data-files", 0); files != tc.files {
					t.Errorf("round %d: %d files", round, files)
				}
				checkPartitions(t, tbl)
			}
		})
	}
}

// A file of thousands of columns is complete before what is to be remembered of its chunks takes much
// memory.
func TestFilesOfManyColumnsHaveFewRowGroups(t *testing.T) {
	t.Parallel()
	columns := parquetfile.MaxChunks / testsize.Of(32, 4)
	var fields []iceberg.NestedField
	for i := range columns {
		fields = append(fields, optional(fmt.Sprint("c", i), aLong))
	}
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), planOf("s", fields...), lake.Options{})
	tbl.SetMinRowGroupBytes(0)
	w := tbl.NewWriter()
	groups := testsize.Of(1, 6) // package parquetfile tests the limit with few columns
	for n := range groups {
		if err := w.Write(t.Context(), laketest.Batch(t, tbl.Opened().Schema(), map[string]any{"c0": n}), nil); err != nil {
			t.Fatal(err)
		}
	}
	staged, err := w.Close(t.Context(), nil, nil, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(staged.Files()); got != (groups+3)/4 {
		t.Errorf("%d files", got)
	}
}

// Rows that come faster than the storage takes them wait, instead of filling the scratch directory.
func TestFilesThatWaitForTheStorageTakeLimitedRoom(t *testing.T) {
	for _, room := range []int64{1, 1 << 30} {
		synctest.Test(t, func(t *testing.T) {
			tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{TargetFileBytes: 1}) // a file for each row group
			tbl.SetMinRowGroupBytes(1)
			tbl.SetCompletingBytes(room)
			slow := &slowToClose{WriteFileIO: tbl.Storage().Files, safe: make(chan struct{})}
			tbl.Storage().Files = slow
			w := tbl.NewWriter()
			const files = 5
			written := make(chan error, 1)
			go func() {
				var err error
				for n := range files {
					err = errors.Join(err, w.Write(t.Context(), laketest.Batch(t, tbl.Opened().Schema(), laketest.Version{Key: int64(n), Cursor: 1, V: "v"}.Row()), []uint64{uint64(n)}))
				}
				written <- err
			}()
			synctest.Wait()
			want := int64(files)
			if room == 1 {
				want = 2 // one that waits, and one for which there is no room yet
			}
			if got := slow.created.Load(); got != want {
				t.Errorf("with room for %d bytes, %d files are there, want %d", room, got, want)
			}
			close(slow.safe)
			if err := <-written; err != nil {
				t.Fatal(err)
			}
			staged, err := w.Close(t.Context(), nil, nil, math.MaxInt64)
			if err != nil || len(staged.Files()) != files {
				t.Fatalf("%v, %v", staged, err)
			}
			laketest.Commit(t, tbl, "", staged)
		})
	}
}

// slowToClose are files that are safe only when safe is closed.
type slowToClose struct {
	iceio.WriteFileIO
	safe    chan struct{}
	created atomic.Int64
}

func (f *slowToClose) Create(name string) (iceio.FileWriter, error) {
	w, err := f.WriteFileIO.Create(name)
	f.created.Add(1)
	return slowWriter{w, f.safe}, err
}

type slowWriter struct {
	iceio.FileWriter
	safe chan struct{}
}

func (w slowWriter) Close() error {
	<-w.safe
	return w.FileWriter.Close()
}
