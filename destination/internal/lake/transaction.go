package lake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A proposal is what one attempt asks the catalog to commit.
type proposal struct {
	requirements    []table.Requirement
	updates         []table.Update  // none: there is nothing to commit
	written         []string        // files of this attempt alone
	supersededFiles []string        // files that nothing needs once it is committed
	snapshot        *table.Snapshot // that it adds; nil: none
}

// A transaction is one change of a table that is proposed again until it is
// committed or there is no hope. An attempt ends in one of four ways. Committed:
// done. Refused: the catalog said that it changed nothing; the next one is made from
// the table as it is by then. Failed: it changed nothing, and another attempt would
// change nothing either. Unknown: the catalog said none of these, or its answer does
// not have the change. After all but the first, the table is looked at: the attempt may
// be there, and the next one lands only if it is not, because each requires the
// snapshot that it was made from. A refusal is no proof: a gateway that gets no answer
// sends a request again, and of the second one the catalog says that the table has
// changed. Only if the attempt is not there, what it wrote is removed. An attempt that cannot
// be made because files of its base are gone counts as refused if others have committed since.
type transaction struct {
	t *Table
	// propose makes the proposal for the table as it is in base. It returns what
	// it has written even when it fails.
	propose func(ctx context.Context, base *table.Table, budget *retryBudget) (proposal, error)
	// verify reports whether an earlier attempt, whose outcome is unknown, is in
	// base. Its error says that nobody can know any more. nil: propose recognises a
	// change that is there, and proposes nothing.
	verify func(ctx context.Context, base *table.Table) (bool, error)

	base     *table.Table   // that the last attempt was made from; it may be given for the first
	after    table.Metadata // nil: an attempt was found committed, or there was nothing to commit
	location string         // of the metadata file that has the change
	attempts int

	cleanupErr     error     // why files of refused attempts are still there
	lastConflict   error     // why the catalog refused the last time
	unreachable    error     // why the table could not be loaded the last time
	unknownOutcome error     // of an attempt that may be committed, or may still be
	refused        *proposal // the last one, until the table shows that it is not there; of a failed one, too
	historyLost    bool      // one that was refused may be there: the table's history no longer reaches back to it
}

// mayHaveLanded reports whether an attempt that the catalog did not confirm may be in the table.
func (x *transaction) mayHaveLanded() bool {
	return x.unknownOutcome != nil || x.refused != nil || x.historyLost
}

// run makes the attempts. Its error is certain unless one may be there.
func (x *transaction) run(ctx context.Context) error {
	budget := newRetryBudget(x.t)
	for {
		x.attempts++
		done, err := x.attempt(ctx, budget)
		switch {
		case err != nil:
			return x.fail(ctx, err)
		case done:
			return nil
		}
		more, err := budget.again(ctx)
		if err != nil || !more {
			return x.fail(ctx, cmp.Or(err, x.conflictError(cmp.Or(x.lastConflict, x.unreachable))))
		}
	}
}

// attempt makes one attempt. It is not done when the next one may succeed.
func (x *transaction) attempt(ctx context.Context, budget *retryBudget) (done bool, err error) {
	t := x.t
	if x.base == nil || x.attempts > 1 {
		if x.base, err = t.cat.LoadTable(ctx, t.id); err != nil {
			x.unreachable = fmt.Errorf("loading table %s: %w", t, err)
			if isRetryable(err) {
				return false, nil
			}
			return false, x.unreachable
		}
	}
	x.location = x.base.MetadataLocation()
	if landed, err := x.settleEarlierAttempt(ctx); landed || err != nil {
		return landed, err
	}
	p, err := x.propose(ctx, x.base, budget)
	if err != nil {
		removeErr := t.storage.RemoveAll(p.written)
		if MovedOn(ctx, t.cat, x.base, err) {
			x.lastConflict, x.cleanupErr = err, errors.Join(x.cleanupErr, removeErr)
			return false, nil
		}
		return false, errors.Join(err, removeErr)
	}
	if len(p.updates) == 0 {
		x.afterCommit(x.base.Metadata(), p)
		return true, nil
	}
	// The catalog has the proposal from here on: its answer is worth waiting for.
	after, location, err := t.cat.CommitTable(context.WithoutCancel(ctx), t.id, p.requirements, p.updates)
	switch {
	case err == nil && p.snapshot != nil && after.SnapshotByID(p.snapshot.SnapshotID) == nil:
		err = errors.New("the catalog says that it is done, and its answer does not have the snapshot")
	case err == nil:
		x.after, x.location = after, location
		x.afterCommit(after, p)
		return true, nil
	case errors.Is(err, table.ErrCommitFailed) && !storage.IsFailure(err):
		x.lastConflict = err
		x.refuse(p)
		return false, nil
	case errors.Is(err, table.ErrCommitFailed), errors.Is(err, storage.ErrNotCommitted):
		x.refuse(p)
		return false, err
	}
	x.unknownOutcome = fmt.Errorf("committing table %s: %w", t, err)
	return false, nil
}

// refuse notes that the catalog has refused a proposal, which may be there all the same.
func (x *transaction) refuse(p proposal) {
	if x.verify != nil {
		x.refused = &p
	}
}

// settleEarlierAttempt looks for an earlier attempt in the table as it is in base. If it is not
// there, what a refused one wrote is removed. Its error says that nobody can know any
// more whether one of unknown outcome is there; one that was refused is then taken for
// what the catalog said, and yet its files stay.
func (x *transaction) settleEarlierAttempt(ctx context.Context) (landed bool, err error) {
	if x.unknownOutcome == nil && x.refused == nil {
		return false, nil
	}
	if x.verify != nil {
		landed, err = x.verify(context.WithoutCancel(ctx), x.base)
	}
	switch {
	case landed:
		x.afterCommit(x.base.Metadata(), proposal{})
		return true, nil
	case err != nil && x.unknownOutcome != nil:
		return false, err
	}
	// A file that stays is in the way of no attempt, and the removal of orphans finds it. The error of
	// its removal is reported if no attempt succeeds.
	switch {
	case err != nil:
		x.historyLost = true
	case x.refused != nil:
		x.cleanupErr = errors.Join(x.cleanupErr, x.t.storage.RemoveAll(x.refused.written))
	}
	x.refused = nil
	return false, nil
}

// fail ends the attempts. It is a success after all if the last look finds one
// of them in the table. If nobody can look, what the catalog said is believed, and yet no
// file is removed.
func (x *transaction) fail(ctx context.Context, cause error) error {
	if !x.mayHaveLanded() {
		return cause
	}
	base, err := x.t.cat.LoadTable(context.WithoutCancel(ctx), x.t.id)
	if err == nil {
		x.base, x.location = base, base.MetadataLocation()
		var landed bool
		if landed, err = x.settleEarlierAttempt(ctx); landed {
			return nil
		}
	}
	if x.unknownOutcome == nil {
		return errors.Join(cause, x.cleanupErr)
	}
	remedy := strings.TrimSpace("Start again from the table's own state, which the state command prints. " + userMessage(x.unknownOutcome))
	return x.t.errorf(protocol.TransientError, errors.Join(cause, x.unknownOutcome, err), "The catalog did not say whether it accepted a commit of table %s. %s", x.t, remedy)
}

// conflictError is the error of a transaction that was refused until there was no
// more time. why is the last refusal, if it is known.
func (x *transaction) conflictError(why error) error {
	remedy := cmp.Or(userMessage(why), "Other programs may be writing it all the time; try again later.")
	return x.t.errorf(protocol.TransientError, why, "Table %s could not be committed within %s. %s", x.t, x.t.commitTimeout, remedy)
}

// userMessage is what an error says to the user, if anything.
func userMessage(err error) string {
	var e *protocol.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return ""
}

// afterCommit has the version hint name what is committed, and then removes the files that
// the commit leaves behind: the hint never names a metadata file that is gone. A file
// that cannot be removed is only in the way: it must not fail what is committed, and
// the removal of orphans finds it later.
func (x *transaction) afterCommit(after table.Metadata, p proposal) {
	if x.t.storage.Files == nil {
		return // the table is being opened
	}
	hinted := x.t.storage.HintVersion(x.location)
	var superseded []string
	if x.t.cat.ClientRemovesMetadata() && after.Properties().GetBool(table.MetadataDeleteAfterCommitEnabledKey, false) {
		superseded = x.droppedMetadataFiles(after)
		if len(superseded) > 0 && !hinted && x.t.storage.EnsureVersionHint(x.location) != nil {
			superseded = nil // the hint may name one of them
		}
	}
	if !x.mayHaveLanded() { // else an earlier attempt may name them
		superseded = append(superseded, p.supersededFiles...)
	}
	for _, path := range superseded {
		if err := x.t.storage.Files.Remove(path); err == nil {
			x.t.opts.Removed(path)
		}
	}
}

// droppedMetadataFiles are the metadata files that a commit has dropped from the
// table's list and that nobody can be reading any more: a reader loads the table
// once, and its metadata file may be superseded a moment later. Younger ones are
// found with the orphans. None is outside of the table's metadata directory.
func (x *transaction) droppedMetadataFiles(after table.Metadata) (files []string) {
	before := x.base.Metadata()
	listed := map[string]bool{}
	for entry := range after.PreviousFiles() {
		listed[entry.MetadataFile] = true
	}
	own := tabledef.PathsOf(before.Location(), before)
	entries := slices.Collect(before.PreviousFiles())
	for i, entry := range entries {
		if !listed[entry.MetadataFile] && filenames.Within(filenames.Plain(entry.MetadataFile), own.Metadata) && time.Since(snapshots.MetadataSuperseded(entries, i, before)) >= x.t.opts.ReaderTime {
			files = append(files, entry.MetadataFile)
		}
	}
	return files
}

// UpdateMetadata changes a table's metadata but not its rows. edit says how to
// change the table as it is, and nothing when the change is there already. It
// returns the metadata before and after; after is nil when there was nothing to
// change.
func (t *Table) UpdateMetadata(ctx context.Context, edit func(*table.Table) ([]table.Requirement, []table.Update, error)) (before, after table.Metadata, err error) {
	x := &transaction{t: t, propose: func(_ context.Context, base *table.Table, _ *retryBudget) (p proposal, err error) {
		p.requirements, p.updates, err = edit(base)
		p.requirements = append(p.requirements, table.AssertTableUUID(t.uuid))
		return p, err
	}}
	if err := x.run(ctx); err != nil {
		return nil, nil, err
	}
	return x.base.Metadata(), x.after, nil
}
