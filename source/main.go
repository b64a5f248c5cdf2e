// Command source reads a WHOOP member's data and writes it as Airbyte messages.
//
// Glossary:
//   - record: a JSON object that WHOOP sends, and the RECORD message that carries it.
//   - row: what a stream has under one key. A record is a version of a row.
//   - collection: a list of records in the API, by the time of their events.
//   - walk: one reading of a collection, slice of time by slice of time.
//   - slice: a span of time; a state goes out only when a whole slice has been read.
//   - step: one slice of one walk.
//   - reader: what reads one configured stream; each record of a walk goes to the
//     readers of all streams that need its collection.
//   - window: the recent time that every incremental sync reads again. It is a lookback
//     long, as lookback_days says, or longer for rows that wait for their score.
//   - full walk: a walk that reads an incremental stream from its start again, to find
//     changes and deletions from before the window.
//   - tracked: said of a row whose versions a state can tell apart, by its key and time.
//   - drill-down: a stream that WHOOP offers as one request per row. The rows are derived
//     from a collection, or each is requested by the key of its parent, a record of
//     another collection or the same; see drilldown.go.
//   - tombstone: a record that says that its row is gone.
package main

import (
	"context"

	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/consent"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/whoop"
)

func main() {
	cli.Main(func(ctx context.Context, env cli.Env) int {
		env.Summary = "Reads a WHOOP member's data and prints it as messages of the Airbyte protocol."
		return cli.RunSource(ctx, &source{http: whoop.NewTransport()}, env, consent.Command(consentStreams(), userAgent), catalogCommand(), sandboxCommand())
	})
}

// consentStreams lists the streams with the scopes that a consent must include.
func consentStreams() []consent.Stream {
	var all []consent.Stream
	for _, s := range streams {
		all = append(all, consent.Stream{Name: s.name, Scopes: s.scopes})
	}
	return all
}
