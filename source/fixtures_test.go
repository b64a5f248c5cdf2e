package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox"
)

// The fixtures of acceptance-test-config.yml, whose sandbox is that of these
// flags. go test ./source -run Fixtures -update rewrites them.
var fixtureSandbox = sandboxFlags{seed: 1, years: 1, clock: sandboxClock, perMinute: -1}

const (
	fixtureURL       = "http://127.0.0.1:18080"
	fixtureStart     = "2026-01-05T00:00:00Z"
	fixtureDirectory = "../acceptance/fixtures/source"
)

func TestAcceptanceFixturesAreCurrent(t *testing.T) {
	member, err := fixtureSandbox.member()
	if err != nil {
		t.Fatal(err)
	}
	server := sandbox.New(member)
	written, err := fixtureSandbox.writeConfig(fixtureURL, member, server.Issue())
	if err != nil {
		t.Fatal(err)
	}
	config := map[string]any{}
	if err := json.Unmarshal(written, &config); err != nil {
		t.Fatal(err)
	}
	config["start_date"] = fixtureStart
	invalid := maps.Clone(config)
	credentials := maps.Clone(config["credentials"].(map[string]any))
	credentials["access_token"], credentials["refresh_token"] = "not-a-token-of-anybody", "not-a-token-either"
	invalid["credentials"] = credentials

	full, incremental := catalog(t, protocol.FullRefresh), catalog(t, protocol.Incremental)
	s := &source{http: inProcess{server}}
	r := protocoltest.Source(t, s, "read", "--config", protocoltest.File(t, config), "--catalog", protocoltest.File(t, full))
	if r.Code != 0 {
		t.Fatalf("exit code %d: %v", r.Code, r.Errors())
	}
	var records, future []any
	for _, m := range r.Messages {
		if m.Record != nil {
			records = append(records, map[string]any{"stream": m.Record.Stream, "data": m.Record.Data, "emitted_at": member.Clock.Now().UnixMilli()})
		}
	}
	for _, c := range incremental.Streams {
		if c.SyncMode == protocol.Incremental {
			future = append(future, protocol.NewStreamState(c.ID(), json.RawMessage(
				`{"version":1,"until":"2999-01-01T00:00:00Z","walked":"2999-01-01T00:00:00Z","window_start":"2998-12-18T00:00:00Z","recent":[],"older":""}`)).Raw)
		}
	}
	for name, content := range map[string][]byte{
		"config.json":                         indented(t, config),
		"invalid_config.json":                 indented(t, invalid),
		"configured_catalog.json":             indented(t, full),
		"incremental_configured_catalog.json": indented(t, incremental),
		"future_state.json":                   indented(t, future),
		"expected_records.jsonl":              lines(t, records),
	} {
		path := filepath.Join(fixtureDirectory, name)
		if *update {
			if err := os.WriteFile(path, content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		is, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		wantEqual(t, name, string(is), string(content))
	}
}

func indented(t *testing.T, value any) []byte {
	t.Helper()
	raw, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(raw, '\n')
}

func lines(t *testing.T, values []any) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, v := range values {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(raw, '\n'))
	}
	return b.Bytes()
}
