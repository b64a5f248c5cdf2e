package catalogs

import (
	"context"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A metadataPointer is a backend whose clients say which metadata file a table has. The
// server of a REST catalog writes the file and says so itself.
type metadataPointer interface {
	// metadataLocation is the metadata file that the catalog has for a table.
	metadataLocation(ctx context.Context, id table.Identifier) (string, error)
	// setMetadataLocation has the catalog name the metadata file of after, if it still
	// names the one before; otherwise the error is [table.ErrCommitFailed].
	setMetadataLocation(ctx context.Context, id table.Identifier, before string, after *table.Table) error
}

// PointsToMetadata reports whether the catalog has [Catalog.MetadataLocation] and
// [Catalog.SetMetadataLocation].
func (c *Catalog) PointsToMetadata() bool {
	_, ok := c.Backend.(metadataPointer)
	return ok
}

// MetadataLocation is the metadata file that the catalog has for a table, whether or
// not it is there.
func (c *Catalog) MetadataLocation(ctx context.Context, id table.Identifier) (string, error) {
	return ask(ctx, c, readTimeout, func(ctx context.Context) (string, error) {
		pointer, err := c.pointer()
		if err != nil {
			return "", err
		}
		return pointer.metadataLocation(ctx, id)
	})
}

// SetMetadataLocation has the catalog name the metadata file of after for its table,
// if it still names the one before; otherwise the error is [table.ErrCommitFailed].
func (c *Catalog) SetMetadataLocation(ctx context.Context, before string, after *table.Table) error {
	return c.call(ctx, changeTimeout, func(ctx context.Context) error {
		pointer, err := c.pointer()
		if err != nil {
			return err
		}
		return pointer.setMetadataLocation(ctx, after.Identifier(), before, after)
	})
}

func (c *Catalog) pointer() (metadataPointer, error) {
	if pointer, ok := c.Backend.(metadataPointer); ok {
		return pointer, nil
	}
	return nil, protocol.ConfigError.Errorf(nil, "%s does not let its clients say where the metadata of a table is.", c.name)
}
