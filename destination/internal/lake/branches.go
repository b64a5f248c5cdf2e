package lake

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
)

// Branch is the branch to which commits go: the main branch, unless a refresh is under
// way.
func (t *Table) Branch() string { return cmp.Or(t.refresh.branch, table.MainBranch) }

// branchPrefix and the generation are the name of a refresh's branch.
const branchPrefix = "airbyte_generation_"

func branchOf(generation int64) string { return branchPrefix + strconv.FormatInt(generation, 10) }

// generationsOf lists the generations that have branches, in ascending order.
func generationsOf(meta table.Metadata) []int64 {
	var found []int64
	for name := range meta.Refs() {
		if digits, ok := strings.CutPrefix(name, branchPrefix); ok {
			if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
				found = append(found, n)
			}
		}
	}
	return slices.Sorted(slices.Values(found))
}

// RefreshBranches are the branches of refreshes that are under way.
func RefreshBranches(meta table.Metadata) []string {
	var names []string
	for _, n := range generationsOf(meta) {
		names = append(names, branchOf(n))
	}
	return names
}

// removeBranch returns the updates that remove a branch, if it is there, with its state.
func removeBranch(meta table.Metadata, branch string) []table.Update {
	var updates []table.Update
	if refs := maps.Collect(meta.Refs()); refs[branch] != (table.SnapshotRef{}) {
		updates = append(updates, table.NewRemoveSnapshotRefUpdate(branch))
	}
	return append(updates, removeState(meta, branch)...)
}

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

func idOf(s *table.Snapshot) *int64 {
	if s == nil {
		return nil
	}
	return &s.SnapshotID
}
