package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"
)

var (
	noon  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	sleep = StreamID{Name: "sleep"}
	odd   = StreamID{Namespace: "n", Name: `a"<b`}
)

// newTestEmitter returns an emitter whose clock stands at noon.
func newTestEmitter(w io.Writer) *Emitter {
	e := NewEmitter(w)
	e.now = func() time.Time { return noon }
	return e
}

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
				e.Logger().With("a", "x y").WithGroup("g").Info("hello", "n", 1, slog.Group("h", "e", errors.New("bad")), "empty", "")
				return nil
			},
			`{"type":"LOG","log":{"level":"INFO","message":"hello a=\"x y\" g.n=1 g.h.e=bad g.empty=\"\""}}`,
		},
		{
			"SPEC", func(e *Emitter) error {
				return e.spec(Spec{DocumentationURL: "https://example.com", ConnectionSpecification: &jsonschema.Schema{Type: "object"},
					SupportsIncremental: true, SupportedDestinationSyncModes: []DestinationSyncMode{Append}, ProtocolVersion: "0.18.0"})
			},
			`{"type":"SPEC","spec":{"documentationUrl":"https://example.com","connectionSpecification":{"type":"object"},"supportsIncremental":true,"supported_destination_sync_modes":["append"],"protocol_version":"0.18.0"}}`,
		},
		{
			"CONNECTION_STATUS", func(e *Emitter) error { return e.connectionStatus("FAILED", "no entry") },
			`{"type":"CONNECTION_STATUS","connectionStatus":{"status":"FAILED","message":"no entry"}}`,
		},
		{
			"CATALOG", func(e *Emitter) error {
				return e.catalog(Catalog{Streams: []Stream{{
					Name: "sleep", JSONSchema: json.RawMessage(`{"type":"object"}`), SupportedSyncModes: []SyncMode{FullRefresh, Incremental},
					SourceDefinedCursor: true, DefaultCursorField: []string{"updated_at"}, SourceDefinedPrimaryKey: [][]string{{"id"}}, IsResumable: true,
				}}})
			},
			`{"type":"CATALOG","catalog":{"streams":[{"name":"sleep","json_schema":{"type":"object"},"supported_sync_modes":["full_refresh","incremental"],"source_defined_cursor":true,"default_cursor_field":["updated_at"],"source_defined_primary_key":[["id"]],"is_resumable":true}]}}`,
		},
		{
			"CATALOG of nothing", func(e *Emitter) error { return e.catalog(Catalog{}) },
			`{"type":"CATALOG","catalog":{"streams":[]}}`,
		},
		{
			"TRACE of a status", func(e *Emitter) error { return e.Status(odd, Started) },
			`{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1772366400000,"stream_status":{"stream_descriptor":{"name":"a\"<b","namespace":"n"},"status":"STARTED"}}}`,
		},
		{
			"TRACE of an error", func(e *Emitter) error {
				return e.crash(describe(&Error{Kind: ConfigError, Message: "Give a key.", Err: errors.New("no key")}))
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

// outline writes what came out, one word or two for each message.
func outline(t *testing.T, out []byte) []string {
	t.Helper()
	var words []string
	for line := range bytes.Lines(out) {
		var m struct {
			Type   string
			Record struct{ Stream string }
			State  struct {
				SourceStats struct{ RecordCount json.Number }
			}
			Trace struct {
				Type  string
				Error struct {
					Message string
				}
				StreamStatus struct {
					Descriptor descriptor `json:"stream_descriptor"`
					Status     string
					Reasons    json.RawMessage
				} `json:"stream_status"`
			}
		}
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("%v in line %q", err, line)
		}
		switch {
		case m.Type == "RECORD":
			words = append(words, "record "+m.Record.Stream)
		case m.Type == "STATE":
			words = append(words, "state "+m.State.SourceStats.RecordCount.String())
		case m.Trace.Type == "ERROR":
			words = append(words, "error "+m.Trace.Error.Message)
		case m.Type == "TRACE":
			st := m.Trace.StreamStatus
			words = append(words, st.Status+" "+st.Descriptor.Name+string(st.Reasons))
		default:
			words = append(words, m.Type)
		}
	}
	return words
}

func TestEmitterKeepsCountsAndStatuses(t *testing.T) {
	a, b := StreamID{Name: "a"}, StreamID{Name: "b"}
	var out bytes.Buffer
	e := newTestEmitter(&out)
	data := json.RawMessage(`{}`)
	state := func(id StreamID) error { return e.State(NewStreamState(id, data)) }
	var refused []error
	for _, err := range []error{
		e.RateLimited(a, noon), // says nothing: a has not begun
		e.Status(a, Started), e.Status(a, Started), e.Status(b, Started),
		e.Record(a, data), e.Record(a, data), e.Record(b, data), e.Status(a, Running),
		state(a), e.Record(a, data), state(b), state(a), state(a),
		e.RateLimited(a, noon), e.RateLimited(a, time.Time{}),
		e.Status(a, Complete), e.RateLimited(a, noon), e.Status(a, Complete),
		e.Record(a, data), state(a), e.Status(a, Incomplete), // refused: a is over
		e.Fail(b, &Error{Kind: TransientError, Message: "Down."}), e.Fail(b, errors.New("again")),
		e.Fail(StreamID{Name: "c"}, errors.New("no such stream")),
		e.Status(StreamID{Name: "d"}, Started), e.Status(StreamID{Name: "d"}, Complete),
		e.Status(StreamID{Name: "f"}, Started), e.Status(StreamID{Name: "e"}, Started),
		e.Record(StreamID{Name: "e"}, data), e.Record(StreamID{Name: "f"}, data), e.State(State{Type: GlobalState, Raw: data}),
		e.crash(describe(errors.New("dead"))),
	} {
		if err != nil {
			refused = append(refused, err)
		}
	}
	want := []string{
		"STARTED a", "STARTED b", "RUNNING a", "record a", "record a", "RUNNING b", "record b",
		"state 2.0", "record a", "state 1.0", "state 1.0", "state 0.0",
		`RUNNING a[{"type":"RATE_LIMITED","rate_limited":{"quota_reset":1772366400000}}]`, `RUNNING a[{"type":"RATE_LIMITED"}]`,
		"COMPLETE a", "error Down.", "INCOMPLETE b", "error Internal error: again", "error Internal error: no such stream", "INCOMPLETE c",
		"STARTED d", "RUNNING d", "COMPLETE d",
		"STARTED f", "STARTED e", "RUNNING e", "record e", "RUNNING f", "record f", "state 2.0",
		"error Internal error: dead", "INCOMPLETE e", "INCOMPLETE f",
	}
	if diff := cmp.Diff(want, outline(t, out.Bytes())); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(
		"[writing a record: stream a is COMPLETE writing a state: stream a is COMPLETE stream a is COMPLETE and cannot become INCOMPLETE]",
		fmt.Sprint(refused)); diff != "" {
		t.Errorf("refused calls (-want +got):\n%s", diff)
	}
}

// writes keeps what each Write was given.
type writes struct {
	mu    sync.Mutex
	parts [][]byte
	err   error
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return 0, w.err
	}
	w.parts = append(w.parts, bytes.Clone(p))
	return len(p), nil
}

func (w *writes) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.parts)
}

func TestEmitterWritesWholeLinesFromManyGoroutines(t *testing.T) {
	var w writes
	e := NewEmitter(&w)
	const goroutines, each = 8, 2000
	var group sync.WaitGroup
	for g := range goroutines {
		group.Go(func() {
			id := StreamID{Name: fmt.Sprint("s", g)}
			for i := range each {
				size := i % 300
				if i == 1000 {
					size = 3 << 20
				}
				if err := e.Record(id, json.RawMessage(`{"x":"`+strings.Repeat("x", size)+`"}`)); err != nil {
					t.Error(err)
				}
				if i%100 == 99 {
					if err := e.State(NewStreamState(id, json.RawMessage(`{}`))); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	group.Wait()
	records, states := 0, 0
	for _, part := range w.parts {
		if part[len(part)-1] != '\n' {
			t.Fatalf("a write ends in the middle of a line: …%q", part[max(0, len(part)-50):])
		}
		for _, word := range outline(t, part) {
			switch {
			case strings.HasPrefix(word, "record s"):
				records++
			case word == "state 100.0":
				states++
			default:
				t.Fatalf("unexpected %s", word)
			}
		}
	}
	if records != goroutines*each || states != goroutines*each/100 {
		t.Errorf("%d records and %d states", records, states)
	}
	if cap(e.buf) > 2*outputBuffer {
		t.Errorf("the buffer keeps %d bytes after a huge record", cap(e.buf))
	}
}

func TestRecordsWaitNoLongerThanTheFlushInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w writes
		e := NewEmitter(&w)
		for round := range 3 {
			if err := e.Record(sleep, json.RawMessage(`{}`)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(flushInterval / 2)
			synctest.Wait()
			if w.count() != round {
				t.Fatalf("round %d: %d writes before the interval is over", round, w.count())
			}
			time.Sleep(flushInterval)
			synctest.Wait()
			if w.count() != round+1 {
				t.Fatalf("round %d: %d writes", round, w.count())
			}
		}
	})
}

func TestTheFirstFailedWriteIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := writes{err: errors.New("disk full")}
		e := NewEmitter(&w)
		if err := e.Record(sleep, json.RawMessage(`{}`)); err != nil {
			t.Fatalf("a buffered record failed: %v", err)
		}
		time.Sleep(2 * flushInterval) // the timer meets the error
		synctest.Wait()
		w.err = nil
		for name, err := range map[string]error{
			"Record": e.Record(sleep, json.RawMessage(`{}`)), "State": e.State(NewStreamState(sleep, nil)), "Log": e.Log("INFO", "x"),
			"Status": e.Status(sleep, Started), "Flush": e.Flush(),
		} {
			if err == nil || err.Error() != "writing to standard output: disk full" {
				t.Errorf("%s = %v, want the first error", name, err)
			}
		}
		if w.count() != 0 {
			t.Errorf("written after an error: %q", w.parts)
		}
	})
}

func TestSecretsStayInControl(t *testing.T) {
	var out bytes.Buffer
	e := newTestEmitter(&out)
	e.Redact("old-secret")
	properties := jsonschema.NewProperties()
	properties.Set("token", &jsonschema.Schema{Type: "string", Extras: map[string]any{"airbyte_secret": true}})
	e.schema = &jsonschema.Schema{Type: "object", Properties: properties}
	if err := e.Control(json.RawMessage(`{"token":"new-secret"}`)); err != nil {
		t.Fatal(err)
	}
	control := out.Len()
	failure := &Error{Kind: SystemError, Message: "old-secret", Err: &panicError{value: "new-secret", stack: "new-secret"}}
	for _, err := range []error{
		e.Log("INFO", "old-secret"), e.connectionStatus("FAILED", "new-secret"), e.Fail(sleep, failure),
		e.Logger().Handler().Handle(t.Context(), slog.NewRecord(noon, slog.LevelInfo, "new-secret", 0)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if rest := out.String()[control:]; strings.Contains(rest, "secret") || strings.Count(rest, redacted) != 7 {
		t.Errorf("secrets in %s", rest)
	}
	if !strings.Contains(out.String()[:control], "new-secret") {
		t.Errorf("no secret in the CONTROL message: %s", out.String()[:control])
	}
}

func TestRecoverMakesAPanicAnError(t *testing.T) {
	work := func() (err error) {
		defer Recover(&err)
		var none map[string]int
		none["x"] = 1
		return nil
	}
	var out bytes.Buffer
	if err := newTestEmitter(&out).crash(describe(fmt.Errorf("worker 1: %w", work()))); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"worker 1: panic: assignment to entry in nil map", `"stack_trace":"goroutine`, "emitter_test.go"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %s", want, &out)
		}
	}
}
