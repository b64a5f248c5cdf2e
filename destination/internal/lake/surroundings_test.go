package lake

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

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
)

var roundsOfUpkeep = flag.Int("surroundings", testsize.Of(4, 60), "how many tables TestUpkeepInAnySurroundings keeps in shape")

// Whatever is around a table, upkeep removes nothing that is not this program's, nothing that another registration
// of the table, a tag or a reader of the last hour needs, and the table keeps its rows.
func TestUpkeepInAnySurroundings(t *testing.T) {
	var removed atomic.Int64
	t.Cleanup(func() {
		if removed.Load() == 0 {
			t.Error("upkeep has removed nothing")
		}
		t.Logf("%d tables, %d files removed", *roundsOfUpkeep, removed.Load())
	})
	for seed := range uint64(*roundsOfUpkeep) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			removed.Add(int64(surround(t, rand.New(rand.NewPCG(seed, 11)))))
		})
	}
}

func surround(t *testing.T, random *rand.Rand) int {
	dir := t.TempDir()
	cat := openCatalog(t, dir)
	tbl := openTable(t, cat, plain("s"), Options{})
	root := pathOf(t, load(t, tbl).Location())
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
			`{"format-version":4,"table-uuid":"` + load(t, tbl).Metadata().TableUUID().String() + `"}`, `{"format-version":4,"id":"x"}`,
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
		tagged, taggedRows = load(t, tbl).CurrentSnapshot().SnapshotID, slices.Clone(want)
		if _, _, err := cat.CommitTable(t.Context(), tbl.id, nil, []table.Update{table.NewSetSnapshotRefUpdate("kept", tagged, table.TagRef, 0, 0, 0)}); err != nil {
			t.Fatal(err)
		}
	}
	var second *Table
	var secondRows []string
	if random.IntN(3) == 0 {
		other, at := cat, dir
		if random.IntN(2) == 0 {
			at = t.TempDir()
			other = openCatalog(t, at)
		}
		second = register(t, other, at, load(t, tbl).MetadataLocation())
		secondRows = append(slices.Clone(want), appendOne(t, second, 1000), appendOne(t, second, 1001))
		blocked = blocked || other == cat
	}
	write(1 + random.IntN(25))
	ageFiles(t, tbl)
	plant("data/"+strings.Replace(ownName("", ".parquet"), filenames.Mark, filenames.Mark+"-else", 1), "x")
	orphan := filepath.Join(root, "data", ownName("", ".parquet"))
	if err := os.WriteFile(orphan, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * orphanAge)
	if err := os.Chtimes(orphan, old, old); err != nil {
		t.Fatal(err)
	}

	// A reader has begun on what is current.
	reading, readingRows := load(t, tbl), slices.Clone(want)
	write(random.IntN(30))
	u := Upkeep{ExpireAfter: time.Nanosecond, KeepSnapshots: 1, Thorough: random.IntN(2) == 0}
	if random.IntN(2) == 0 { // else nobody reads: all was superseded more than an hour ago
		tbl.readerGracePeriod = 0
		reading = nil
	}
	did := maintain(t, tbl, u)
	maintain(t, tbl, u)

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
	expectRows(t, tbl, want...)
	if tagged != 0 {
		if diff := cmp.Diff(inOrder(taggedRows), rowsAt(t, load(t, tbl), table.WithSnapshotID(tagged))); diff != "" {
			t.Errorf("the tag (-want +got):\n%s", diff)
		}
	}
	if second != nil {
		expectRows(t, second, secondRows...)
	}
	if reading != nil {
		again, err := table.NewFromLocation(t.Context(), reading.Identifier(), reading.MetadataLocation(), reading.FS, nil)
		if err != nil {
			t.Fatalf("the metadata that a reader began with: %v", err)
		}
		if diff := cmp.Diff(inOrder(readingRows), rowsAt(t, again)); diff != "" {
			t.Errorf("a reader of the last hour (-want +got):\n%s", diff)
		}
	}
	if random.IntN(3) == 0 {
		did.Removed = append(did.Removed, surroundCopy(t, random, dir, tbl, foreign, want, tagged, taggedRows)...)
	}
	return len(did.Removed)
}

// surroundCopy copies or moves the lake that tbl is in, relocates the table, and keeps it in shape there.
func surroundCopy(t *testing.T, random *rand.Rand, from string, tbl *Table, foreign map[string]bool, want []string, tagged int64, taggedRows []string) []string {
	t.Helper()
	original := filesBelow(t, from)
	to := copyLake(t, from)
	isCopy := random.IntN(2) == 0
	if !isCopy {
		if err := os.RemoveAll(filepath.Join(from, "ns.db")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := open(t.Context(), openCatalog(t, to), plain("s"), Options{Warehouse: "file://" + to}); err == nil {
		t.Fatal("a lake that was not relocated is not refused")
	}
	moved, _, err := relocate(t, from, to, iceio.LocalFS{}, plain("s"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for n := range random.IntN(5) {
		want = append(want, appendOne(t, moved, 2000+n))
	}
	if random.IntN(2) == 0 {
		ageFiles(t, moved)
		moved.readerGracePeriod = 0
	}
	did := maintain(t, moved, Upkeep{ExpireAfter: time.Nanosecond, KeepSnapshots: 1, Thorough: random.IntN(2) == 0})
	for path := range foreign {
		if _, err := os.Stat(strings.Replace(path, from, to, 1)); err != nil {
			t.Errorf("not this program's: %v", err)
		}
	}
	expectRows(t, moved, want...)
	if tagged != 0 {
		if diff := cmp.Diff(inOrder(taggedRows), rowsAt(t, load(t, moved), table.WithSnapshotID(tagged))); diff != "" {
			t.Errorf("the tag of the copy (-want +got):\n%s", diff)
		}
	}
	if isCopy {
		if diff := cmp.Diff(original, filesBelow(t, from)); diff != "" {
			t.Errorf("the original (-want +got):\n%s", diff)
		}
	}
	return did.Removed
}

// register makes a table known under another name in the catalog of a directory, as other programs can.
func register(t *testing.T, cat catalog.Catalog, dir, metadata string) *Table {
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
	p := plain("s")
	p.Namespace = "elsewhere"
	return openTable(t, cat, p, Options{})
}

func inOrder(rows []string) []string { return slices.Sorted(slices.Values(rows)) }

func rowsAt(t *testing.T, tbl *table.Table, options ...table.ScanOption) []string {
	t.Helper()
	rows := []string{}
	_, batches, err := tbl.Scan(append(options, table.WithSelectedFields("id", "v"), table.WithRowFilter(iceberg.AlwaysTrue{}))...).ToArrowRecords(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for b, err := range batches {
		if err != nil {
			t.Fatal(err)
		}
		for i := range int(b.NumRows()) {
			rows = append(rows, fmt.Sprintf(`{"id":%s,"v":%q}`, b.Column(0).ValueStr(i), b.Column(1).ValueStr(i)))
		}
	}
	return inOrder(rows)
}
