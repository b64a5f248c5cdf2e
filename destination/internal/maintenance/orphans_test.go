package maintenance_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"
	"github.com/google/uuid"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/maintenance"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
)

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
	if did := laketest.Maintain(t, tbl, maintenance.Options{ExpireAfter: time.Hour, KeepSnapshots: 9}); did.RemovedOrphans != len(gone) || did.NotDone != nil {
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
	if did := laketest.Maintain(t, tbl, maintenance.Options{ExpireAfter: time.Hour, KeepSnapshots: 9}); did.RemovedOrphans != 0 {
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
	metadata := func(name, text string) func(*testing.T, lake.Catalog, *lake.Table) {
		return func(t *testing.T, _ lake.Catalog, tbl *lake.Table) {
			opened := laketest.Load(t, tbl)
			text := strings.ReplaceAll(text, "OURS", opened.Metadata().TableUUID().String())
			if err := os.WriteFile(filepath.Join(laketest.PathOf(t, opened.Location()), "metadata", name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
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
		"another table of an unknown format version": {metadata("v4.metadata.json", `{"format-version":4,"table-uuid":"0199b0a0-0000-7000-8000-000000000000"}`), "is the metadata of another table"},
		"this table of an unknown format version":    {metadata("v4.metadata.json", `{"format-version":4,"table-uuid":"OURS"}`), "is metadata of this table that cannot be read"},
		"metadata that names no table":               {metadata("v4.metadata.json", `{"format-version":4}`), "does not name its table"},
		"metadata that is no object":                 {metadata("v4.metadata.json", `[4]`), "looks like the metadata of a table and cannot be read"},
		"metadata that cannot be decompressed":       {metadata("v4.gz.metadata.json", "\x1f\x8bno more"), "looks like the metadata of a table and cannot be read"},
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
			if did.RemovedOrphans != 0 || !strings.Contains(strings.Join(did.NotDone, "\n"), tc.why) {
				t.Errorf("did %+v", did)
			}
			if _, err := os.Stat(orphan); err != nil {
				t.Error(err)
			}
			laketest.ExpectRows(t, tbl, row)
		})
	}
}
