package syncer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/checkpoint"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// storedStates returns, for each state of the plan, by the segment that the state
// ends, a function that makes the text which tables store. It is made once, when the
// first of its tables asks. A long state is written to a file, which is durable
// before a table refers to it.
func (r *run) storedStates(plan *commitPlan) map[int64]func() (json.RawMessage, error) {
	states := map[int64]pendingState{}
	tables := map[int64][]string{} // that store the state
	for _, t := range plan.tables {
		if segment := t.state.segment; segment > 0 {
			opened := t.stream.Table.Opened()
			states[segment] = t.state
			tables[segment] = append(tables[segment], tabledef.PathsOf(opened.Location(), opened.Metadata()).Metadata)
		}
	}
	number, now := r.commitNumber, time.Now().UTC()
	stored := map[int64]func() (json.RawMessage, error){}
	for segment, pending := range states {
		stored[segment] = sync.OnceValues(func() (json.RawMessage, error) {
			state, err := r.stateMessages.load(pending.message)
			if err != nil {
				return nil, err
			}
			kept, err := r.stateFiles.Keep(checkpoint.Checkpoint{Number: number, Committed: now, State: state.Raw}, tables[segment])
			if err != nil {
				return nil, err
			}
			return kept.Encode()
		})
	}
	return stored
}

// lastCommitNumber is the highest number among the checkpoints that the tables
// have and had.
func (s Streams) lastCommitNumber() (int64, error) {
	var last int64
	for _, stream := range s.all {
		for _, raw := range lake.States(stream.Table.Opened().Metadata()) {
			stored, err := checkpoint.Parse(raw)
			if err != nil {
				return 0, fmt.Errorf("stream %s: %w", stream.ID, err)
			}
			last = max(last, stored.Number)
		}
	}
	return last, nil
}

// A CommittedState is the state that a table has. If it is in a file it is not held
// in memory, since there may be many long ones.
type CommittedState struct {
	checkpoint.Checkpoint
	kind    protocol.StateType
	streams []protocol.StreamID // of a GLOBAL state
	table   *table.Table
}

// Read returns the state as the source sent it.
func (s *CommittedState) Read(ctx context.Context) (json.RawMessage, error) {
	if s.File == "" {
		return s.State, nil
	}
	files, err := s.table.FS(ctx)
	if err != nil {
		return nil, err
	}
	state, err := checkpoint.Read(files, s.File)
	if err != nil {
		return nil, &protocol.Error{Kind: protocol.ConfigError, Err: err, Message: fmt.Sprintf(
			"The state of table %s cannot be read: %v. Restore the file from a copy of the warehouse. Without it, start the source from the beginning, or from a state that you pass with --state.", strings.Join(s.table.Identifier(), "."), err)}
	}
	return state, nil
}

// parse sets the kind of the state, and the streams that it names.
func (s *CommittedState) parse(ctx context.Context) error {
	raw, err := s.Read(ctx)
	if err != nil {
		return err
	}
	state, err := protocol.ParseState(raw)
	s.kind, s.streams = state.Type, state.Streams
	return err
}

// CommittedStates returns the states from which a source continues such that no row
// is lost. There are none before the first sync.
func (s Streams) CommittedStates(ctx context.Context, cat catalog.Catalog) ([]*CommittedState, error) {
	if err := s.resolve(ctx, cat); err != nil {
		return nil, err
	}
	var ids []protocol.StreamID
	var states []*CommittedState
	var exists []bool
	byFile := map[string]*CommittedState{}
	for _, stream := range s.all {
		loaded, err := cat.LoadTable(ctx, stream.plan.Identifier())
		missing := errors.Is(err, catalog.ErrNoSuchTable) || errors.Is(err, catalog.ErrNoSuchNamespace)
		if err != nil && !missing {
			return nil, fmt.Errorf("loading the table of stream %s: %w", stream.ID, err)
		}
		var state *CommittedState
		if !missing {
			if state, err = stream.committedState(ctx, loaded, byFile); err != nil {
				return nil, fmt.Errorf("reading the state of stream %s: %w", stream.ID, err)
			}
		}
		ids, states, exists = append(ids, stream.ID), append(states, state), append(exists, !missing)
	}
	return continueFrom(ids, states, exists), nil
}

// committedState returns the state that the stream's table has; nil: none. byFile
// holds the states that were read from files, each of which is parsed once.
func (s *Stream) committedState(ctx context.Context, loaded *table.Table, byFile map[string]*CommittedState) (*CommittedState, error) {
	generation := s.generation()
	if s.isOverwrite() {
		generation = nil // an overwrite replaces the rows of all generations
	}
	raw, err := lake.CommittedState(ctx, loaded, s.plan, generation)
	if raw == nil || err != nil {
		return nil, err
	}
	state := &CommittedState{table: loaded}
	if state.Checkpoint, err = checkpoint.Parse(raw); err != nil {
		return nil, err
	}
	if same := byFile[state.File]; same != nil {
		state.kind, state.streams = same.kind, same.streams
		return state, nil
	}
	if state.File != "" {
		byFile[state.File] = state
	}
	return state, state.parse(ctx)
}

// continueFrom chooses among the states of tables, each nil if its table has none or
// does not exist.
func continueFrom(ids []protocol.StreamID, states []*CommittedState, exists []bool) []*CommittedState {
	var ofStreams []*CommittedState
	var shared *CommittedState // the oldest one that covers all streams
	hasShared := make([]bool, len(states))
	for i, s := range states {
		if s == nil {
			continue
		}
		if s.kind == protocol.StreamState {
			ofStreams = append(ofStreams, s)
			continue
		}
		hasShared[i] = true
		if shared == nil || s.Before(shared.Checkpoint) {
			shared = s
		}
	}
	if shared == nil {
		return ofStreams
	}
	// A state that covers all streams is committed when all tables have it. If one has
	// none, rows of even the oldest one are missing. Only a stream that was added since
	// needs none: its table does not exist, since tables are created before the first
	// commit, and the state does not name it.
	for i, id := range ids {
		added := !exists[i] && shared.kind == protocol.GlobalState && !slices.Contains(shared.streams, id)
		if !hasShared[i] && !added {
			return ofStreams
		}
	}
	return []*CommittedState{shared}
}
