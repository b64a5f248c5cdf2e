package catalogs

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
)

// createdTimeout is how long a run that was told to stop still asks whether the table
// was made that it was making.
const createdTimeout = 5 * time.Second

// CreateTable makes a table. If the database has not answered, the table may be there
// after an error, so its metadata file stays: the library's method removes it, and then
// nobody can read the table. After [catalog.ErrTableAlreadyExists] and
// [catalog.ErrViewAlreadyExists] there is nothing of the new one.
func (c sqlCatalog) CreateTable(ctx context.Context, id table.Identifier, schema *iceberg.Schema, options ...catalog.CreateTableOpt) (*table.Table, error) {
	if err := catalog.ValidateTableIdentifier(id); err != nil {
		return nil, err
	}
	config := catalog.NewCreateTableCfg()
	for _, set := range options {
		set(&config)
	}
	root, err := c.root(ctx, id, config.Location)
	if err != nil {
		return nil, err
	}
	meta, err := table.NewMetadata(schema, config.PartitionSpec, config.SortOrder, root, config.Properties)
	if err != nil {
		return nil, err
	}
	provider, err := table.LoadLocationProvider(root, meta.Properties())
	if err != nil {
		return nil, err
	}
	location, err := provider.NewTableMetadataFileLocation(0)
	if err != nil {
		return nil, err
	}
	files, err := writeMetadata(ctx, iceio.LoadFSFunc(c.properties, location), location, meta)
	if err != nil {
		return nil, err
	}
	if err := c.insert(ctx, id, location); err != nil {
		if errors.Is(err, catalog.ErrTableAlreadyExists) || errors.Is(err, catalog.ErrViewAlreadyExists) {
			err = errors.Join(err, files.Remove(location))
		}
		return nil, err
	}
	return c.LoadTable(ctx, id)
}

// root is the directory of a new table, chosen as by the library: below its namespace's
// location, or else below the warehouse.
func (c sqlCatalog) root(ctx context.Context, id table.Identifier, location string) (string, error) {
	namespace := catalog.NamespaceFromIdent(id)
	properties, err := c.LoadNamespaceProperties(ctx, namespace)
	switch {
	case err != nil:
		return "", err
	case location != "":
		return strings.TrimSuffix(location, "/"), nil
	case properties["location"] != "":
		return url.JoinPath(properties["location"], catalog.TableNameFromIdent(id))
	}
	return url.JoinPath(c.properties["warehouse"], strings.Join(namespace, ".")+".db", catalog.TableNameFromIdent(id))
}

// insert has the catalog name the first metadata file of a table. The row's type stays
// NULL, which is a table for every program: catalogs of older ones have no such column.
func (c sqlCatalog) insert(ctx context.Context, id table.Identifier, location string) error {
	namespace, name := strings.Join(catalog.NamespaceFromIdent(id), "."), catalog.TableNameFromIdent(id)
	var values []string
	for n := range 4 {
		values = append(values, c.placeholder(n+1))
	}
	_, err := c.db.ExecContext(ctx, "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location) VALUES ("+strings.Join(values, ", ")+")",
		catalogName, namespace, name, location)
	if err == nil {
		return nil
	}
	err = c.classify(fmt.Errorf("making table %s.%s: %w", namespace, name, err))
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), createdTimeout)
	defer cancel()
	there, lookErr := c.metadataLocation(asking, id)
	switch {
	case lookErr != nil:
		return err // the row may still come
	case there == location:
		return ctx.Err() // it has landed
	}
	if isTable, lookErr := c.CheckTableExists(asking, id); lookErr != nil || !isTable {
		return fmt.Errorf("%w: %w", catalog.ErrViewAlreadyExists, err)
	}
	return fmt.Errorf("%w: %s.%s", catalog.ErrTableAlreadyExists, namespace, name)
}
