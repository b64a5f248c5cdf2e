package catalogs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/apache/iceberg-go"
	sqlcat "github.com/apache/iceberg-go/catalog/sql"
	"github.com/apache/iceberg-go/table"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

func openSQLite(ctx context.Context, cfg Config, warehouse *url.URL, create bool) (*Catalog, error) {
	file := cfg.Path
	if file == "" {
		file = filepath.Join(filepath.FromSlash(warehouse.Path), "catalog.db")
	}
	if create {
		for _, dir := range []string{warehouse.Path, filepath.Dir(file)} {
			if err := makeUsersDir(dir); err != nil {
				return nil, err
			}
		}
	} else if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return nil, noLake(warehouse, file, "warehouse", err)
	}
	db, err := sql.Open("sqlite", sqliteDSN(file, create))
	if err != nil {
		return nil, fmt.Errorf("opening catalog %s: %w", file, err)
	}
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
			return nil, noLake(warehouse, file, "warehouse", nil)
		}
	}
	cat, err := sqlcat.NewCatalog(catalogName, db, sqlcat.SQLite, iceberg.Properties{
		"warehouse":           warehouse.String(),
		"init_catalog_tables": fmt.Sprint(create),
	})
	if err != nil {
		return nil, classify(err)
	}
	opened = true
	return &Catalog{
		Catalog:  cat,
		classify: classify,
		close:    func() error { return errors.Join(cat.Close(), db.Close()) },
	}, nil
}

// sqliteDSN is the data source name of a catalog's database.
func sqliteDSN(file string, create bool) string {
	query := url.Values{"_pragma": {
		"busy_timeout(30000)", // how long one writer waits for another
		"synchronous(FULL)",   // a commit is on disk when it returns, in WAL mode too
	}}
	if create {
		query.Add("_pragma", "journal_mode(WAL)")
		query.Set("_txlock", "immediate") // a transaction that reads first must not lose its snapshot when it writes
	} else {
		query.Set("mode", "rw")
	}
	return "file:" + (&url.URL{Path: file}).EscapedPath() + "?" + query.Encode()
}

// sqliteError finds the remedy for an error of the database; other errors are
// returned as they are. Codes: https://sqlite.org/rescode.html.
func sqliteError(file string, err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		// The statement was not run, or its transaction was rolled back.
		return transientError(fmt.Errorf("%w: %w", table.ErrCommitFailed, err), "The catalog %s is locked by another program. Try again when that one has finished.", file)
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT:
		return configError(err, "The catalog %s is not a sound SQLite database. Restore it from a copy, or move it away and start anew.", file)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return configError(err, "The catalog %s cannot be opened for writing. Make it and its directory writable for this program's user (uid %d).", file, os.Getuid())
	case sqlite3.SQLITE_FULL:
		return transientError(err, "The disk that holds the catalog %s is full. Free space, then start again.", file)
	}
	return err
}
