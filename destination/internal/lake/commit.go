package lake

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/google/uuid"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rowkeys"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
)

// tokenKey is the entry of a snapshot's summary that names the commit.
const tokenKey = "airbyte.commit"

// Committed is what a commit did. A commit of a state alone makes no snapshot. Of one
// that failed, it has the attempts and the duration.
type Committed struct {
	SnapshotID         int64         // 0: no snapshot
	MetadataLocation   string        // the table's metadata file that has it
	Attempts           int           // 1, unless other writers were first or the catalog did not answer
	Rows, Files, Bytes int64         // that the snapshot added, with rows that it only copied into new files
	Duration           time.Duration // with the work on files
}

// Commit makes staged rows visible and stores the state that covers them, in
// one transaction: one snapshot, or none when nothing is staged. The table's plan
// says whether the rows are appended or replace those of their keys. state may be
// nil.
//
// When it fails for certain, the staged files are deleted. When it cannot be
// known whether it failed, they are left: the table may name them.
func (t *Table) Commit(ctx context.Context, staged []*Staged, state json.RawMessage) (Committed, error) {
	c := &fileCommit{t: t, branch: t.Branch(), needs: t.refresh.requiredBranch(), files: stagedFiles(staged), state: state}
	if len(c.files) == 0 && state == nil {
		return Committed{}, nil
	}
	if !t.plan.Dedup || len(c.files) == 0 {
		return c.commitWithRetry(ctx, func(context.Context, *table.Table) (*snapshots.Change, error) {
			change := &snapshots.Change{Operation: table.OpAppend}
			for _, f := range c.files {
				change.Add = append(change.Add, f.data)
			}
			return change, nil
		})
	}
	u := newUpsert(t, c.branch, c.files, indexesOf(staged))
	defer u.close()
	return c.commitWithRetry(ctx, u.stage)
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

// A fileCommit is a transaction that changes the files of a table.
type fileCommit struct {
	t      *Table
	branch string        // that it goes to
	needs  string        // a branch that must be there; "": none
	files  []*stagedFile // which are removed when it fails for certain
	state  json.RawMessage
	// What else is part of it, and which state the snapshot has if the commit
	// brings none, instead of its parent's. Both may be nil.
	alsoUpdate   func(base *table.Table) ([]table.Requirement, []table.Update)
	inheritState func(ctx context.Context, base *table.Table) (json.RawMessage, error)

	token    string          // of this commit in the summary of its snapshot
	snapshot *table.Snapshot // of the last attempt; nil: it made none
}

// commitWithRetry commits what stage makes of the table as it is; transaction.go says
// when it tries again. No commit is there twice: each attempt requires the snapshot it
// was staged on, and after one without an answer the commit's token is looked for in the
// table's history.
//
// A stage that fails returns its change, if there is one, so that what it wrote is
// removed.
func (c *fileCommit) commitWithRetry(ctx context.Context, stage func(context.Context, *table.Table) (*snapshots.Change, error)) (Committed, error) {
	began := time.Now()
	c.token = uuid.NewString()
	x := &transaction{t: c.t, verify: c.hasLanded}
	x.propose = func(ctx context.Context, base *table.Table, budget *retryBudget) (p proposal, err error) {
		if err := errors.Join(c.checkIdentity(base), c.checkBranch(base)); err != nil {
			return p, err
		}
		err = budget.exclude(func() error {
			change, err := stage(ctx, base)
			change = cmp.Or(change, &snapshots.Change{})
			if err == nil {
				p.requirements, p.updates, err = c.prepare(ctx, base, change)
			}
			p.written, p.supersededFiles, p.snapshot = change.Written, change.SupersededFiles, c.snapshot
			return errors.Join(c.checkStagedFiles(), err) // a file that is gone may be why
		})
		return p, err
	}
	err := x.run(ctx)
	done := Committed{Attempts: x.attempts, Duration: time.Since(began)}
	if err != nil {
		if !x.mayHaveLanded() {
			err = errors.Join(err, discard(c.t, c.files))
		}
		return done, c.t.Explain(err)
	}
	c.t.refresh.begun = c.t.refresh.begun || c.branch == c.t.refresh.branch // from now on, its branch must stay
	done.MetadataLocation = x.location
	if c.snapshot != nil {
		added := c.snapshot.Summary.Properties.GetInt64
		done.SnapshotID = c.snapshot.SnapshotID
		done.Rows, done.Files, done.Bytes = added("added-records", 0), added("added-data-files", 0), added("added-files-size", 0)
	}
	return done, nil
}

// prepare writes the manifests of an attempt and says what it updates.
func (c *fileCommit) prepare(ctx context.Context, base *table.Table, change *snapshots.Change) ([]table.Requirement, []table.Update, error) {
	meta := base.Metadata()
	tip := base.SnapshotByName(c.branch)
	reqs := []table.Requirement{
		table.AssertTableUUID(meta.TableUUID()), table.AssertRefSnapshotID(c.branch, idOf(tip)),
		table.AssertCurrentSchemaID(meta.CurrentSchema().ID),
	}
	// The first commit to the branch of a refresh makes it, even one of a state alone:
	// by its branch a refresh is found and continued.
	change.Forced = change.Forced || tip == nil && c.branch != table.MainBranch
	var updates []table.Update
	c.snapshot = nil
	state := c.state
	if !change.IsEmpty() {
		if state == nil {
			var err error
			if state, err = c.inheritedState(ctx, base, tip); err != nil {
				return nil, nil, err
			}
		}
		snapshot, err := c.t.storage.Write(ctx, meta, tip, change, iceberg.Properties{tokenKey: c.token})
		if err != nil {
			return nil, nil, err
		}
		if state != nil {
			snapshot.Summary.Properties[stateKey] = string(state)
		}
		tip, c.snapshot = snapshot, snapshot
		updates = append(updates, table.NewAddSnapshotUpdate(snapshot), moveTo(meta, c.branch, snapshot.SnapshotID))
	}
	if state != nil {
		updates = append(updates, setState(c.branch, tip, state))
	}
	if len(updates) > 0 {
		updates = append(updates, tabledef.MarkOwn(meta)...)
	}
	if c.alsoUpdate != nil {
		moreReqs, moreUpdates := c.alsoUpdate(base)
		reqs, updates = append(reqs, moreReqs...), append(updates, moreUpdates...)
	}
	return reqs, updates, nil
}

// errNoHistory says that the outcome of a commit cannot be known any more.
var errNoHistory = errors.New("another program has committed since, and the snapshots before are not kept")

// hasLanded reports whether the commit is in a table, and finds its snapshot. A commit of
// a state alone has no snapshot with its token; there the state tells, which has a number
// of its own. The error is [errNoHistory] for a table whose history does not reach back to
// what the commit was made from: Nessie keeps no snapshot but the last, and other programs
// expire them.
func (c *fileCommit) hasLanded(ctx context.Context, base *table.Table) (bool, error) {
	history := &expiredSnapshots{table: base}
	var oldest *table.Snapshot
	var parent int64 // of oldest; 0: it names none
	for s := base.SnapshotByName(c.branch); s != nil; s, parent = history.parent(ctx, s) {
		if s.Summary != nil && s.Summary.Properties[tokenKey] == c.token {
			c.snapshot = s
			return true, nil
		}
		if c.snapshot != nil && c.snapshot.ParentSnapshotID != nil && s.SnapshotID == *c.snapshot.ParentSnapshotID {
			return false, nil // it would have come before the snapshot that it was made from
		}
		oldest = s
	}
	switch {
	case c.snapshot == nil || oldest == nil: // the attempt made no snapshot, or the branch has none
	case parent == c.snapshot.SnapshotID: // it has expired, but the next one was made from it
		return true, nil
	case parent != 0 || oldest.SequenceNumber != 1: // older ones have expired, and it could be among them; format version 1 never tells
		return false, errNoHistory
	}
	return c.state != nil && c.snapshot == nil && base.Properties()[stateKey+suffixOf(c.branch)] == string(c.state), nil
}
