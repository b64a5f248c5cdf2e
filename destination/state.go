package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"slices"

	"github.com/apache/iceberg-go/catalog"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

var stateCommand = protocol.Command{
	Name:    "state",
	Summary: "prints the last committed states, ready for source read --state",
	Config:  true,
	New: func(flags *flag.FlagSet) func(context.Context, protocol.Env) error {
		catalogPath := flags.String("catalog", "", "path of the configured catalog whose streams to look for")
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
			return printStates(env, states)
		}
	},
}

// committedStates returns the states that the tables of the catalog's streams
// carry. Where nothing has been written yet there are none: that is a first
// sync, not an error.
func committedStates(ctx context.Context, config Config, configured protocol.ConfiguredCatalog) ([]json.RawMessage, error) {
	streams, err := planLanes(configured, config)
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
	if err := streams.resolve(ctx, cat); err != nil {
		return nil, err
	}
	copies := make([]*checkpoint, len(streams.all))
	exists := make([]bool, len(streams.all))
	for i, l := range streams.all {
		table, err := cat.LoadTable(ctx, lake.Identifier(l.plan))
		if errors.Is(err, catalog.ErrNoSuchTable) || errors.Is(err, catalog.ErrNoSuchNamespace) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("loading the table of stream %s: %w", l.id, err)
		}
		exists[i] = true
		generation := l.generation()
		if l.replaces() {
			generation = nil // it is done with them in a way of its own
		}
		raw, err := lake.CommittedState(ctx, table, l.plan, generation)
		if err != nil {
			return nil, fmt.Errorf("reading the state of stream %s: %w", l.id, err)
		}
		if raw == nil {
			continue
		}
		copies[i] = &checkpoint{}
		if err := json.Unmarshal(raw, copies[i]); err != nil {
			return nil, fmt.Errorf("reading the state of stream %s: %w", l.id, err)
		}
	}
	return streams.continueFrom(copies, exists)
}

// continueFrom chooses the states from which a source goes on such that nothing
// is missed. copies holds what the lanes' tables say, exists which of the tables
// there are.
func (ls lanes) continueFrom(copies []*checkpoint, exists []bool) ([]json.RawMessage, error) {
	var ofStreams []json.RawMessage
	var shared *checkpoint // the oldest copy of a state that covers all tables
	var covered protocol.State
	holds := make([]bool, len(copies))
	for i, c := range copies {
		if c == nil {
			continue
		}
		s, err := protocol.ParseState(c.State)
		if err != nil {
			return nil, fmt.Errorf("reading the state of stream %s: %w", ls.all[i].id, err)
		}
		if s.Type == protocol.StreamState {
			ofStreams = append(ofStreams, c.State)
			continue
		}
		holds[i] = true
		if shared == nil || c.before(*shared) {
			shared, covered = c, s
		}
	}
	if shared == nil {
		return ofStreams, nil
	}
	// A state for all tables holds when all have it; while one has none, not
	// even the oldest copy is covered. Only a stream that was added since needs
	// none: it has no table, as those are made before the first commit, and the
	// state does not name it.
	for i, l := range ls.all {
		added := !exists[i] && covered.Type == protocol.GlobalState && !slices.Contains(covered.Streams, l.id)
		if !holds[i] && !added {
			return ofStreams, nil
		}
	}
	return []json.RawMessage{shared.State}, nil
}

func printStates(env protocol.Env, states []json.RawMessage) error {
	if states == nil {
		states = []json.RawMessage{}
	}
	out := json.NewEncoder(env.Stdout)
	out.SetEscapeHTML(false)
	return out.Encode(states)
}
