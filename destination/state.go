package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/syncer"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

var stateCommand = cli.Command{
	Name:     "state",
	Summary:  "prints the last committed states, for read --state of a source",
	Details:  "They are a JSON array. It is empty before the first sync.",
	Examples: []string{"state --config destination.json --catalog catalog.json > state.json"},
	Config:   true,
	Required: []string{"catalog"},
	New: func(flags *flag.FlagSet) func(context.Context, cli.Env) error {
		catalogPath := flags.String("catalog", "", "path of the configured catalog `FILE`, whose streams' states are printed")
		return func(ctx context.Context, env cli.Env) error {
			if *catalogPath == "" {
				return protocol.ConfigError.Errorf(nil, "Give the path of the configured catalog with --catalog.")
			}
			config, err := parseConfig(env.Config)
			if err != nil {
				return err
			}
			configured, err := cli.ReadConfiguredCatalog(*catalogPath)
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

// committedStates returns the states from which a source continues. Where nothing
// has been written there are none: that is a first sync, not an error.
func committedStates(ctx context.Context, config Config, configured protocol.ConfiguredCatalog) ([]*syncer.CommittedState, error) {
	config.Memory.LimitProcess()
	streams, err := config.planStreams(configured)
	if err != nil {
		return nil, err
	}
	cat, err := config.openExisting(ctx)
	if errors.Is(err, catalogs.ErrNone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer cat.Close()
	return streams.CommittedStates(ctx, cat)
}

// printStates prints a JSON array. It holds one state at a time in memory.
func printStates(ctx context.Context, env cli.Env, states []*syncer.CommittedState) error {
	separator := "["
	for _, s := range states {
		raw, err := s.Read(ctx)
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
