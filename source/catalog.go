package main

import (
	"context"
	"encoding/json"
	"flag"
	"slices"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

// catalogCommand is the verb that prints a configured catalog. An orchestrator makes one
// from the output of discover; without one, a person would have to write it.
func catalogCommand() cli.Command {
	return cli.Command{
		Name:      "catalog",
		Arguments: "[STREAM]...",
		Values:    streamNames(),
		Summary:   "prints a configured catalog of all streams, or of the named ones",
		Details: "The catalog is what read and write are given with --catalog. A stream with a cursor is read " +
			"incrementally, and its table has one row for each key; the others are replaced by each sync.",
		Examples: []string{"catalog > catalog.json", "catalog sleep recovery > catalog.json", "catalog --costs"},
		New: func(flags *flag.FlagSet) func(context.Context, cli.Env) error {
			costs := flags.Bool("costs", false, "print how many requests each stream takes, instead of the catalog")
			return func(_ context.Context, env cli.Env) error {
				c, err := configure(env.Args)
				if err != nil {
					return err
				}
				if *costs {
					return printCosts(env.Stdout, c)
				}
				out := json.NewEncoder(env.Stdout)
				out.SetEscapeHTML(false)
				return out.Encode(c)
			}
		},
	}
}

// configure chooses the incremental mode and one row per key for each stream that has a
// cursor. It chooses full refresh and overwrite for the others.
func configure(chosen []string) (protocol.ConfiguredCatalog, error) {
	var c protocol.ConfiguredCatalog
	for _, s := range streams {
		if len(chosen) > 0 && !slices.Contains(chosen, s.name) {
			continue
		}
		described, err := s.describe()
		if err != nil {
			return c, err
		}
		configured := protocol.ConfiguredStream{
			Stream:              described,
			SyncMode:            protocol.FullRefresh,
			DestinationSyncMode: protocol.Overwrite,
			PrimaryKey:          described.SourceDefinedPrimaryKey,
		}
		if s.incremental() {
			configured.SyncMode = protocol.Incremental
			configured.DestinationSyncMode = protocol.AppendDedup
			configured.CursorField = described.DefaultCursorField
		}
		c.Streams = append(c.Streams, configured)
	}
	return c, nil
}
