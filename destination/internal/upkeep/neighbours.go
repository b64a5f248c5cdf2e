package upkeep

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

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
)

// Neighbours are the tables of a catalog, with the places where they keep files. The
// tables that are maintained in one run share them: if each loaded all others, the time
// would grow with the square of their number.
type Neighbours struct {
	mu   sync.Mutex
	read time.Time
	all  []neighbour
}

type neighbour struct {
	id     table.Identifier
	places []string // plain paths
	fault  string   // why it could not be loaded; "" if it was
}

// neighboursAge is how old they may be.
const neighboursAge = time.Minute

func (n *Neighbours) of(ctx context.Context, cat catalog.Catalog) ([]neighbour, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.read.IsZero() && time.Since(n.read) < neighboursAge {
		return n.all, nil
	}
	began := time.Now()
	namespaces, err := cat.ListNamespaces(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("listing namespaces: %w", err)
	}
	var all []neighbour
	for _, namespace := range namespaces {
		for id, err := range cat.ListTables(ctx, namespace) {
			if err != nil {
				return nil, fmt.Errorf("listing tables: %w", err)
			}
			loaded, err := cat.LoadTable(ctx, id)
			switch {
			case errors.Is(err, catalog.ErrNoSuchTable):
			case ctx.Err() != nil:
				return nil, ctx.Err()
			case err != nil:
				all = append(all, neighbour{id: id, fault: err.Error()})
			default:
				p := tabledef.PathsOf(loaded.Location(), loaded.Metadata())
				all = append(all, neighbour{id: id, places: []string{filenames.Plain(loaded.Location()), p.Data, p.Metadata}})
			}
		}
	}
	n.read, n.all = began, all
	return all, nil
}

// locationSharedBecause says which other table of the catalog may have files below
// the table's location: one that was registered twice, or one that was told to
// keep them there.
func (m *maintenance) locationSharedBecause(ctx context.Context, base *table.Table) (string, error) {
	all, err := m.Neighbours.of(ctx, m.table.Catalog())
	if err != nil {
		return "", err
	}
	own := filenames.Plain(base.Location())
	for _, other := range all {
		name := strings.Join(other.id, ".")
		switch {
		case slices.Equal(other.id, m.opened.Identifier()):
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
	return "", nil
}
