package lake

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
	for name, tc := range map[string]struct {
		keys   int64 // bytes
		o      Options
		spills bool
	}{
		"in memory":                      {keys: plenty, o: Options{Upsert: MergeOnRead}},
		"all spilled":                    {keys: 0, o: Options{Upsert: MergeOnRead}, spills: true},
		"some spilled":                   {keys: 40_000, o: Options{Upsert: MergeOnRead}, spills: true},
		"spilled, files are rewritten":   {keys: 40_000, o: Options{Upsert: CopyOnWrite}, spills: true},
		"spilled, auto":                  {keys: 40_000, o: Options{Upsert: Auto}, spills: true},
		"spilled, many partitions":       {keys: 40_000, o: Options{Upsert: MergeOnRead, Settings: tabledef.Settings{PartitionBy: by(t, "bucket(5, id)")}}, spills: true},
		"spilled, rows change partition": {keys: 40_000, o: Options{Upsert: MergeOnRead, Settings: tabledef.Settings{PartitionBy: by(t, "day(updated_at)")}}, spills: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(5, 9))
			tc.o.Memory, tc.o.TargetFileBytes = memoryForKeys(tc.keys), 20_000
			tbl := openTable(t, openCatalog(t, t.TempDir()), keyed("s"), tc.o)
			tbl.minRowGroupBytes = 0 // every batch is a row group
			files := &scratchCounter{}
			tbl.files = files
			want := model{}
			order := uint64(0)
			for round := range testsize.Of(2, 4) {
				var versions []version
				writers := []*Writer{tbl.NewWriter(), tbl.NewWriter()}
				for range 12 {
					var rows []map[string]any
					var orders []uint64
					for range 100 {
						v := version{
							key: rng.Int64N(900), cursor: rng.Int64N(5)*86_400 - 1, order: order,
							v: fmt.Sprint(round, "-", order), deleted: rng.IntN(8) == 0,
						}
						order++
						versions = append(versions, v)
						rows, orders = append(rows, v.row()), append(orders, v.order)
					}
					if err := writers[rng.IntN(2)].Write(t.Context(), batch(t, tbl.schema, rows...), orders); err != nil {
						t.Fatal(err)
					}
				}
				var staged []*Staged
				for _, w := range writers {
					s, err := w.Close(t.Context(), nil, nil, math.MaxInt64)
					if err != nil {
						t.Fatal(err)
					}
					staged = append(staged, s)
				}
				commit(t, tbl, fmt.Sprintf(`{"round":%d}`, round), staged...)
				want.commit(versions)
				if expectRows(t, tbl, want.rows()...); t.Failed() {
					t.Fatalf("round %d", round)
				}
				expectFiles(t, tbl, false)
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
			tbl := openTable(t, openCatalog(t, t.TempDir()), keyed("s"), Options{Upsert: MergeOnRead, TargetFileBytes: 1, Memory: memoryForKeys(keys)})
			tbl.minRowGroupBytes = 0
			w := tbl.NewWriter()
			versions := []version{
				{key: 1, cursor: 0, v: "a"},
				{key: 2, cursor: 9, v: "b", order: 1},
				{key: 1, cursor: 1, v: "c", order: 2},
				{key: 1, cursor: 9, deleted: true, order: 3},
			}
			for n := range versions {
				if err := w.Write(t.Context(), batch(t, tbl.schema, versions[n].row()), []uint64{uint64(n)}); err != nil {
					t.Fatal(err)
				}
			}
			want := model{}
			want.commit(versions[:keep])
			staged, err := w.Close(t.Context(), nil, nil, keep)
			if err != nil {
				t.Fatal(err)
			}
			commit(t, tbl, `{}`, staged)
			expectRows(t, tbl, want.rows()...)
			expectFiles(t, tbl, false)
			if tbl.opts.Memory.HoldKeys(keys) {
				t.Error("bytes of keys are still counted")
			}
		}
	}
}

// Whichever call fails while a commit merges spilled keys: the commit is there as
// a whole or not at all, and its scratch files are gone.
func TestMergingSpilledKeysMayFailAtAnyCall(t *testing.T) {
	for at, over := 0, false; !over; at++ {
		tbl := openTable(t, openCatalog(t, t.TempDir()), keyed("s"), Options{Upsert: MergeOnRead, Memory: memoryForKeys(0)})
		before := version{key: 1, cursor: 1, v: "before"}
		commit(t, tbl, "", stage(t, tbl, 0, before.row()))
		after := version{key: 1, cursor: 2, v: "after"}
		staged := stage(t, tbl, 0, after.row())
		files := &flakyFiles{left: at}
		tbl.files = files
		_, err := tbl.Commit(t.Context(), []*Staged{staged}, json.RawMessage(`{}`))
		over, files.left = files.failed == "", -1
		want := after
		switch {
		case err == nil: // then the call was of the removal of files
		case over || !errors.Is(err, errFlaky):
			t.Fatalf("call %d, %s: %v", at, files.failed, err)
		default:
			want = before
		}
		expectRows(t, tbl, want.json())
		if files.failed != "Remove" {
			expectFiles(t, tbl, false)
		}
		if t.Failed() {
			t.Fatalf("call %d, %s", at, files.failed)
		}
	}
}

func TestADiskWithoutSpaceForSpilledKeys(t *testing.T) {
	tbl := openTable(t, openCatalog(t, t.TempDir()), keyed("s"), Options{Memory: memoryForKeys(0)})
	tbl.files = &scratchCounter{full: true}
	tbl.minRowGroupBytes = 0
	w := tbl.NewWriter()
	err := w.Write(t.Context(), batch(t, tbl.schema, version{key: 1, cursor: 1, v: "a"}.row()), []uint64{0})
	if err == nil || !strings.HasPrefix(err.Error(), "There is no space left for table ns.s.") {
		t.Errorf("error %v", err)
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	expectFiles(t, tbl, false)
}

// A table that was appended to for long has far more rows of a key than a
// commit brings.
func TestUpsertOfAKeyWithManyRows(t *testing.T) {
	const many = scanRows + 10
	cat := openCatalog(t, t.TempDir())
	appended := keyed("s")
	appended.Dedup, appended.Key = false, nil
	first := openTable(t, cat, appended, Options{})
	w := first.NewWriter()
	staged, err := w.Close(t.Context(), benchBatch(t, first, make([]int64, many), 1), nil, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, first, "", staged)
	tbl := openTable(t, cat, keyed("s"), Options{Upsert: MergeOnRead})
	files := &scratchCounter{}
	tbl.files = files
	newer := version{key: 0, cursor: 5, v: "newer"}
	commit(t, tbl, "", stage(t, tbl, 0, newer.row()))
	expectRows(t, tbl, newer.json())
	if files.made == 0 {
		t.Error("the rows of the table were kept in memory")
	}
	expectFiles(t, tbl, false)
}
