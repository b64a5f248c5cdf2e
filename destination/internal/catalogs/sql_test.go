package catalogs

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
	"modernc.org/sqlite"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
)

// A table of the same name in another namespace may have the same metadata file, as when a table was registered twice. What becomes of one says nothing of the other.
func TestATableOfTheSameNameInAnotherNamespaceIsAnother(t *testing.T) {
	dir := t.TempDir()
	cat, second := openWith(t, sqliteFile, "file://"+dir), openWith(t, sqliteFile, "file://"+dir)
	one, other := table.Identifier{"one", "t"}, table.Identifier{"other", "t"}
	for _, id := range []table.Identifier{one, other} {
		if err := cat.CreateNamespace(t.Context(), id[:1], nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := cat.CreateTable(t.Context(), one, schema); err != nil {
		t.Fatal(err)
	}
	known, err := cat.LoadTable(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "catalog.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location) VALUES ('default', 'other', 't', ?)", known.MetadataLocation()); err != nil {
		t.Fatal(err)
	}
	set := func(cat *Catalog, value string) {
		t.Helper()
		if _, _, err := cat.CommitTable(t.Context(), one, nil, []table.Update{table.NewSetPropertiesUpdate(iceberg.Properties{"k": value})}); err != nil {
			t.Fatal(err)
		}
	}
	set(second, "v")
	if now, err := cat.LoadTable(t.Context(), one); err != nil || now.Properties()["k"] != "v" {
		t.Errorf("what was known is taken for what is there: error %v", err)
	}
	set(cat, "w")
	if now, err := cat.LoadTable(t.Context(), other); err != nil || now.MetadataLocation() != known.MetadataLocation() {
		t.Errorf("the other table moved: error %v", err)
	}
}

// Where a table's metadata is can be asked and changed without it being there, unless somebody else was quicker.
func TestTheMetadataOfATableIsSetOnce(t *testing.T) {
	cat := openWith(t, sqliteFile, "file://"+t.TempDir())
	id := table.Identifier{"ns", "t"}
	if err := cat.CreateNamespace(t.Context(), id[:1], nil); err != nil {
		t.Fatal(err)
	}
	made, err := cat.CreateTable(t.Context(), id, schema)
	if err != nil {
		t.Fatal(err)
	}
	at := func(location string) *table.Table { return table.New(id, made.Metadata(), location, nil, nil) }
	if err := cat.SetMetadataLocation(t.Context(), made.MetadataLocation(), at("file:///elsewhere/a.metadata.json")); err != nil {
		t.Fatal(err)
	}
	if err := cat.SetMetadataLocation(t.Context(), made.MetadataLocation(), at("file:///elsewhere/b.metadata.json")); !errors.Is(err, table.ErrCommitFailed) {
		t.Errorf("error %v", err)
	}
	if at, err := cat.MetadataLocation(t.Context(), id); err != nil || at != "file:///elsewhere/a.metadata.json" {
		t.Errorf("it is at %s (error %v)", at, err)
	}
}

// disk is local storage whose files break when they are closed.
type disk struct {
	iceio.LocalFS
	broken bool
}

type brokenFile struct{ iceio.FileWriter }

var errDisk = errors.New("the disk fails")

func (f brokenFile) Close() error { return errors.Join(errDisk, f.FileWriter.Close()) }

func (d *disk) Create(name string) (iceio.FileWriter, error) {
	f, err := d.LocalFS.Create(name)
	if err == nil && d.broken {
		return brokenFile{f}, nil
	}
	return f, err
}

// The metadata file is written before the catalog is asked. When that fails, in
// whichever codec, nothing was committed and no part of the file is left.
func TestACommitWhoseMetadataCannotBeWrittenIsNotMade(t *testing.T) {
	d := &disk{}
	useFiles := func(files iceio.IO) {
		iceio.Unregister("file")
		iceio.Register("file", func(context.Context, *url.URL, map[string]string) (iceio.IO, error) { return files, nil })
	}
	for _, codec := range []string{"none", "gzip", "zstd"} {
		t.Run(codec, func(t *testing.T) {
			dir, id := t.TempDir(), table.Identifier{"ns", "t"}
			cat, other := openWith(t, sqliteFile, "file://"+dir), openWith(t, sqliteFile, "file://"+dir)
			sound, err := iceio.LoadFS(t.Context(), nil, "file://"+dir)
			if err != nil {
				t.Fatal(err)
			}
			useFiles(d)
			t.Cleanup(func() { useFiles(sound) })
			if err := cat.CreateNamespace(t.Context(), id[:1], nil); err != nil {
				t.Fatal(err)
			}
			if _, err := cat.CreateTable(t.Context(), id, schema, catalog.WithProperties(iceberg.Properties{table.MetadataCompressionKey: codec})); err != nil {
				t.Fatal(err)
			}
			for _, broken := range []bool{false, true} {
				d.broken = broken
				_, _, err := cat.CommitTable(t.Context(), id, nil, []table.Update{table.NewSetPropertiesUpdate(iceberg.Properties{"broken": fmt.Sprint(broken)})})
				if errors.Is(err, storage.ErrNotCommitted) != broken || errors.Is(err, errDisk) != broken || errors.Is(err, table.ErrCommitFailed) {
					t.Errorf("broken %t: error %v", broken, err)
				}
				if now, err := other.LoadTable(t.Context(), id); err != nil || now.Properties()["broken"] != "false" {
					t.Errorf("broken %t: the table is %v (error %v)", broken, now, err)
				}
				if files, err := filepath.Glob(filepath.Join(dir, "ns.db", "t", "metadata", "*")); err != nil || len(files) != 2 {
					t.Errorf("broken %t: there are %q (error %v)", broken, files, err)
				}
			}
			d.broken = false
		})
	}
}

// mute connects to a database whose answers to a kind of statement get lost.
type mute struct {
	driver.Connector
	statement string
}

type muteConn struct {
	driver.Conn
	statement string
}

var errLost = errors.New("the answer is lost")

func (m mute) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := m.Connector.Connect(ctx)
	return muteConn{conn, m.statement}, err
}

func (c muteConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	result, err := c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
	if strings.HasPrefix(query, c.statement) {
		return nil, errors.Join(errLost, err)
	}
	return result, err
}

// The catalog may name the metadata file of a commit that it gave no answer to, so the file stays.
func TestTheMetadataOfACommitWithoutAnAnswerStays(t *testing.T) {
	dir, id := t.TempDir(), table.Identifier{"ns", "t"}
	cat := openWith(t, sqliteFile, "file://"+dir)
	if err := cat.CreateNamespace(t.Context(), id[:1], nil); err != nil {
		t.Fatal(err)
	}
	if _, err := cat.CreateTable(t.Context(), id, schema); err != nil {
		t.Fatal(err)
	}
	connector, err := sqlite.NewConnector(sqliteDSN(filepath.Join(dir, "catalog.db"), false))
	if err != nil {
		t.Fatal(err)
	}
	answering := cat.Backend.(sqlCatalog)
	unanswering := answering
	unanswering.db = sql.OpenDB(mute{connector, "UPDATE"})
	defer unanswering.db.Close()
	_, _, err = unanswering.CommitTable(t.Context(), id, nil, []table.Update{table.NewSetPropertiesUpdate(iceberg.Properties{"k": "v"})})
	if !errors.Is(err, errLost) || errors.Is(err, table.ErrCommitFailed) || errors.Is(err, storage.ErrNotCommitted) {
		t.Errorf("error %v", err)
	}
	if now, err := answering.LoadTable(t.Context(), id); err != nil || now.Properties()["k"] != "v" {
		t.Errorf("the table cannot be loaded as it was committed: %v", err)
	}
}

// interrupted connects to a database that takes the first new table while its client is told to stop.
type interrupted struct {
	driver.Connector
	stop context.CancelFunc
}

type interruptedConn struct {
	driver.Conn
	stop context.CancelFunc
}

func (i interrupted) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := i.Connector.Connect(ctx)
	return interruptedConn{conn, i.stop}, err
}

func (c interruptedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	result, err := c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
	if err == nil && strings.HasPrefix(query, "INSERT INTO iceberg_tables") {
		c.stop()
		return nil, ctx.Err()
	}
	return result, err
}

// A new table can be read, whatever becomes of the database's answer.
func TestATableThatWasMadeWithoutAnAnswerCanBeRead(t *testing.T) {
	for name, lose := range map[string]func(driver.Connector, context.CancelFunc) driver.Connector{
		"the answer is lost": func(c driver.Connector, _ context.CancelFunc) driver.Connector { return mute{c, "INSERT"} },
		"the run is to stop": func(c driver.Connector, stop context.CancelFunc) driver.Connector { return interrupted{c, stop} },
	} {
		t.Run(name, func(t *testing.T) {
			dir, id := t.TempDir(), table.Identifier{"ns", "t"}
			cat := openWith(t, sqliteFile, "file://"+dir)
			if err := cat.CreateNamespace(t.Context(), id[:1], nil); err != nil {
				t.Fatal(err)
			}
			connector, err := sqlite.NewConnector(sqliteDSN(filepath.Join(dir, "catalog.db"), false))
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			answering := cat.Backend.(sqlCatalog)
			unanswering := answering
			unanswering.db = sql.OpenDB(lose(connector, stop))
			defer unanswering.db.Close()
			made, err := unanswering.CreateTable(ctx, id, schema)
			if stopped := ctx.Err() != nil; stopped != errors.Is(err, context.Canceled) || stopped == (made != nil) {
				t.Errorf("table %v, error %v", made, err)
			}
			if _, err := answering.LoadTable(t.Context(), id); err != nil {
				t.Errorf("the table cannot be read: %v", err)
			}
		})
	}
}

// Of two that make a table at once one is told that it is there, and leaves no file.
func TestATableIsMadeOnce(t *testing.T) {
	dir, id := t.TempDir(), table.Identifier{"ns", "t"}
	cat := openWith(t, sqliteFile, "file://"+dir)
	if _, err := cat.CreateTable(t.Context(), id, schema); !errors.Is(err, catalog.ErrNoSuchNamespace) {
		t.Errorf("without its namespace: error %v", err)
	}
	if err := cat.CreateNamespace(t.Context(), id[:1], nil); err != nil {
		t.Fatal(err)
	}
	first, err := cat.CreateTable(t.Context(), id, schema)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cat.CreateTable(t.Context(), id, schema); !errors.Is(err, catalog.ErrTableAlreadyExists) {
		t.Errorf("error %v", err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "ns.db", "t", "metadata", "*"))
	if err != nil || len(files) != 1 || "file://"+files[0] != first.MetadataLocation() {
		t.Errorf("there are %q (error %v)", files, err)
	}
}

// A commit reads the table's metadata file only if it is not known: reading it is most of the cost of a small commit.
func TestACommitDoesNotReadWhatIsKnown(t *testing.T) {
	dir := t.TempDir()
	cat, second := openWith(t, sqliteFile, "file://"+dir), openWith(t, sqliteFile, "file://"+dir)
	id := table.Identifier{"ns", "t"}
	if err := cat.CreateNamespace(t.Context(), id[:1], nil); err != nil {
		t.Fatal(err)
	}
	if _, err := cat.CreateTable(t.Context(), id, schema); err != nil {
		t.Fatal(err)
	}
	known, err := cat.LoadTable(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(strings.TrimPrefix(known.MetadataLocation(), "file://")); err != nil {
		t.Fatal(err)
	}
	for _, commit := range []struct {
		by  *Catalog
		key string
	}{{cat, "1"}, {cat, "2"}, {second, "3"}, {cat, "4"}} { // what another has committed is read
		if _, _, err := commit.by.CommitTable(t.Context(), id, nil, []table.Update{table.NewSetPropertiesUpdate(iceberg.Properties{commit.key: "set"})}); err != nil {
			t.Fatal(err)
		}
	}
	now, err := cat.LoadTable(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"1", "2", "3", "4"} {
		if now.Properties()[key] != "set" {
			t.Errorf("property %s is lost: %v", key, now.Properties())
		}
	}
}
