// Command destination writes the streams of any Airbyte source into Apache
// Iceberg tables that every engine can read.
package main

import (
	"context"

	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

func main() { cli.Main(run) }

func run(ctx context.Context, env cli.Env) int {
	return newDestination().run(ctx, env)
}

func (d destination) run(ctx context.Context, env cli.Env) int {
	env.Summary = "Writes the streams of any Airbyte source into Apache Iceberg tables."
	return cli.RunDestination(ctx, d, env, stateCommand,
		tablesCommand, previewCommand, reportCommand, // look at tables
		maintainCommand, relocateCommand,
		resetCommand, rollbackCommand, dropCommand, renameCommand, forgetCommand) // change a table
}
