package lake

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/checkpoint"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
)

// Replace swaps all rows of the table for the staged ones, in one transaction:
// readers see the old rows until they see the new ones. With nothing staged it
// empties the table. Refreshes that are under way are discarded with their
// rows. What it says of failures is what Commit says.
func (t *Table) Replace(ctx context.Context, staged []*Staged, state json.RawMessage) (Committed, error) {
	return replace(ctx, t, staged, state, stateOfOthers(t), nil)
}

// replace is Replace; more is committed with the snapshot, if there is one, and the state
// that inherit returns, unless there is a new one.
func replace(ctx context.Context, t *Table, staged []*Staged, state json.RawMessage, inherit func(context.Context, *table.Table) (json.RawMessage, error), more []table.Update) (Committed, error) {
	files := stagedFiles(staged)
	u := newUpsert(t, table.MainBranch, files, indexesOf(staged)) // rows of one key can be staged here too
	defer u.close()
	replacement := &fileCommit{t: t, branch: table.MainBranch, files: files, state: state, inheritState: inherit}
	replacement.alsoUpdate = func(base *table.Table) (reqs []table.Requirement, updates []table.Update) {
		if replacement.snapshot != nil {
			updates = slices.Clone(more)
		}
		for _, branch := range RefreshBranches(base.Metadata()) {
			updates = append(updates, removeBranch(base.Metadata(), branch)...)
		}
		return nil, updates
	}
	return replacement.commitWithRetry(ctx, func(ctx context.Context, base *table.Table) (*snapshots.Change, error) {
		c := &snapshots.Change{Operation: table.OpOverwrite}
		if state == nil { // a state of rows that are gone goes, too, if there are none by now
			old, err := stateAt(ctx, base, table.MainBranch, base.CurrentSnapshot())
			if err != nil && !errors.Is(err, ErrStateUnknown) {
				return c, err
			}
			c.Forced = old != nil || err != nil
		}
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
		if _, err := u.outdatedFiles(ctx, base, &snapshots.Set{}); err != nil {
			return c, err
		}
		return c, u.apply(ctx, c, base, nil)
	})
}

// withoutState is the state of an emptied table.
func withoutState(context.Context, *table.Table) (json.RawMessage, error) {
	return json.RawMessage(noState), nil
}

// stateOfOthers returns the state of a table whose rows were replaced by all that the
// source has. A state of the rows before goes with them: with it, the source would pass over
// what they held. One that covers all streams stays, because the tables of the others have
// its rows, and without this copy it would not count as committed.
func stateOfOthers(t *Table) func(context.Context, *table.Table) (json.RawMessage, error) {
	return func(ctx context.Context, base *table.Table) (json.RawMessage, error) {
		raw, err := stateAt(ctx, base, table.MainBranch, base.CurrentSnapshot())
		if err != nil && !errors.Is(err, ErrStateUnknown) {
			return nil, err
		}
		if all, err := checkpoint.CoversAll(t.storage.Files, raw); all || err != nil {
			return raw, err
		}
		return withoutState(ctx, base)
	}
}
