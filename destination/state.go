package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/checkpoint"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

var stateCommand = protocol.Command{
	Name:    "state",
	Summary: "prints the last committed states, ready for source read --state",
	Config:  true,
	New: func(flags *flag.FlagSet) func(context.Context, protocol.Env) error {
		catalogPath := flags.String("catalog", "", "path of the configured catalog `FILE`, whose streams' states are printed")
		return func(ctx context.Context, env protocol.Env) error {
			if len(env.Args) > 0 || *catalogPath == "" {
				return configError("Usage: state --config FILE --catalog FILE")
			}
			config, err := parseConfig(env.Config)
			if err != nil {
				return err
			}
			configured, err := protocol.ReadConfiguredCatalog(*catalogPath)
			if err != nil {
				return err
			}
			states, err := committedStates(ctx, config, configured)
			if err != nil {
				return err
			}
			return printStates(ctx, env, states)
		}
	},
}

// A tableState is the state that a table has. One that is in a file is not kept
// in memory: there may be many, and long ones.
type tableState struct {
	checkpoint.Checkpoint
	kind    protocol.StateType
	streams []protocol.StreamID // of a GLOBAL state
	table   *table.Table
}

// raw reads the state of the message.
func (s *tableState) raw(ctx context.Context) (json.RawMessage, error) {
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

// look finds out what kind of state it is.
func (s *tableState) look(ctx context.Context) error {
	raw, err := s.raw(ctx)
	if err != nil {
		return err
	}
	of, err := protocol.ParseState(raw)
	s.kind, s.streams = of.Type, of.Streams
	return err
}

// committedStates returns the states that the tables of the catalog's streams
// carry. Where nothing has been written yet there are none: that is a first
// sync, not an error.
func committedStates(ctx context.Context, config Config, configured protocol.ConfiguredCatalog) ([]*tableState, error) {
	config.Memory.LimitProcess()
	streams, err := config.planStreams(configured)
	if err != nil {
		return nil, err
	}
	cat, err := catalogs.OpenExisting(ctx, config.Catalog, config.Warehouse)
	if errors.Is(err, catalogs.ErrNone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer cat.Close()
	if err := streams.Resolve(ctx, cat); err != nil {
		return nil, err
	}
	var ids []protocol.StreamID
	copies := make([]*tableState, len(streams.All()))
	seen := map[string]*tableState{} // by file
	exists := make([]bool, len(streams.All()))
	for i, l := range streams.All() {
		ids = append(ids, l.ID)
		loaded, err := cat.LoadTable(ctx, l.Plan.Identifier())
		if errors.Is(err, catalog.ErrNoSuchTable) || errors.Is(err, catalog.ErrNoSuchNamespace) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("loading the table of stream %s: %w", l.ID, err)
		}
		exists[i] = true
		generation := l.Generation()
		if l.Replaces() {
			generation = nil // it is done with them in a way of its own
		}
		raw, err := lake.CommittedState(ctx, loaded, l.Plan, generation)
		if err != nil {
			return nil, fmt.Errorf("reading the state of stream %s: %w", l.ID, err)
		}
		if raw == nil {
			continue
		}
		s := &tableState{table: loaded}
		s.Checkpoint, err = checkpoint.Parse(raw)
		switch same := seen[s.File]; {
		case err != nil:
		case same != nil && s.File != "":
			s.kind, s.streams = same.kind, same.streams
		default:
			err = s.look(ctx)
			seen[s.File] = s
		}
		if err != nil {
			return nil, fmt.Errorf("reading the state of stream %s: %w", l.ID, err)
		}
		copies[i] = s
	}
	return continueFrom(ids, copies, exists), nil
}

// continueFrom chooses the states from which a source goes on such that nothing
// is missed. copies holds what the tables of the streams say, exists which of the
// tables there are.
func continueFrom(ids []protocol.StreamID, copies []*tableState, exists []bool) []*tableState {
	var ofStreams []*tableState
	var shared *tableState // the oldest copy of a state that covers all tables
	holds := make([]bool, len(copies))
	for i, c := range copies {
		if c == nil {
			continue
		}
		if c.kind == protocol.StreamState {
			ofStreams = append(ofStreams, c)
			continue
		}
		holds[i] = true
		if shared == nil || c.Before(shared.Checkpoint) {
			shared = c
		}
	}
	if shared == nil {
		return ofStreams
	}
	// A state for all tables holds when all have it; while one has none, not
	// even the oldest copy is covered. Only a stream that was added since needs
	// none: it has no table, as those are made before the first commit, and the
	// state does not name it.
	for i, id := range ids {
		added := !exists[i] && shared.kind == protocol.GlobalState && !slices.Contains(shared.streams, id)
		if !holds[i] && !added {
			return ofStreams
		}
	}
	return []*tableState{shared}
}

// printStates prints a JSON array, and has one state after another in memory.
func printStates(ctx context.Context, env protocol.Env, states []*tableState) error {
	separator := "["
	for _, s := range states {
		raw, err := s.raw(ctx)
		if err != nil {
			return err
		}
		text := bytes.NewBufferString(separator)
		if err := json.Compact(text, raw); err != nil {
			return err
		}
		if _, err := text.WriteTo(env.Stdout); err != nil {
			return err
		}
		separator = ","
	}
	end := "]\n"
	if len(states) == 0 {
		end = "[]\n"
	}
	_, err := io.WriteString(env.Stdout, end)
	return err
}
