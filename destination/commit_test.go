package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Tables commit at once, and what goes wrong with each of them is told.
func TestEveryTableThatFailsInACommitIsNamed(t *testing.T) {
	config, err := parseConfig(fmt.Appendf(nil, `{"warehouse":"file://%s"}`, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	configured, err := protocol.ParseConfiguredCatalog([]byte(`{"streams":[
		{"stream":{"name":"a","json_schema":{"properties":{"id":{"type":"integer"}}}},"sync_mode":"incremental","destination_sync_mode":"append"},
		{"stream":{"name":"b","json_schema":{"properties":{"id":{"type":"integer"}}}},"sync_mode":"incremental","destination_sync_mode":"append"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	streams, err := planLanes(configured, config)
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalogs.Open(t.Context(), config.Catalog, config.Warehouse)
	if err != nil {
		t.Fatal(err)
	}
	defer cat.Close()
	if err := streams.open(t.Context(), cat, config, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	cat.Catalog = faultyCatalog{cat.Catalog, &faults{kind: breaksDown}}
	w := &writer{config: config, lanes: streams, out: protocol.NewEmitter(io.Discard)}
	c := &commit{}
	for _, l := range streams.all {
		c.lanes = append(c.lanes, &laneCommit{lane: l, state: protocol.State{Raw: json.RawMessage(`{}`)}})
	}
	err = w.commit(t.Context(), c)
	for _, l := range streams.all {
		if err == nil || !strings.Contains(err.Error(), "committing stream "+l.id.String()+": loading table airbyte."+l.id.Name) {
			t.Errorf("stream %s is not named: %v", l.id, err)
		}
	}
}
