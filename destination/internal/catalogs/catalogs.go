// Package catalogs opens the Iceberg catalog a configuration names.
//
// Whatever its kind, a catalog opened here keeps three promises the library does
// not make: a commit on a stale parent is [table.ErrCommitFailed], local files
// are on disk, not only in the page cache, when the catalog names them, and no
// call that loads or writes waits for ever.
package catalogs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
	"github.com/invopop/jsonschema"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Config says which catalog knows the tables.
type Config struct {
	Type string `json:"type"`
	// Path is the database file of a sqlite catalog, absolute. Empty:
	// catalog.db in the warehouse.
	Path string `json:"path,omitempty"`
	// URI is where a postgres catalog's database is, and who we are there.
	URI string `json:"uri,omitempty"`
}

// JSONSchema shows the kinds of catalog as Airbyte's forms want alternatives.
func (Config) JSONSchema() *jsonschema.Schema {
	sqlite := jsonschema.NewProperties()
	sqlite.Set("type", &jsonschema.Schema{Type: "string", Const: "sqlite", Extras: map[string]any{"order": 0}})
	sqlite.Set("path", &jsonschema.Schema{
		Type: "string", Title: "Database file", Extras: map[string]any{"order": 1},
		Description: "Absolute path of the SQLite database. Default: catalog.db in the warehouse.",
	})
	postgres := jsonschema.NewProperties()
	postgres.Set("type", &jsonschema.Schema{Type: "string", Const: "postgres", Extras: map[string]any{"order": 0}})
	postgres.Set("uri", &jsonschema.Schema{
		Type: "string", Title: "Connection URI", Extras: map[string]any{"order": 1, "airbyte_secret": true},
		Description: "postgres://user:password@host:port/database, with libpq's options behind a question mark.",
	})
	return &jsonschema.Schema{
		Type: "object",
		OneOf: []*jsonschema.Schema{
			{Type: "object", Title: "SQLite file", Properties: sqlite, Required: []string{"type"}},
			{Type: "object", Title: "PostgreSQL", Properties: postgres, Required: []string{"type", "uri"}},
		},
	}
}

// A kind opens one kind of catalog. create says whether a catalog that is not
// there yet shall be made; when it is false and there is none the error is
// [ErrNone].
type kind func(ctx context.Context, cfg Config, warehouse *url.URL, create bool) (*Catalog, error)

var kinds = map[string]kind{
	"postgres": openPostgres,
	"sqlite":   openSQLite,
}

// catalogName is stored with every row of a SQL catalog. It is the name
// PyIceberg's SqlCatalog("default", …) looks for.
const catalogName = "default"

// ErrNone is the cause of [OpenExisting]'s error when nothing has been
// written to the warehouse yet.
var ErrNone = errors.New("no catalog")

// Open opens the catalog of a warehouse, which is file:/// and an absolute
// path, and makes both where they are not there yet. Its errors name the
// remedy: config errors for what the user must change, transient errors for
// what goes away by itself.
func Open(ctx context.Context, cfg Config, warehouse string) (*Catalog, error) {
	return open(ctx, cfg, warehouse, true)
}

// OpenExisting opens a catalog to look at what is there. It makes nothing;
// where there is no catalog it fails with a config error that wraps [ErrNone].
func OpenExisting(ctx context.Context, cfg Config, warehouse string) (*Catalog, error) {
	return open(ctx, cfg, warehouse, false)
}

func open(ctx context.Context, cfg Config, warehouse string, create bool) (*Catalog, error) {
	u, err := cfg.parse(warehouse)
	if err != nil {
		return nil, err
	}
	storage.RegisterLocal()
	return kinds[cfg.Type](ctx, cfg, u, create)
}

// Validate finds what is wrong with the configuration of a catalog and its
// warehouse without looking for either. Its error is a Config error.
func (c Config) Validate(warehouse string) error {
	_, err := c.parse(warehouse)
	if err == nil && c.Type == "postgres" {
		_, err = parsePostgres(c.URI)
	}
	return err
}

// InWarehouse reports whether the catalog lies in the warehouse, and moves with
// it.
func (c Config) InWarehouse(warehouse string) bool {
	u, err := c.parse(warehouse)
	return err == nil && c.Type == "sqlite" && (c.Path == "" || filenames.Within(filenames.Real(c.Path), filenames.Real(u.Path)))
}

func (c Config) parse(warehouse string) (*url.URL, error) {
	if _, ok := kinds[c.Type]; !ok {
		return nil, configError(nil, `The configuration's "catalog.type" is %q. The catalog types are: %s.`,
			c.Type, strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
	}
	// The type has a default, so without it another catalog would be opened.
	if c.Type == "sqlite" && c.URI != "" {
		return nil, configError(nil, `The configuration has a "catalog.uri", and its "catalog.type" is "sqlite", which is also the default. Set it to "postgres", or remove the URI.`)
	}
	if c.Type == "postgres" && c.Path != "" {
		return nil, configError(nil, `The configuration has a "catalog.path", and its "catalog.type" is "postgres". Set it to "sqlite", or remove the path.`)
	}
	if c.Path != "" && !filepath.IsAbs(c.Path) {
		return nil, configError(nil, `The configuration's "catalog.path" is %q. It must be an absolute path.`, c.Path)
	}
	u, err := url.Parse(warehouse)
	if err != nil || u.Scheme != "file" || u.Host != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !filepath.IsAbs(u.Path) || filepath.Clean(u.Path) == "/" {
		return nil, configError(err, `The configuration's "warehouse" is %q. It must be file:/// and the absolute path of a directory, as in "file:///local/lake".`, warehouse)
	}
	// The library writes the locations of files as URLs, and other engines
	// take the path in them as it stands.
	if u.EscapedPath() != u.Path {
		return nil, configError(nil, `The configuration's "warehouse" is %q. Not every engine would find files there. Use a path without spaces, %% and non-ASCII letters.`, warehouse)
	}
	return u, nil
}

// Catalog is an open catalog. Tables loaded from it commit through it.
type Catalog struct {
	catalog.Catalog
	catalog.Closer
	classify func(error) error
	known    known
}

// A Teller can tell whether a table is still as it was loaded without reading
// anything of it.
type Teller interface {
	IsCurrent(ctx context.Context, t *table.Table) (bool, error)
}

// patience is how long a catalog may take to answer.
const patience = 2 * time.Minute

var errNoAnswer error = &protocol.Error{Kind: protocol.TransientError, Message: fmt.Sprintf(
	"The catalog has not answered for %s. Start again when it does.", patience)}

// call asks the catalog something, and finds the remedy for its error.
func (c *Catalog) call(ctx context.Context, do func(context.Context) error) error {
	limited, cancel := context.WithTimeoutCause(ctx, patience, errNoAnswer)
	defer cancel()
	err := do(limited)
	switch {
	case err == nil:
		return nil
	case errors.Is(context.Cause(limited), errNoAnswer):
		return fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	return c.classify(err)
}

// CommitTable applies updates to a table if requirements hold. An error that
// is [table.ErrCommitFailed] says for certain that nothing was changed and
// that a commit on the reloaded table may succeed; one that is
// [storage.ErrNotCommitted], that nothing was changed. After any other error the
// commit may or may not have landed.
func (c *Catalog) CommitTable(ctx context.Context, id table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	var meta table.Metadata
	var location string
	err := c.call(ctx, func(ctx context.Context) (err error) {
		meta, location, err = c.Catalog.CommitTable(ctx, id, reqs, updates)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if before := c.known.get(id); before != nil {
		// Landed is landed: what cannot be known is loaded when it is needed.
		if now, err := c.bind(ctx, before, meta, location); err == nil {
			c.known.put(now)
		}
	}
	return meta, location, nil
}

// LoadTable loads a table whose transactions commit through c.
func (c *Catalog) LoadTable(ctx context.Context, id table.Identifier) (*table.Table, error) {
	teller, ok := c.Catalog.(Teller)
	if known := c.known.get(id); ok && known != nil {
		current := false
		err := c.call(ctx, func(ctx context.Context) (err error) {
			current, err = teller.IsCurrent(ctx, known)
			return err
		})
		if err != nil {
			return nil, err
		}
		if current {
			return known, nil
		}
	}
	t, err := c.table(ctx, func(ctx context.Context) (*table.Table, error) { return c.Catalog.LoadTable(ctx, id) })
	if err == nil {
		c.known.put(t)
	}
	return t, err
}

// CreateTable makes a table whose transactions commit through c.
func (c *Catalog) CreateTable(ctx context.Context, id table.Identifier, schema *iceberg.Schema, opts ...catalog.CreateTableOpt) (*table.Table, error) {
	return c.table(ctx, func(ctx context.Context) (*table.Table, error) {
		return c.Catalog.CreateTable(ctx, id, schema, opts...)
	})
}

// table asks the catalog for a table, which then commits through c.
func (c *Catalog) table(ctx context.Context, ask func(context.Context) (*table.Table, error)) (*table.Table, error) {
	var t *table.Table
	err := c.call(ctx, func(ctx context.Context) (err error) {
		t, err = ask(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c.bind(ctx, t, t.Metadata(), t.MetadataLocation())
}

// bind makes a table that commits through c, with the files of another. It does
// not keep the other, as a table made with its FS method would: of each of a
// run's commits the metadata would stay in memory.
func (c *Catalog) bind(ctx context.Context, of *table.Table, meta table.Metadata, location string) (*table.Table, error) {
	files, err := of.FS(ctx)
	if err != nil {
		return nil, fmt.Errorf("reaching the files of table %s: %w", strings.Join(of.Identifier(), "."), err)
	}
	fs := func(context.Context) (iceio.IO, error) { return files, nil }
	return table.New(of.Identifier(), meta, location, fs, c), nil
}

// CreateNamespace makes a namespace.
func (c *Catalog) CreateNamespace(ctx context.Context, id table.Identifier, props iceberg.Properties) error {
	return c.call(ctx, func(ctx context.Context) error { return c.Catalog.CreateNamespace(ctx, id, props) })
}

// CheckNamespaceExists tells whether there is a namespace.
func (c *Catalog) CheckNamespaceExists(ctx context.Context, id table.Identifier) (there bool, err error) {
	err = c.call(ctx, func(ctx context.Context) error {
		there, err = c.Catalog.CheckNamespaceExists(ctx, id)
		return err
	})
	return there, err
}

// makeUsersDir makes a directory of the user's choice.
func makeUsersDir(dir string) error {
	dir = filepath.FromSlash(dir)
	if err := storage.MakeDirs(dir); err != nil {
		return configError(err, "The directory %s cannot be created: %v. Make its parent writable for this program's user (uid %d), or configure another directory.", dir, err, os.Getuid())
	}
	return nil
}

// noLake says that place, to which a key of the configuration led, holds no
// catalog.
func noLake(warehouse *url.URL, place, key string, cause error) error {
	return configError(errors.Join(ErrNone, cause),
		"Nothing has been written to %s yet: %s does not contain a catalog. Run write first, or correct the configuration's %q.", warehouse, place, key)
}

func transientError(cause error, format string, args ...any) error {
	return &protocol.Error{Kind: protocol.TransientError, Message: fmt.Sprintf(format, args...), Err: cause}
}

func configError(cause error, format string, args ...any) error {
	return &protocol.Error{Kind: protocol.ConfigError, Message: fmt.Sprintf(format, args...), Err: cause}
}
