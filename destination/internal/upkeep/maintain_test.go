package upkeep_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/upkeep"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
)

// appendOne commits one row of a plain table.
func appendOne(t testing.TB, tbl *lake.Table, id int) string {
	t.Helper()
	laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, map[string]any{"id": id, "v": "x"}))
	return fmt.Sprintf(`{"id":%d,"v":"x"}`, id)
}

func TestUpkeepLeavesOneFileOneSnapshotAndNoOrphan(t *testing.T) {
	tbl := laketest.OpenTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{ReaderTime: time.Nanosecond})
	var want []string
	for id := range 12 {
		want = append(want, appendOne(t, tbl, id))
	}
	did := laketest.Maintain(t, tbl, laketest.Everything)
	if removed := len(did.Removed); removed != did.RemovedFiles {
		t.Errorf("%d files are listed as removed, %d were", removed, did.RemovedFiles)
	}
	did.Removed = nil
	if diff := cmp.Diff(upkeep.Report{CompactedFiles: 12, IntoFiles: 1, ExpiredSnapshots: 12, RemovedFiles: 12 + 12 + 12, LookedForOrphans: true}, did); diff != "" {
		t.Errorf("did (-want +got):\n%s", diff)
	}
	laketest.ExpectRows(t, tbl, want...)
	laketest.ExpectFiles(t, tbl, false)
	loaded := laketest.Load(t, tbl)
	if s := loaded.CurrentSnapshot(); s.Summary.Operation != table.OpReplace || len(loaded.Metadata().Snapshots()) != 1 {
		t.Errorf("%s, %d snapshots", s.Summary.Operation, len(loaded.Metadata().Snapshots()))
	}
	// There is nothing left to do.
	at := loaded.MetadataLocation()
	if diff := cmp.Diff(upkeep.Report{LookedForOrphans: true}, laketest.Maintain(t, tbl, laketest.Everything)); diff != "" || laketest.Load(t, tbl).MetadataLocation() != at {
		t.Errorf("did again (-want +got):\n%s", diff)
	}
}

// Rows keep the order in which they arrived: of two rows of a key, which a
// table has that was appended to before, the later stays the later.
func TestCompactedRowsKeepTheirPlaceInTime(t *testing.T) {
	for _, format := range []int{2, 3} {
		cat := laketest.OpenCatalog(t, t.TempDir())
		appended := laketest.Keyed("s")
		appended.Dedup = false
		tbl := laketest.OpenTable(t, cat, appended, lake.Options{FormatVersion: format})
		for n := range 4 {
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, laketest.Version{Key: 1, Cursor: 5, V: fmt.Sprint("row ", n)}.Row()))
		}
		set, err := tbl.Storage().List(laketest.Load(t, tbl).SnapshotByName(tbl.Branch()), snapshots.Cache{})
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(set.Files, func(a, b *snapshots.LiveFile) int { return int(a.Sequence - b.Sequence) })
		if err := upkeep.Compact(t.Context(), tbl, set, set.Files[:3]); err != nil {
			t.Fatal(err)
		}
		// A late, older record beats none of them, and of those one stays.
		dedup := laketest.OpenTable(t, cat, laketest.Keyed("s"), lake.Options{})
		laketest.Commit(t, dedup, "", laketest.Stage(t, dedup, 0, laketest.Version{Key: 1, Cursor: 1, V: "old"}.Row()))
		laketest.ExpectRows(t, dedup, laketest.Version{Key: 1, Cursor: 5, V: "row 3"}.JSON())
	}
}

// Whatever is committed while files are compacted wins: rows that were deleted
// stay so, and the work is done for the files that are as they were.
func TestCompactionGivesWayToOtherWriters(t *testing.T) {
	for _, mode := range []lake.Upsert{lake.CopyOnWrite, lake.MergeOnRead} {
		for _, format := range []int{2, 3} {
			t.Run(fmt.Sprint(mode, " v", format), func(t *testing.T) {
				real := laketest.OpenCatalog(t, t.TempDir())
				others := laketest.OpenTable(t, real, laketest.Keyed("s"), lake.Options{Upsert: mode, FormatVersion: format})
				want := laketest.Model{}
				write := func(v laketest.Version) {
					laketest.Commit(t, others, "", laketest.Stage(t, others, 0, v.Row()))
					want.Commit([]laketest.Version{v})
				}
				for key := range int64(8) {
					write(laketest.Version{Key: key, Cursor: 1, V: "before"})
				}
				cat := &laketest.Faulty{Catalog: real, Script: []laketest.Outcome{laketest.LetsOthersFirst, laketest.LetsOthersFirst, laketest.FailsSilently, laketest.LandsSilently}}
				n := int64(2)
				cat.Other = func() {
					write(laketest.Version{Key: n, Cursor: 2, V: "theirs", Deleted: n == 2})
					n++
				}
				tbl := laketest.OpenTable(t, cat, laketest.Keyed("s"), lake.Options{Upsert: mode, FormatVersion: format})
				laketest.Maintain(t, tbl, laketest.Everything)
				laketest.ExpectRows(t, tbl, want.Rows()...)
				cat.Script = nil
				if did := laketest.Maintain(t, tbl, laketest.Everything); did.CompactedFiles == 0 {
					t.Errorf("did %+v", did)
				}
				laketest.ExpectRows(t, tbl, want.Rows()...)
			})
		}
	}
}

// Against the model of upserts, with upkeep of every kind between, beside and
// in the way of commits, each with a catalog of its own.
func TestUpkeepChangesNoRow(t *testing.T) {
	for _, tc := range []struct {
		mode   lake.Upsert
		format int
	}{{lake.Auto, 2}, {lake.MergeOnRead, 2}, {lake.MergeOnRead, 3}, {"append", 1}, {"append", 2}} {
		t.Run(fmt.Sprint(tc.mode, " v", tc.format), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			plan, mode := laketest.Keyed("s"), tc.mode
			if mode == "append" {
				plan.Dedup, mode = false, lake.Auto
			}
			opts := lake.Options{Upsert: mode, FormatVersion: tc.format, TargetFileBytes: 30_000}
			impatient := opts
			impatient.ReaderTime = time.Nanosecond
			rng := rand.New(rand.NewPCG(1, uint64(len(tc.mode)+tc.format)))
			tbl := laketest.OpenTable(t, laketest.OpenCatalog(t, dir), plan, opts)

			// The others compact and expire without a pause until the commits end.
			stop := make(chan struct{})
			var others sync.WaitGroup
			var mu sync.Mutex
			var total upkeep.Report
			var last []func()
			for n := range 2 {
				theirs := laketest.OpenTable(t, laketest.OpenCatalog(t, dir), plan, impatient)
				u := upkeep.Options{ExpireAfter: time.Hour, KeepSnapshots: 3 + n, Thorough: n == 0}
				if u.Thorough {
					u.ExpireAfter = 0
				}
				once := func() {
					did, err := upkeep.Maintain(t.Context(), theirs, u)
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					total.CompactedFiles += did.CompactedFiles
					total.ExpiredSnapshots += did.ExpiredSnapshots
					mu.Unlock()
				}
				last = append(last, once)
				others.Go(func() {
					for !t.Failed() {
						select {
						case <-stop:
							return
						case <-time.After(time.Duration(5+20*n) * time.Millisecond):
							once()
						}
					}
				})
			}
			want, appended := laketest.Model{}, []string{}
			order := uint64(0)
			rounds := testsize.Of(8, 20)
			for round := range rounds {
				var versions []laketest.Version
				var rows []map[string]any
				for range 1 + rng.IntN(12) {
					v := laketest.Version{
						Key: rng.Int64N(80), Cursor: rng.Int64N(8) - 1, Order: order, V: fmt.Sprint(round, "-", order),
						Deleted: rng.IntN(6) == 0 && plan.Dedup,
					}
					order++
					versions, rows, appended = append(versions, v), append(rows, v.Row()), append(appended, v.JSON())
				}
				laketest.Commit(t, tbl, fmt.Sprintf(`{"round":%d}`, round), laketest.Stage(t, tbl, order-uint64(len(rows)), rows...))
				want.Commit(versions)
				if round%(rounds/2) == rounds/2-1 {
					rows := want.Rows()
					if !plan.Dedup {
						rows = appended
					}
					// The snapshot that is read may expire under the reader.
					readTwice(t, tbl, rows)
				}
			}
			close(stop)
			others.Wait()
			for _, once := range last { // on a busy machine the commits may have been first every time
				once()
			}
			if t.Failed() {
				return
			}
			laketest.Maintain(t, laketest.Impatient(t, tbl), laketest.Everything)
			// Files that a commit on its way might name wait for the next day.
			laketest.AgeFiles(t, tbl)
			laketest.Maintain(t, tbl, laketest.Everything)
			final := want.Rows()
			if !plan.Dedup {
				final = appended
			}
			laketest.ExpectRows(t, tbl, final...)
			laketest.ExpectFiles(t, tbl, false)
			if got := string(laketest.LastState(t, laketest.Load(t, tbl))); got != fmt.Sprintf(`{"round":%d}`, rounds-1) {
				t.Errorf("state %s", got)
			}
			rewrites := mode == lake.MergeOnRead || !plan.Dedup
			if total.CompactedFiles == 0 && rewrites || total.ExpiredSnapshots == 0 {
				t.Errorf("beside the commits upkeep did %+v", total)
			}
		})
	}
}

// readTwice compares a table's rows, and does so again when a file was gone.
func readTwice(t *testing.T, tbl *lake.Table, want []string) {
	t.Helper()
	for range 20 {
		got, err := func() (got []string, err error) {
			for row, err := range lake.Rows(t.Context(), laketest.Load(t, tbl), 0) {
				if err != nil {
					return nil, err
				}
				text, err := json.Marshal(row[:3])
				if err != nil {
					return nil, err
				}
				got = append(got, string(text))
			}
			return got, nil
		}()
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, laketest.Sorted); diff != "" {
			t.Fatalf("rows (-want +got):\n%s", diff)
		}
		return
	}
	t.Fatal("the files of the current snapshot are gone each time they are read")
}

type mortalCatalog struct {
	lake.Catalog
	*laketest.Life
}

func (c mortalCatalog) LoadTable(ctx context.Context, id table.Identifier) (*table.Table, error) {
	if err := c.Step(); err != nil {
		return nil, err
	}
	return c.Catalog.LoadTable(ctx, id)
}

// CommitTable may be what the process dies of, before it or after it.
func (c mortalCatalog) CommitTable(ctx context.Context, id table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	if err := c.Step(); err != nil {
		return nil, "", err
	}
	meta, location, err := c.Catalog.CommitTable(ctx, id, reqs, updates)
	return meta, location, errors.Join(err, c.Step())
}

// Wherever upkeep is killed the table is right, and the next upkeep ends what
// it began, but for files too young to be orphans.
func TestUpkeepThatIsKilledLeavesTheTableRight(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 5))
	opts := lake.Options{Upsert: lake.MergeOnRead, ReaderTime: time.Nanosecond}
	dir, saved := filepath.Join(t.TempDir(), "lake"), filepath.Join(t.TempDir(), "saved")
	want := laketest.Model{}
	t.Run("made once", func(t *testing.T) {
		tbl := laketest.OpenTable(t, laketest.OpenCatalog(t, dir), laketest.Keyed("s"), opts)
		for n := range int64(6) {
			versions := []laketest.Version{{Key: n, Cursor: n, V: "x"}, {Key: n + 10, Cursor: n, V: "x"}, {Key: max(0, n-1), Cursor: n, V: "again", Order: 1}}
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, versions[0].Row(), versions[1].Row(), versions[2].Row()))
			want.Commit(versions)
		}
	})
	if err := os.Rename(dir, saved); err != nil {
		t.Fatal(err)
	}
	killed := func(t *testing.T, left int) (survived bool) {
		if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(saved))); err != nil {
			t.Fatal(err)
		}
		real := laketest.OpenCatalog(t, dir)
		tbl := laketest.OpenTable(t, real, laketest.Keyed("s"), opts)
		l := &laketest.Life{Left: 1000}
		mortal := laketest.OpenTable(t, mortalCatalog{real, l}, laketest.Keyed("s"), opts)
		mortal.Storage().Files = laketest.MortalFiles{Life: l}
		l.Left = left
		_, err := upkeep.Maintain(t.Context(), mortal, laketest.Everything)
		if survived = l.Left >= 0; survived && err != nil {
			t.Errorf("not killed: error %v", err)
		}
		laketest.ExpectRows(t, tbl, want.Rows()...)
		for _, uri := range laketest.Named(t, laketest.Load(t, tbl)) {
			if _, err := os.Stat(laketest.PathOf(t, uri)); err != nil {
				t.Errorf("killed at %d: %v", left, err)
			}
		}
		laketest.Maintain(t, tbl, laketest.Everything)
		laketest.ExpectRows(t, tbl, want.Rows()...)
		if loaded := laketest.Load(t, tbl); len(loaded.Metadata().Snapshots()) != 1 {
			t.Errorf("killed at %d: %d snapshots", left, len(loaded.Metadata().Snapshots()))
		}
		return survived
	}
	survived, deaths := false, 0
	for left := 1; !survived && !t.Failed(); left += 1 + rng.IntN(testsize.Of(40, 14)) {
		t.Run(fmt.Sprint(left), func(t *testing.T) { survived = killed(t, left) })
		deaths++
	}
	if deaths < testsize.Of(4, 10) {
		t.Errorf("killed %d times only", deaths)
	}
	t.Logf("killed %d times", deaths)
}

// A run that is told to end ends its upkeep, and says so.
func TestUpkeepEndsWhenItIsCancelled(t *testing.T) {
	tbl := laketest.OpenTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{})
	row := appendOne(t, tbl, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := upkeep.Maintain(ctx, tbl, laketest.Everything); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	laketest.ExpectRows(t, tbl, row)
}

func TestUpkeepEndsWithItsBudget(t *testing.T) {
	tbl := laketest.OpenTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{})
	var want []string
	for id := range 8 {
		want = append(want, appendOne(t, tbl, id))
	}
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	did, err := upkeep.Maintain(ctx, tbl, laketest.Everything)
	if err != nil || did.CompactedFiles != 0 || len(did.Left) != 1 || !strings.Contains(did.Left[0], "time limit was reached") {
		t.Errorf("%+v, %v", did, err)
	}
	laketest.ExpectRows(t, tbl, want...)
	laketest.ExpectFiles(t, tbl, false)
}

// A reader that stands on an older snapshot pins it with a tag or a branch. What
// the snapshot needs stays, data, deletes and manifests, and goes when the name does.
func TestASnapshotWithANameStaysWithAllItNeeds(t *testing.T) {
	for name, ref := range map[string]struct {
		name string
		kind table.RefType
	}{
		"another program's tag": {"audit", table.TagRef},
		"a tag of ours":         {"airbyte_reader", table.TagRef},
		"a branch":              {"audit", table.BranchRef},
	} {
		t.Run(name, func(t *testing.T) {
			tbl := laketest.OpenTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Keyed("s"), lake.Options{Upsert: lake.MergeOnRead, ReaderTime: time.Nanosecond})
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, laketest.Version{Key: 1, Cursor: 1, V: "a"}.Row(), laketest.Version{Key: 2, Cursor: 1, V: "a"}.Row()))
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, laketest.Version{Key: 1, Cursor: 2, V: "b"}.Row())) // with a delete file
			pinned := laketest.Load(t, tbl).CurrentSnapshot().SnapshotID
			update := func(u table.Update) {
				t.Helper()
				if _, _, err := tbl.Catalog().CommitTable(t.Context(), tbl.Opened().Identifier(), nil, []table.Update{u}); err != nil {
					t.Fatal(err)
				}
			}
			update(table.NewSetSnapshotRefUpdate(ref.name, pinned, ref.kind, 0, 0, 0))
			if _, err := tbl.Replace(t.Context(), []*lake.Staged{laketest.Stage(t, tbl, 0, laketest.Version{Key: 3, Cursor: 1, V: "c"}.Row())}, nil); err != nil {
				t.Fatal(err)
			}
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, laketest.Version{Key: 4, Cursor: 1, V: "d"}.Row()))
			all := laketest.Everything
			all.AllOrphans = true
			laketest.AgeFiles(t, tbl)
			if did := laketest.Maintain(t, tbl, all); did.ExpiredSnapshots == 0 {
				t.Errorf("did %+v", did)
			}
			var got []string
			_, batches, err := laketest.Load(t, tbl).Scan(table.WithSnapshotID(pinned), table.WithSelectedFields("id", "v")).ToArrowRecords(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for b, err := range batches {
				if err != nil {
					t.Fatalf("reading the pinned snapshot: %v", err)
				}
				for i := range int(b.NumRows()) {
					got = append(got, b.Column(0).ValueStr(i)+b.Column(1).ValueStr(i))
				}
			}
			if diff := cmp.Diff([]string{"1b", "2a"}, got, laketest.Sorted); diff != "" {
				t.Errorf("rows of the pinned snapshot (-want +got):\n%s", diff)
			}
			laketest.ExpectRows(t, tbl, laketest.Version{Key: 3, Cursor: 1, V: "c"}.JSON(), laketest.Version{Key: 4, Cursor: 1, V: "d"}.JSON())

			update(table.NewRemoveSnapshotRefUpdate(ref.name))
			if did := laketest.Maintain(t, tbl, all); did.ExpiredSnapshots != 1 || did.RemovedFiles == 0 {
				t.Errorf("without the name: did %+v", did)
			}
			laketest.ExpectFiles(t, tbl, false)
		})
	}
}

func TestOnlyOldFilesThatNothingNamesAreOrphans(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	tbl := laketest.OpenTable(t, cat, laketest.Plain("s"), lake.Options{})
	row := appendOne(t, tbl, 1)
	staged := laketest.Stage(t, tbl, 0, map[string]any{"id": 2, "v": "x"})
	root := laketest.PathOf(t, laketest.Load(t, tbl).Location())
	plant := func(name string, age time.Duration) string {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("{"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	gone := []string{
		plant("data/"+ownName("", ".parquet"), 25*time.Hour), plant("data/deep/er/"+ownName("", ".puffin"), 25*time.Hour),
		plant("metadata/"+ownName("", "-m0.avro"), 25*time.Hour), plant("metadata/"+ownName("snap-7-0-", ".avro"), 25*time.Hour),
		plant("data/"+ownName("", storage.RowsSuffix), 25*time.Hour), plant("data/"+ownName("", storage.KeysSuffix), 25*time.Hour),
	}
	stays := []string{
		plant("data/"+ownName("", ".parquet"), 23*time.Hour), plant("README.txt", 99*time.Hour), plant("metadata/version-hint.text", 99*time.Hour),
		plant("data/export.parquet", 99*time.Hour), plant("customers.parquet", 99*time.Hour), plant("data/01890000-0000-7000-8000-000000000000.parquet", 99*time.Hour),
		plant("exports/"+ownName("", ".parquet"), 99*time.Hour), plant("metadata/00009-cut-off.metadata.json", 99*time.Hour),
	}
	looked := func(at string) {
		update := table.NewSetPropertiesUpdate(iceberg.Properties{lake.OrphansKey: at})
		if _, _, err := tbl.Catalog().CommitTable(t.Context(), tbl.Opened().Identifier(), nil, []table.Update{update}); err != nil {
			t.Fatal(err)
		}
	}
	looked(time.Now().Add(-25 * time.Hour).UTC().Format(time.RFC3339))
	// What the table names may be as old as it likes.
	loaded := laketest.Load(t, tbl)
	for _, uri := range append(laketest.Named(t, loaded), loaded.MetadataLocation()) {
		if err := os.Chtimes(laketest.PathOf(t, uri), time.Time{}, time.Now().Add(-99*time.Hour)); err != nil {
			t.Fatal(err)
		}
		stays = append(stays, laketest.PathOf(t, uri))
	}
	if did := laketest.Maintain(t, tbl, upkeep.Options{ExpireAfter: time.Hour, KeepSnapshots: 9}); did.RemovedOrphans != len(gone) || did.Left != nil {
		t.Errorf("did %+v", did)
	}
	for _, path := range gone {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, path := range stays {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	laketest.Commit(t, tbl, "", staged)
	laketest.ExpectRows(t, tbl, row, `{"id":2,"v":"x"}`)

	// After a write it is looked for once a day; on demand, always.
	again := plant("data/"+ownName("", ".parquet"), 25*time.Hour)
	if did := laketest.Maintain(t, tbl, upkeep.Options{ExpireAfter: time.Hour, KeepSnapshots: 9}); did.RemovedOrphans != 0 {
		t.Errorf("did %+v", did)
	}
	if did := laketest.Maintain(t, tbl, laketest.Everything); did.RemovedOrphans != 1 {
		t.Errorf("%s: did %+v", again, did)
	}
}

// ownName is a name as this program gives to its files.
func ownName(before, ext string) string {
	if stem, ok := strings.CutSuffix(ext, ".avro"); ok {
		return before + uuid.NewString() + stem + filenames.Mark + ".avro"
	}
	return before + uuid.NewString() + filenames.Mark + ext
}

func TestOrphansAreLeftWhereTheLocationIsShared(t *testing.T) {
	for name, tc := range map[string]struct {
		share func(t *testing.T, cat lake.Catalog, tbl *lake.Table)
		why   string
	}{
		"another table within": {func(t *testing.T, cat lake.Catalog, tbl *lake.Table) {
			_, err := cat.CreateTable(t.Context(), table.Identifier{"ns", "within"}, laketest.Plain("s").Schema, catalog.WithLocation(laketest.Load(t, tbl).Location()+"/deeper"))
			if err != nil {
				t.Fatal(err)
			}
		}, "is the metadata of another table"},
		"another table's data": {func(t *testing.T, cat lake.Catalog, tbl *lake.Table) {
			_, err := cat.CreateTable(t.Context(), table.Identifier{"ns", "other"}, laketest.Plain("s").Schema,
				catalog.WithProperties(iceberg.Properties{table.WriteDataPathKey: laketest.Load(t, tbl).Location() + "/data"}))
			if err != nil {
				t.Fatal(err)
			}
		}, "table ns.other keeps files in"},
		"a table of another catalog": {func(t *testing.T, _ lake.Catalog, tbl *lake.Table) {
			other := laketest.OpenCatalog(t, t.TempDir())
			if err := other.CreateNamespace(t.Context(), table.Identifier{"ns"}, nil); err != nil {
				t.Fatal(err)
			}
			if _, err := other.CreateTable(t.Context(), table.Identifier{"ns", "s"}, laketest.Plain("s").Schema, catalog.WithLocation(laketest.Load(t, tbl).Location())); err != nil {
				t.Fatal(err)
			}
		}, "is the metadata of another table"},
		"the owner forbids it": {func(t *testing.T, cat lake.Catalog, tbl *lake.Table) {
			forbid := table.NewSetPropertiesUpdate(iceberg.Properties{table.GCEnabledKey: "false"})
			if _, _, err := cat.CommitTable(t.Context(), tbl.Opened().Identifier(), nil, []table.Update{forbid}); err != nil {
				t.Fatal(err)
			}
		}, "property gc.enabled forbids it"},
	} {
		t.Run(name, func(t *testing.T) {
			cat := laketest.OpenCatalog(t, t.TempDir())
			tbl := laketest.OpenTable(t, cat, laketest.Plain("s"), lake.Options{})
			row := appendOne(t, tbl, 1)
			tc.share(t, cat, tbl)
			orphan := filepath.Join(laketest.PathOf(t, laketest.Load(t, tbl).Location()), "data", ownName("", ".parquet"))
			if err := os.WriteFile(orphan, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(orphan, time.Time{}, time.Now().Add(-48*time.Hour)); err != nil {
				t.Fatal(err)
			}
			did := laketest.Maintain(t, tbl, laketest.Everything)
			if did.RemovedOrphans != 0 || !strings.Contains(strings.Join(did.Left, "\n"), tc.why) {
				t.Errorf("did %+v", did)
			}
			if _, err := os.Stat(orphan); err != nil {
				t.Error(err)
			}
			laketest.ExpectRows(t, tbl, row)
		})
	}
}

// Equality deletes know rows by their values, and files by their age: a merged
// file would bring rows back.
func TestFilesUnderEqualityDeletesAreNotCompacted(t *testing.T) {
	tbl, _ := laketest.TwoFiles(t, lake.Options{})
	laketest.AddEqualityDelete(t, tbl, 1)
	want := laketest.RowsOf(t, tbl)
	did := laketest.Maintain(t, tbl, laketest.Everything)
	if did.CompactedFiles != 0 || len(did.Left) != 1 || !strings.Contains(did.Left[0], "equality deletes") {
		t.Errorf("did %+v", did)
	}
	if diff := cmp.Diff(want, laketest.RowsOf(t, tbl)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// What other programs wrote into a table of ours is folded in as well.
func TestDeletesOfOtherProgramsAreFoldedIn(t *testing.T) {
	for format, deletes := range map[int]func(*testing.T, *lake.Table, []*snapshots.LiveFile) []iceberg.DataFile{2: laketest.SharedDeletes, 3: laketest.SharedVectors} {
		tbl, files := laketest.TwoFiles(t, lake.Options{FormatVersion: format})
		laketest.AddDeletes(t, tbl, deletes(t, tbl, files)...)
		for key := range int64(5) {
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, laketest.Version{Key: 10 + key, Cursor: 1, V: "old"}.Row()))
		}
		want := laketest.RowsOf(t, tbl)
		if did := laketest.Maintain(t, tbl, laketest.Everything); did.CompactedFiles != 7 || did.IntoFiles != 1 {
			t.Errorf("version %d: did %+v", format, did)
		}
		if diff := cmp.Diff(want, laketest.RowsOf(t, tbl)); diff != "" {
			t.Errorf("version %d: rows (-want +got):\n%s", format, diff)
		}
	}
}

// A column that came later does not make files of either kind be rewritten
// for ever.
func TestFilesOfDifferentColumnsAreNotMerged(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	narrow := laketest.OpenTable(t, cat, laketest.Plain("s"), lake.Options{})
	for id := range 3 {
		appendOne(t, narrow, id)
	}
	wide := laketest.OpenTable(t, cat, laketest.Plan("s", `"id":{"type":"integer"},"v":{"type":"string"},"w":{"type":"string"}`), lake.Options{})
	for id := range 6 {
		laketest.Commit(t, wide, "", laketest.Stage(t, wide, 0, map[string]any{"id": 10 + id, "w": "y"}))
	}
	want := laketest.RowsOf(t, wide)
	if did := laketest.Maintain(t, wide, laketest.Everything); did.CompactedFiles != 6 || did.IntoFiles != 1 {
		t.Errorf("did %+v", did)
	}
	if did := laketest.Maintain(t, wide, laketest.Everything); did.CompactedFiles != 0 {
		t.Errorf("did again %+v", did)
	}
	if diff := cmp.Diff(want, laketest.RowsOf(t, wide)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestAttachRefusesTablesOfOtherPrograms(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	tbl := laketest.OpenTable(t, cat, laketest.Plain("s"), lake.Options{TargetFileBytes: 1 << 20})
	if _, err := lake.Attach(t.Context(), cat, tbl.Opened().Identifier(), lake.Options{}); !errors.Is(err, lake.ErrNotOurs) {
		t.Errorf("a table nothing was committed to: %v", err)
	}
	row := appendOne(t, tbl, 1)
	attached, err := lake.Attach(t.Context(), cat, tbl.Opened().Identifier(), lake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if attached.Storage().TargetFileBytes != 1<<20 || attached.String() != "ns.s" {
		t.Errorf("%s, files of %d bytes", attached, attached.Storage().TargetFileBytes)
	}
	laketest.Maintain(t, attached, laketest.Everything)
	laketest.ExpectRows(t, tbl, row)
}

// Upkeep after an attempt that was not complete is that of the refresh's own files.
func TestUpkeepCompactsAnUnfinishedRefresh(t *testing.T) {
	tbl := laketest.OpenTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{})
	laketest.Commit(t, tbl, `{"n":1}`, laketest.Stage(t, tbl, 0, map[string]any{"id": 0, "v": "old", "_airbyte_generation_id": 12}))
	tbl = laketest.OpenTable(t, tbl.Catalog(), laketest.Plain("s"), lake.Options{})
	if _, err := tbl.Begin(t.Context(), &lake.Generation{ID: 13, Minimum: 13}); err != nil {
		t.Fatal(err)
	}
	var want []string
	for id := range upkeep.TierFiles {
		laketest.Commit(t, tbl, `{"n":2}`, laketest.Stage(t, tbl, 0, map[string]any{"id": id, "v": "new", "_airbyte_generation_id": 13}))
		want = append(want, fmt.Sprintf(`{"id":%d,"v":"new"}`, id))
	}
	if did := laketest.Maintain(t, tbl, upkeep.Options{ExpireAfter: time.Hour, KeepSnapshots: 1}); did.CompactedFiles != upkeep.TierFiles || did.IntoFiles != 1 {
		t.Errorf("upkeep did %+v", did)
	}
	laketest.ExpectRows(t, tbl, `{"id":0,"v":"old"}`)
	if _, err := tbl.Finish(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	laketest.ExpectRows(t, tbl, want...)
}

// A merged file of many columns must not have too many column chunks.
func TestMergedFilesOfManyColumnsAreSmaller(t *testing.T) {
	var properties []string
	for i := range parquetfile.MaxChunks / 4 {
		properties = append(properties, fmt.Sprintf(`"c%d":{"type":"integer"}`, i))
	}
	cat := laketest.OpenCatalog(t, t.TempDir())
	wide := laketest.OpenTable(t, cat, laketest.Plan("wide", strings.Join(properties, ",")), lake.Options{})
	if got := upkeep.MergedBytes(wide); got > 4*snapshots.RewriteBatchBytes {
		t.Errorf("files are merged up to %d bytes", got)
	}
	usual := laketest.OpenTable(t, cat, laketest.Keyed("usual"), lake.Options{})
	if got := upkeep.MergedBytes(usual); got != usual.Storage().TargetFileBytes {
		t.Errorf("files of few columns are merged up to %d bytes", got)
	}
}
