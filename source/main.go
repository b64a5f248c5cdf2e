// Command source reads a WHOOP member's data and writes it as Airbyte messages.
//
// Glossary:
//   - record: a JSON object that WHOOP sends, and the RECORD message that carries it.
//   - row: what a stream has under one key. A record is a version of a row.
//   - collection: a list of records in the API, by the time of their events.
//   - walk: one reading of a collection, slice of time by slice of time.
//   - full walk: a walk from the stream's beginning, to find old changes and deletions.
//   - drill-down: a stream that WHOOP offers as one request per row; see drilldown.go.
//   - tombstone: a record that says that its row is gone.
package main

import (
	"context"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/consent"
)

func main() {
	protocol.Main(func(ctx context.Context, env protocol.Env) int {
		return protocol.RunSource(ctx, &source{}, env, consent.Command(consentStreams(), userAgent), catalogCommand(), sandboxCommand())
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
