package catalogs

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

var schema = iceberg.NewSchema(0, iceberg.NestedField{ID: 1, Name: "id", Type: iceberg.PrimitiveTypes.Int64})

// sqliteFile is the catalog that needs no server.
var sqliteFile = Config{Type: "sqlite"}

func openWith(t *testing.T, cfg Config, warehouse string) *Catalog {
	t.Helper()
	cat, err := Open(t.Context(), cfg, warehouse)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cat.Close(); err != nil {
			t.Error(err)
		}
	})
	return cat
}

func TestOpenMakesTheWarehouse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "of-1", "lake")
	cat := openWith(t, sqliteFile, "file://"+dir)
	if err := cat.CreateNamespace(t.Context(), table.Identifier{"ns"}, nil); err != nil {
		t.Fatal(err)
	}
	tbl, err := cat.CreateTable(t.Context(), table.Identifier{"ns", "t"}, schema)
	if err != nil {
		t.Fatal(err)
	}
	if tx := tbl.NewTransaction(); tx.SetProperties(iceberg.Properties{"k": "v"}) == nil {
		if _, err := tx.Commit(t.Context()); err != nil {
			t.Error(err)
		}
	}
	again, err := cat.LoadTable(t.Context(), table.Identifier{"ns", "t"})
	if err != nil || again.Properties()["k"] != "v" {
		t.Errorf("loaded %v, %v", again, err)
	}
	// Everything is where the warehouse is, and PyIceberg's SqlCatalog named
	// "default" finds it.
	for _, name := range []string{"catalog.db", "ns.db/t/metadata"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "catalog.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var name, namespace, tableName string
	if err := db.QueryRowContext(t.Context(), "SELECT catalog_name, table_namespace, table_name FROM iceberg_tables").Scan(&name, &namespace, &tableName); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"default", "ns", "t"}, []string{name, namespace, tableName}); diff != "" {
		t.Error(diff)
	}
}

func TestAPathOfItsOwnForTheDatabase(t *testing.T) {
	file := filepath.Join(t.TempDir(), "elsewhere", "x.db")
	cat, err := Open(t.Context(), Config{Type: "sqlite", Path: file}, "file://"+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := cat.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

func TestWhatCannotBeOpenedNamesTheRemedy(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte(strings.Repeat("not a database\n", 100)), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		cfg       Config
		warehouse string
		want      string
	}{
		"unknown kind":        {Config{Type: "nessie"}, "file://" + dir, `"catalog.type" is "nessie". The catalog types are: postgres, sqlite.`},
		"no kind":             {Config{}, "file://" + dir, `"catalog.type" is ""`},
		"relative path":       {Config{Type: "sqlite", Path: "x.db"}, "file://" + dir, `"catalog.path" is "x.db". It must be an absolute path.`},
		"other storage":       {Config{Type: "sqlite"}, "s3://bucket/lake", `"warehouse" is "s3://bucket/lake". It must be file:/// and the absolute path of a directory`},
		"a user in it":        {Config{Type: "sqlite"}, "file://u:p@/lake", `It must be file:/// and the absolute path of a directory`},
		"URI for a path":      {Config{Type: "sqlite", Path: "postgres://h/db"}, "file://" + dir, `"catalog.path" is "postgres://h/db". It must be an absolute path.`},
		"URI without a type":  {Config{Type: "sqlite", URI: "postgres://u:secret@h/db"}, "file://" + dir, `has a "catalog.uri", and its "catalog.type" is "sqlite"`},
		"path for PostgreSQL": {Config{Type: "postgres", Path: "/x.db"}, "file://" + dir, `has a "catalog.path", and its "catalog.type" is "postgres"`},
		"relative warehouse":  {Config{Type: "sqlite"}, "lake", "It must be file:/// and the absolute path of a directory"},
		"root":                {Config{Type: "sqlite"}, "file:///", "It must be file:/// and the absolute path of a directory"},
		"warehouse is a file": {Config{Type: "sqlite"}, "file://" + file, "not a directory. Make its parent writable"},
		"below a file":        {Config{Type: "sqlite"}, "file://" + file + "/lake", "not a directory. Make its parent writable"},
		"not a database":      {Config{Type: "sqlite", Path: file}, "file://" + dir, "is not a valid SQLite database. Restore it"},
		"a directory":         {Config{Type: "sqlite", Path: dir}, "file://" + dir, "cannot be opened for writing"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(t.Context(), tc.cfg, tc.warehouse)
			var told *protocol.Error
			if !errors.As(err, &told) || told.Kind != protocol.ConfigError || !strings.Contains(told.Message, tc.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestWhatADatabaseSaysOfACommit(t *testing.T) {
	for name, tc := range map[string]struct {
		err     error
		want    string
		refused bool // nothing was changed
	}{
		"locked": {busy(t), "The catalog x.db is locked by another program.", true},
		"full":   {full(t), "The disk that holds the catalog x.db is full.", true},
		"broken": {broken(t), "The disk that holds the catalog x.db fails: ", false},
	} {
		err := sqliteError("x.db", fmt.Errorf("committing: %w", tc.err))
		var told *protocol.Error
		if !errors.As(err, &told) || told.Kind != protocol.TransientError || !strings.HasPrefix(told.Message, tc.want) {
			t.Errorf("%s: error %v", name, err)
		}
		if errors.Is(err, table.ErrCommitFailed) != tc.refused {
			t.Errorf("%s: that it is known to have changed nothing should be %v", name, tc.refused)
		}
	}
}

// full is SQLite's own error for a full disk.
func full(t *testing.T) error {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_, err = db.ExecContext(t.Context(), "PRAGMA max_page_count = 2; CREATE TABLE t(x); INSERT INTO t VALUES (zeroblob(100000))")
	if err == nil {
		t.Fatal("there is room")
	}
	return err
}

// broken is SQLite's own error for a file system that does not do as it is told: here, remove the
// journal, which a directory has taken the place of.
func broken(t *testing.T) error {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.db")
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE; CREATE TABLE t(x)"); err != nil {
		t.Fatal(err)
	}
	journal := file + "-journal"
	if err := errors.Join(os.Remove(journal), os.MkdirAll(filepath.Join(journal, "x"), 0o700)); err != nil {
		t.Fatal(err)
	}
	_, err = conn.ExecContext(t.Context(), "COMMIT")
	if err == nil {
		t.Fatal("the journal is gone")
	}
	return err
}

// busy is SQLite's own error for a lock.
func busy(t *testing.T) error {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.db")
	var dbs [2]*sql.DB
	for i := range dbs {
		db, err := sql.Open("sqlite", file)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		dbs[i] = db
	}
	conn, err := dbs[0].Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "CREATE TABLE t(x); BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	_, err = dbs[1].ExecContext(t.Context(), "BEGIN IMMEDIATE")
	if err == nil {
		t.Fatal("two writers at once")
	}
	return err
}

func TestLookingMakesNothing(t *testing.T) {
	dir := t.TempDir()
	for _, warehouse := range []string{dir, filepath.Join(dir, "nothing")} {
		_, err := OpenExisting(t.Context(), Config{Type: "sqlite"}, "file://"+warehouse)
		var told *protocol.Error
		if !errors.Is(err, ErrNone) || !errors.As(err, &told) || told.Kind != protocol.ConfigError || !strings.Contains(told.Message, "Nothing has been written to file://"+warehouse+" yet") {
			t.Errorf("error %v", err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("made %v, %v", entries, err)
	}
	// A database that is no catalog is no lake either, and stays as it is.
	if err := os.WriteFile(filepath.Join(dir, "catalog.db"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenExisting(t.Context(), Config{Type: "sqlite"}, "file://"+dir); !errors.Is(err, ErrNone) {
		t.Errorf("error %v", err)
	}
}

func TestLookingFindsWhatWasWritten(t *testing.T) { lookingFindsWhatWasWritten(t, sqliteFile) }

func lookingFindsWhatWasWritten(t *testing.T, cfg Config) {
	warehouse := "file://" + t.TempDir()
	cat := openWith(t, cfg, warehouse)
	if err := cat.CreateNamespace(t.Context(), table.Identifier{"ns"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := cat.CreateTable(t.Context(), table.Identifier{"ns", "t"}, schema); err != nil {
		t.Fatal(err)
	}
	for range 2 { // while the writer is there, and with another reader
		look, err := OpenExisting(t.Context(), cfg, warehouse)
		if err != nil {
			t.Fatal(err)
		}
		defer look.Close()
		if _, err := look.LoadTable(t.Context(), table.Identifier{"ns", "t"}); err != nil {
			t.Error(err)
		}
		if _, err := look.LoadTable(t.Context(), table.Identifier{"ns", "other"}); !errors.Is(err, catalog.ErrNoSuchTable) {
			t.Errorf("error %v", err)
		}
	}
}

// Whoever commits on a table that has moved on is told so in a way that can be
// acted on, and what the other did stays.
func TestAStaleCommitIsRefusedForCertain(t *testing.T) { staleCommitIsRefusedForCertain(t, sqliteFile) }

func staleCommitIsRefusedForCertain(t *testing.T, cfg Config) {
	cat := openWith(t, cfg, "file://"+t.TempDir())
	id := table.Identifier{"ns", "t"}
	if err := cat.CreateNamespace(t.Context(), id[:1], nil); err != nil {
		t.Fatal(err)
	}
	stale, err := cat.CreateTable(t.Context(), id, schema)
	if err != nil {
		t.Fatal(err)
	}
	head := int64(7)
	for _, requirement := range []table.Requirement{
		table.AssertRefSnapshotID(table.MainBranch, &head), table.AssertCurrentSchemaID(7), table.AssertLastAssignedFieldID(7),
	} {
		_, _, err = cat.CommitTable(t.Context(), id,
			[]table.Requirement{table.AssertTableUUID(stale.Metadata().TableUUID()), requirement},
			[]table.Update{table.NewSetPropertiesUpdate(iceberg.Properties{"k": "v"})})
		if !errors.Is(err, table.ErrCommitFailed) {
			t.Errorf("%s: error %v", requirement.GetType(), err)
		}
	}
	if now, err := cat.LoadTable(t.Context(), id); err != nil || now.MetadataLocation() != stale.MetadataLocation() {
		t.Errorf("the table moved: %v", err)
	}
}

// A table is loaded as it is, whoever has changed it, although it is read only
// when it has changed.
func TestLoadsWhatOthersCommitted(t *testing.T) { loadsWhatOthersCommitted(t, sqliteFile) }

func loadsWhatOthersCommitted(t *testing.T, cfg Config) {
	warehouse := "file://" + t.TempDir()
	one, other := openWith(t, cfg, warehouse), openWith(t, cfg, warehouse)
	id := table.Identifier{"ns", "t"}
	if err := one.CreateNamespace(t.Context(), id[:1], nil); err != nil {
		t.Fatal(err)
	}
	if _, err := one.CreateTable(t.Context(), id, schema); err != nil {
		t.Fatal(err)
	}
	load := func(cat *Catalog) *table.Table {
		t.Helper()
		loaded, err := cat.LoadTable(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return loaded
	}
	if first := load(one); load(one) != first {
		t.Error("a table that has not changed was read again")
	}
	for n, by := range []*Catalog{one, other, other, one} {
		_, location, err := by.CommitTable(t.Context(), id, nil, []table.Update{table.NewSetPropertiesUpdate(iceberg.Properties{"n": fmt.Sprint(n)})})
		if err != nil {
			t.Fatal(err)
		}
		if load(by).MetadataLocation() != location {
			t.Error("what was just committed is not what is loaded")
		}
		fresh := openWith(t, cfg, warehouse)
		for _, cat := range []*Catalog{one, other} {
			if got := load(cat); !got.Metadata().Equals(load(fresh).Metadata()) || got.Properties()["n"] != fmt.Sprint(n) {
				t.Errorf("after commit %d a table of n %s was loaded", n, got.Properties()["n"])
			}
		}
	}
	before := load(one).Metadata().TableUUID()
	if err := other.DropTable(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := one.LoadTable(t.Context(), id); !errors.Is(err, catalog.ErrNoSuchTable) {
		t.Errorf("error %v for a table that is gone", err)
	}
	if _, err := other.CreateTable(t.Context(), id, schema); err != nil {
		t.Fatal(err)
	}
	if load(one).Metadata().TableUUID() == before {
		t.Error("a table that was made anew was taken for the old one")
	}
}

// A run of thousands of commits keeps the metadata of the last one, not of all.
func TestWhatIsKnownOfATableIsItsLastMetadata(t *testing.T) {
	cat := openWith(t, sqliteFile, "file://"+t.TempDir())
	id := table.Identifier{"ns", "t"}
	if err := cat.CreateNamespace(t.Context(), id[:1], nil); err != nil {
		t.Fatal(err)
	}
	if _, err := cat.CreateTable(t.Context(), id, schema); err != nil {
		t.Fatal(err)
	}
	freed := make(chan struct{})
	func() {
		loaded, err := cat.LoadTable(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		runtime.SetFinalizer(loaded.Metadata(), func(table.Metadata) { close(freed) })
	}()
	for n := range 3 {
		if _, _, err := cat.CommitTable(t.Context(), id, nil, []table.Update{table.NewSetPropertiesUpdate(iceberg.Properties{"n": fmt.Sprint(n)})}); err != nil {
			t.Fatal(err)
		}
	}
	for range 1000 {
		runtime.GC()
		select {
		case <-freed:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Error("the metadata before three commits is still in memory")
}

// Opening, making namespaces and making tables all at once, as several
// processes do, ends with one of each.
func TestManyOpenAtOnce(t *testing.T) {
	for range 10 {
		manyOpenAtOnce(t, sqliteFile)
	}
}

func manyOpenAtOnce(t *testing.T, cfg Config) {
	warehouse := "file://" + t.TempDir()
	var all sync.WaitGroup
	made := make(chan error, 8)
	for range cap(made) {
		all.Go(func() {
			cat, err := Open(t.Context(), cfg, warehouse)
			if err != nil {
				t.Error(err)
				return
			}
			defer cat.Close()
			if err := cat.CreateNamespace(t.Context(), table.Identifier{"ns"}, nil); err != nil && !errors.Is(err, catalog.ErrNamespaceAlreadyExists) {
				t.Errorf("namespace: %v", err)
			}
			_, err = cat.CreateTable(t.Context(), table.Identifier{"ns", "t"}, schema)
			made <- err
		})
	}
	all.Wait()
	close(made)
	first := 0
	for err := range made {
		switch {
		case err == nil:
			first++
		case !errors.Is(err, catalog.ErrTableAlreadyExists):
			t.Error(err)
		}
	}
	if first != 1 {
		t.Errorf("%d made the table", first)
	}
}

// The pragmas are what keeps an acknowledged commit through a power cut, and
// writers from failing on each other.
func TestTheDatabaseWaitsForTheDiskAndForOthers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.db")
	for _, create := range []bool{true, false} {
		db, err := sql.Open("sqlite", sqliteDSN(file, create))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "busy_timeout": "30000"} {
			var got string
			if err := db.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s is %s, %v", pragma, got, err)
			}
		}
	}
}

// No machine of ours has such a file system, so the answer of statfs is made up.
func TestASQLiteCatalogOnANetworkFileSystemIsRefused(t *testing.T) {
	real := filesystemOf
	t.Cleanup(func() { filesystemOf = real })
	filesystemOf = func(string) (string, error) { return "NFS", nil }
	_, err := Open(t.Context(), sqliteFile, "file://"+t.TempDir())
	var e *protocol.Error
	if !errors.As(err, &e) || e.Kind != protocol.ConfigError || !strings.Contains(e.Message, "network file system (NFS)") || !strings.Contains(e.Message, `"postgres"`) {
		t.Errorf("got %v", err)
	}
}

func TestLocalFileSystemsAreNoneOfTheNetwork(t *testing.T) {
	for _, dir := range []string{t.TempDir(), "/"} {
		if kind, err := networkFilesystem(dir); err != nil || kind != "" {
			t.Errorf("%s: %q, %v", dir, kind, err)
		}
	}
	if _, err := networkFilesystem("/no/such/directory"); err == nil {
		t.Error("a directory that is not there has a file system")
	}
}
