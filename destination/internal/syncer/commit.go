package syncer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
)

// A commitPlan says which rows become durable, and which states are echoed once
// they are.
type commitPlan struct {
	tables  []*tableCommit
	echoes  []echo // in the order of the input
	started bool   // its files are those of its tables' commits
}

// A tableCommit is one table's part of a plan. It becomes one snapshot, with the
// state in it.
type tableCommit struct {
	stream        *Stream
	upTo          int64        // the last segment whose rows it holds
	rows          int64        // of the source, up to there
	state         pendingState // the last one that covers its rows; zero: none does
	replace       bool         // the rows replace all others of the table
	finishRefresh bool         // the refresh is complete: rows of older generations are removed
	changed       bool         // what readers see has changed

	mu        sync.Mutex
	completed []*lake.Completed // files with its rows, which the storage may not have safe yet
	staged    []*lake.Staged    // those that it has, and no snapshot
}

// An echo is a state to send back once the tables of its streams are committed.
type echo struct {
	message stateMessage
	streams []*Stream
	written int64 // rows

	received time.Time
}

// commitIfDue commits if a commit is due. A source of many streams sends their states one
// after another; the caller waits for the last of them, so that all of those streams are
// part of the commit.
func (r *run) commitIfDue(ctx context.Context) error {
	if !r.checkpoints.isDue(r.config.Commit) {
		return nil
	}
	return r.commitCovered(ctx)
}

// commitCovered starts a commit of the streams whose rows are all covered by
// their states.
func (r *run) commitCovered(ctx context.Context) error {
	if err := r.workers.each(ctx, (*worker).drain); err != nil {
		return err
	}
	if r.firstBad.reported() {
		return nil // readInput makes the final commit next
	}
	plan := r.checkpoints.takeCovered()
	if len(plan.tables) == 0 {
		return nil
	}
	closed, err := r.closeFiles(ctx, plan)
	if err != nil {
		return err
	}
	return r.startCommit(ctx, plan, closed)
}

// startCommit starts the commit of a plan when its files are closed. More input is read
// meanwhile, but only one commit is in flight at a time.
func (r *run) startCommit(ctx context.Context, plan *commitPlan, closed func() error) error {
	if err := r.waitForCommit(ctx); err != nil {
		return err
	}
	done := make(chan error, 1)
	r.committing = done
	r.spawn(func() error {
		err := closed()
		if err == nil {
			err = r.commitTables(ctx, plan)
		}
		done <- err
		return err
	})
	return nil
}

// waitForCommit waits for the commit in flight and returns its error. The error
// also ends ctx, but that may happen a moment later, and no other commit may
// start in between: its state covers the rows of the failed one, too.
func (r *run) waitForCommit(ctx context.Context) error {
	if r.committing == nil {
		return nil
	}
	select {
	case err := <-r.committing:
		r.committing = nil
		if err == nil {
			r.plans = r.plans[1:]
		}
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// commitTables commits all tables of a plan and echoes the states whose tables are
// committed, also when other tables failed: what is durable may be acknowledged.
func (r *run) commitTables(ctx context.Context, plan *commitPlan) error {
	r.commitNumber++
	r.out.Progress().Doing("committing " + terminal.Counted(int64(len(plan.tables)), "tables"))
	defer r.out.Progress().Doing("")
	if err := errors.Join(r.warnOfOtherSources(ctx, plan), r.beginShared(ctx, plan)); err != nil {
		return err
	}
	states := r.storedStates(plan)
	plan.started = true // from here on, each table's commit discards what it does not commit
	errs := r.config.Memory.EachTable(len(plan.tables), func(i int) error {
		return r.commitTable(ctx, plan.tables[i], states[plan.tables[i].state.segment])
	})
	failed := map[*Stream]bool{}
	for i, t := range plan.tables {
		if errs[i] != nil {
			errs[i] = fmt.Errorf("committing stream %s: %w", t.stream.ID, errs[i])
			failed[t.stream] = true
			continue
		}
		r.config.Metrics.Durable(t.stream.Measured(), t.rows)
	}
	var echoErr error // the first one: of an output that is broken, each echo returns the same
	for _, e := range plan.echoes {
		if slices.ContainsFunc(e.streams, func(s *Stream) bool { return failed[s] }) {
			continue
		}
		if err := r.echoState(e); echoErr == nil {
			echoErr = err
		}
	}
	if r.config.Committed != nil {
		r.config.Committed(plan.changed())
	}
	return errors.Join(append(errs, echoErr)...)
}

func (r *run) echoState(e echo) error {
	state, err := r.stateMessages.load(e.message)
	if err != nil {
		return err
	}
	if err := r.out.Echo(state, e.written, 0); err != nil {
		return errors.Join(err, r.stateMessages.drop(e.message))
	}
	r.config.Metrics.Echoed(e.received)
	return r.stateMessages.drop(e.message)
}

// commitTable commits the table's part of a plan. stored returns the text of the state
// that covers it; nil: none does.
func (r *run) commitTable(ctx context.Context, t *tableCommit, stored func() (json.RawMessage, error)) error {
	tbl := t.stream.Table
	var state json.RawMessage
	if stored != nil {
		var err error
		if state, err = stored(); err != nil {
			return errors.Join(tbl.Explain(err), lake.Discard(tbl, t.staged))
		}
	}
	records := t.rows // that no commit has brought yet: the last one of a refresh may be two
	reported := func(did lake.Committed, err error) error {
		r.reportCommit(t, did, err, records)
		t.changed = t.changed || err == nil && did.SnapshotID != 0 && tbl.Branch() == table.MainBranch
		records = 0
		return err
	}
	switch {
	case t.replace:
		return reported(tbl.Replace(ctx, t.staged, state))
	case t.finishRefresh && t.stream.begun.AtEnd: // the catalog keeps no branches
		return reported(tbl.Finish(ctx, t.staged, state))
	case len(t.staged) > 0 || state != nil:
		if err := reported(tbl.Commit(ctx, t.staged, state)); err != nil {
			return err
		}
	}
	if t.finishRefresh {
		return reported(tbl.Finish(ctx, nil, state))
	}
	return nil
}
