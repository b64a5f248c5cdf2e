package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/ingest-connectors/whoop-iceberg/internal/jsonerrors"
	"github.com/ingest-connectors/whoop-iceberg/internal/rawjson"
)

// A StateType is the scope of a STATE message.
type StateType string

const (
	StreamState StateType = "STREAM"
	GlobalState StateType = "GLOBAL"
	LegacyState StateType = "LEGACY"
)

// State is a checkpoint. It keeps the bytes that it was read from, because a
// destination repeats them, including unknown fields, in their order and with their
// numbers unchanged.
type State struct {
	Type    StateType
	Stream  StreamID        // of a STREAM state
	Streams []StreamID      // of a GLOBAL state: the streams it covers
	Raw     json.RawMessage // the AirbyteStateMessage, verbatim

	before, after []byte // the rest of the STATE message around Raw; nil: none
}

// NewStreamState makes a source's checkpoint of one stream. State is a JSON
// object, or nil for "start over".
func NewStreamState(id StreamID, state json.RawMessage) State {
	var b []byte
	b = append(b, `{"type":"STREAM","stream":{"stream_descriptor":`...)
	b = appendDescriptor(b, id)
	b = append(b, `,"stream_state":`...)
	if state == nil {
		state = json.RawMessage("null")
	}
	b = append(b, state...)
	b = append(b, `}}`...)
	return State{Type: StreamState, Stream: id, Raw: b}
}

func appendDescriptor(b []byte, id StreamID) []byte {
	b = append(b, `{"name":`...)
	b = appendString(b, id.Name)
	if id.Namespace != "" {
		b = append(b, `,"namespace":`...)
		b = appendString(b, id.Namespace)
	}
	return append(b, '}')
}

// appendString appends s as a JSON string without HTML escapes.
func appendString(b []byte, s string) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(err) // a string always encodes
	}
	return append(b, bytes.TrimRight(buf.Bytes(), "\n")...)
}

type stateAddress struct {
	Type   StateType `json:"type"`
	Stream *struct { // a pointer everywhere: null means absent
		Descriptor *descriptor     `json:"stream_descriptor"`
		State      json.RawMessage `json:"stream_state"`
	} `json:"stream"`
	Global *struct {
		StreamStates []struct {
			Descriptor *descriptor `json:"stream_descriptor"`
		} `json:"stream_states"`
	} `json:"global"`
}

type descriptor struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
}

func newDescriptor(id StreamID) *descriptor { return &descriptor{id.Name, id.Namespace} }
func (d descriptor) id() StreamID           { return StreamID{Name: d.Name, Namespace: d.Namespace} }

// ParseState reads one AirbyteStateMessage, the "state" of a STATE message. Without
// a type, its members decide; else it is LEGACY. It keeps raw.
func ParseState(raw json.RawMessage) (State, error) {
	if trimmed := bytes.TrimSpace(raw); len(trimmed) == 0 || trimmed[0] != '{' {
		return State{}, errors.New("parsing a state: it is not a JSON object")
	}
	var a stateAddress
	if err := json.Unmarshal(raw, &a); err != nil {
		return State{}, fmt.Errorf("parsing a state: %w", err)
	}
	s := State{Type: a.Type, Raw: raw}
	switch {
	case a.Type == StreamState || a.Type == "" && a.Stream != nil:
		if a.Stream == nil || a.Stream.Descriptor == nil || a.Stream.Descriptor.Name == "" {
			return State{}, errors.New("parsing a state: a STREAM state without stream_descriptor")
		}
		s.Type, s.Stream = StreamState, a.Stream.Descriptor.id()
	case a.Type == GlobalState || a.Type == "" && a.Global != nil:
		if a.Global == nil {
			return State{}, errors.New("parsing a state: a GLOBAL state without global")
		}
		s.Type = GlobalState
		for _, st := range a.Global.StreamStates {
			if st.Descriptor == nil || st.Descriptor.Name == "" {
				return State{}, errors.New("parsing a state: a GLOBAL state with a stream that has no stream_descriptor")
			}
			s.Streams = append(s.Streams, st.Descriptor.id())
		}
	case a.Type == LegacyState || a.Type == "":
		s.Type = LegacyState
	default:
		return State{}, fmt.Errorf("parsing a state: unknown type %q", a.Type)
	}
	return s, nil
}

// ParseStateMessage reads a whole STATE message of the input, to be repeated.
func ParseStateMessage(line []byte) (State, error) {
	start, end, ok := findMember(line, "state")
	if !ok {
		return ParseState(nil)
	}
	line = bytes.Clone(line) // the input reuses its block
	s, err := ParseState(line[start:end:end])
	s.before, s.after = line[:start:start], line[end:]
	return s, err
}

// Message is the STATE message of the state, the one that it was read from if there
// was one.
func (s State) Message() []byte {
	before, after := s.around()
	return slices.Concat(before, s.Raw, after)
}

// around is what surrounds the state in its message.
func (s State) around() (before, after []byte) {
	if s.before == nil {
		return []byte(`{"type":"STATE","state":`), []byte("}")
	}
	return s.before, s.after
}

// StreamState returns the stream_state of a STREAM state, or nil when there is
// none (absent or null: "start over").
func (s State) StreamState() json.RawMessage {
	var a stateAddress
	if err := json.Unmarshal(s.Raw, &a); err != nil || a.Stream == nil || bytes.Equal(a.Stream.State, []byte("null")) {
		return nil
	}
	return a.Stream.State
}

// ParseStates reads the file given with --state: an array of states, one
// state, an old connector's bare object, or nothing ({}, [], null, empty). Its
// error is a Config error.
func ParseStates(data []byte) ([]State, error) {
	bad := func(err error) ([]State, error) {
		return nil, &Error{Kind: ConfigError, Message: "The state file is not a list of states of the Airbyte protocol: " + jsonerrors.Reason(err) +
			". Give the output of the destination's state command, or omit --state to start over."}
	}
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte(rawjson.ByteOrderMark)))
	switch {
	case len(data) == 0 || bytes.Equal(data, []byte("null")):
		return nil, nil
	case data[0] == '[':
		var raws []json.RawMessage
		if err := json.Unmarshal(data, &raws); err != nil {
			return bad(err)
		}
		states := make([]State, 0, len(raws))
		for _, raw := range raws {
			s, err := ParseState(raw)
			if err != nil {
				return bad(err)
			}
			states = append(states, s)
		}
		return states, nil
	default:
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(data, &fields); err != nil {
			return bad(err)
		}
		if len(fields) == 0 {
			return nil, nil
		}
		s, err := ParseState(data)
		if err != nil {
			return bad(err)
		}
		return []State{s}, nil
	}
}

// withStats returns the state with stats under key ("sourceStats" or
// "destinationStats"). All other bytes stay as they are. Counts have a decimal point,
// as in the protocol's own models.
func (s State) withStats(key string, records, rejected int64) (json.RawMessage, error) {
	stats := make([]byte, 0, 64)
	stats = append(stats, `{"recordCount":`...)
	stats = strconv.AppendInt(stats, records, 10)
	stats = append(stats, ".0"...)
	if rejected > 0 {
		stats = append(stats, `,"rejectedRecordCount":`...)
		stats = strconv.AppendInt(stats, rejected, 10)
		stats = append(stats, ".0"...)
	}
	stats = append(stats, '}')
	return spliceMember(s.Raw, key, stats)
}

// spliceMember sets one member of a JSON object.
func spliceMember(object []byte, key string, value []byte) ([]byte, error) {
	object = bytes.TrimSpace(object)
	if !json.Valid(object) || object[0] != '{' {
		return nil, errors.New("it is not a JSON object")
	}
	out := make([]byte, 0, len(object)+len(key)+len(value)+4)
	if start, end, ok := findMember(object, key); ok {
		out = append(out, object[:start]...)
		out = append(out, value...)
		return append(out, object[end:]...), nil
	}
	out = append(out, object[:len(object)-1]...)
	if len(bytes.TrimSpace(object[1:len(object)-1])) > 0 {
		out = append(out, ',')
	}
	out = append(out, '"')
	out = append(out, key...)
	out = append(out, `":`...)
	out = append(out, value...)
	return append(out, '}'), nil
}

// findMember returns the position of the value of a top-level member of a valid
// object. If members share a name, the last one counts, as for readers.
func findMember(object []byte, key string) (start, end int, ok bool) {
	dec := json.NewDecoder(bytes.NewReader(object))
	if _, err := dec.Token(); err != nil { // {
		return 0, 0, false
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return 0, 0, false
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return 0, 0, false
		}
		if name == key {
			end = int(dec.InputOffset())
			start, ok = end-len(value), true
		}
	}
	return start, end, ok
}
