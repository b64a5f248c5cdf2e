package lake

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// ErrNotOurs is the error of [Attach] for a table that this program never wrote.
var ErrNotOurs = errors.New("the table was not written by this program")

// Attach opens a table that is there, to maintain or to change it. Of its plan only the names
// are known, so no rows can be written.
func Attach(ctx context.Context, cat Catalog, id table.Identifier, o Options) (*Table, error) {
	namespace, name := strings.Join(catalog.NamespaceFromIdent(id), "."), catalog.TableNameFromIdent(id)
	t := newTable(cat, &columnar.Plan{
		Stream: protocol.StreamID{Namespace: namespace, Name: name}, Location: columnar.Location{Namespace: namespace, Table: name},
	}, o)
	loaded, err := cat.LoadTable(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("opening table %s: %w", t, err)
	}
	if !hasOurCommits(loaded) {
		return nil, fmt.Errorf("opening table %s: %w", t, ErrNotOurs)
	}
	return t, t.Explain(t.adopt(ctx, loaded))
}

// hasOurCommits reports whether this program has committed to a table.
func hasOurCommits(t *table.Table) bool {
	if t.Properties()[stateKey] != "" {
		return true
	}
	for _, s := range t.Metadata().Snapshots() {
		if s.Summary != nil && s.Summary.Properties[tokenKey] != "" {
			return true
		}
	}
	return false
}
