package catalogs

import (
	"strings"
	"sync"

	"github.com/apache/iceberg-go/table"
)

// A tableCache holds tables that were loaded or committed lately. A metadata file never
// changes, so as long as the catalog names the same one there is nothing to
// read: parsing it is most of the cost of a small commit.
type tableCache struct {
	mu  sync.Mutex
	all map[string]*table.Table
}

// maxCachedTables bounds the memory: the metadata of a table that is written often
// takes some hundred kilobytes.
const maxCachedTables = 32

func keyOf(id table.Identifier) string { return strings.Join(id, "\x00") }

// get returns nil for a table that is not known.
func (k *tableCache) get(id table.Identifier) *table.Table {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.all[keyOf(id)]
}

func (k *tableCache) put(t *table.Table) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all == nil {
		k.all = map[string]*table.Table{}
	}
	k.all[keyOf(t.Identifier())] = t
	for other := range k.all {
		if len(k.all) <= maxCachedTables {
			break
		}
		delete(k.all, other)
	}
}
