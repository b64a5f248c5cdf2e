package lake

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/google/uuid"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rowkeys"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// tokenKey is the entry of a snapshot's summary that names the commit.
const tokenKey = "airbyte.commit"

// Commit makes staged rows visible and stores the state that covers them, in
// one transaction: one snapshot, or none when nothing is staged. The plan says
// whether the rows are appended or replace those of their keys. state may be
// nil.
//
// When it fails for certain, the staged files are deleted. When it cannot be
// known whether it failed, they are left: the table may name them.
func (t *Table) Commit(ctx context.Context, staged []*Staged, state json.RawMessage) error {
	files := stagedFiles(staged)
	if len(files) == 0 && state == nil {
		return nil
	}
	if !t.plan.Dedup || len(files) == 0 {
		return t.transact(ctx, files, state, func(context.Context, *table.Table) (*snapshots.Change, error) {
			c := &snapshots.Change{Operation: table.OpAppend}
			for _, f := range files {
				c.Add = append(c.Add, f.data)
			}
			return c, nil
		})
	}
	u := newUpsert(t, files, indexesOf(staged))
	defer u.close()
	return t.transact(ctx, files, state, u.stage)
}

func stagedFiles(staged []*Staged) []*stagedFile {
	var files []*stagedFile
	for _, s := range staged {
		if s != nil {
			files = append(files, s.files...)
		}
	}
	return files
}

func indexesOf(staged []*Staged) []*rowkeys.Index {
	var indexes []*rowkeys.Index
	for _, s := range staged {
		if s != nil && s.index != nil {
			indexes = append(indexes, s.index)
		}
	}
	return indexes
}

// transact commits what stage makes of the table as it is, again and again
// until it has landed or there is no hope. An attempt ends in one of three
// ways. Landed: done. Refused: the catalog said that it changed nothing; what
// the attempt wrote is deleted, and the next one is staged on the table as it
// is by then. Unknown: neither was said; the next attempt looks for this
// commit's token in the table's history first. No commit lands twice, because
// each attempt requires the snapshot it was staged on.
//
// stage returns a change even when it fails, so that what it wrote is removed.
func (t *Table) transact(ctx context.Context, files []*stagedFile, state json.RawMessage, stage func(context.Context, *table.Table) (*snapshots.Change, error)) error {
	a := &attempts{t: t, files: files, state: state, token: uuid.NewString()}
	return t.Explain(a.run(ctx, stage))
}

// attempts is what the attempts at one commit share.
type attempts struct {
	t     *Table
	files []*stagedFile
	state json.RawMessage
	token string
	// What else is part of it, and which state is the table's, when the commit
	// brings none, instead of the one that it has; both may be nil.
	also    func(base *table.Table) ([]table.Requirement, []table.Update)
	instead func(ctx context.Context, base *table.Table) (json.RawMessage, error)

	refusal     error // the last one
	unreachable error // why the table could not be loaded, the last time
	doubt       error // of an attempt that may have landed, or may still land

	stateOnly bool // the last attempt made no snapshot
}

func (a *attempts) run(ctx context.Context, stage func(context.Context, *table.Table) (*snapshots.Change, error)) error {
	t := a.t
	retry := t.retry()
	for {
		done, err := a.attempt(ctx, retry, stage)
		switch {
		case err != nil:
			return a.giveUp(ctx, err)
		case done:
			return nil
		}
		more, err := retry.again(ctx)
		if err != nil || !more {
			return a.giveUp(ctx, cmp.Or(err, t.refused(cmp.Or(a.refusal, a.unreachable))))
		}
	}
}

// attempt is one of them. It is not done when the next one may do better.
func (a *attempts) attempt(ctx context.Context, retry *retry, stage func(context.Context, *table.Table) (*snapshots.Change, error)) (done bool, err error) {
	t := a.t
	base, err := t.cat.LoadTable(ctx, t.id)
	if err != nil {
		a.unreachable = fmt.Errorf("loading table %s: %w", t, err)
		if passing(err) {
			return false, nil
		}
		return false, a.unreachable
	}
	if err := t.mustBeTheSame(base, a.files); err != nil {
		return false, err
	}
	if a.doubt != nil && a.landed(context.WithoutCancel(ctx), base) {
		return true, nil
	}
	if err := t.mustBeThere(a.files); err != nil {
		return false, err
	}
	var c *snapshots.Change
	var reqs []table.Requirement
	var updates []table.Update
	if err := retry.working(func() (err error) {
		if c, err = stage(ctx, base); err == nil {
			reqs, updates, err = a.prepare(ctx, base, c)
		}
		return err
	}); err != nil {
		return false, errors.Join(err, t.removeAll(c.Written))
	}
	if len(updates) == 0 { // every row was older than the table's, and there is no state
		a.tidy(base.Metadata(), base.Metadata(), c)
		return true, nil
	}
	// Once offered, the catalog's answer is worth waiting for.
	meta, _, err := t.cat.CommitTable(context.WithoutCancel(ctx), t.id, reqs, updates)
	switch {
	case err == nil:
		a.tidy(base.Metadata(), meta, c)
		return true, nil
	case errors.Is(err, table.ErrCommitFailed):
		a.refusal = err
		return false, t.removeAll(c.Written)
	case errors.Is(err, storage.ErrNotCommitted):
		return false, errors.Join(err, t.removeAll(c.Written))
	}
	a.doubt = fmt.Errorf("committing table %s: %w", t, err)
	return false, nil
}

// refused is the error of a commit that was refused until there was no more
// time. why is the last refusal, if it is known.
func (t *Table) refused(why error) error {
	return &protocol.Error{
		Kind: protocol.TransientError, Stream: &t.plan.Stream, Err: why,
		Message: fmt.Sprintf("Table %s could not be committed within %s. ", t, t.persistence) +
			cmp.Or(told(why), "Other programs may be writing it all the time; try again later."),
	}
}

// told is what an error tells the user, if anything.
func told(err error) string {
	var e *protocol.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return ""
}

// prepare writes the manifests of an attempt.
func (a *attempts) prepare(ctx context.Context, base *table.Table, c *snapshots.Change) ([]table.Requirement, []table.Update, error) {
	meta := base.Metadata()
	branch := a.t.target()
	tip := a.t.tip(base)
	reqs := []table.Requirement{
		table.AssertTableUUID(meta.TableUUID()), table.AssertRefSnapshotID(branch, idOf(tip)),
		table.AssertCurrentSchemaID(meta.CurrentSchema().ID),
	}
	// A branch is there from its first state on: it is what says that there is
	// a refresh to continue.
	c.Forced = c.Forced || tip == nil && branch != table.MainBranch
	var updates []table.Update
	a.stateOnly = c.IsEmpty()
	state := a.state
	if !a.stateOnly {
		if state == nil {
			var err error
			if state, err = a.carried(ctx, base, tip); err != nil {
				return nil, nil, err
			}
		}
		snapshot, err := a.t.storage().Write(ctx, meta, tip, c, iceberg.Properties{tokenKey: a.token})
		if err != nil {
			return nil, nil, err
		}
		if state != nil {
			snapshot.Summary.Properties[stateKey] = string(state)
		}
		tip = snapshot
		updates = append(updates, table.NewAddSnapshotUpdate(snapshot), moveTo(meta, branch, snapshot.SnapshotID))
	}
	if state != nil {
		updates = append(updates, setState(branch, tip, state))
	}
	if a.also != nil {
		moreReqs, moreUpdates := a.also(base)
		reqs, updates = append(reqs, moreReqs...), append(updates, moreUpdates...)
	}
	return reqs, updates, nil
}

// rowsAreGone says of a table whose rows are replaced that it has no state: that
// of the rows before would have the source pass over what they held.
func rowsAreGone(context.Context, *table.Table) (json.RawMessage, error) {
	return json.RawMessage(noState), nil
}

// carried is the state of a snapshot without one of its own: that of its parent,
// so that it is known when the parent has expired.
func (a *attempts) carried(ctx context.Context, base *table.Table, parent *table.Snapshot) (json.RawMessage, error) {
	if a.instead != nil {
		if state, err := a.instead(ctx, base); state != nil || err != nil {
			return state, err
		}
	}
	found, err := findState(ctx, base, a.t.target(), parent)
	switch {
	case errors.Is(err, ErrStateUnknown), found.old: // and stays so
		return nil, nil
	case err == nil && found.state == nil && found.in != nil:
		return json.RawMessage(noState), nil
	}
	return found.state, err
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

// landed looks for this commit in a table.
func (a *attempts) landed(ctx context.Context, base *table.Table) bool {
	if a.stateOnly && base.Properties()[stateKey+suffixOf(a.t.target())] == string(a.state) {
		return true
	}
	past := &earlier{table: base}
	for s := a.t.tip(base); s != nil; s, _ = past.parent(ctx, s) {
		if s.Summary != nil && s.Summary.Properties[tokenKey] == a.token {
			return true
		}
	}
	return false
}

// giveUp ends the attempts. It is a success after all when the last look finds
// the commit in the table.
func (a *attempts) giveUp(ctx context.Context, cause error) error {
	if a.doubt == nil {
		return errors.Join(cause, a.t.discard(a.files))
	}
	base, err := a.t.cat.LoadTable(context.WithoutCancel(ctx), a.t.id)
	if err == nil && a.landed(context.WithoutCancel(ctx), base) {
		return nil
	}
	return &protocol.Error{
		Kind: protocol.TransientError, Stream: &a.t.plan.Stream, Err: errors.Join(cause, a.doubt, err),
		Message: strings.TrimSpace(fmt.Sprintf("The catalog did not say whether it accepted a commit of table %s. Start again from the table's own state, which the state command prints. %s", a.t, told(a.doubt))),
	}
}

// tidy removes files that a commit which has landed leaves behind. A file that
// cannot be removed is only in the way: it fails nothing that has landed, and
// the removal of orphans finds it later.
func (a *attempts) tidy(before, after table.Metadata, c *snapshots.Change) {
	gone := map[string]struct{}{}
	if after.Properties().GetBool(table.MetadataDeleteAfterCommitEnabledKey, false) {
		for _, file := range a.t.forgotten(before, after) {
			gone[file] = struct{}{}
		}
	}
	if a.doubt == nil { // else an earlier attempt may name them
		for _, path := range c.Superseded {
			gone[path] = struct{}{}
		}
	}
	for path := range gone {
		if err := a.t.files.Remove(path); err == nil {
			a.t.opts.Removed(path)
		}
	}
}

// forgotten are the metadata files that a commit has dropped from the table's
// list and nobody can be reading any more: a reader looks at the table once,
// and its metadata file may be superseded a moment later. Those that are too
// young are found with the orphans, and none is elsewhere than where the
// table's metadata belongs.
func (t *Table) forgotten(before, after table.Metadata) (files []string) {
	listed := map[string]bool{}
	for entry := range after.PreviousFiles() {
		listed[entry.MetadataFile] = true
	}
	own := tabledef.PathsOf(before.Location(), before)
	entries := slices.Collect(before.PreviousFiles())
	for i, entry := range entries {
		if !listed[entry.MetadataFile] && filenames.Within(filenames.Plain(entry.MetadataFile), own.Metadata) && time.Since(supersededIn(entries, i, before)) >= t.reading {
			files = append(files, entry.MetadataFile)
		}
	}
	return files
}

func (t *Table) discard(files []*stagedFile) error {
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = f.data.FilePath()
	}
	return t.removeAll(paths)
}

func (t *Table) removeAll(paths []string) error {
	_, err := storage.RemoveAll(context.Background(), t.files, paths)
	return err
}
