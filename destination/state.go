package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"runtime/debug"
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
	debug.SetMemoryLimit(int64(config.Memory) << 20 * 3 / 4)
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
	var files checkpoint.Reader
	copies := make([]*checkpoint.Checkpoint, len(streams.all))
	exists := make([]bool, len(streams.all))
	for i, l := range streams.all {
		loaded, err := cat.LoadTable(ctx, lake.Identifier(l.plan))
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
		raw, err := lake.CommittedState(ctx, loaded, l.plan, generation)
		if err != nil {
			return nil, fmt.Errorf("reading the state of stream %s: %w", l.id, err)
		}
		if raw == nil {
			continue
		}
		c, err := checkpoint.Parse(raw)
		if err == nil {
			c.State, err = readState(ctx, &files, loaded, c)
		}
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", l.id, err)
		}
		copies[i] = &c
	}
	return streams.continueFrom(copies, exists)
}

// readState reads the state of a checkpoint that a table has.
func readState(ctx context.Context, files *checkpoint.Reader, of *table.Table, c checkpoint.Checkpoint) (json.RawMessage, error) {
	fs, err := of.FS(ctx)
	if err != nil {
		return nil, err
	}
	state, err := files.State(fs, c)
	if err != nil {
		return nil, &protocol.Error{Kind: protocol.ConfigError, Err: err, Message: fmt.Sprintf(
			"The state of table %s cannot be read: %v. Bring the file back from a copy of the lake. Without it the source must start from the beginning, or from a state that you give it with --state.", strings.Join(of.Identifier(), "."), err)}
	}
	return state, nil
}

// continueFrom chooses the states from which a source goes on such that nothing
// is missed. copies holds what the lanes' tables say, exists which of the tables
// there are.
func (ls lanes) continueFrom(copies []*checkpoint.Checkpoint, exists []bool) ([]json.RawMessage, error) {
	var ofStreams []json.RawMessage
	var shared *checkpoint.Checkpoint // the oldest copy of a state that covers all tables
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
		if shared == nil || c.Before(*shared) {
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
