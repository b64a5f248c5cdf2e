package catalogs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Catalog is an open catalog. Tables loaded from it commit through it. Every
// method but Close has a time limit and finds remedies for errors, so none of
// them is that of the backend itself.
type Catalog struct {
	Backend catalog.Catalog // that is asked; tests put another in its place
	Closer  io.Closer       // releases what the backend holds

	classify func(error) error // finds the remedy for an error of the backend
	name     string            // of the catalog, which begins an error about it
	remedy   string            // for a catalog that does not answer
	// clientRemovesMetadata is what ClientRemovesMetadata reports.
	clientRemovesMetadata bool
	mainOnly              bool // it keeps no other branch of a table
	storage               *storage.Storage
	known                 tableCache
}

var _ catalog.Catalog = (*Catalog)(nil)

// A FreshnessChecker is a backend that knows whether a table is still as it was
// loaded, without reading anything of it.
type FreshnessChecker interface {
	IsCurrent(ctx context.Context, t *table.Table) (bool, error)
}

// How long a catalog may take to answer. A change that is given up may have been
// made, and one that others make at the same time takes a while, so changes get time.
// When anything else is given up nothing is lost, and whoever has started a check or a
// sync wants to be told soon: both begin by reading.
const (
	readTimeout   = 25 * time.Second
	changeTimeout = 2 * time.Minute
)

// errNoAnswer is the cause of an error after a catalog has not answered in time.
var errNoAnswer = fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)

// Close releases what the catalog holds.
func (c *Catalog) Close() error { return c.Closer.Close() }

// Storage is where the files of the catalog's tables live.
func (c *Catalog) Storage() *storage.Storage { return c.storage }

// call asks the backend something, and finds the remedy for its error.
func (c *Catalog) call(ctx context.Context, timeout time.Duration, do func(context.Context) error) error {
	limited, cancel := context.WithTimeoutCause(ctx, timeout, errNoAnswer)
	defer cancel()
	err := do(limited)
	var userError *protocol.Error
	switch {
	case err == nil:
		return nil
	case !errors.Is(context.Cause(limited), errNoAnswer):
		return c.classify(err)
	case errors.As(err, &userError): // it was another server that did not answer
		return err
	}
	if userError = storage.Explain(err, "the warehouse"); userError != nil {
		return userError
	}
	return protocol.TransientError.Errorf(fmt.Errorf("%w: %w", errNoAnswer, err), "%s has not answered for %s. %s", c.name, timeout, c.remedy)
}

// ask is call for what has a result.
func ask[T any](ctx context.Context, c *Catalog, timeout time.Duration, do func(context.Context) (T, error)) (result T, err error) {
	err = c.call(ctx, timeout, func(ctx context.Context) (err error) {
		result, err = do(ctx)
		return err
	})
	if err != nil {
		return *new(T), err
	}
	return result, nil
}

// CommitTable applies updates to a table if requirements hold. An error that
// is [table.ErrCommitFailed] says for certain that nothing was changed and
// that a commit on the reloaded table may succeed; one that is
// [storage.ErrNotCommitted], that nothing was changed. After any other error the
// commit may or may not have landed.
func (c *Catalog) CommitTable(ctx context.Context, id table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	var meta table.Metadata
	var location string
	err := c.call(ctx, changeTimeout, func(ctx context.Context) (err error) {
		meta, location, err = c.Backend.CommitTable(ctx, id, reqs, updates)
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

// LoadTable loads a table whose transactions commit through c. Where the catalog names a
// metadata file that is gone, another program has dropped the table, or committed to it,
// since the catalog was asked: it is asked once more.
func (c *Catalog) LoadTable(ctx context.Context, id table.Identifier) (*table.Table, error) {
	checker, ok := c.Backend.(FreshnessChecker)
	if known := c.known.get(id); ok && known != nil {
		current, err := ask(ctx, c, readTimeout, func(ctx context.Context) (bool, error) { return checker.IsCurrent(ctx, known) })
		if err != nil {
			return nil, err
		}
		if current {
			return known, nil
		}
	}
	load := func(ctx context.Context) (*table.Table, error) { return c.Backend.LoadTable(ctx, id) }
	t, err := c.table(ctx, readTimeout, load)
	if errors.Is(err, fs.ErrNotExist) {
		t, err = c.table(ctx, readTimeout, load)
	}
	if err == nil && ok {
		c.known.put(t)
	}
	return t, err
}

// CreateTable makes a table whose transactions commit through c.
func (c *Catalog) CreateTable(ctx context.Context, id table.Identifier, schema *iceberg.Schema, opts ...catalog.CreateTableOpt) (*table.Table, error) {
	t, err := c.table(ctx, changeTimeout, func(ctx context.Context) (*table.Table, error) {
		return c.Backend.CreateTable(ctx, id, schema, opts...)
	})
	if _, ok := c.Backend.(FreshnessChecker); ok && err == nil {
		c.known.put(t)
	}
	return t, err
}

// table asks the backend for a table, which then commits through c.
func (c *Catalog) table(ctx context.Context, timeout time.Duration, do func(context.Context) (*table.Table, error)) (*table.Table, error) {
	t, err := ask(ctx, c, timeout, do)
	if err != nil {
		return nil, err
	}
	return c.bind(ctx, t, t.Metadata(), t.MetadataLocation())
}

// bind makes a table that commits through c, with the files of another. It does
// not keep the other, as a table made with its FS method would: of each of a
// run's commits the metadata would stay in memory.
func (c *Catalog) bind(ctx context.Context, of *table.Table, meta table.Metadata, location string) (*table.Table, error) {
	files, err := of.FS(context.WithoutCancel(ctx)) // the last commit of a run that is told to stop needs them
	if err != nil {
		return nil, fmt.Errorf("reaching the files of table %s: %w", strings.Join(of.Identifier(), "."), err)
	}
	id := of.Identifier()
	storage.Renew(files, func(ctx context.Context) (iceio.IO, error) {
		again, err := ask(ctx, c, readTimeout, func(ctx context.Context) (*table.Table, error) { return c.Backend.LoadTable(ctx, id) })
		if err != nil {
			return nil, fmt.Errorf("asking the catalog for credentials: %w", err)
		}
		return again.FS(ctx)
	})
	opened := func(context.Context) (iceio.IO, error) { return files, nil }
	return table.New(of.Identifier(), meta, location, opened, c), nil
}

// DropTable removes a table from the catalog and leaves its files.
func (c *Catalog) DropTable(ctx context.Context, id table.Identifier) error {
	return c.call(ctx, changeTimeout, func(ctx context.Context) error { return c.Backend.DropTable(ctx, id) })
}

// RenameTable gives a table another name.
func (c *Catalog) RenameTable(ctx context.Context, from, to table.Identifier) (*table.Table, error) {
	return c.table(ctx, changeTimeout, func(ctx context.Context) (*table.Table, error) { return c.Backend.RenameTable(ctx, from, to) })
}

// CheckTableExists reports whether there is a table.
func (c *Catalog) CheckTableExists(ctx context.Context, id table.Identifier) (bool, error) {
	return ask(ctx, c, readTimeout, func(ctx context.Context) (bool, error) { return c.Backend.CheckTableExists(ctx, id) })
}

// ListTables lists the tables of a namespace. All are listed before the first is
// yielded.
func (c *Catalog) ListTables(ctx context.Context, namespace table.Identifier) iter.Seq2[table.Identifier, error] {
	return func(yield func(table.Identifier, error) bool) {
		ids, err := ask(ctx, c, readTimeout, func(ctx context.Context) (ids []table.Identifier, err error) {
			for id, err := range c.Backend.ListTables(ctx, namespace) {
				if err != nil {
					return nil, err
				}
				ids = append(ids, id)
			}
			return ids, nil
		})
		if err != nil {
			yield(nil, err)
			return
		}
		for _, id := range ids {
			if !yield(id, nil) {
				return
			}
		}
	}
}

// CreateNamespace makes a namespace.
func (c *Catalog) CreateNamespace(ctx context.Context, id table.Identifier, props iceberg.Properties) error {
	return c.call(ctx, changeTimeout, func(ctx context.Context) error { return c.Backend.CreateNamespace(ctx, id, props) })
}

// DropNamespace removes an empty namespace.
func (c *Catalog) DropNamespace(ctx context.Context, id table.Identifier) error {
	return c.call(ctx, changeTimeout, func(ctx context.Context) error { return c.Backend.DropNamespace(ctx, id) })
}

// CheckNamespaceExists reports whether there is a namespace.
func (c *Catalog) CheckNamespaceExists(ctx context.Context, id table.Identifier) (bool, error) {
	return ask(ctx, c, readTimeout, func(ctx context.Context) (bool, error) { return c.Backend.CheckNamespaceExists(ctx, id) })
}

// ListNamespaces lists the namespaces in another one, or those at the top. A backend may list nested ones at the top, too.
func (c *Catalog) ListNamespaces(ctx context.Context, parent table.Identifier) ([]table.Identifier, error) {
	return ask(ctx, c, readTimeout, func(ctx context.Context) ([]table.Identifier, error) { return c.Backend.ListNamespaces(ctx, parent) })
}

// LoadNamespaceProperties returns the properties of a namespace.
func (c *Catalog) LoadNamespaceProperties(ctx context.Context, id table.Identifier) (iceberg.Properties, error) {
	return ask(ctx, c, readTimeout, func(ctx context.Context) (iceberg.Properties, error) {
		return c.Backend.LoadNamespaceProperties(ctx, id)
	})
}

// UpdateNamespaceProperties changes the properties of a namespace.
func (c *Catalog) UpdateNamespaceProperties(ctx context.Context, id table.Identifier, removals []string, updates iceberg.Properties) (catalog.PropertiesUpdateSummary, error) {
	return ask(ctx, c, changeTimeout, func(ctx context.Context) (catalog.PropertiesUpdateSummary, error) {
		return c.Backend.UpdateNamespaceProperties(ctx, id, removals, updates)
	})
}

// ClientRemovesMetadata reports whether whoever commits to a table has to remove the
// metadata files that commits supersede. Otherwise the backend does, as the server
// of a REST catalog.
func (c *Catalog) ClientRemovesMetadata() bool { return c.clientRemovesMetadata }

// KeepsBranches reports whether a table can have a branch besides main.
func (c *Catalog) KeepsBranches() bool { return !c.mainOnly }

// CatalogType is the library's name for the kind of the backend.
func (c *Catalog) CatalogType() catalog.Type { return c.Backend.CatalogType() }
