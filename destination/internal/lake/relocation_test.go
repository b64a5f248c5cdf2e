package lake

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

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/relocation"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
)

// copyLake copies a directory as cp -a does, with a catalog of SQLite that is in use.
func copyLake(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.Chtimes(strings.Replace(path, from, to, 1), info.ModTime(), info.ModTime())
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// relocate has a table name the files of a copy, and opens it there.
func relocate(t *testing.T, from, to string, files iceio.WriteFileIO, p *columnar.Plan, o Options) (*Table, *catalogs.Catalog, error) {
	t.Helper()
	cat := openCatalog(t, to)
	id := p.Identifier()
	before, err := cat.MetadataLocation(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	move := relocation.Move{From: from, To: to}
	loaded, err := move.Load(t.Context(), files, id, before)
	if err != nil {
		return nil, cat, err
	}
	after, err := move.Table(t.Context(), files, loaded)
	if err != nil {
		return nil, cat, err
	}
	if err := cat.SetMetadataLocation(t.Context(), id, before, after); err != nil {
		return nil, cat, err
	}
	o.Warehouse = "file://" + to
	return openTable(t, cat, p, o), cat, nil
}

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
		all[name] = rowsAt(t, tbl, table.WithSnapshotID(s.SnapshotID))
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
		all[name] = inOrder(all[name])
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
// upkeep removes what was copied in vain.
func TestARelocatedTableHasEverySnapshot(t *testing.T) {
	for _, tc := range []struct {
		name        string
		o           Options
		partitionBy []string
	}{
		{"format 1", Options{Upsert: CopyOnWrite, FormatVersion: 1}, nil},
		{"position deletes", Options{Upsert: MergeOnRead}, nil},
		{"deletion vectors", Options{Upsert: MergeOnRead, FormatVersion: 3}, nil},
		{"partitions", Options{Upsert: MergeOnRead}, []string{"bucket(3, id)", "month(updated_at)", "truncate(2, v)"}},
		{"partitions of values", Options{Upsert: MergeOnRead}, []string{"updated_at", "v", "id"}},
		{"gzip", Options{Upsert: MergeOnRead, Settings: tabledef.Settings{Properties: map[string]string{table.MetadataCompressionKey: "gzip"}}}, nil},
	} {
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
			cat := openCatalog(t, from)
			tbl := openTable(t, cat, keyed("s"), tc.o)
			want, order := model{}, uint64(0)
			write := func(tbl *Table) {
				var versions []version
				var all []map[string]any
				for range 8 {
					v := version{key: rng.Int64N(20), cursor: int64(order) * 100_000, order: order, v: fmt.Sprint("v", rng.IntN(3)), deleted: rng.IntN(8) == 0}
					order++
					versions, all = append(versions, v), append(all, v.row())
				}
				commit(t, tbl, fmt.Sprintf(`{"n":%d}`, order), stage(t, tbl, versions[0].order, all...))
				want.commit(versions)
			}
			for range testsize.Of(3, 6) {
				write(tbl)
			}
			for name, kind := range map[string]table.RefType{"kept": table.TagRef, "other": table.BranchRef} {
				if _, _, err := cat.CommitTable(t.Context(), tbl.id, nil, []table.Update{table.NewSetSnapshotRefUpdate(name, load(t, tbl).CurrentSnapshot().SnapshotID, kind, 0, 0, 0)}); err != nil {
					t.Fatal(err)
				}
			}
			for range testsize.Of(2, 3) {
				write(tbl)
			}
			before := everySnapshot(t, load(t, tbl), from)
			state := string(lastState(t, load(t, tbl)))

			to := copyLake(t, from)
			moved, _, err := relocate(t, from, to, iceio.LocalFS{}, keyed("s"), tc.o)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(filepath.Join(from, "ns.db")); err != nil { // as when the lake is moved
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, everySnapshot(t, load(t, moved), to)); diff != "" {
				t.Fatalf("snapshots (-want +got):\n%s", diff)
			}
			for _, uri := range named(t, load(t, moved)) {
				if !filenames.Within(filenames.Plain(uri), to) {
					t.Errorf("it names %s", uri)
				}
			}
			if got := string(lastState(t, load(t, moved))); got != state {
				t.Errorf("state %s, want %s", got, state)
			}
			expectRows(t, moved, want.rows()...)

			// It goes on, and upkeep finds all that was copied in vain.
			write(moved)
			expectRows(t, moved, want.rows()...)
			ageFiles(t, moved)
			did := maintain(t, impatient(moved), everything)
			if len(did.Left) > 0 || did.RemovedOrphans == 0 {
				t.Errorf("upkeep: %+v", did)
			}
			expectRows(t, moved, want.rows()...)

			// And again, to where it has been.
			if err := os.RemoveAll(from); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(from, os.DirFS(to)); err != nil {
				t.Fatal(err)
			}
			back, _, err := relocate(t, to, from, iceio.LocalFS{}, keyed("s"), tc.o)
			if err != nil {
				t.Fatal(err)
			}
			write(back)
			expectRows(t, back, want.rows()...)
			ageFiles(t, back)
			if did := maintain(t, impatient(back), everything); len(did.Left) > 0 {
				t.Errorf("upkeep: %+v", did)
			}
			expectRows(t, back, want.rows()...)
		})
	}
}

// Wherever a relocation is killed, the table stays where it was, and it can be run again. The old place is as it was.
func TestARelocationThatIsKilledCanBeRunAgain(t *testing.T) {
	from := t.TempDir()
	o := Options{Upsert: MergeOnRead}
	tbl := openTable(t, openCatalog(t, from), keyed("s"), o)
	want := model{}
	for n := range int64(5) {
		versions := []version{{key: n, cursor: n, v: "x"}, {key: max(0, n-1), cursor: n, v: "again", order: 1}}
		commit(t, tbl, "", stage(t, tbl, 0, versions[0].row(), versions[1].row()))
		want.commit(versions)
	}
	before := filesBelow(t, from)
	to := copyLake(t, from)
	deaths := 0
	for left := 0; ; left++ {
		moved, cat, err := relocate(t, from, to, mortalFiles{life: &life{left}}, keyed("s"), o)
		if err == nil {
			expectRows(t, moved, want.rows()...)
			break
		}
		deaths++
		if !errors.Is(err, errKilled) {
			t.Fatalf("killed at %d: error %v", left, err)
		}
		if at, err := cat.MetadataLocation(t.Context(), tbl.id); err != nil || !strings.Contains(at, from) {
			t.Fatalf("killed at %d: the catalog names %s (error %v)", left, at, err)
		}
	}
	if deaths < 10 {
		t.Errorf("killed %d times", deaths)
	}
	if diff := cmp.Diff(before, filesBelow(t, from)); diff != "" {
		t.Errorf("the old place (-want +got):\n%s", diff)
	}
	expectRows(t, tbl, want.rows()...)
}

// filesBelow is what files there are, with their sizes, but for the catalog's.
func filesBelow(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "catalog.db") {
			return err
		}
		info, err := d.Info()
		all = append(all, fmt.Sprint(path, " ", info.Size()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
