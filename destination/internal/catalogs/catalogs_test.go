package catalogs

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

var schema = iceberg.NewSchema(0, iceberg.NestedField{ID: 1, Name: "id", Type: iceberg.PrimitiveTypes.Int64})

// sqliteFile is the catalog that needs no server.
var sqliteFile = Config{Type: "sqlite"}

// configure makes the configuration of a kind, with keys and their values.
func configure(kind string, keys ...string) Config {
	given := map[string]string{"type": kind}
	for i := 0; i < len(keys); i += 2 {
		given[keys[i]] = keys[i+1]
	}
	raw, err := json.Marshal(given)
	var c Config
	if err = errors.Join(err, json.Unmarshal(raw, &c)); err != nil {
		panic(err)
	}
	return c
}

// at is the storage of a warehouse.
func at(t *testing.T, warehouse string) *storage.Storage {
	t.Helper()
	files, err := storage.Open(t.Context(), storage.Default(), warehouse, "")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func openWith(t *testing.T, cfg Config, warehouse string) *Catalog {
	t.Helper()
	cat, err := Open(t.Context(), cfg, at(t, warehouse))
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
	cat, err := Open(t.Context(), configure("sqlite", "path", file), at(t, "file://"+t.TempDir()))
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
		"unknown kind":        {configure("hive"), "file://" + dir, `"catalog.type" is "hive". The catalog types are: glue, postgres, rest, sqlite.`},
		"no kind":             {Config{}, "file://" + dir, `"catalog.type" is ""`},
		"relative path":       {configure("sqlite", "path", "x.db"), "file://" + dir, `"catalog.path" is "x.db". It must be an absolute path.`},
		"URI for a path":      {configure("sqlite", "path", "postgres://h/db"), "file://" + dir, `"catalog.path" is "postgres://h/db". It must be an absolute path.`},
		"URI without a type":  {configure("sqlite", "uri", "postgres://u:secret@h/db"), "file://" + dir, `has a "catalog.uri", and its "catalog.type" is "sqlite"`},
		"path for PostgreSQL": {configure("postgres", "path", "/x.db"), "file://" + dir, `has a "catalog.path", and its "catalog.type" is "postgres"`},
		"warehouse is a file": {sqliteFile, "file://" + file, "not a directory. Make its parent writable"},
		"below a file":        {sqliteFile, "file://" + file + "/lake", "not a directory. Make its parent writable"},
		"not a database":      {configure("sqlite", "path", file), "file://" + dir, "is not a valid SQLite database. Restore it"},
		"a directory":         {configure("sqlite", "path", dir), "file://" + dir, "cannot be opened for writing"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(t.Context(), tc.cfg, at(t, tc.warehouse))
			var userError *protocol.Error
			if !errors.As(err, &userError) || userError.Kind != protocol.ConfigError || !strings.Contains(userError.Message, tc.want) || strings.Contains(err.Error(), "secret") {
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
		var userError *protocol.Error
		if !errors.As(err, &userError) || userError.Kind != protocol.TransientError || !strings.HasPrefix(userError.Message, tc.want) {
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
		_, err := OpenExisting(t.Context(), sqliteFile, at(t, "file://"+warehouse))
		var userError *protocol.Error
		if !errors.Is(err, ErrNone) || !errors.As(err, &userError) || userError.Kind != protocol.ConfigError || !strings.Contains(userError.Message, "Nothing has been written to file://"+warehouse+" yet") {
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
	if _, err := OpenExisting(t.Context(), sqliteFile, at(t, "file://"+dir)); !errors.Is(err, ErrNone) {
		t.Errorf("error %v", err)
	}
}

// overtaken is a catalog in which another program does something between the answer that
// names a metadata file and the reading of that file, which it has removed, once.
type overtaken struct {
	catalog.Catalog
	by *func() error
}

func (o overtaken) LoadTable(ctx context.Context, id table.Identifier) (*table.Table, error) {
	loaded, err := o.Catalog.LoadTable(ctx, id)
	if err != nil || *o.by == nil {
		return loaded, err
	}
	by := *o.by
	*o.by = nil
	if err := by(); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("reading the metadata: %w", &fs.PathError{Op: "open", Path: loaded.MetadataLocation(), Err: fs.ErrNotExist})
}

// A table whose metadata file is removed while it is loaded is as it is now, or gone. That
// of a table that is broken is missing each time.
func TestATableThatChangesWhileItIsLoaded(t *testing.T) {
	id := table.Identifier{"ns", "t"}
	warehouse := "file://" + t.TempDir()
	other := openWith(t, sqliteFile, warehouse)
	if err := other.CreateNamespace(t.Context(), id[:1], nil); err != nil {
		t.Fatal(err)
	}
	if _, err := other.CreateTable(t.Context(), id, schema); err != nil {
		t.Fatal(err)
	}
	var by func() error
	cat := openWith(t, sqliteFile, warehouse)
	cat.Backend = overtaken{cat.Backend, &by}

	by = func() error {
		_, _, err := other.CommitTable(t.Context(), id, nil, []table.Update{table.NewSetPropertiesUpdate(iceberg.Properties{"n": "1"})})
		return err
	}
	if loaded, err := cat.LoadTable(t.Context(), id); err != nil || loaded.Properties()["n"] != "1" {
		t.Errorf("after a commit: %v", err)
	}
	var broken func() error
	broken = func() error { by = broken; return nil }
	by = broken
	if _, err := cat.LoadTable(t.Context(), id); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a metadata file: %v", err)
	}
	by = func() error { return other.DropTable(t.Context(), id) }
	if _, err := cat.LoadTable(t.Context(), id); !errors.Is(err, catalog.ErrNoSuchTable) {
		t.Errorf("after a drop: %v", err)
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
	_, err := Open(t.Context(), sqliteFile, at(t, "file://"+t.TempDir()))
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
