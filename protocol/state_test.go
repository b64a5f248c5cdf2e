package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ingest-connectors/whoop-iceberg/internal/rawjson"
)

func TestParseStates(t *testing.T) {
	stream := `{"type":"STREAM","stream":{"stream_descriptor":{"name":"s","namespace":null},"stream_state":{"c":1}}}`
	global := `{"type":"GLOBAL","global":{"shared_state":null,"stream_states":[{"stream_descriptor":{"name":"a","namespace":"n"},"stream_state":null}]}}`
	tests := []struct {
		name string
		file string
		want []State
		err  string
	}{
		{name: "nothing", file: " \n"},
		{name: "null", file: "null"},
		{name: "an empty list", file: "[]"},
		{name: "an empty object", file: " {} "},
		{name: "a list", file: "[" + stream + "," + global + "]", want: []State{
			{Type: StreamState, Stream: StreamID{Name: "s"}, Raw: json.RawMessage(stream)},
			{Type: GlobalState, Streams: []StreamID{{"n", "a"}}, Raw: json.RawMessage(global)},
		}},
		{name: "one state behind a byte-order mark", file: rawjson.ByteOrderMark + stream, want: []State{
			{Type: StreamState, Stream: StreamID{Name: "s"}, Raw: json.RawMessage(stream)},
		}},
		{name: "types left away", file: `[{"type":null,"global":null,"stream":{"stream_descriptor":{"name":"s"}}},{"global":{"stream_states":[]}}]`, want: []State{
			{Type: StreamState, Stream: StreamID{Name: "s"}, Raw: json.RawMessage(`{"type":null,"global":null,"stream":{"stream_descriptor":{"name":"s"}}}`)},
			{Type: GlobalState, Raw: json.RawMessage(`{"global":{"stream_states":[]}}`)},
		}},
		{name: "an old connector's object", file: `{"cursor":"2024"}`, want: []State{{Type: LegacyState, Raw: json.RawMessage(`{"cursor":"2024"}`)}}},
		{name: "no JSON", file: "{", err: "unexpected end"},
		{name: "a list of something else", file: "[1]", err: "not a JSON object"},
		{name: "a null in the list", file: "[null]", err: "not a JSON object"},
		{name: "an unknown type", file: `{"type":"STATE","state":{}}`, err: `unknown type "STATE"`},
		{name: "a stream state of no stream", file: `[{"type":"STREAM"}]`, err: "without stream_descriptor"},
		{name: "a global state of a stream without name", file: `[{"type":"GLOBAL","global":{"stream_states":[{"stream_state":{}}]}}]`, err: "no stream_descriptor"},
		{name: "a global state without global", file: `[{"type":"GLOBAL"}]`, err: "without global"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseStates([]byte(tt.file))
			if tt.err != "" {
				var e *Error
				if !errors.As(err, &e) || e.Kind != ConfigError || !strings.Contains(e.Message, tt.err) {
					t.Fatalf("error %v, want a config_error with %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(State{})); diff != "" {
				t.Errorf("states (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStreamStateIsNilToStartOver(t *testing.T) {
	for raw, want := range map[string]string{
		`{"type":"STREAM","stream":{"stream_descriptor":{"name":"s"},"stream_state":{"c": 1}}}`: `{"c": 1}`,
		`{"type":"STREAM","stream":{"stream_descriptor":{"name":"s"},"stream_state":null}}`:     "",
		`{"type":"STREAM","stream":{"stream_descriptor":{"name":"s"}}}`:                         "",
		`{"data":{}}`: "",
		string(NewStreamState(StreamID{"n", `a"b`}, json.RawMessage(`{"x":1}`)).Raw): `{"x":1}`,
		string(NewStreamState(StreamID{Name: "s"}, nil).Raw):                         "",
	} {
		s, err := ParseState(json.RawMessage(raw))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(s.StreamState()); got != want {
			t.Errorf("StreamState of %s = %s, want %s", raw, got, want)
		}
	}
	made := NewStreamState(StreamID{"n", `a"<b`}, json.RawMessage(`{}`))
	parsed, err := ParseState(made.Raw)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(made, parsed, cmpopts.IgnoreUnexported(State{})); diff != "" {
		t.Errorf("a made state and the same one parsed (-made +parsed):\n%s", diff)
	}
}

func TestStatsLeaveTheRestOfAStateAlone(t *testing.T) {
	tests := []struct{ name, raw, want string }{
		{"appended", `{"type":"STREAM","id":90071992547409931,"x":[1.50, "<é>"]}`, `{"type":"STREAM","id":90071992547409931,"x":[1.50, "<é>"],"sourceStats":{"recordCount":3.0}}`},
		{"into an empty object", ` { } `, `{ "sourceStats":{"recordCount":3.0}}`},
		{"replaced", `{"sourceStats" : {"recordCount":1,"a":{}} ,"id":1}`, `{"sourceStats" : {"recordCount":3.0} ,"id":1}`},
		{"null replaced", `{"id":1,"sourceStats":null}`, `{"id":1,"sourceStats":{"recordCount":3.0}}`},
		{"not the nested one", `{"a":{"sourceStats":1}}`, `{"a":{"sourceStats":1},"sourceStats":{"recordCount":3.0}}`},
		{"the last of two", `{"sourceStats":1,"sourceStats":2}`, `{"sourceStats":1,"sourceStats":{"recordCount":3.0}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := State{Raw: json.RawMessage(tt.raw)}.withStats("sourceStats", 3, 0)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	for _, raw := range []string{"", "null", "[]", `{"a"`} {
		if got, err := (State{Raw: json.RawMessage(raw)}).withStats("sourceStats", 1, 0); err == nil {
			t.Errorf("withStats of %q = %s, want an error", raw, got)
		}
	}
}

// FuzzParseStates reads any file and echoes what it finds: nothing of a state
// may change but its stats.
func FuzzParseStates(f *testing.F) {
	f.Add(`[{"type":"STREAM","stream":{"stream_descriptor":{"name":"s"},"stream_state":{"c":1}},"id":1}]`)
	f.Add(`{"type":"GLOBAL","global":{"stream_states":[{"stream_descriptor":{"name":"s","namespace":"n"}}]},"destinationStats":{"recordCount":1}}`)
	f.Add(`{"cursor":1e400," ":"\u0000","destination\u0053tats":[]}`)
	f.Add(`[null]`)
	f.Fuzz(func(t *testing.T, file string) {
		states, err := ParseStates([]byte(file))
		var e *Error
		if err != nil && (!errors.As(err, &e) || e.Kind != ConfigError) {
			t.Fatalf("not a config_error: %v", err)
		}
		for _, s := range states {
			_ = s.StreamState()
			echo, err := s.withStats("destinationStats", 7, 2)
			if err != nil {
				t.Fatalf("echoing %s: %v", s.Raw, err)
			}
			var before, after map[string]json.RawMessage
			if err := json.Unmarshal(s.Raw, &before); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(echo, &after); err != nil {
				t.Fatalf("%v in the echo %s of %s", err, echo, s.Raw)
			}
			if got := string(after["destinationStats"]); got != `{"recordCount":7.0,"rejectedRecordCount":2.0}` {
				t.Errorf("stats %s in %s", got, echo)
			}
			delete(before, "destinationStats")
			delete(after, "destinationStats")
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("state and echo (-state +echo):\n%s", diff)
			}
			again, err := ParseState(echo)
			if err != nil {
				t.Fatalf("parsing the echo: %v", err)
			}
			if diff := cmp.Diff(State{Type: s.Type, Stream: s.Stream, Streams: s.Streams, Raw: echo}, again, cmpopts.IgnoreUnexported(State{})); diff != "" {
				t.Errorf("address (-state +echo):\n%s", diff)
			}
		}
	})
}

// Whatever stands around the state in its message comes back too.
func TestAStateMessageIsRepeatedWhole(t *testing.T) {
	const state = `{"type":"LEGACY","data":{"n":1.50}}`
	const stats = `{"type":"LEGACY","data":{"n":1.50},"destinationStats":{"recordCount":3.0}}`
	for _, line := range []string{
		`{"type":"STATE","state":%s}`,
		`{"type":"STATE","trace_id":"a","state":%s,"x":[1.0,{"state":2}]}`,
		`{"state": %s , "type" : "STATE"}`,
		`{"x":{"state":{}},"type":"ST\u0041TE","state":%s}`,
		`{"type":"STATE","state":null,"state":%s}`, // of equal names the last counts
	} {
		in := NewInput(strings.NewReader(fmt.Sprintf(line, state)+"\n"), quiet())
		item, err := in.Next()
		if err != nil || item.State == nil {
			t.Errorf("%s: %+v, %v", line, item, err)
			continue
		}
		var out bytes.Buffer
		if err := NewEmitter(&out, EmitterOptions{}).Echo(*item.State, 3, 0); err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf(line, stats) + "\n"; out.String() != want {
			t.Errorf("got  %swant %s", &out, want)
		}
	}
}
