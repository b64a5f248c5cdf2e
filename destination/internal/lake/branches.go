package lake

import "github.com/apache/iceberg-go/table"

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
