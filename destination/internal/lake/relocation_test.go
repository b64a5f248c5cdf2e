package lake_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/iceberg-go"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
)

// everySnapshot is what a reader sees at each snapshot, branch and tag of a table, and what the manifests say of its files, at whatever place it is.
func everySnapshot(t *testing.T, tbl *table.Table, at string) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	files, err := tbl.FS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range tbl.Metadata().Snapshots() {
		name := fmt.Sprint("snapshot ", s.SnapshotID)
		all[name] = laketest.RowsAt(t, tbl, table.WithSnapshotID(s.SnapshotID))
		manifests, err := s.Manifests(files)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range manifests {
			all[name] = append(all[name], fmt.Sprint(m.SequenceNum(), m.MinSequenceNum(), m.SnapshotID(), m.ManifestContent(), m.PartitionSpecID(), m.AddedRows(), m.ExistingRows(), m.DeletedRows(), asJSON(t, m.Partitions())))
			for e, err := range m.Entries(files, false) {
				if err != nil {
					t.Fatal(err)
				}
				f := e.DataFile()
				bounds := fmt.Sprint(f.LowerBoundValues(), f.UpperBoundValues())
				path, size := f.FilePath(), f.FileSizeBytes()
				if f.ContentType() == iceberg.EntryContentPosDeletes {
					bounds, path, size = "", "", 0 // they are of paths
				}
				all[name] = append(all[name], fmt.Sprint(e.Status(), e.SnapshotID(), e.SequenceNum(), asJSON(t, e.FileSequenceNum()), f.ContentType(), f.Partition(), f.Count(), size,
					f.ValueCounts(), f.NullValueCounts(), asJSON(t, f.SortOrderID()), asJSON(t, f.ContentOffset()), strings.Replace(path, at, "", 1), bounds))
			}
		}
		all[name] = laketest.InOrder(all[name])
	}
	for name, ref := range tbl.Metadata().Refs() {
		all["ref "+name] = []string{fmt.Sprint(ref.SnapshotID, ref.SnapshotRefType)}
	}
	return all
}

func asJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A lake that was copied, or moved, has at its new place every snapshot, branch and tag, whatever its tables are like; nothing there names the old place, and
// maintenance removes what was copied in vain.
func TestARelocatedTableHasEverySnapshot(t *testing.T) {
	for _, tc := range []struct {
		name        string
		o           lake.Options
		partitionBy []string
	}{
		{"format 1", lake.Options{Upsert: lake.CopyOnWrite, FormatVersion: 1}, nil},
		{"deletion vectors", lake.Options{Upsert: lake.MergeOnRead, FormatVersion: 3}, nil},
		{"partitions", lake.Options{Upsert: lake.MergeOnRead}, []string{"bucket(3, id)", "month(updated_at)", "truncate(2, v)"}},
		{"gzip", lake.Options{Upsert: lake.MergeOnRead, Settings: tabledef.Settings{Properties: map[string]string{table.MetadataCompressionKey: "gzip"}}}, nil},
		{"position deletes", lake.Options{Upsert: lake.MergeOnRead}, nil},
		{"partitions of values", lake.Options{Upsert: lake.MergeOnRead}, []string{"updated_at", "v", "id"}},
	}[:testsize.Of(4, 6)] {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if tc.partitionBy != nil {
				tc.o.PartitionBy = by(t, tc.partitionBy...)
			}
			rng := rand.New(rand.NewPCG(3, 3))
			from := filepath.Join(t.TempDir(), "lake")
			if err := os.Mkdir(from, 0o755); err != nil {
				t.Fatal(err)
			}
			cat := laketest.OpenCatalog(t, from)
			tbl := openTable(t, cat, laketest.Keyed("s"), tc.o)
			want, order := laketest.Model{}, uint64(0)
			write := func(tbl *lake.Table) {
				var versions []laketest.Version
				var all []map[string]any
				for range 8 {
					v := laketest.Version{Key: rng.Int64N(20), Cursor: int64(order) * 100_000, Order: order, V: fmt.Sprint("v", rng.IntN(3)), Deleted: rng.IntN(8) == 0}
					order++
					versions, all = append(versions, v), append(all, v.Row())
				}
				laketest.Commit(t, tbl, fmt.Sprintf(`{"n":%d}`, order), laketest.Stage(t, tbl, versions[0].Order, all...))
				want.Commit(versions)
			}
			for range testsize.Of(2, 6) {
				write(tbl)
			}
			for name, kind := range map[string]table.RefType{"kept": table.TagRef, "other": table.BranchRef} {
				if _, _, err := cat.CommitTable(t.Context(), tbl.Opened().Identifier(), nil, []table.Update{table.NewSetSnapshotRefUpdate(name, laketest.Load(t, tbl).CurrentSnapshot().SnapshotID, kind, 0, 0, 0)}); err != nil {
					t.Fatal(err)
				}
			}
			for range testsize.Of(1, 3) {
				write(tbl)
			}
			before := everySnapshot(t, laketest.Load(t, tbl), from)
			state := string(laketest.LastState(t, laketest.Load(t, tbl)))

			to := laketest.CopyLake(t, from)
			moved, _, err := laketest.Relocate(t, from, to, iceio.LocalFS{}, laketest.Keyed("s"), tc.o)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(filepath.Join(from, "ns.db")); err != nil { // as when the lake is moved
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, everySnapshot(t, laketest.Load(t, moved), to)); diff != "" {
				t.Fatalf("snapshots (-want +got):\n%s", diff)
			}
			for _, uri := range laketest.Named(t, laketest.Load(t, moved)) {
				if !filenames.Within(filenames.Plain(uri), to) {
					t.Errorf("it names %s", uri)
				}
			}
			if got := string(laketest.LastState(t, laketest.Load(t, moved))); got != state {
				t.Errorf("state %s, want %s", got, state)
			}
			laketest.ExpectRows(t, moved, want.Rows()...)

			// It goes on, and maintenance finds all that was copied in vain.
			write(moved)
			laketest.ExpectRows(t, moved, want.Rows()...)
			laketest.AgeFiles(t, moved)
			did := laketest.Maintain(t, laketest.Impatient(t, moved), laketest.Everything)
			if len(did.NotDone) > 0 || did.RemovedOrphans == 0 {
				t.Errorf("maintenance: %+v", did)
			}
			laketest.ExpectRows(t, moved, want.Rows()...)

			// And again, to where it has been.
			if err := os.RemoveAll(from); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(from, os.DirFS(to)); err != nil {
				t.Fatal(err)
			}
			back, _, err := laketest.Relocate(t, to, from, iceio.LocalFS{}, laketest.Keyed("s"), tc.o)
			if err != nil {
				t.Fatal(err)
			}
			write(back)
			laketest.ExpectRows(t, back, want.Rows()...)
			laketest.AgeFiles(t, back)
			if did := laketest.Maintain(t, laketest.Impatient(t, back), laketest.Everything); len(did.NotDone) > 0 {
				t.Errorf("maintenance: %+v", did)
			}
			laketest.ExpectRows(t, back, want.Rows()...)
		})
	}
}

// Wherever a relocation is killed, the table stays where it was, and it can be run again. The old place is as it was.
func TestARelocationThatIsKilledCanBeRunAgain(t *testing.T) {
	from := t.TempDir()
	o := lake.Options{Upsert: lake.MergeOnRead}
	tbl := openTable(t, laketest.OpenCatalog(t, from), laketest.Keyed("s"), o)
	want := laketest.Model{}
	for n := range int64(5) {
		versions := []laketest.Version{{Key: n, Cursor: n, V: "x"}, {Key: max(0, n-1), Cursor: n, V: "again", Order: 1}}
		laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, versions[0].Row(), versions[1].Row()))
		want.Commit(versions)
	}
	before := laketest.FilesBelow(t, from)
	to := laketest.CopyLake(t, from)
	deaths := 0
	for left := 0; ; left += testsize.Of(3, 1) {
		moved, cat, err := laketest.Relocate(t, from, to, laketest.MortalFiles{Life: &laketest.Life{Left: left}}, laketest.Keyed("s"), o)
		if err == nil {
			laketest.ExpectRows(t, moved, want.Rows()...)
			break
		}
		deaths++
		if !errors.Is(err, laketest.ErrKilled) {
			t.Fatalf("killed at %d: error %v", left, err)
		}
		if at, err := cat.MetadataLocation(t.Context(), tbl.Opened().Identifier()); err != nil || !strings.Contains(at, from) {
			t.Fatalf("killed at %d: the catalog names %s (error %v)", left, at, err)
		}
	}
	if deaths < 10 {
		t.Errorf("killed %d times", deaths)
	}
	if diff := cmp.Diff(before, laketest.FilesBelow(t, from)); diff != "" {
		t.Errorf("the old place (-want +got):\n%s", diff)
	}
	laketest.ExpectRows(t, tbl, want.Rows()...)
}
