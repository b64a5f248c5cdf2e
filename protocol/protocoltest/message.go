package protocoltest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ingest-connectors/whoop-iceberg/internal/rawjson"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Message is one line of a connector's standard output. The payload that
// belongs to Type is set.
type Message struct {
	Line int             `json:"-"` // from 1
	Raw  json.RawMessage `json:"-"` // the line without its end

	Type             string            `json:"type"`
	Record           *Record           `json:"record"`
	State            json.RawMessage   `json:"state"`
	Log              *Log              `json:"log"`
	Spec             json.RawMessage   `json:"spec"`
	ConnectionStatus *ConnectionStatus `json:"connectionStatus"`
	Catalog          *protocol.Catalog `json:"catalog"`
	Trace            *Trace            `json:"trace"`
	Control          *Control          `json:"control"`
}

// Record is the payload of a RECORD.
type Record struct {
	Stream    string          `json:"stream"`
	Namespace string          `json:"namespace"`
	EmittedAt int64           `json:"emitted_at"` // epoch milliseconds
	Data      json.RawMessage `json:"data"`
	Meta      json.RawMessage `json:"meta"`
}

// ID returns the stream the record belongs to.
func (r Record) ID() protocol.StreamID {
	return protocol.StreamID{Namespace: r.Namespace, Name: r.Stream}
}

// Log is the payload of a LOG.
type Log struct {
	Level   string `json:"level"`
	Message string `json:"message"`
}

// ConnectionStatus is what check answers: SUCCEEDED or FAILED.
type ConnectionStatus struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// Trace is the payload of a TRACE; of Error and StreamStatus the one that
// belongs to Type (ERROR, STREAM_STATUS) is set.
type Trace struct {
	Type         string        `json:"type"`
	Error        *TraceError   `json:"error"`
	StreamStatus *StreamStatus `json:"stream_status"`
}

// TraceError is a failure of the run, or of one stream.
type TraceError struct {
	Message         string        `json:"message"`
	InternalMessage string        `json:"internal_message"`
	StackTrace      string        `json:"stack_trace"`
	FailureType     protocol.Kind `json:"failure_type"`
	Stream          *Descriptor   `json:"stream_descriptor"`
}

// StreamStatus is a step in the life of a stream.
type StreamStatus struct {
	Stream  Descriptor            `json:"stream_descriptor"`
	Status  protocol.StreamStatus `json:"status"`
	Reasons []struct {
		Type        string `json:"type"`
		RateLimited *struct {
			QuotaReset int64 `json:"quota_reset"` // epoch milliseconds
		} `json:"rate_limited"`
	} `json:"reasons"`
}

// Descriptor is a stream's identity on the wire.
type Descriptor struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
}

// ID returns the stream's identity.
func (d Descriptor) ID() protocol.StreamID {
	return protocol.StreamID{Namespace: d.Namespace, Name: d.Name}
}

// Control carries a changed configuration.
type Control struct {
	ConnectorConfig struct {
		Config json.RawMessage `json:"config"`
	} `json:"connectorConfig"`
}

// Parse reads a connector's standard output. Every line must be one valid
// message of protocol 0.18, and end; the error lists those that are not, the
// messages are those that are.
func Parse(stdout []byte) ([]Message, error) {
	var messages []Message
	var errs []error
	number := 0
	for line := range bytes.Lines(stdout) {
		number++
		m, err := parseLine(line)
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w: %.200q", number, err, line))
			continue
		}
		m.Line = number
		messages = append(messages, m)
	}
	return messages, errors.Join(errs...)
}

func parseLine(line []byte) (Message, error) {
	raw, ended := bytes.CutSuffix(line, []byte("\n"))
	if !ended {
		return Message{}, errors.New("it has no end")
	}
	if err := checkShape(raw); err != nil {
		var ignored any
		return Message{}, cmp.Or(json.Unmarshal(raw, &ignored), err) // of text that is no JSON, that is the error
	}
	m := Message{Raw: raw}
	if err := json.Unmarshal(raw, &m); err != nil {
		return Message{}, err
	}
	return m, nil
}

// checkShape checks the members of a message, whose text may be no JSON.
func checkShape(message []byte) error {
	members := map[string][]byte{}
	split(members, "", message)
	kind := text(members["type"])
	if kind == "TRACE" {
		kind += "/" + text(members["trace.type"])
	}
	shape, ok := shapes[kind]
	if !ok {
		return fmt.Errorf("no message of the protocol has type %q", kind)
	}
	for _, path := range slices.Sorted(maps.Keys(shape)) {
		if err := shape.check(members[path], path); err != nil {
			return err
		}
	}
	return nil
}

// A shape says what stands at each path of a message: a JSON type, or the
// values allowed, separated by bars. A question mark before it means that the
// member may be absent.
type shape map[string]string

var shapes = map[string]shape{
	"RECORD": {"record.stream": "string", "record.data": "object", "record.emitted_at": "integer", "record.namespace": "?string", "record.meta": "?object"},
	"STATE": {
		"state": "object", "state.type": "?STREAM|GLOBAL|LEGACY",
		"state.sourceStats": "?object", "state.sourceStats.recordCount": "?number",
		"state.destinationStats": "?object", "state.destinationStats.recordCount": "?number", "state.destinationStats.rejectedRecordCount": "?number",
	},
	"LOG":  {"log.level": "FATAL|ERROR|WARN|INFO|DEBUG|TRACE", "log.message": "string", "log.stack_trace": "?string"},
	"SPEC": {"spec.connectionSpecification": "object", "spec.protocol_version": "?string", "spec.supported_destination_sync_modes": "?array"},
	"CONNECTION_STATUS": {
		"connectionStatus.status": "SUCCEEDED|FAILED", "connectionStatus.message": "?string",
	},
	"CATALOG":        {"catalog.streams": "array"},
	"TRACE/ERROR":    {"trace.emitted_at": "number", "trace.error.message": "string", "trace.error.failure_type": "system_error|config_error|transient_error", "trace.error.internal_message": "?string", "trace.error.stack_trace": "?string", "trace.error.stream_descriptor": "?object"},
	"TRACE/ESTIMATE": {"trace.emitted_at": "number", "trace.estimate.name": "string", "trace.estimate.type": "STREAM|SYNC"},
	"TRACE/STREAM_STATUS": {
		"trace.emitted_at": "number", "trace.stream_status.stream_descriptor.name": "string",
		"trace.stream_status.status": "STARTED|RUNNING|COMPLETE|INCOMPLETE", "trace.stream_status.reasons": "?array",
	},
	"TRACE/ANALYTICS": {"trace.emitted_at": "number", "trace.analytics.type": "string"},
	"CONTROL":         {"control.type": "CONNECTOR_CONFIG", "control.emitted_at": "number", "control.connectorConfig.config": "object"},
}

// objects are the paths of the objects whose members a shape names.
var objects = func() map[string]bool {
	all := map[string]bool{}
	for _, shape := range shapes {
		for path := range shape {
			for i, c := range path {
				if c == '.' {
					all[path[:i]] = true
				}
			}
		}
	}
	return all
}()

// split adds the members of an object under their paths. It does not look into others,
// since most of what a connector says is the data of records.
func split(members map[string][]byte, path string, object []byte) {
	for name, value := range rawjson.Members(object) {
		at := path + string(name)
		members[at] = value
		if objects[at] {
			split(members, at+".", value)
		}
	}
}

func (s shape) check(value []byte, path string) error {
	want, optional := strings.CutPrefix(s[path], "?")
	var got string
	switch {
	case len(value) == 0 || value[0] == 'n':
		if optional {
			return nil
		}
		return fmt.Errorf("%s is missing", path)
	case value[0] == '{':
		got = "object"
	case value[0] == '[':
		got = "array"
	case value[0] == 't' || value[0] == 'f':
		got = "boolean"
	case value[0] == '"':
		got = "string"
		if want != "string" {
			got = text(value)
		}
	default:
		got = "number"
		if _, err := json.Number(value).Int64(); err == nil && want == "integer" {
			got = "integer"
		}
	}
	if !slices.Contains(strings.Split(want, "|"), got) {
		return fmt.Errorf("%s is %s, not %s", path, got, want)
	}
	return nil
}

// text returns a string of JSON, "" for what is none.
func text(value []byte) string {
	var s string
	_ = json.Unmarshal(value, &s)
	return s
}
