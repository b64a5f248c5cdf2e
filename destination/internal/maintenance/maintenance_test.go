package maintenance_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/maintenance"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
)

// appendOne commits one row of a plain table.
func appendOne(t testing.TB, tbl *lake.Table, id int) string {
	t.Helper()
	laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, map[string]any{"id": id, "v": "x"}))
	return fmt.Sprintf(`{"id":%d,"v":"x"}`, id)
}

func TestMaintenanceLeavesOneFileOneSnapshotAndNoOrphan(t *testing.T) {
	tbl := laketest.OpenTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{ReaderTime: time.Nanosecond})
	var want []string
	for id := range 12 {
		want = append(want, appendOne(t, tbl, id))
	}
	did := laketest.Maintain(t, tbl, laketest.Everything)
	if removed := len(did.Removed); removed != did.RemovedFiles {
		t.Errorf("%d files are listed as removed, %d were", removed, did.RemovedFiles)
	}
	if did.CompactedBytes < 12*500 || did.CompactedBytes > 12*5000 {
		t.Errorf("12 files of %d bytes were compacted", did.CompactedBytes)
	}
	did.Removed, did.CompactedBytes = nil, 0
	if diff := cmp.Diff(maintenance.Report{CompactedFiles: 12, IntoFiles: 1, ExpiredSnapshots: 12, RemovedFiles: 12 + 12 + 12, LookedForOrphans: true}, did); diff != "" {
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
	if diff := cmp.Diff(maintenance.Report{LookedForOrphans: true}, laketest.Maintain(t, tbl, laketest.Everything)); diff != "" || laketest.Load(t, tbl).MetadataLocation() != at {
		t.Errorf("did again (-want +got):\n%s", diff)
	}
}

// Against the model of upserts, with maintenance of every kind between, beside and
// in the way of commits, each with a catalog of its own.
func TestMaintenanceChangesNoRow(t *testing.T) {
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
			var total maintenance.Report
			var last []func()
			for n := range 2 {
				theirs := laketest.OpenTable(t, laketest.OpenCatalog(t, dir), plan, impatient)
				u := maintenance.Options{ExpireAfter: time.Hour, KeepSnapshots: 3 + n, Thorough: n == 0}
				if u.Thorough {
					u.ExpireAfter = 0
				}
				once := func() {
					did, err := maintenance.Maintain(t.Context(), theirs, u)
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
			rounds := testsize.Of(6, 20)
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
				t.Errorf("beside the commits maintenance did %+v", total)
			}
		})
	}
}

// readTwice compares a table's rows, and does so again when a file was gone.
func readTwice(t *testing.T, tbl *lake.Table, want []string) {
	t.Helper()
	for range 20 {
		got, err := func() (got []string, err error) {
			for row, err := range inspect.Rows(t.Context(), laketest.Load(t, tbl), 0) {
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

// Wherever maintenance is killed the table is right, and the next maintenance ends what
// it began, but for files too young to be orphans.
func TestMaintenanceThatIsKilledLeavesTheTableRight(t *testing.T) {
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
		_, err := maintenance.Maintain(t.Context(), mortal, laketest.Everything)
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

// A run that is told to end ends its maintenance, and says so.
func TestMaintenanceEndsWhenItIsCancelled(t *testing.T) {
	tbl := laketest.OpenTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{})
	row := appendOne(t, tbl, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := maintenance.Maintain(ctx, tbl, laketest.Everything); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	laketest.ExpectRows(t, tbl, row)
}

func TestMaintenanceEndsWithItsBudget(t *testing.T) {
	tbl := laketest.OpenTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{})
	var want []string
	for id := range 8 {
		want = append(want, appendOne(t, tbl, id))
	}
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	did, err := maintenance.Maintain(ctx, tbl, laketest.Everything)
	if err != nil || did.CompactedFiles != 0 || len(did.NotDone) != 1 || !strings.Contains(did.NotDone[0], "time limit was reached") {
		t.Errorf("%+v, %v", did, err)
	}
	laketest.ExpectRows(t, tbl, want...)
	laketest.ExpectFiles(t, tbl, false)
}

// A file of this program that another one adds again, to restore its rows, may be called
// otherwise by then: Spark writes file:/lake for file:///lake, and s3a:// for s3://.
func TestAFileThatIsNamedOtherwiseStays(t *testing.T) {
	tbl := laketest.OpenTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{ReaderTime: time.Nanosecond})
	laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, map[string]any{"id": 1, "v": "x"}))
	set, err := tbl.Storage().List(laketest.Load(t, tbl).CurrentSnapshot(), snapshots.Cache{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tbl.Replace(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	of := set.Files[0].Data
	again, err := iceberg.NewDataFileBuilder(tbl.Opened().Spec(), iceberg.EntryContentData, "file:"+laketest.PathOf(t, of.FilePath()), iceberg.ParquetFile, nil, nil, nil, of.Count(), of.FileSizeBytes())
	if err != nil {
		t.Fatal(err)
	}
	tx := laketest.Load(t, tbl).NewTransaction()
	if err := tx.AddDataFiles(t.Context(), []iceberg.DataFile{again.Build()}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if did := laketest.Maintain(t, tbl, laketest.Everything); did.ExpiredSnapshots == 0 {
		t.Errorf("did %+v", did)
	}
	laketest.ExpectRows(t, tbl, `{"id":1,"v":"x"}`)
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
