package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

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
		e.FailRun(t.Context(), errors.New("dead")),
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
