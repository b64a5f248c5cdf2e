package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// A StreamStatus is a step in the life of a stream: STARTED, RUNNING (at the
// first record, or for an empty stream before its end), then one of COMPLETE
// and INCOMPLETE. A stream that cannot even begin is INCOMPLETE only.
type StreamStatus string

const (
	Started    StreamStatus = "STARTED"
	Running    StreamStatus = "RUNNING"
	Complete   StreamStatus = "COMPLETE"
	Incomplete StreamStatus = "INCOMPLETE"
)

// envelope is a message to write. Emitter writes RECORD and STATE by hand, because
// their payloads pass through as bytes. The protocol mixes cases: connectionStatus
// and connectorConfig are camel, the rest snake.
type envelope struct {
	Type             string            `json:"type"`
	Log              *logLine          `json:"log,omitempty"`
	Spec             *Spec             `json:"spec,omitempty"`
	ConnectionStatus *connectionStatus `json:"connectionStatus,omitempty"`
	Catalog          *Catalog          `json:"catalog,omitempty"`
	Trace            *trace            `json:"trace,omitempty"`
	Control          *control          `json:"control,omitempty"`
}

// encode appends the message's line to dst.
func (m envelope) encode(dst []byte) ([]byte, error) {
	buf := bytes.NewBuffer(dst)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return nil, fmt.Errorf("encoding a %s message: %w", m.Type, err)
	}
	return buf.Bytes(), nil // Encode has ended the line
}

type logLine struct {
	Level   string `json:"level"`
	Message string `json:"message"`
}

type connectionStatus struct {
	Status  string `json:"status"`
	Message string `json:"message,omitempty"`
}

type trace struct {
	Type         string        `json:"type"`
	EmittedAt    int64         `json:"emitted_at"`
	Error        *traceError   `json:"error,omitempty"`
	StreamStatus *streamStatus `json:"stream_status,omitempty"`
}

type traceError struct {
	Message         string      `json:"message"`
	InternalMessage string      `json:"internal_message,omitempty"`
	StackTrace      string      `json:"stack_trace,omitempty"`
	FailureType     Kind        `json:"failure_type"`
	Descriptor      *descriptor `json:"stream_descriptor,omitempty"`
	// ShownOn is not of the protocol, which allows more members. It says on which
	// standard error the message was shown to people, for [Emitter.Relay].
	ShownOn string `json:"shown_on,omitempty"`
}

type streamStatus struct {
	Descriptor *descriptor    `json:"stream_descriptor"`
	Status     StreamStatus   `json:"status"`
	Reasons    []statusReason `json:"reasons,omitempty"`
}

type statusReason struct {
	Type        string       `json:"type"`
	RateLimited *rateLimited `json:"rate_limited,omitempty"`
}

type rateLimited struct {
	QuotaReset int64 `json:"quota_reset"` // epoch milliseconds
}

type control struct {
	Type            string          `json:"type"`
	EmittedAt       int64           `json:"emitted_at"`
	ConnectorConfig connectorConfig `json:"connectorConfig"`
}

type connectorConfig struct {
	Config json.RawMessage `json:"config"`
}
