// Command destination writes the streams of any Airbyte source into Apache
// Iceberg tables that every engine can read.
package main

import (
	"context"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

func main() { protocol.Main(run) }

func run(ctx context.Context, env protocol.Env) int {
	return newDestination().run(ctx, env)
}

func (d destination) run(ctx context.Context, env protocol.Env) int {
	return protocol.RunDestination(ctx, d, env, stateCommand, tablesCommand, previewCommand, maintainCommand, relocateCommand, resetCommand, rollbackCommand, dropCommand)
}
