package catalogs

import (
	"strings"
	"sync"

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
