package tabledef

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// streamKey is the table property that names the stream whose rows the table
// holds, by its name and namespace at the source.
const streamKey = "airbyte.stream"

// connectionKey is the table property that names the connection which alone may write
// the table. Streams of two sources can have one name; connections do not.
const connectionKey = "airbyte.connection"

type owner struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// uuidKey is the table property that holds the UUID of the table whose columns the
// properties with field ids are about. A program that makes a table of the schema and
// the properties of another one gives its columns ids of their own.
const uuidKey = "airbyte.table-uuid"

// isCopy reports whether a table has the properties of another one.
func isCopy(meta table.Metadata) bool {
	of, ok := meta.Properties()[uuidKey]
	return ok && of != meta.TableUUID().String()
}

// MarkOwn has a table say that its properties are its own, if it does not yet.
func MarkOwn(meta table.Metadata) []table.Update {
	own := meta.TableUUID().String()
	if meta.Properties()[uuidKey] == own {
		return nil
	}
	return []table.Update{table.NewSetPropertiesUpdate(iceberg.Properties{uuidKey: own})}
}

// ownerProperty is the value of the property streamKey.
func ownerProperty(id protocol.StreamID) (string, error) {
	data, err := json.Marshal(owner(id))
	if err != nil {
		return "", fmt.Errorf("naming stream %s: %w", id, err)
	}
	return string(data), nil
}

// Owner is the stream whose rows a table holds; false when the table does not
// say, as tables of other programs do not.
func Owner(tbl *table.Table) (protocol.StreamID, bool, error) {
	data, ok := tbl.Properties()[streamKey]
	if !ok {
		return protocol.StreamID{}, false, nil
	}
	var o owner
	if err := json.Unmarshal([]byte(data), &o); err != nil {
		return protocol.StreamID{}, false, fmt.Errorf("reading the property %s of table %s: %w", streamKey, strings.Join(tbl.Identifier(), "."), err)
	}
	return protocol.StreamID(o), true, nil
}

// checkOwner refuses a table of another stream or connection.
func checkOwner(p *columnar.Plan, connection string, loaded *table.Table) error {
	stream, known, err := Owner(loaded)
	if err != nil {
		return err
	}
	if known && stream != p.Stream {
		return &protocol.Error{Kind: protocol.TransientError, Stream: &p.Stream, Message: fmt.Sprintf(
			"Another program has just created table %s for stream %s. Start the sync again: stream %s then gets a table of its own.", p.Location, stream, p.Stream)}
	}
	owner := loaded.Properties()[connectionKey]
	if owner == "" || owner == connection {
		return nil
	}
	as := fmt.Sprintf("this is connection %q", connection)
	if connection == "" {
		as = `this configuration names no "connection"`
	}
	return &protocol.Error{Kind: protocol.ConfigError, Stream: &p.Stream, Message: fmt.Sprintf(
		`Table %s of stream %s belongs to connection %q, and %s. Set another "namespace" for this connection, or the "connection" %[3]q if both are to write into one table.`,
		p.Location, p.Stream, owner, as)}
}
