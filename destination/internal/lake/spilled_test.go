package lake_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	iceio "github.com/apache/iceberg-go/io"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rowkeys"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
)

// scratchCounter counts the runs of keys that are made.
type scratchCounter struct {
	iceio.LocalFS
	made int
	full bool // the disk
}

func (f *scratchCounter) CreateScratch(name string) (iceio.FileWriter, error) {
	if strings.HasSuffix(name, storage.KeysSuffix) {
		f.made++
	}
	if f.full {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOSPC}
	}
	return f.Create(name)
}

// Random histories of upserts and deletes come out the same however little
// memory there is for keys, and scratch files are used only when there is too
// little. Nothing of them is left after a commit.
func TestKeysBeyondTheirMemoryAreSpilled(t *testing.T) {
	for i, tc := range []struct {
		name   string
		keys   int64 // bytes
		o      lake.Options
		spills bool
	}{
		{name: "in memory", keys: plenty, o: lake.Options{Upsert: lake.MergeOnRead}},
		{name: "all spilled", keys: 0, o: lake.Options{Upsert: lake.MergeOnRead}, spills: true},
		{name: "some spilled", keys: 40_000, o: lake.Options{Upsert: lake.MergeOnRead}, spills: true},
		{name: "spilled, files are rewritten", keys: 40_000, o: lake.Options{Upsert: lake.CopyOnWrite}, spills: true},
		{name: "spilled, auto", keys: 40_000, o: lake.Options{Upsert: lake.Auto}, spills: true},
		{name: "spilled, many partitions", keys: 40_000, o: lake.Options{Upsert: lake.MergeOnRead, Settings: tabledef.Settings{PartitionBy: by(t, "bucket(5, id)")}}, spills: true},
		{name: "spilled, rows change partition", keys: 40_000, o: lake.Options{Upsert: lake.MergeOnRead, Settings: tabledef.Settings{PartitionBy: by(t, "day(updated_at)")}}, spills: true},
	} {
		if i%testsize.Of(2, 1) > 0 {
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(5, 9))
			tc.o.Memory, tc.o.TargetFileBytes = memoryForKeys(tc.keys), 20_000
			tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Keyed("s"), tc.o)
			tbl.SetMinRowGroupBytes(0) // every batch is a row group
			files := &scratchCounter{}
			tbl.Storage().Files = files
			want := laketest.Model{}
			order := uint64(0)
			for round := range testsize.Of(2, 4) {
				var versions []laketest.Version
				writers := []*lake.Writer{tbl.NewWriter(), tbl.NewWriter()}
				for range 12 {
					var rows []map[string]any
					var orders []uint64
					for range 100 {
						v := laketest.Version{
							Key: rng.Int64N(900), Cursor: rng.Int64N(5)*86_400 - 1, Order: order,
							V: fmt.Sprint(round, "-", order), Deleted: rng.IntN(8) == 0,
						}
						order++
						versions = append(versions, v)
						rows, orders = append(rows, v.Row()), append(orders, v.Order)
					}
					if err := writers[rng.IntN(2)].Write(t.Context(), laketest.Batch(t, tbl.Opened().Schema(), rows...), orders); err != nil {
						t.Fatal(err)
					}
				}
				var staged []*lake.Staged
				for _, w := range writers {
					s, err := w.Close(t.Context(), nil, nil, math.MaxInt64)
					if err != nil {
						t.Fatal(err)
					}
					staged = append(staged, s)
				}
				laketest.Commit(t, tbl, fmt.Sprintf(`{"round":%d}`, round), staged...)
				want.Commit(versions)
				if laketest.ExpectRows(t, tbl, want.Rows()...); t.Failed() {
					t.Fatalf("round %d", round)
				}
				laketest.ExpectFiles(t, tbl, false)
			}
			if spills := files.made > 0; spills != tc.spills {
				t.Errorf("%d scratch files were made", files.made)
			}
			if tc.o.Memory.HoldKeys(tc.keys) {
				t.Error("bytes of keys are still counted")
			}
		})
	}
}

// Rows that no state covers do not count, though their keys may be spilled.
func TestKeysOfRowsThatAreCutOffDoNotCount(t *testing.T) {
	for _, keys := range []int64{plenty, 0} {
		for keep := range int64(5) {
			tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Keyed("s"), lake.Options{Upsert: lake.MergeOnRead, TargetFileBytes: 1, Memory: memoryForKeys(keys)})
			tbl.SetMinRowGroupBytes(0)
			w := tbl.NewWriter()
			versions := []laketest.Version{
				{Key: 1, Cursor: 0, V: "a"},
				{Key: 2, Cursor: 9, V: "b", Order: 1},
				{Key: 1, Cursor: 1, V: "c", Order: 2},
				{Key: 1, Cursor: 9, Deleted: true, Order: 3},
			}
			for n := range versions {
				if err := w.Write(t.Context(), laketest.Batch(t, tbl.Opened().Schema(), versions[n].Row()), []uint64{uint64(n)}); err != nil {
					t.Fatal(err)
				}
			}
			want := laketest.Model{}
			want.Commit(versions[:keep])
			staged, err := w.Close(t.Context(), nil, nil, keep)
			if err != nil {
				t.Fatal(err)
			}
			laketest.Commit(t, tbl, `{}`, staged)
			laketest.ExpectRows(t, tbl, want.Rows()...)
			laketest.ExpectFiles(t, tbl, false)
			if tbl.Storage().Memory.HoldKeys(keys) {
				t.Error("bytes of keys are still counted")
			}
		}
	}
}

// Whichever call fails while a commit merges spilled keys: the commit is there as
// a whole or not at all, and its scratch files are gone.
func TestMergingSpilledKeysMayFailAtAnyCall(t *testing.T) {
	before := laketest.Version{Key: 1, Cursor: 1, V: "before"}
	var tbl *lake.Table // nil when the last commit has changed it
	for at, over := 0, false; !over; at++ {
		if tbl == nil {
			tbl = openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Keyed("s"), lake.Options{Upsert: lake.MergeOnRead, Memory: memoryForKeys(0)})
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, before.Row()))
		}
		after := laketest.Version{Key: 1, Cursor: 2, V: "after"}
		staged := laketest.Stage(t, tbl, 0, after.Row())
		files := &flakyFiles{left: at}
		tbl.Storage().Files = files
		_, err := tbl.Commit(t.Context(), []*lake.Staged{staged}, json.RawMessage(`{}`))
		over, files.left = files.failed == "", -1
		want := after
		switch {
		case err == nil: // then the call was of the removal of files
		case over || !errors.Is(err, errFlaky):
			t.Fatalf("call %d, %s: %v", at, files.failed, err)
		default:
			want = before
		}
		laketest.ExpectRows(t, tbl, want.JSON())
		if files.failed != "Remove" {
			laketest.ExpectFiles(t, tbl, false)
		}
		if t.Failed() {
			t.Fatalf("call %d, %s", at, files.failed)
		}
		if err == nil || files.failed == "Remove" {
			tbl = nil
		}
	}
}

func TestADiskWithoutSpaceForSpilledKeys(t *testing.T) {
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Keyed("s"), lake.Options{Memory: memoryForKeys(0)})
	tbl.Storage().Files = &scratchCounter{full: true}
	tbl.SetMinRowGroupBytes(0)
	w := tbl.NewWriter()
	err := w.Write(t.Context(), laketest.Batch(t, tbl.Opened().Schema(), laketest.Version{Key: 1, Cursor: 1, V: "a"}.Row()), []uint64{0})
	if err == nil || !strings.HasPrefix(err.Error(), "There is no space left for table ns.s.") {
		t.Errorf("error %v", err)
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	laketest.ExpectFiles(t, tbl, false)
}

// A table that was appended to for long has far more rows of a key than a
// commit brings.
func TestUpsertOfAKeyWithManyRows(t *testing.T) {
	many := testsize.Of(5_000, rowkeys.ManyHits)
	cat := laketest.OpenCatalog(t, t.TempDir())
	appended := laketest.Keyed("s")
	appended.Dedup, appended.Key = false, nil
	first := openTable(t, cat, appended, lake.Options{})
	w := first.NewWriter()
	staged, err := w.Close(t.Context(), benchBatch(t, first, make([]int64, many+10), 1), nil, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	laketest.Commit(t, first, "", staged)
	tbl := openTable(t, cat, laketest.Keyed("s"), lake.Options{Upsert: lake.MergeOnRead})
	tbl.SetManyHits(int64(many))
	files := &scratchCounter{}
	tbl.Storage().Files = files
	newer := laketest.Version{Key: 0, Cursor: 5, V: "newer"}
	laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, newer.Row()))
	laketest.ExpectRows(t, tbl, newer.JSON())
	if files.made == 0 {
		t.Error("the rows of the table were kept in memory")
	}
	laketest.ExpectFiles(t, tbl, false)
}
