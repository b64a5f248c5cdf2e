package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"
)

func TestEmitterLines(t *testing.T) {
	tests := []struct {
		name  string
		write func(*Emitter) error
		want  string
	}{
		{
			"RECORD", func(e *Emitter) error { return e.Record(sleep, json.RawMessage(`{"n":1.50,"s":"<é>"}`)) },
			`{"type":"RECORD","record":{"stream":"sleep","emitted_at":1772366400000,"data":{"n":1.50,"s":"<é>"}}}`,
		},
		{
			"RECORD on several lines, in a namespace", func(e *Emitter) error { return e.Record(odd, json.RawMessage("{\r\n  \"n\": 1\r}\n")) },
			`{"type":"RECORD","record":{"stream":"a\"<b","namespace":"n","emitted_at":1772366400000,"data":{  "n": 1}}}`,
		},
		{
			"STATE", func(e *Emitter) error { return e.State(NewStreamState(sleep, json.RawMessage(`{"c":1}`))) },
			`{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"sleep"},"stream_state":{"c":1}},"sourceStats":{"recordCount":0.0}}}`,
		},
		{
			"STATE repeated by a destination", func(e *Emitter) error {
				return e.Echo(State{Raw: json.RawMessage("{\"id\":9007199254740993,\n\"sourceStats\":{\"recordCount\":3.0},\"x\":null}")}, 2, 1)
			},
			`{"type":"STATE","state":{"id":9007199254740993,"sourceStats":{"recordCount":3.0},"x":null,"destinationStats":{"recordCount":2.0,"rejectedRecordCount":1.0}}}`,
		},
		{
			"LOG", func(e *Emitter) error { return e.Log("WARN", "one\n\"two\" <b>") },
			`{"type":"LOG","log":{"level":"WARN","message":"one\n\"two\" <b>"}}`,
		},
		{
			"LOG from slog", func(e *Emitter) error {
				e.Logger().With("a", "x y").WithGroup("g").Info("hello", "n", 1, slog.Group("h", "e", errors.New("bad")), slog.Group("", "i", 2), slog.Attr{}, "empty", "")
				return nil
			},
			`{"type":"LOG","log":{"level":"INFO","message":"hello a=\"x y\" g.n=1 g.h.e=bad g.i=2 g.empty=\"\""}}`,
		},
		{
			"SPEC", func(e *Emitter) error {
				return e.Spec(Spec{
					DocumentationURL: "https://example.com", ConnectionSpecification: &jsonschema.Schema{Type: "object"},
					SupportsIncremental: true, SupportedDestinationSyncModes: []DestinationSyncMode{Append}, ProtocolVersion: "0.18.0",
				})
			},
			`{"type":"SPEC","spec":{"documentationUrl":"https://example.com","connectionSpecification":{"type":"object"},"supportsIncremental":true,"supported_destination_sync_modes":["append"],"protocol_version":"0.18.0"}}`,
		},
		{
			"CONNECTION_STATUS", func(e *Emitter) error { return e.ConnectionStatus("FAILED", "no entry", nil) },
			`{"type":"CONNECTION_STATUS","connectionStatus":{"status":"FAILED","message":"no entry"}}`,
		},
		{
			"CATALOG", func(e *Emitter) error {
				return e.Catalog(Catalog{Streams: []Stream{{
					Name: "sleep", JSONSchema: json.RawMessage(`{"type":"object"}`), SupportedSyncModes: []SyncMode{FullRefresh, Incremental},
					SourceDefinedCursor: true, DefaultCursorField: []string{"updated_at"}, SourceDefinedPrimaryKey: [][]string{{"id"}}, IsResumable: true,
				}}})
			},
			`{"type":"CATALOG","catalog":{"streams":[{"name":"sleep","json_schema":{"type":"object"},"supported_sync_modes":["full_refresh","incremental"],"source_defined_cursor":true,"default_cursor_field":["updated_at"],"source_defined_primary_key":[["id"]],"is_resumable":true}]}}`,
		},
		{
			"CATALOG of nothing", func(e *Emitter) error { return e.Catalog(Catalog{}) },
			`{"type":"CATALOG","catalog":{"streams":[]}}`,
		},
		{
			"TRACE of a status", func(e *Emitter) error { return e.Status(odd, Started) },
			`{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1772366400000,"stream_status":{"stream_descriptor":{"name":"a\"<b","namespace":"n"},"status":"STARTED"}}}`,
		},
		{
			"TRACE of an error", func(e *Emitter) error {
				return e.FailRun(t.Context(), &Error{Kind: ConfigError, Message: "Give a key.", Err: errors.New("no key")})
			},
			`{"type":"TRACE","trace":{"type":"ERROR","emitted_at":1772366400000,"error":{"message":"Give a key.","internal_message":"Give a key. (no key)","failure_type":"config_error"}}}`,
		},
		{
			"CONTROL", func(e *Emitter) error { return e.Control(json.RawMessage("{\n \"token\": \"<new>\"}")) },
			`{"type":"CONTROL","control":{"type":"CONNECTOR_CONFIG","emitted_at":1772366400000,"connectorConfig":{"config":{"token":"<new>"}}}}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			e := newTestEmitter(&out)
			if err := tt.write(e); err != nil {
				t.Fatal(err)
			}
			if err := e.Flush(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want+"\n", out.String()); diff != "" {
				t.Errorf("line (-want +got):\n%s", diff)
			}
		})
	}
}
