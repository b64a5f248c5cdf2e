package syncer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
			c := checkpoint.Checkpoint{Number: number, Committed: now, State: state.Raw}
			if pending.stream == nil {
				c.From, c.Lacks, c.Streams = r.shared.from, r.shared.lacks, r.shared.streams(r.streams, number)
			}
			kept, err := r.stateFiles.Keep(c, tables[segment])
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
	stored json.RawMessage // as the table has it
	kind   protocol.StateType
	named  []protocol.StreamID // the streams that a GLOBAL state names itself
	table  *table.Table
}

// newCommittedState returns a state as a table has it, still to be parsed; nil: none.
func newCommittedState(tbl *table.Table, raw json.RawMessage) (*CommittedState, error) {
	if raw == nil {
		return nil, nil
	}
	stored, err := checkpoint.Parse(raw)
	return &CommittedState{Checkpoint: stored, stored: raw, table: tbl}, err
}

// Read returns the state as the source sent it.
func (s *CommittedState) Read(ctx context.Context) (json.RawMessage, error) {
	whole, err := s.load(ctx)
	return whole.State, err
}

// load returns the checkpoint with what is in its file.
func (s *CommittedState) load(ctx context.Context) (checkpoint.Checkpoint, error) {
	if s.File == "" {
		return s.Checkpoint, nil
	}
	files, err := s.table.FS(ctx)
	if err != nil {
		return s.Checkpoint, err
	}
	whole, err := s.Load(files)
	if err != nil {
		return whole, &protocol.Error{Kind: protocol.ConfigError, Err: err, Message: fmt.Sprintf(
			"The state of table %s cannot be read: %v. Restore the file from a copy of the warehouse. Without it, start the source from the beginning, or from a state that you pass with --state.", strings.Join(s.table.Identifier(), "."), err)}
	}
	return whole, nil
}

// parse sets the kind of the state, and the streams that it belongs to. byFile holds the states
// that were read from files, each of which is parsed once.
func (s *CommittedState) parse(ctx context.Context, byFile map[string]*CommittedState) error {
	if same := byFile[s.File]; same != nil {
		s.kind, s.named, s.Streams = same.kind, same.named, same.Streams
		return nil
	}
	whole, err := s.load(ctx)
	if err != nil {
		return err
	}
	state, err := protocol.ParseState(whole.State)
	if err != nil {
		return err
	}
	s.kind, s.named, s.Streams = state.Type, state.Streams, whole.Streams
	if s.File != "" {
		byFile[s.File] = s
	}
	return nil
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
			generation := stream.generation()
			if stream.isOverwrite() {
				generation = nil // an overwrite replaces the rows of all generations
			}
			raw, err := lake.CommittedState(ctx, loaded, stream.plan, generation)
			if err == nil {
				state, err = newCommittedState(loaded, raw)
			}
			if err == nil && state != nil {
				err = state.parse(ctx, byFile)
			}
			if err != nil {
				return nil, fmt.Errorf("reading the state of stream %s: %w", stream.ID, err)
			}
		}
		ids, states, exists = append(ids, stream.ID), append(states, state), append(exists, !missing)
	}
	return continueFrom(ids, states, exists), nil
}
