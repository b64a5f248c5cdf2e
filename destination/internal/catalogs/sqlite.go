package catalogs

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"time"

	sqlcat "github.com/apache/iceberg-go/catalog/sql"
	"github.com/apache/iceberg-go/table"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/internal/osfile"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// sqliteConfig is for the catalog of one machine, which needs no server.
type sqliteConfig struct {
	Path string `json:"path,omitempty" jsonschema:"title=Database file" jsonschema_description:"Absolute path of the SQLite database. Default: catalog.db in the warehouse."`
}

func (c *sqliteConfig) validate() error {
	if c.Path != "" && !filepath.IsAbs(c.Path) {
		return protocol.ConfigError.Errorf(nil, `The configuration's "catalog.path" is %q. It must be an absolute path.`, c.Path)
	}
	return nil
}

func (c *sqliteConfig) inWarehouse(warehouse string) bool {
	return c.Path == "" || filenames.Within(filenames.ResolveLinks(c.Path), filenames.ResolveLinks(warehouse))
}

func (c *sqliteConfig) open(ctx context.Context, files *storage.Storage, create bool) (*Catalog, error) {
	file := c.Path
	if file == "" && files.Directory() == "" {
		return nil, protocol.ConfigError.Errorf(nil, `The SQLite catalog needs a place, because the warehouse %s is not on this machine. Set "catalog.path" to the path of a file that lasts as long as the tables, or use another type of catalog.`, files.Warehouse())
	}
	if file == "" {
		file = filepath.Join(files.Directory(), "catalog.db")
	}
	if create {
		if err := files.Make(); err != nil {
			return nil, err
		}
		if err := storage.MakeDirectory(filepath.Dir(file)); err != nil {
			return nil, err
		}
	} else if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return nil, noLake(files, file, "warehouse", err)
	}
	kind, err := filesystemOf(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	if kind != "" {
		return nil, protocol.ConfigError.Errorf(nil, `The catalog %s is on a network file system (%s). A SQLite database that several machines use there is soon corrupted. Use a "postgres" catalog, or set "catalog.path" to a local disk.`, file, kind)
	}
	connector, err := sqlite.NewConnector(sqliteDSN(file, create))
	if err != nil {
		return nil, fmt.Errorf("opening catalog %s: %w", file, err)
	}
	db := sql.OpenDB(retryingConnector{connector})
	opened := false
	defer func() {
		if !opened {
			_ = db.Close() // the error that is returned tells more
		}
	}()
	classify := func(err error) error { return sqliteError(file, err) }

	if !create {
		var tables int
		if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master WHERE name = 'iceberg_tables'").Scan(&tables); err != nil {
			return nil, classify(err)
		}
		if tables == 0 {
			return nil, noLake(files, file, "warehouse", nil)
		}
	}
	properties := files.Properties()
	properties["init_catalog_tables"] = fmt.Sprint(create)
	cat, err := sqlcat.NewCatalog(catalogName, db, sqlcat.SQLite, properties)
	if err != nil {
		return nil, classify(err)
	}
	opened = true
	result := &Catalog{
		classify: classify, storage: files, clientRemovesMetadata: true,
		name: "The catalog " + file, remedy: "Make sure that its disk works, and start again when no other program locks it.",
	}
	tables := sqlCatalog{cat, db, files.Properties(), questionMark, classify, &result.known}
	result.Backend, result.Closer = tables, tables
	return result, nil
}

// filesystemOf is networkFilesystem, but for tests, which have no network.
var filesystemOf = networkFilesystem

// busyTimeout is how long one writer waits for another.
const busyTimeout = 30 * time.Second

// retryingConnector connects to a database in use. SQLite does not wait by itself while
// another connection changes the journal mode, recovers the log or, as the last
// one, removes it: https://sqlite.org/wal.html#sometimes_queries_return_sqlite_busy_in_wal_mode.
type retryingConnector struct{ driver.Connector }

func (p retryingConnector) Connect(ctx context.Context) (driver.Conn, error) {
	for began := time.Now(); ; {
		conn, err := p.Connector.Connect(ctx)
		var e *sqlite.Error
		if err == nil || !errors.As(err, &e) || e.Code()&0xff != sqlite3.SQLITE_BUSY || time.Since(began) > busyTimeout {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Duration(5+rand.IntN(20)) * time.Millisecond):
		}
	}
}

// sqliteDSN is the data source name of a catalog's database.
func sqliteDSN(file string, create bool) string {
	query := url.Values{"_pragma": {
		fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()),
		"synchronous(FULL)", // a commit is on disk when it returns, in WAL mode too
	}}
	if create {
		query.Add("_pragma", "journal_mode(WAL)")
		query.Set("_txlock", "immediate") // a transaction that reads first must not lose its snapshot when it writes
	} else {
		query.Set("mode", "rw")
		query.Add("_pragma", "schema_version") // reads, so that it is connecting that waits
	}
	return "file:" + (&url.URL{Path: filenames.Plain(file)}).EscapedPath() + "?" + query.Encode()
}

// sqliteError finds the remedy for an error of the database; errors of other
// things are returned as they are. Codes: https://sqlite.org/rescode.html.
func sqliteError(file string, err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		// The statement was not run, or its transaction was rolled back.
		return protocol.TransientError.Errorf(fmt.Errorf("%w: %w", table.ErrCommitFailed, err), "The catalog %s is locked by another program. Try again when it has finished.", file)
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT:
		return protocol.ConfigError.Errorf(err, "The catalog %s is not a valid SQLite database. Restore it from a copy, or move it away and start over.", file)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return protocol.ConfigError.Errorf(err, "The catalog %s cannot be opened for writing. Make it and its directory writable for this program's user (%s).", file, osfile.User())
	case sqlite3.SQLITE_FULL:
		// The transaction was rolled back.
		return protocol.TransientError.Errorf(fmt.Errorf("%w: %w", table.ErrCommitFailed, err), "The disk that holds the catalog %s is full. Free space, then start again.", file)
	case sqlite3.SQLITE_IOERR:
		return protocol.TransientError.Errorf(err, "The disk that holds the catalog %s fails: %v. Make sure that it works and has room, then start again.", file, err)
	}
	return fmt.Errorf("using the catalog %s: %w", file, err)
}
