package lake

import (
	"context"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
)

// ChangeBranch commits to a branch what stage makes of the table as it is, and keeps the
// branch's state. added are files that stage may add; it names those as superseded that it
// leaves out. What it says of failures is what Commit says.
func (t *Table) ChangeBranch(ctx context.Context, branch string, added []iceberg.DataFile, stage func(context.Context, *table.Table) (*snapshots.Change, error)) (Committed, error) {
	c := &fileCommit{t: t, branch: branch}
	if branch != table.MainBranch {
		c.needs = branch
	}
	for _, data := range added {
		c.files = append(c.files, &stagedFile{data: data})
	}
	return c.commitWithRetry(ctx, stage)
}

// moveTo makes a snapshot the last of a branch, keeping the branch's own rules
// of retention.
func moveTo(meta table.Metadata, branch string, id int64) table.Update {
	var refAge, snapshotAge int64
	var keep int
	for name, ref := range meta.Refs() {
		if name != branch {
			continue
		}
		if ref.MaxRefAgeMs != nil {
			refAge = *ref.MaxRefAgeMs
		}
		if ref.MaxSnapshotAgeMs != nil {
			snapshotAge = *ref.MaxSnapshotAgeMs
		}
		if ref.MinSnapshotsToKeep != nil {
			keep = *ref.MinSnapshotsToKeep
		}
	}
	return table.NewSetSnapshotRefUpdate(branch, id, table.BranchRef, refAge, snapshotAge, keep)
}
