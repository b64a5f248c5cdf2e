package catalogs

import (
	"context"
	"fmt"
	"slices"

	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"
)

// TableIDs lists the tables of a catalog as it has them now, sorted.
func TableIDs(ctx context.Context, cat catalog.Catalog) ([]table.Identifier, error) {
	namespaces, err := cat.ListNamespaces(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("listing namespaces: %w", err)
	}
	var ids []table.Identifier
	for _, namespace := range namespaces {
		for id, err := range cat.ListTables(ctx, namespace) {
			if err != nil {
				return nil, fmt.Errorf("listing tables: %w", err)
			}
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, slices.Compare)
	return ids, nil
}
