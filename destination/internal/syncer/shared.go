package syncer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/checkpoint"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A GLOBAL or LEGACY state covers all streams, and each of their tables has a copy. A source
// may continue from one whose rows all tables have. Which are those?
//
//   - The tables of a commit get the state one after another, so after a crash some have one
//     that others lack. A table has the rows of a state if its own has the same number or a
//     higher one.
//   - That is not so for a state that the source did not continue from: the next ones may be
//     of fewer rows. It happens after a crash, and when somebody takes rows away by a rollback
//     or a reset. So a state has the numbers of those before it that do not count for it.
//   - A stream that was added to the catalog later is in none of the states before. So each
//     names its streams, also those that were removed from the catalog: the source may still
//     remember them.

// isShared reports whether a state covers all streams; nil does not.
func (s *CommittedState) isShared() bool { return s != nil && s.kind != protocol.StreamState }

// needs returns the number of the state that a stream's table must have, or a later one, so
// that it has the rows of a state that covers all streams. ok is false for a stream of which
// that state says nothing.
func (s *CommittedState) needs(id protocol.StreamID, exists bool) (number int64, ok bool) {
	if number, ok := s.Streams.Number(id); ok {
		return number, true
	}
	if slices.Contains(s.named, id) {
		return s.Number, true
	}
	// A state of an earlier version does not name its streams. Of a LEGACY one nothing is known;
	// a GLOBAL one has not had a stream without a table, since tables are created before the
	// first commit.
	unknown := s.Streams == nil && (exists || s.kind == protocol.LegacyState)
	return s.Number, unknown
}

// hasRowsOf reports whether a table, whose state is s, has the rows of a state that covers all
// streams.
func (s *CommittedState) hasRowsOf(shared *CommittedState, id protocol.StreamID, exists bool) bool {
	number, ok := shared.needs(id, exists)
	switch {
	case !ok:
		return true
	case !s.isShared():
		return false
	case s.Number == shared.Number && s.Committed.Equal(shared.Committed), s.From.Equal(shared.Committed):
		return true // it has a copy, or had one when its sync began
	case number == shared.Number:
		return s.Has(number) && !s.Before(shared.Checkpoint)
	}
	return s.Has(number)
}

// newestShared returns the last state that covers all streams and whose rows all tables have,
// nil if there is none. The states are those of the streams' tables, each nil if its table has
// none or does not exist.
func newestShared(ids []protocol.StreamID, states []*CommittedState, exists []bool) (newest *CommittedState) {
	for _, shared := range states {
		if !shared.isShared() || newest != nil && !newest.Before(shared.Checkpoint) {
			continue
		}
		complete := true
		for i, id := range ids {
			complete = complete && states[i].hasRowsOf(shared, id, exists[i])
		}
		if complete {
			newest = shared
		}
	}
	return newest
}

// continueFrom chooses from which states a source continues.
func continueFrom(ids []protocol.StreamID, states []*CommittedState, exists []bool) []*CommittedState {
	if shared := newestShared(ids, states, exists); shared != nil {
		return []*CommittedState{shared}
	}
	return slices.DeleteFunc(slices.Clone(states), func(s *CommittedState) bool { return s == nil || s.isShared() })
}

// sharedStates is what the states of a sync say of those before, if they cover all streams.
type sharedStates struct {
	from   time.Time // when the state was committed that the source continued from; zero: there is none
	lacks  []checkpoint.Numbers
	before checkpoint.Streams // that earlier states had
}

// streams returns what a state of the sync belongs to.
func (s *sharedStates) streams(of Streams, number int64) checkpoint.Streams {
	all := checkpoint.Streams{}
	for namespace, names := range s.before {
		for name, last := range names {
			all.Set(protocol.StreamID{Namespace: namespace, Name: name}, last)
		}
	}
	for _, stream := range of.all {
		all.Set(stream.ID, number)
	}
	return all
}

// beginShared prepares the tables for the first state of the sync that covers all streams. The
// source has continued from the last one whose rows all tables have. Tables that have another
// one get it, so that it counts until all of them have the next.
func (r *run) beginShared(ctx context.Context, plan *commitPlan) error {
	first := func(t *tableCommit) bool { return t.state.segment > 0 && t.state.stream == nil }
	if r.shared != nil || !slices.ContainsFunc(plan.tables, first) {
		return nil
	}
	states, err := r.streams.statesBefore(ctx)
	if err != nil {
		return err
	}
	ids, exists := make([]protocol.StreamID, len(states)), make([]bool, len(states))
	for i, stream := range r.streams.all {
		ids[i], exists[i] = stream.ID, true
	}
	base := newestShared(ids, states, exists)
	r.shared = &sharedStates{before: checkpoint.Streams{}}
	if base == nil {
		// Tables that this sync does not have may have numbers, too. Those count for nothing here.
		r.commitNumber = max(r.commitNumber, time.Now().UnixMilli())
		r.shared.lacks = []checkpoint.Numbers{{0, r.commitNumber - 1}}
		for _, s := range states {
			r.shared.addBefore(s)
		}
		return nil
	}
	r.shared.from, r.shared.lacks = base.Committed, base.LacksOfNext(r.commitNumber)
	r.shared.addBefore(base)
	return errors.Join(r.config.Memory.EachTable(len(states), func(i int) error {
		if s := states[i]; s != nil && bytes.Equal(s.stored, base.stored) {
			return nil
		}
		if _, err := r.streams.all[i].Table.Commit(ctx, nil, base.stored); err != nil {
			return fmt.Errorf("committing stream %s: %w", ids[i], err)
		}
		return nil
	})...)
}

// addBefore adds the streams of an earlier state; nil has none.
func (s *sharedStates) addBefore(earlier *CommittedState) {
	if earlier == nil {
		return
	}
	for namespace, names := range earlier.Streams {
		for name, number := range names {
			id := protocol.StreamID{Namespace: namespace, Name: name}
			last, _ := s.before.Number(id)
			s.before.Set(id, max(last, number))
		}
	}
}

// statesBefore returns the state that each stream's table had when it was opened; nil: none, or
// it is not known any more.
func (s Streams) statesBefore(ctx context.Context) ([]*CommittedState, error) {
	states := make([]*CommittedState, len(s.all))
	byFile := map[string]*CommittedState{}
	for i, stream := range s.all {
		state, err := stream.stateBefore(ctx)
		if err == nil && state != nil {
			err = state.parse(ctx, byFile)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, fmt.Errorf("reading the state that the table of stream %s had: %w", stream.ID, err)
		default:
			states[i] = state
		}
	}
	return states, nil
}

// hadShared reports whether the last state that the tables had covers all streams.
func (s Streams) hadShared(ctx context.Context) (bool, error) {
	var last *CommittedState
	for _, stream := range s.all {
		state, err := stream.stateBefore(ctx)
		if err != nil {
			return false, err
		}
		if state != nil && (last == nil || last.Before(state.Checkpoint)) {
			last = state
		}
	}
	if last == nil {
		return false, nil
	}
	if err := last.parse(ctx, map[string]*CommittedState{}); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return last.kind != "" && last.isShared(), nil
}

// stateBefore returns the state that the stream's table had when it was opened, still to be
// parsed; nil: none, or it is not known any more. It does not ask the storage for what is known
// since then.
func (s *Stream) stateBefore(ctx context.Context) (*CommittedState, error) {
	opened, generation := s.Table.Opened(), s.generation()
	var raw json.RawMessage
	var err error
	switch {
	case s.isOverwrite():
		raw, err = lake.CommittedState(ctx, opened, s.plan, nil)
	case s.begun.AtEnd || s.begun.Refreshing && opened.SnapshotByName(s.Table.Branch()) == nil:
		return nil, nil // rows of older generations are to go
	case !s.begun.Refreshing && generation != nil && generation.Minimum > 0:
		raw, err = lake.LastState(ctx, opened)
	default:
		raw, err = lake.CommittedState(ctx, opened, s.plan, generation)
	}
	if errors.Is(err, lake.ErrStateUnknown) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return newCommittedState(opened, raw)
}
