package maintenance_test

import (
	"database/sql"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/maintenance"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
)

var roundsOfMaintenance = flag.Int("surroundings", testsize.Of(2, 60), "how many tables TestMaintenanceInAnySurroundings keeps in shape")

// Whatever is around a table, maintenance removes nothing that is not this program's, nothing that another registration
// of the table, a tag or a reader of the last hour needs, and the table keeps its rows.
func TestMaintenanceInAnySurroundings(t *testing.T) {
	var removed atomic.Int64
	t.Cleanup(func() {
		if removed.Load() == 0 {
			t.Error("maintenance has removed nothing")
		}
		t.Logf("%d tables, %d files removed", *roundsOfMaintenance, removed.Load())
	})
	for seed := range uint64(*roundsOfMaintenance) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			removed.Add(int64(surround(t, rand.New(rand.NewPCG(seed, 11)))))
		})
	}
}

func surround(t *testing.T, random *rand.Rand) int {
	dir := t.TempDir()
	cat := laketest.OpenCatalog(t, dir)
	tbl := laketest.OpenTable(t, cat, laketest.Plain("s"), lake.Options{})
	root := laketest.PathOf(t, laketest.Load(t, tbl).Location())
	var want []string
	id := 0
	write := func(n int) {
		for range n {
			want = append(want, appendOne(t, tbl, id))
			id++
		}
	}
	write(2 + random.IntN(6))

	foreign := map[string]bool{}
	plant := func(name, text string) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		foreign[path] = true
	}
	names := []string{
		"customers.parquet", "data/export-2025.parquet", "exports/a.avro", "data/" + uuid.NewString() + ".parquet", "metadata/" + uuid.NewString() + "-m0.avro",
		"metadata/snap-1-0-" + uuid.NewString() + ".avro", "metadata/version-hint.text", "metadata/stats.puffin", "data/_SUCCESS", "exports/" + ownName("", ".parquet"),
		"data/" + ownName("", ".parquet") + ".bak", "data/my" + ownName("", ".parquet"),
	}
	for range random.IntN(len(names)) {
		plant(names[random.IntN(len(names))], "x")
	}
	blocked := false
	if random.IntN(4) == 0 {
		blocked = true
		text := []string{
			`{"format-version":4,"table-uuid":"` + laketest.Load(t, tbl).Metadata().TableUUID().String() + `"}`, `{"format-version":4,"id":"x"}`,
			`{"format-version":2,"table-uuid":"` + uuid.NewString() + `"}`, `[]`,
		}[random.IntN(4)]
		plant("metadata/00007-"+uuid.NewString()+".metadata.json", text)
	}
	if random.IntN(4) == 0 {
		plant("metadata/00008-cut-off.metadata.json", `{"format-version":2,"table-uu`)
	}

	// A tag, and another registration of the table, which goes a way of its own.
	tagged := int64(0)
	var taggedRows []string
	if random.IntN(2) == 0 {
		tagged, taggedRows = laketest.Load(t, tbl).CurrentSnapshot().SnapshotID, slices.Clone(want)
		if _, _, err := cat.CommitTable(t.Context(), tbl.Opened().Identifier(), nil, []table.Update{table.NewSetSnapshotRefUpdate("kept", tagged, table.TagRef, 0, 0, 0)}); err != nil {
			t.Fatal(err)
		}
	}
	var second *lake.Table
	var secondRows []string
	if random.IntN(3) == 0 {
		other, at := cat, dir
		if random.IntN(2) == 0 {
			at = t.TempDir()
			other = laketest.OpenCatalog(t, at)
		}
		second = register(t, other, at, laketest.Load(t, tbl).MetadataLocation())
		secondRows = append(slices.Clone(want), appendOne(t, second, 1000), appendOne(t, second, 1001))
		blocked = blocked || other == cat
	}
	write(1 + random.IntN(25))
	laketest.AgeFiles(t, tbl)
	plant("data/"+strings.Replace(ownName("", ".parquet"), filenames.Mark, filenames.Mark+"-else", 1), "x")
	orphan := filepath.Join(root, "data", ownName("", ".parquet"))
	if err := os.WriteFile(orphan, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * filenames.OrphanAge)
	if err := os.Chtimes(orphan, old, old); err != nil {
		t.Fatal(err)
	}

	// A reader has begun on what is current.
	reading, readingRows := laketest.Load(t, tbl), slices.Clone(want)
	write(random.IntN(30))
	u := maintenance.Options{ExpireAfter: time.Nanosecond, KeepSnapshots: 1, Thorough: random.IntN(2) == 0}
	maintained := tbl
	if random.IntN(2) == 0 { // else nobody reads: all was superseded more than an hour ago
		maintained = laketest.Impatient(t, tbl)
		reading = nil
	}
	did := laketest.Maintain(t, maintained, u)
	laketest.Maintain(t, maintained, u)

	for path := range foreign {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("not this program's: %v", err)
		}
	}
	if _, err := os.Stat(orphan); u.Thorough && !blocked && err == nil {
		t.Errorf("an orphan stays: %+v", did)
	} else if blocked && err != nil {
		t.Errorf("a file that may be another table's is gone: %+v", did)
	}
	laketest.ExpectRows(t, tbl, want...)
	if tagged != 0 {
		if diff := cmp.Diff(laketest.InOrder(taggedRows), laketest.RowsAt(t, laketest.Load(t, tbl), table.WithSnapshotID(tagged))); diff != "" {
			t.Errorf("the tag (-want +got):\n%s", diff)
		}
	}
	if second != nil {
		laketest.ExpectRows(t, second, secondRows...)
	}
	if reading != nil {
		again, err := table.NewFromLocation(t.Context(), reading.Identifier(), reading.MetadataLocation(), reading.FS, nil)
		if err != nil {
			t.Fatalf("the metadata that a reader began with: %v", err)
		}
		if diff := cmp.Diff(laketest.InOrder(readingRows), laketest.RowsAt(t, again)); diff != "" {
			t.Errorf("a reader of the last hour (-want +got):\n%s", diff)
		}
	}
	if random.IntN(3) == 0 {
		did.Removed = append(did.Removed, surroundCopy(t, random, dir, tbl, foreign, want, tagged, taggedRows)...)
	}
	return len(did.Removed)
}

// surroundCopy copies or moves the lake that tbl is in, relocates the table, and keeps it in shape there.
func surroundCopy(t *testing.T, random *rand.Rand, from string, tbl *lake.Table, foreign map[string]bool, want []string, tagged int64, taggedRows []string) []string {
	t.Helper()
	original := laketest.FilesBelow(t, from)
	to := laketest.CopyLake(t, from)
	isCopy := random.IntN(2) == 0
	if !isCopy {
		if err := os.RemoveAll(filepath.Join(from, "ns.db")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := lake.Open(t.Context(), laketest.OpenCatalog(t, to), laketest.Plain("s"), lake.Options{Warehouse: "file://" + to}); err == nil {
		t.Fatal("a lake that was not relocated is not refused")
	}
	moved, _, err := laketest.Relocate(t, from, to, iceio.LocalFS{}, laketest.Plain("s"), lake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for n := range random.IntN(5) {
		want = append(want, appendOne(t, moved, 2000+n))
	}
	maintained := moved
	if random.IntN(2) == 0 {
		laketest.AgeFiles(t, moved)
		maintained = laketest.Impatient(t, moved)
	}
	did := laketest.Maintain(t, maintained, maintenance.Options{ExpireAfter: time.Nanosecond, KeepSnapshots: 1, Thorough: random.IntN(2) == 0})
	for path := range foreign {
		if _, err := os.Stat(strings.Replace(path, from, to, 1)); err != nil {
			t.Errorf("not this program's: %v", err)
		}
	}
	laketest.ExpectRows(t, moved, want...)
	if tagged != 0 {
		if diff := cmp.Diff(laketest.InOrder(taggedRows), laketest.RowsAt(t, laketest.Load(t, moved), table.WithSnapshotID(tagged))); diff != "" {
			t.Errorf("the tag of the copy (-want +got):\n%s", diff)
		}
	}
	if isCopy {
		if diff := cmp.Diff(original, laketest.FilesBelow(t, from)); diff != "" {
			t.Errorf("the original (-want +got):\n%s", diff)
		}
	}
	return did.Removed
}

// register makes a table known under another name in the catalog of a directory, as other programs can.
func register(t *testing.T, cat lake.Catalog, dir, metadata string) *lake.Table {
	t.Helper()
	if err := cat.CreateNamespace(t.Context(), table.Identifier{"elsewhere"}, nil); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "catalog.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location) VALUES ('default', 'elsewhere', 's', ?)", metadata); err != nil {
		t.Fatal(err)
	}
	p := laketest.Plain("s")
	p.Namespace = "elsewhere"
	return laketest.OpenTable(t, cat, p, lake.Options{})
}
