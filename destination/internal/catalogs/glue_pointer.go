package catalogs

import (
	"context"
	"fmt"
	"maps"

	"github.com/apache/iceberg-go/table"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glue"
	"github.com/aws/aws-sdk-go-v2/service/glue/types"
)

// The parameters of a table in Glue that name its metadata files.
const (
	glueMetadata         = "metadata_location"
	gluePreviousMetadata = "previous_metadata_location"
)

// metadataLocation is as [metadataPointer] says.
func (c glueCatalog) metadataLocation(ctx context.Context, id table.Identifier) (string, error) {
	found, err := c.entry(ctx, id)
	if err != nil {
		return "", err
	}
	return found.Parameters[glueMetadata], nil
}

// entry is a table as Glue describes it.
func (c glueCatalog) entry(ctx context.Context, id table.Identifier) (*types.Table, error) {
	answer, err := c.client.GetTable(ctx, &glue.GetTableInput{CatalogId: c.id, DatabaseName: &id[0], Name: &id[1]})
	if err != nil {
		return nil, err
	}
	return answer.Table, nil
}

// setMetadataLocation is as [metadataPointer] says.
func (c glueCatalog) setMetadataLocation(ctx context.Context, id table.Identifier, before string, after *table.Table) error {
	found, err := c.entry(ctx, id)
	if err != nil {
		return err
	}
	if found.Parameters[glueMetadata] != before {
		return fmt.Errorf("%w: another commit was quicker", table.ErrCommitFailed)
	}
	parameters := maps.Clone(found.Parameters)
	parameters[glueMetadata], parameters[gluePreviousMetadata] = after.MetadataLocation(), before
	storage := found.StorageDescriptor
	if storage != nil {
		storage.Location = aws.String(after.Location())
	}
	_, err = c.client.UpdateTable(ctx, &glue.UpdateTableInput{
		CatalogId: c.id, DatabaseName: &id[0], VersionId: found.VersionId, SkipArchive: aws.Bool(true),
		TableInput: &types.TableInput{
			Name: found.Name, Description: found.Description, Owner: found.Owner, TableType: found.TableType,
			Parameters: parameters, StorageDescriptor: storage, PartitionKeys: found.PartitionKeys, Retention: found.Retention,
		},
	})
	if err != nil {
		return commitOutcome(err)
	}
	return nil
}
