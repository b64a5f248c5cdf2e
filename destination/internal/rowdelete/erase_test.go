package rowdelete_test

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/maintenance"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rowdelete"
)

const secret = "annasecret"

// withHistory is a table in which the secret is, and was: in rows that readers see, in one that a position delete hides, in a
// file that was rewritten, on a branch, and behind a tag.
func withHistory(t *testing.T, dir string) *lake.Table {
	t.Helper()
	cat := laketest.OpenCatalog(t, dir)
	tbl := laketest.OpenTable(t, cat, laketest.Keyed("s"), lake.Options{Upsert: lake.MergeOnRead})
	laketest.Commit(t, tbl, `{"n":1}`, laketest.Stage(t, tbl, 0, row(1, 1, secret).Row(), row(2, 1, "b").Row(), row(3, 1, secret).Row()))
	first := laketest.Load(t, tbl).CurrentSnapshot().SnapshotID
	laketest.Commit(t, tbl, `{"n":2}`, laketest.Stage(t, tbl, 0, row(1, 2, "a").Row()))
	other := laketest.OpenTable(t, cat, laketest.Keyed("s"), lake.Options{Upsert: lake.CopyOnWrite})
	laketest.Commit(t, other, `{"n":3}`, laketest.Stage(t, other, 0, row(4, 1, secret).Row(), row(5, 1, "e").Row()))
	laketest.Commit(t, other, `{"n":4}`, laketest.Stage(t, other, 0, row(4, 2, "d").Row()))
	updates := []table.Update{
		table.NewSetSnapshotRefUpdate("audit", first, table.BranchRef, 0, 0, 0),
		table.NewSetSnapshotRefUpdate("release", first, table.TagRef, 0, 0, 0),
	}
	if _, _, err := cat.CommitTable(t.Context(), tbl.Opened().Identifier(), nil, updates); err != nil {
		t.Fatal(err)
	}
	return tbl
}

func erase(t *testing.T, tbl *lake.Table) rowdelete.Deletion {
	t.Helper()
	d := deletion(t, tbl.Catalog(), tbl, "v = "+secret, lake.MergeOnRead)
	d.Erase = true
	for _, branch := range d.Branches(d.Table.Opened()) {
		if _, err := d.Delete(t.Context(), branch); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func TestNothingOfAnErasedRowIsLeft(t *testing.T) {
	dir := t.TempDir()
	tbl := withHistory(t, dir)
	want := []string{row(1, 2, "a").JSON(), row(2, 1, "b").JSON(), row(4, 2, "d").JSON(), row(5, 1, "e").JSON()}
	d := erase(t, tbl)
	laketest.ExpectRows(t, tbl, want...)
	did, err := maintenance.Purge(t.Context(), d.Table, "pinned")
	if err != nil || len(did.NotDone) > 0 {
		t.Fatalf("%+v, %v", did, err)
	}
	laketest.ExpectRows(t, tbl, want...)
	loaded := laketest.Load(t, tbl)
	if got := string(laketest.LastState(t, loaded)); got != `{"n":4}` {
		t.Errorf("state %s", got)
	}
	refs := []string{}
	for name := range loaded.Metadata().Refs() {
		refs = append(refs, name)
	}
	if slices.Sort(refs); !slices.Equal(refs, []string{"audit", table.MainBranch}) || len(loaded.Metadata().Snapshots()) != 2 {
		t.Errorf("refs %q, %d snapshots", refs, len(loaded.Metadata().Snapshots()))
	}
	for _, branch := range refs {
		if left, err := d.Count(t.Context(), loaded, branch); err != nil || left.Files > 0 {
			t.Errorf("files of branch %s hold the rows: %+v, %v", branch, left, err)
		}
		manifests, err := loaded.SnapshotByName(branch).Manifests(tbl.Storage().Files)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range manifests {
			for entry, err := range m.Entries(tbl.Storage().Files, false) {
				if err != nil || entry.Status() == iceberg.EntryStatusDELETED {
					t.Fatalf("%s names a removed file: %v", m.FilePath(), err)
				}
				for _, bounds := range []map[int][]byte{entry.DataFile().LowerBoundValues(), entry.DataFile().UpperBoundValues()} {
					for _, bound := range bounds {
						if bytes.Contains(bound, []byte(secret)) {
							t.Errorf("a bound in %s has the secret", m.FilePath())
						}
					}
				}
			}
		}
	}
	expectNoOtherFiles(t, tbl, dir)
	if again, err := maintenance.Purge(t.Context(), d.Table, "pinned"); err != nil || len(again.Removed) > 1 { // the metadata file before
		t.Errorf("again: %+v, %v", again, err)
	}
}

// expectNoOtherFiles checks that there are no files but those that the table needs, and that none holds the secret.
func expectNoOtherFiles(t *testing.T, tbl *lake.Table, dir string) {
	t.Helper()
	loaded := laketest.Load(t, tbl)
	known := map[string]bool{laketest.PathOf(t, loaded.MetadataLocation()): true}
	for _, uri := range laketest.Named(t, loaded) {
		known[laketest.PathOf(t, uri)] = true
	}
	for _, s := range loaded.Metadata().Snapshots() {
		known[laketest.PathOf(t, s.ManifestList)] = true
		manifests, err := s.Manifests(tbl.Storage().Files)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range manifests {
			known[laketest.PathOf(t, m.FilePath())] = true
		}
	}
	for _, file := range laketest.FilesBelow(t, laketest.PathOf(t, loaded.Location())) {
		path, _, _ := strings.Cut(file, " ") // its size follows
		if !known[path] && !strings.HasSuffix(path, "version-hint.text") {
			t.Errorf("%s is left", path)
		}
		content, err := os.ReadFile(path)
		if err != nil || bytes.Contains(content, []byte(secret)) {
			t.Errorf("%s holds the secret, or %v", path, err)
		}
	}
}

// While another program shows an older snapshot, nothing of it is removed.
func TestAPinnedSnapshotIsNotPurged(t *testing.T) {
	tbl := withHistory(t, t.TempDir())
	d := erase(t, tbl)
	did, err := maintenance.Purge(t.Context(), d.Table, "release")
	if err != nil || len(did.NotDone) != 1 || !strings.Contains(did.NotDone[0], "as the tag release says") || len(did.Removed) > 0 {
		t.Errorf("%+v, %v", did, err)
	}
	laketest.CheckFiles(t, laketest.Load(t, tbl))
}
