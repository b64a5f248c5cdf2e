package snowflake

import (
	"context"
	"fmt"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
)

// Tag is the tag of each registered table that names the snapshot that Snowflake shows:
// a snapshot with a tag does not expire.
const Tag = "airbyte_snowflake"

// load loads a table as it is in its catalog.
func load(ctx context.Context, t *lake.Table) (*table.Table, error) {
	loaded, err := t.Catalog().LoadTable(ctx, t.Opened().Identifier())
	if err != nil {
		return nil, t.Explain(fmt.Errorf("loading table %s: %w", t, err))
	}
	return loaded, nil
}

// pin moves the tag to a snapshot. If the snapshot is not there any more, or has the
// tag, nothing is committed. A catalog without branches has no tags: there nothing is
// pinned, and expiry keeps what it always does.
func pin(ctx context.Context, t *lake.Table, snapshotID int64) error {
	if !t.Catalog().KeepsBranches() {
		return nil // nor tags
	}
	_, _, err := t.UpdateMetadata(ctx, func(base *table.Table) ([]table.Requirement, []table.Update, error) {
		var tagged *int64
		for name, ref := range base.Metadata().Refs() {
			if name == Tag {
				tagged = &ref.SnapshotID
			}
		}
		if base.SnapshotByID(snapshotID) == nil || tagged != nil && *tagged == snapshotID {
			return nil, nil, nil
		}
		return []table.Requirement{table.AssertRefSnapshotID(Tag, tagged)},
			[]table.Update{table.NewSetSnapshotRefUpdate(Tag, snapshotID, table.TagRef, 0, 0, 0)}, nil
	})
	if err != nil {
		return t.Explain(fmt.Errorf("pinning snapshot %d of table %s: %w", snapshotID, t, err))
	}
	return nil
}
