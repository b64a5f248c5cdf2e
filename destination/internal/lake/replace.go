package lake

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
)

// Replace swaps all rows of the table for the staged ones, in one transaction:
// readers see the old rows until they see the new ones. With nothing staged it
// empties the table. Refreshes that are under way are discarded with their
// rows. What it says of failures is what Commit says.
func (t *Table) Replace(ctx context.Context, staged []*Staged, state json.RawMessage) (Committed, error) {
	files := stagedFiles(staged)
	u := newUpsert(t, table.MainBranch, files, indexesOf(staged)) // rows of one key can be staged here too
	defer u.close()
	replacement := &fileCommit{t: t, branch: table.MainBranch, files: files, state: state, inheritState: stateOfReplacedRows, alsoUpdate: func(base *table.Table) (reqs []table.Requirement, updates []table.Update) {
		for _, n := range generationsOf(base.Metadata()) {
			updates = append(updates, removeBranch(base.Metadata(), branchPrefix+strconv.FormatInt(n, 10))...)
		}
		return nil, updates
	}}
	return replacement.commitWithRetry(ctx, func(ctx context.Context, base *table.Table) (*snapshots.Change, error) {
		c := &snapshots.Change{Operation: table.OpOverwrite}
		// A state of rows that are gone goes, too, if there are none by now.
		c.Forced = state == nil && !slices.Contains([]string{"", noState}, base.Properties()[stateKey])
		set, err := t.storage.List(base.CurrentSnapshot(), u.manifests)
		if err != nil {
			return c, err
		}
		for _, f := range set.Files {
			c.Remove(f.Data, f.Manifest)
		}
		for _, d := range set.Deletes {
			c.Remove(d.Data, d.Manifest)
		}
		if _, err := u.outdatedFiles(ctx, base.Schema(), &snapshots.Set{}); err != nil {
			return c, err
		}
		return c, u.apply(ctx, c, base, nil)
	})
}
