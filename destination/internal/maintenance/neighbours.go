package maintenance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
)

// Neighbours are the tables of a catalog, with the places where they keep files. The
// tables that are maintained in one run share what they loaded: if each loaded all
// others, the time would grow with the square of their number. Each lists the tables
// again, because one that was created in the meantime may keep files below its location.
type Neighbours struct {
	mu     sync.Mutex
	loaded map[string]neighbour // by name
}

type neighbour struct {
	id     table.Identifier
	read   time.Time
	places []string // plain paths
	fault  string   // why it could not be loaded; "" if it was
}

// neighboursAge is how long what was loaded of a table is used.
const neighboursAge = time.Minute

// of returns the tables that the catalog has now.
func (n *Neighbours) of(ctx context.Context, cat catalog.Catalog) ([]neighbour, error) {
	ids, err := catalogs.TableIDs(ctx, cat)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.loaded == nil {
		n.loaded = map[string]neighbour{}
	}
	var all []neighbour
	for _, id := range ids {
		name := strings.Join(id, "\x00")
		known, ok := n.loaded[name]
		if !ok || time.Since(known.read) >= neighboursAge {
			known, err = loadNeighbour(ctx, cat, id)
			if errors.Is(err, catalog.ErrNoSuchTable) {
				continue
			}
			if err != nil {
				return nil, err
			}
			n.loaded[name] = known
		}
		all = append(all, known)
	}
	return all, nil
}

// loadNeighbour finds out where a table keeps files. That it cannot be loaded is no error.
func loadNeighbour(ctx context.Context, cat catalog.Catalog, id table.Identifier) (neighbour, error) {
	n := neighbour{id: id, read: time.Now()}
	loaded, err := cat.LoadTable(ctx, id)
	switch {
	case errors.Is(err, catalog.ErrNoSuchTable):
		return n, err
	case ctx.Err() != nil:
		return n, ctx.Err()
	case err != nil:
		n.fault = err.Error()
	default:
		p := tabledef.PathsOf(loaded.Location(), loaded.Metadata())
		n.places = []string{filenames.Plain(loaded.Location()), p.Data, p.Metadata}
	}
	return n, nil
}

// sharedBecause says which other table of the catalog may have files below a directory of
// the table: one that was registered twice, or one that was told to keep them there.
func (m *maintenance) sharedBecause(ctx context.Context, own string) (string, error) {
	all, err := m.Neighbours.of(ctx, m.table.Catalog())
	if err != nil {
		return "", err
	}
	itself := false
	for _, other := range all {
		name := strings.Join(other.id, ".")
		switch {
		case slices.Equal(other.id, m.opened.Identifier()):
			itself = true
			continue
		case other.fault != "":
			return fmt.Sprintf("table %s of the same catalog cannot be loaded, so nobody knows where its files are (%s)", name, other.fault), nil
		}
		for _, place := range other.places {
			if filenames.Within(place, own) || filenames.Within(own, place) {
				return fmt.Sprintf("table %s keeps files in %s, so that they may be its", name, place), nil
			}
		}
	}
	if !itself { // some REST catalogs list nothing, and some only what a role may see
		return "the catalog does not list this table, so nobody knows which others there are", nil
	}
	return "", nil
}
