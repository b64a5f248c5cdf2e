// Command source reads a WHOOP member's data and writes it as Airbyte messages.
package main

import (
	"context"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

func main() {
	protocol.Main(func(ctx context.Context, env protocol.Env) int {
		return protocol.RunSource(ctx, &source{}, env, authorizeCommand(), catalogCommand(), sandboxCommand())
	})
}
