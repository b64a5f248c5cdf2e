package catalogs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"
)

// TableIDs lists the tables of a catalog as it has them now, those of nested namespaces too, sorted.
func TableIDs(ctx context.Context, cat catalog.Catalog) ([]table.Identifier, error) {
	var ids []table.Identifier
	listed := map[string]bool{}
	parents := []table.Identifier{nil}
	for len(parents) > 0 {
		children, err := cat.ListNamespaces(ctx, parents[0])
		if err != nil && !errors.Is(err, catalog.ErrNoSuchNamespace) { // dropped in the meantime
			return nil, fmt.Errorf("listing namespaces: %w", err)
		}
		parents = parents[1:]
		for _, namespace := range children {
			name := strings.Join(namespace, "\x00")
			if listed[name] { // some REST catalogs list a namespace among its own children
				continue
			}
			listed[name] = true
			parents = append(parents, namespace)
			for id, err := range cat.ListTables(ctx, namespace) {
				if errors.Is(err, catalog.ErrNoSuchNamespace) {
					break
				}
				if err != nil {
					return nil, fmt.Errorf("listing tables: %w", err)
				}
				ids = append(ids, id)
			}
		}
	}
	slices.SortFunc(ids, slices.Compare)
	return ids, nil
}

// IsDropped reports whether err, of a table that [TableIDs] listed, says that the table has been dropped or renamed since.
// It lists the namespace again: some servers also say of a table whose metadata file is lost that there is none.
func IsDropped(ctx context.Context, cat catalog.Catalog, id table.Identifier, err error) bool {
	if !errors.Is(err, catalog.ErrNoSuchTable) && !errors.Is(err, catalog.ErrNoSuchNamespace) {
		return false
	}
	for listed, err := range cat.ListTables(ctx, id[:len(id)-1]) {
		if err != nil {
			return errors.Is(err, catalog.ErrNoSuchNamespace)
		}
		if slices.Equal(listed, id) {
			return false
		}
	}
	return true
}
