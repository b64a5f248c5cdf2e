package catalogs

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"

	"github.com/apache/iceberg-go/catalog"
	sqlcat "github.com/apache/iceberg-go/catalog/sql"
	"github.com/apache/iceberg-go/table"
)

// known is tables that were loaded or committed lately. A metadata file never
// changes, so as long as the catalog names the same one there is nothing to
// read: parsing it is most of the cost of a small commit.
type known struct {
	mu  sync.Mutex
	all map[string]*table.Table
}

// manyKnown bounds the memory: the metadata of a table that is written often
// takes some hundred kilobytes.
const manyKnown = 32

func keyOf(id table.Identifier) string { return strings.Join(id, "\x00") }

// get returns nil for a table that is not known.
func (k *known) get(id table.Identifier) *table.Table {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.all[keyOf(id)]
}

func (k *known) put(t *table.Table) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all == nil {
		k.all = map[string]*table.Table{}
	}
	k.all[keyOf(t.Identifier())] = t
	for other := range k.all {
		if len(k.all) <= manyKnown {
			break
		}
		delete(k.all, other)
	}
}

// sqlCatalog is the library's catalog, which does not let its database be asked.
type sqlCatalog struct {
	*sqlcat.Catalog
	db    *sql.DB
	query string // has placeholders for the catalog, the table's name and the location of its metadata
}

// IsCurrent tells whether the metadata file of a table is still the one that the
// catalog has for it.
func (c sqlCatalog) IsCurrent(ctx context.Context, t *table.Table) (current bool, err error) {
	err = c.db.QueryRowContext(ctx, c.query, catalogName, catalog.TableNameFromIdent(t.Identifier()), t.MetadataLocation()).Scan(&current)
	if err != nil {
		return false, fmt.Errorf("asking for the metadata of table %s: %w", strings.Join(t.Identifier(), "."), err)
	}
	return current, nil
}
