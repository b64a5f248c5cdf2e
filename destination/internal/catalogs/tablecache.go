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
	mu    sync.Mutex
	all   map[string]cachedTable
	bytes int
}

type cachedTable struct {
	*table.Table
	bytes int
}

// maxCachedBytes bounds the memory, which is that of some hundred small tables, or of some
// ten that are written often.
const maxCachedBytes = 4 << 20

func keyOf(id table.Identifier) string { return strings.Join(id, "\x00") }

// get returns nil for a table that is not known.
func (k *tableCache) get(id table.Identifier) *table.Table {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.all[keyOf(id)].Table
}

// put adds a table, and drops others, whichever, when there are too many.
func (k *tableCache) put(t *table.Table) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all == nil {
		k.all = map[string]cachedTable{}
	}
	key, now := keyOf(t.Identifier()), cachedTable{t, metadataBytes(t.Metadata())}
	k.bytes += now.bytes - k.all[key].bytes
	k.all[key] = now
	for other, old := range k.all {
		if k.bytes <= maxCachedBytes {
			break
		}
		if other != key {
			k.bytes -= old.bytes
			delete(k.all, other)
		}
	}
}

// metadataBytes is about what metadata takes in memory.
func metadataBytes(m table.Metadata) int {
	const base, field, snapshot = 8 << 10, 300, 1 << 10
	n := base + snapshot*len(m.Snapshots())
	if last := m.CurrentSnapshot(); last != nil && last.Summary != nil { // the others' are alike
		for key, value := range last.Summary.Properties {
			n += (len(key) + len(value)) * len(m.Snapshots())
		}
	}
	for key, value := range m.Properties() {
		n += len(key) + len(value)
	}
	for _, schema := range m.Schemas() {
		n += field * schema.HighestFieldID()
	}
	return n
}
