package maintenance_test

import (
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/maintenance"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
)

var syncs = flag.Int("syncs", testsize.Of(12, 300), "how many syncs TestATableStaysSmallForYears makes of each table")

// sizes are what a table is made of.
type sizes struct {
	dataFiles, deleteFiles, manifests, snapshots int
	metadataBytes                                int64 // of the file every commit writes and every reader reads
	filesOnDisk                                  int
}

// limits are what a table that is written for ever with little at a time may be
// made of.
var limits = sizes{
	dataFiles: 5 * maintenance.TierFiles, deleteFiles: 5 * maintenance.TierFiles, manifests: 2 * (laketest.SmallManifests + 1),
	snapshots: maintenance.MaxSnapshots + maintenance.ExpireBatch + 1, metadataBytes: 160 << 10, filesOnDisk: 1200,
}

func (s sizes) within(limits sizes) bool {
	return s.dataFiles <= limits.dataFiles && s.deleteFiles <= limits.deleteFiles && s.manifests <= limits.manifests &&
		s.snapshots <= limits.snapshots && s.metadataBytes <= limits.metadataBytes && s.filesOnDisk <= limits.filesOnDisk
}

func sizesOf(t *testing.T, tbl *lake.Table) sizes {
	t.Helper()
	loaded := laketest.Load(t, tbl)
	set, err := tbl.Storage().List(loaded.SnapshotByName(tbl.Branch()), snapshots.Cache{})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(laketest.PathOf(t, loaded.MetadataLocation()))
	if err != nil {
		t.Fatal(err)
	}
	s := sizes{
		dataFiles: len(set.Files), deleteFiles: len(set.Deletes), manifests: len(set.Manifests),
		snapshots: len(loaded.Metadata().Snapshots()), metadataBytes: info.Size(),
	}
	err = filepath.WalkDir(laketest.PathOf(t, loaded.Location()), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			s.filesOnDisk++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A table that is synced every five minutes is made of no more files, manifests,
// snapshots and metadata after years than after a day. How long it takes is
// logged, not asserted.
func TestATableStaysSmallForYears(t *testing.T) {
	for _, mode := range []lake.Upsert{"append", lake.Auto, lake.MergeOnRead} {
		t.Run(string(mode), func(t *testing.T) {
			if *syncs <= 1000 { // else the times are what counts
				t.Parallel()
			}
			dir := t.TempDir()
			plan, opts := laketest.Keyed("s"), lake.Options{Upsert: mode}
			if mode == "append" {
				plan.Dedup, opts.Upsert = false, lake.Auto
			}
			rng := rand.New(rand.NewPCG(3, 3))
			want, appended := laketest.Model{}, 0
			var took []time.Duration
			largest := sizes{}
			for n := range int64(*syncs) {
				// New records, and late changes of a few recent ones and of any.
				var versions []laketest.Version
				for i := range int64(10) {
					key := n*8 + i
					switch i {
					case 8:
						key = max(0, n*8-rng.Int64N(100))
					case 9:
						key = rng.Int64N(n*8 + 1)
					}
					versions = append(versions, laketest.Version{Key: key, Cursor: n, Order: uint64(i), V: fmt.Sprint(n, "-", i)})
				}
				start := time.Now()
				tbl, end := syncOnce(t, dir, plan.Dedup, opts, n, versions)
				took = append(took, time.Since(start))
				want.Commit(versions)
				appended += len(versions)
				if n%20 == 0 || n > int64(*syncs)-20 {
					now := sizesOf(t, tbl)
					if !now.within(limits) {
						t.Fatalf("after %d syncs the table is made of %+v, more than %+v", n+1, now, limits)
					}
					largest = largest.max(now)
				}
				end()
			}
			tbl := laketest.OpenTable(t, laketest.OpenCatalog(t, dir), plan, opts)
			if plan.Dedup {
				laketest.ExpectRows(t, tbl, want.Rows()...)
			} else if info, err := inspect.Describe(t.Context(), laketest.Load(t, tbl)); err != nil || info.Rows != int64(appended) {
				t.Errorf("%d rows of %d, %v", info.Rows, appended, err)
			}
			laketest.CheckFiles(t, laketest.Load(t, tbl))
			for _, at := range []int{10, 100, 1000, 10_000, *syncs} {
				if at <= len(took) {
					around := slices.Sorted(slices.Values(took[max(0, at-100):at]))
					if at == 10 {
						around = slices.Sorted(slices.Values(took[4:min(16, len(took))]))
					}
					t.Logf("sync %d: median %s, mean %s", at, around[len(around)/2].Round(100*time.Microsecond), mean(around).Round(100*time.Microsecond))
				}
			}
			t.Logf("at most %+v", largest)
		})
	}
}

func (s sizes) max(o sizes) sizes {
	return sizes{
		max(s.dataFiles, o.dataFiles), max(s.deleteFiles, o.deleteFiles), max(s.manifests, o.manifests), max(s.snapshots, o.snapshots),
		max(s.metadataBytes, o.metadataBytes), max(s.filesOnDisk, o.filesOnDisk),
	}
}

func mean(all []time.Duration) time.Duration {
	var sum time.Duration
	for _, d := range all {
		sum += d
	}
	return sum / time.Duration(len(all))
}

// syncOnce is one sync, from opening the catalog to the end of maintenance.
func syncOnce(t *testing.T, dir string, dedup bool, opts lake.Options, n int64, versions []laketest.Version) (*lake.Table, func()) {
	t.Helper()
	files, err := storage.Open(t.Context(), storage.Default(), "file://"+dir, "")
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalogs.Open(t.Context(), catalogs.Default(), files)
	if err != nil {
		t.Fatal(err)
	}
	plan := laketest.Keyed("s")
	plan.Dedup = dedup
	opts.ReaderTime = time.Nanosecond
	tbl := laketest.OpenTable(t, cat, plan, opts)
	var rows []map[string]any
	for _, v := range versions {
		rows = append(rows, v.Row())
	}
	laketest.Commit(t, tbl, fmt.Sprintf(`{"n":%d}`, n), laketest.Stage(t, tbl, 0, rows...))
	did := laketest.Maintain(t, tbl, maintenance.Options{ExpireAfter: 7 * 24 * time.Hour, KeepSnapshots: 10})
	if len(did.NotDone) > 0 {
		t.Errorf("left %q", did.NotDone)
	}
	return tbl, func() {
		if err := cat.Close(); err != nil {
			t.Error(err)
		}
	}
}
