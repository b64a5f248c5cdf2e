// Package laketest opens tables for tests, fills them, and looks at what is in them
// and on disk. The tests of several packages use it.
package laketest

import (
	"context"
	"encoding/json"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	iceio "github.com/apache/iceberg-go/io"
	"modernc.org/sqlite"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Main runs the tests of a package that are about what is written. That it is on
// disk when the catalog names it is for package storage to show; waiting for the
// disk here would only take time.
func Main(m *testing.M) {
	// The first storage to be opened puts its files in the library's place.
	if _, err := storage.Open(context.Background(), storage.Default(), "file:///nowhere", ""); err != nil {
		panic(err)
	}
	if err := StartZstd(); err != nil {
		panic(err)
	}
	RelaxSQLite()
	iceio.Unregister("file")
	iceio.Register("file", func(context.Context, *url.URL, map[string]string) (iceio.IO, error) { return localFiles{}, nil })
	m.Run()
}

// RelaxSQLite has SQLite not wait for the disk, from now on.
func RelaxSQLite() {
	sqlite.RegisterConnectionHook(func(conn sqlite.ExecQuerierContext, _ string) error {
		_, err := conn.ExecContext(context.Background(), "PRAGMA synchronous = OFF", nil)
		return err
	})
}

// localFiles are local files that are not on disk when a call returns.
type localFiles struct{ iceio.LocalFS }

// ReplaceFile writes a file beside the one of the name, which then takes its place.
func (localFiles) ReplaceFile(location string, content []byte) error {
	name := strings.TrimPrefix(location, "file://")
	if err := os.WriteFile(name+".next", content, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".next", name)
}

// Keyed is the plan most tests use: one row per id, the highest updated_at wins,
// deleted_at deletes.
func Keyed(name string) *columnar.Plan {
	return plan(name, `"id":{"type":"integer"},"v":{"type":"string"},"updated_at":{"type":"string","format":"date-time","airbyte_type":"timestamp_with_timezone"},"_ab_cdc_deleted_at":{"type":"string"}`,
		protocol.ConfiguredStream{DestinationSyncMode: protocol.AppendDedup, PrimaryKey: [][]string{{"id"}}, CursorField: []string{"updated_at"}})
}

// Plain is the plan of a stream that appends.
func Plain(name string) *columnar.Plan {
	return Plan(name, `"id":{"type":"integer"},"v":{"type":"string"}`)
}

// Plan is the plan of a stream with these properties, as in a JSON schema, that
// appends.
func Plan(name, properties string) *columnar.Plan {
	return plan(name, properties, protocol.ConfiguredStream{DestinationSyncMode: protocol.Append})
}

func plan(name, properties string, s protocol.ConfiguredStream) *columnar.Plan {
	s.Stream = protocol.Stream{Name: name, Namespace: "ns", JSONSchema: json.RawMessage(`{"properties":{` + properties + `}}`)}
	p, err := columnar.NewPlan(s, columnar.Options{})
	if err != nil {
		panic(err)
	}
	return p
}

// OpenTable opens the table of a plan.
func OpenTable(t testing.TB, cat lake.Catalog, p *columnar.Plan, o lake.Options) *lake.Table {
	t.Helper()
	tbl, err := lake.Open(t.Context(), cat, p, o)
	if err != nil {
		t.Fatal(err)
	}
	return tbl
}

// Impatient opens a table again, for maintenance that does not wait for readers.
func Impatient(t testing.TB, tbl *lake.Table) *lake.Table {
	t.Helper()
	attached, err := lake.Attach(t.Context(), tbl.Catalog(), tbl.Opened().Identifier(), lake.Options{ReaderTime: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	return attached
}
