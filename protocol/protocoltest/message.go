package protocoltest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

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
	var fields any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&fields); err != nil {
		return Message{}, err
	}
	kind, _ := get(fields, "type").(string)
	if kind == "TRACE" {
		sub, _ := get(fields, "trace.type").(string)
		kind += "/" + sub
	}
	shape, ok := shapes[kind]
	if !ok {
		return Message{}, fmt.Errorf("no message of the protocol has type %q", kind)
	}
	for _, path := range slices.Sorted(maps.Keys(shape)) {
		if err := shape.check(fields, path); err != nil {
			return Message{}, err
		}
	}
	m := Message{Raw: raw}
	if err := json.Unmarshal(raw, &m); err != nil {
		return Message{}, err
	}
	return m, nil
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

func (s shape) check(fields any, path string) error {
	want, optional := strings.CutPrefix(s[path], "?")
	value := get(fields, path)
	var got string
	switch v := value.(type) {
	case nil:
		if optional {
			return nil
		}
		return fmt.Errorf("%s is missing", path)
	case map[string]any:
		got = "object"
	case []any:
		got = "array"
	case bool:
		got = "boolean"
	case json.Number:
		got = "number"
		if _, err := v.Int64(); err == nil && want == "integer" {
			got = "integer"
		}
	case string:
		got = "string"
		if want != "string" {
			got = v
		}
	}
	if !slices.Contains(strings.Split(want, "|"), got) {
		return fmt.Errorf("%s is %s, not %s", path, got, want)
	}
	return nil
}

// get returns the value at a path of member names, nil if there is none.
func get(fields any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		object, _ := fields.(map[string]any)
		fields = object[name]
	}
	return fields
}
