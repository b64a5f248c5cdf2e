package lake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rowkeys"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
)

// A refresh replaces the rows of older generations by those of a new one, once all
// new rows are there. Its commits go to a branch of the table. The
// branch survives a failed attempt, together with the states that were echoed for
// it, and the next attempt of the generation continues there. Readers see the main
// branch, which changes once, at the end.
//
// Some catalogs keep no branches. There the new rows are held back until all of
// them are there, and a failed attempt begins again.

// generationsKey is the table property that is set once a sync has counted generations: see
// counts.
const generationsKey = "airbyte.generations"

// A Generation is the generation of the rows of a sync, and the oldest generation
// that stays when the sync is complete, 0 for all.
type Generation struct{ ID, Minimum int64 }

// A refresh is what a table has to know of one that is under way.
type refresh struct {
	branch  string // that commits go to; "": there is no refresh, or the catalog keeps no branches
	begun   bool   // the branch was found, or a commit to it has landed
	minimum int64  // the oldest generation that stays
}

// Begun says what Begin found.
type Begun struct {
	// Retained are the generations of refreshes that are given up: their rows were
	// merged into the main branch.
	Retained []int64
	// Refreshing: older generations go when the sync is complete, by Finish.
	Refreshing bool
	// AtEnd: until then nothing may be committed, as the catalog keeps no branches.
	AtEnd bool
}

// requiredBranch returns the branch that must be there because it has rows, "" for none.
func (r refresh) requiredBranch() string {
	if !r.begun {
		return ""
	}
	return r.branch
}

// counts reports whether a sync's ids show that its orchestrator counts
// generations, so that a row without a generation is older. PyAirbyte gives 1 and
// 1 to every sync, which says nothing: such a sync must not remove what was
// written without ids.
func (g Generation) counts() bool { return g.Minimum == 0 || g.ID > 1 }

// Begin prepares the table for a sync that appends. g is nil if the sync has no
// ids. If older generations must go and there are any, commits go to the refresh's
// branch from now on, until Finish; Branch names it.
//
// If the sync removes nothing, refreshes that were started and not finished are
// merged: all their rows move to the main branch, because their states were
// echoed.
func (t *Table) Begin(ctx context.Context, g *Generation) (begun Begun, err error) {
	defer func() { err = t.Explain(err) }()
	branches := generationsOf(t.opened.Metadata())
	if g == nil || g.Minimum == 0 {
		for _, n := range branches {
			if _, err := mergeBranch(ctx, t, refresh{branch: branchOf(n), begun: true}, nil); err != nil {
				return begun, err
			}
		}
		begun.Retained = branches
	}
	if g == nil {
		return begun, nil
	}
	_, _, err = t.UpdateMetadata(ctx, func(base *table.Table) (_ []table.Requirement, updates []table.Update, _ error) {
		meta := base.Metadata()
		if _, known := meta.Properties()[generationsKey]; !known && g.counts() {
			updates = append(updates, table.NewSetPropertiesUpdate(iceberg.Properties{generationsKey: "true"}))
		}
		for _, n := range generationsOf(meta) {
			if n < g.Minimum {
				updates = append(updates, removeBranch(meta, branchOf(n))...)
			}
		}
		return nil, updates, nil
	})
	if err != nil || g.Minimum == 0 {
		return begun, err
	}
	r := refresh{branch: branchOf(g.ID), minimum: g.Minimum}
	for {
		loaded, err := t.cat.LoadTable(ctx, t.id)
		if err != nil {
			return begun, fmt.Errorf("loading table %s: %w", t, err)
		}
		r.begun = loaded.SnapshotByName(r.branch) != nil
		begun.Refreshing = r.begun
		if !r.begun {
			begun.Refreshing, err = olderRows{t, loaded, g.Minimum}.exist(ctx)
		}
		if err == nil {
			break
		}
		if !MovedOn(ctx, t.cat, loaded, err) {
			return Begun{}, err
		}
	}
	if begun.AtEnd = begun.Refreshing && !t.cat.KeepsBranches(); begun.AtEnd {
		r.branch = ""
	}
	if begun.Refreshing {
		t.refresh = r
	}
	return begun, nil
}

// Finish completes a refresh in one transaction: the main branch gets the rows of
// the refresh and loses those of older generations, the table gets the state, and
// the branch is removed. state is the last one of the sync, nil for that of the
// branch. staged are all rows of a refresh that is made at once; they are nil for
// others, whose rows are on their branch. Its errors mean what those of Commit mean.
func (t *Table) Finish(ctx context.Context, staged []*Staged, state json.RawMessage) (done Committed, err error) {
	if t.refresh.branch == "" {
		done, err = replaceOlder(ctx, t, staged, state)
	} else {
		done, err = mergeBranch(ctx, t, t.refresh, state)
	}
	if err == nil {
		t.refresh = refresh{}
	}
	return done, err
}

// mergeBranch moves the rows of a refresh to the main branch, removes the rows that
// the main branch has of generations before the minimum, and removes the branch.
func mergeBranch(ctx context.Context, t *Table, r refresh, state json.RawMessage) (Committed, error) {
	merge := &fileCommit{
		t: t, branch: table.MainBranch, needs: r.requiredBranch(), state: state,
		alsoUpdate: func(base *table.Table) ([]table.Requirement, []table.Update) {
			return []table.Requirement{table.AssertRefSnapshotID(r.branch, idOf(base.SnapshotByName(r.branch)))}, removeBranch(base.Metadata(), r.branch)
		},
		inheritState: func(ctx context.Context, base *table.Table) (json.RawMessage, error) {
			last, err := stateAt(ctx, base, r.branch, base.SnapshotByName(r.branch))
			switch {
			case err != nil && !errors.Is(err, ErrStateUnknown):
				return nil, err
			case last == nil && r.minimum > 0: // the rows of the main branch's state are removed
				return stateOfOthers(t)(ctx, base)
			}
			return last, nil
		},
	}
	cache := snapshots.Cache{}
	return merge.commitWithRetry(ctx, func(ctx context.Context, base *table.Table) (*snapshots.Change, error) {
		c := &snapshots.Change{Operation: table.OpOverwrite, Forced: true}
		main, err := t.storage.List(base.CurrentSnapshot(), cache)
		if err != nil {
			return c, err
		}
		refreshed, err := t.storage.List(base.SnapshotByName(r.branch), cache)
		if err != nil {
			return c, err
		}
		refreshed.Files = slices.DeleteFunc(refreshed.Files, main.Has) // another program moved the main branch there
		if main.EqualityDeletes+refreshed.EqualityDeletes > 0 {
			return c, equalityDeletesError(t)
		}
		if err := (olderRows{t, base, r.minimum}).remove(ctx, c, main); err != nil {
			return c, err
		}
		files, index, err := stageBranch(ctx, t, base, refreshed)
		if err != nil {
			return c, errors.Join(err, index.Close())
		}
		u := newUpsert(t, merge.branch, files, []*rowkeys.Index{index})
		defer u.close()
		outdated, err := u.outdatedFiles(ctx, base, main)
		if err != nil {
			return c, err
		}
		err = u.apply(ctx, c, base, outdated)
		c.SupersededFiles = nil // the branch's snapshots name them until they expire
		return c, err
	})
}

// replaceOlder adds staged rows to the main branch and removes the rows that it has
// of generations before the refresh's minimum.
func replaceOlder(ctx context.Context, t *Table, staged []*Staged, state json.RawMessage) (Committed, error) {
	files := stagedFiles(staged)
	u := newUpsert(t, table.MainBranch, files, indexesOf(staged))
	defer u.close()
	replacement := &fileCommit{t: t, branch: table.MainBranch, files: files, state: state, inheritState: stateOfOthers(t)}
	return replacement.commitWithRetry(ctx, func(ctx context.Context, base *table.Table) (*snapshots.Change, error) {
		c := &snapshots.Change{Operation: table.OpOverwrite, Forced: true}
		main, err := t.storage.List(base.CurrentSnapshot(), u.manifests)
		if err != nil {
			return c, err
		}
		if main.EqualityDeletes > 0 {
			return c, equalityDeletesError(t)
		}
		if err := (olderRows{t, base, t.refresh.minimum}).remove(ctx, c, main); err != nil {
			return c, err
		}
		outdated, err := u.outdatedFiles(ctx, base, main)
		if err != nil {
			return c, err
		}
		return c, u.apply(ctx, c, base, outdated)
	})
}
