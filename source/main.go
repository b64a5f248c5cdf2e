// Command source reads a WHOOP member's data and writes it as Airbyte messages.
package main

import (
	"context"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/consent"
)

func main() {
	protocol.Main(func(ctx context.Context, env protocol.Env) int {
		return protocol.RunSource(ctx, &source{}, env, consent.Command(opened(), userAgent), catalogCommand(), sandboxCommand())
	})
}

// opened lists the streams as a consent opens them.
func opened() []consent.Stream {
	var all []consent.Stream
	for _, s := range streams {
		all = append(all, consent.Stream{Name: s.name, Scopes: s.scopes})
	}
	return all
}
