package maintenance

import (
	"context"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
)

const (
	ExpireBatch  = expireBatch
	MaxSnapshots = maxSnapshots
	TierFiles    = tierFiles
)

// MergedBytes is the largest size of a merged file.
func MergedBytes(t *lake.Table) int64 { return newMaintenance(t, Options{}).mergedBytes() }

// Compact merges some of the files that a snapshot consists of.
func Compact(ctx context.Context, t *lake.Table, set *snapshots.Set, files []*snapshots.LiveFile) error {
	done, made, err := newMaintenance(t, Options{}).rewrite(ctx, t.Opened().Metadata(), []*bundle{{files: files}}, nil)
	if err != nil {
		return err
	}
	_, err = t.ChangeBranch(ctx, t.Branch(), made, func(context.Context, *table.Table) (*snapshots.Change, error) {
		return swap(done, set, set, &Report{}), nil
	})
	return err
}
