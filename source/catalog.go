package main

import (
	"context"
	"encoding/json"
	"flag"
	"slices"
	"strings"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// catalogCommand is the verb that makes a configured catalog, which an
// orchestrator makes of what discover prints and a person would have to by
// hand.
func catalogCommand() protocol.Command {
	return protocol.Command{
		Name:    "catalog",
		Summary: "print a configured catalog of all streams, or of those named, for read and write",
		New: func(*flag.FlagSet) func(context.Context, protocol.Env) error {
			return func(_ context.Context, env protocol.Env) error {
				c, err := configure(env.Args)
				if err != nil {
					return err
				}
				out := json.NewEncoder(env.Stdout)
				out.SetEscapeHTML(false)
				return out.Encode(c)
			}
		},
	}
}

// configure chooses, for each stream, to read only what changed and to keep one
// row for each key; a stream that cannot tell what changed is replaced.
func configure(chosen []string) (protocol.ConfiguredCatalog, error) {
	var c protocol.ConfiguredCatalog
	for _, name := range chosen {
		if !slices.Contains(names(), name) {
			return c, &protocol.Error{
				Kind:    protocol.ConfigError,
				Message: "There is no stream " + name + ". There are: " + strings.Join(names(), ", ") + ".",
			}
		}
	}
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
