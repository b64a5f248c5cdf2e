package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
	"github.com/ingest-connectors/whoop-iceberg/internal/progress"
	"github.com/ingest-connectors/whoop-iceberg/internal/redact"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
)

const (
	outputBuffer  = 256 << 10
	flushInterval = time.Second // how long a record may wait in the buffer
)

// Emitter is the only writer of messages. It is safe for concurrent use and writes
// whole lines. A record can stay in the buffer for a second; every other message is
// written at once, with the records before it.
//
// It follows the rules that a source could forget: it counts the records of each
// stream and writes the count into that stream's next state, reports RUNNING at the
// first record (or before COMPLETE, if there is none), and writes nothing about a
// stream after its last status.
//
// After a failed write, every call returns its error: nobody reads the messages any
// more, and the run should end.
type Emitter struct {
	mu      sync.Mutex
	w       io.Writer
	buf     []byte // whole lines
	err     error
	streams map[StreamID]*emitted
	options EmitterOptions
	log     *slog.Logger
	timer   *time.Timer // for a flush; nil before the first record
	waiting bool        // the timer runs
	now     func() time.Time
}

// emitted is what the emitter remembers about a stream.
type emitted struct {
	head    []byte // the line of a record up to its emitted_at
	records int64  // since the stream's last state
	status  StreamStatus
}

func (s *emitted) open() bool { return s.status == Started || s.status == Running }
func (s *emitted) done() bool { return s.status == Complete || s.status == Incomplete }

// EmitterOptions are what an Emitter needs beside standard output. The zero value is for
// a run that nobody watches.
type EmitterOptions struct {
	Stderr   *terminal.Screen   // where people read warnings and errors as text; nil: nowhere
	ShownOn  string             // the identity of Stderr, for [Emitter.Relay]; "": it has none
	LogLevel slog.Level         // of the first lines that Logger writes
	Progress *progress.Progress // nil: none is shown
	Secrets  *redact.Redactor   // of logs, traces and check results; nil: the Emitter makes one
	// SecretsOf returns the secret values in a configuration of the connector; nil: there are none.
	SecretsOf func(config json.RawMessage) []string
}

// NewEmitter returns an Emitter that writes to w.
func NewEmitter(w io.Writer, options EmitterOptions) *Emitter {
	if options.Stderr == nil {
		options.Stderr = terminal.NewScreen(io.Discard, false, nil)
	}
	if options.Secrets == nil {
		options.Secrets = &redact.Redactor{}
	}
	if options.SecretsOf == nil {
		options.SecretsOf = func(json.RawMessage) []string { return nil }
	}
	e := &Emitter{w: w, options: options, streams: map[StreamID]*emitted{}, now: time.Now}
	e.log = slog.New(&logHandler{out: e, level: options.LogLevel})
	return e
}

// Progress shows people how the run goes.
func (e *Emitter) Progress() *progress.Progress { return e.options.Progress }

// Redact removes the given values from all later logs, traces and check results.
func (e *Emitter) Redact(secrets ...string) { e.options.Secrets.Add(secrets...) }

// Excerpt returns up to limit bytes of a text, without the redacted values.
func (e *Emitter) Excerpt(text string, limit int) string {
	return e.options.Secrets.Excerpt(text, limit)
}

func (e *Emitter) stream(id StreamID) *emitted {
	s, ok := e.streams[id]
	if !ok {
		head := append([]byte(nil), `{"type":"RECORD","record":{"stream":`...)
		head = appendString(head, id.Name)
		if id.Namespace != "" {
			head = append(head, `,"namespace":`...)
			head = appendString(head, id.Namespace)
		}
		s = &emitted{head: append(head, `,"emitted_at":`...)}
		e.streams[id] = s
	}
	return s
}

// Record writes one record. Data must be a valid JSON object. Its bytes are written
// as they are, without the line breaks between tokens.
func (e *Emitter) Record(id StreamID, data json.RawMessage) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return e.err
	}
	s := e.stream(id)
	if s.done() {
		return fmt.Errorf("writing a record: stream %s is %s", id, s.status)
	}
	if s.status == Started {
		if err := e.writeStatus(id, Running); err != nil {
			return err
		}
	}
	e.buf = slices.Grow(e.buf, len(s.head)+len(data)+64)
	e.buf = append(e.buf, s.head...)
	e.buf = strconv.AppendInt(e.buf, e.now().UnixMilli(), 10)
	e.buf = append(e.buf, `,"data":`...)
	e.buf = appendOneLine(e.buf, data)
	e.buf = append(e.buf, "}}\n"...)
	s.records++
	e.options.Progress.Records(1)
	if len(e.buf) >= outputBuffer {
		return e.flush()
	}
	e.flushSoon()
	return nil
}

// appendOneLine appends JSON without line breaks. They are always white space,
// because a JSON string cannot contain one. (A reader with universal newlines, such
// as Python's, ends a line at a carriage return too.)
func appendOneLine(dst, raw []byte) []byte {
	if bytes.IndexByte(raw, '\n') < 0 && bytes.IndexByte(raw, '\r') < 0 {
		return append(dst, raw...)
	}
	for _, c := range raw {
		if c != '\n' && c != '\r' {
			dst = append(dst, c)
		}
	}
	return dst
}

// State writes a source's checkpoint with the number of records since the previous
// one: those of its stream, or of all streams if it is not a STREAM state.
func (e *Emitter) State(s State) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var n int64
	if s.Type == StreamState {
		st := e.stream(s.Stream)
		if st.done() {
			return fmt.Errorf("writing a state: stream %s is %s", s.Stream, st.status)
		}
		n, st.records = st.records, 0
	} else {
		for _, st := range e.streams {
			n += st.records
			st.records = 0
		}
	}
	return e.writeState(s, "sourceStats", n, 0)
}

// Echo repeats a state verbatim, with the number of its records that the destination
// has written and of those that it could not keep.
func (e *Emitter) Echo(s State, written, rejected int64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.writeState(s, "destinationStats", written, rejected)
}

func (e *Emitter) writeState(s State, statsKey string, records, rejected int64) error {
	raw, err := s.withStats(statsKey, records, rejected)
	if err != nil {
		return fmt.Errorf("writing a state: %w", err)
	}
	before, after := s.around()
	for _, part := range [][]byte{before, raw, after} {
		e.buf = appendOneLine(e.buf, part)
	}
	e.buf = append(e.buf, '\n')
	return e.flush()
}

// ErrUnread is the error of a writer that nobody reads: a write is still under way. The
// writer's next Write waits for it once more.
var ErrUnread = errors.New("the run was told to stop, and nobody reads its messages")

// controlAttempts is how often Control waits for a reader, two seconds each in a program.
const controlAttempts = 7

// Control writes the complete new configuration, and redacts its secrets elsewhere.
// When Control returns, the message has been written to standard output. It waits longer
// than others for a reader that pauses, even after ErrUnread, because what it says is lost
// otherwise; the message can come twice then.
func (e *Emitter) Control(config json.RawMessage) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.options.Secrets.Add(e.options.SecretsOf(config)...)
	m := envelope{Type: "CONTROL", Control: &control{
		Type: "CONNECTOR_CONFIG", EmittedAt: e.millis(),
		ConnectorConfig: connectorConfig{Config: config},
	}}
	err := e.write(m)
	for n := 0; errors.Is(err, ErrUnread) && n < controlAttempts; n++ {
		var line []byte
		if line, err = m.encode(nil); err == nil {
			_, err = e.w.Write(line)
		}
	}
	return err
}

// Log writes a LOG message. Levels are FATAL, ERROR, WARN, INFO, DEBUG and TRACE.
// Warnings and errors are also written to standard error.
func (e *Emitter) Log(level, message string) error { return e.logWith(level, message, "") }

// logWith writes a LOG message that ends with attributes. Standard error has them in
// parentheses.
func (e *Emitter) logWith(level, message, attributes string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	message, attributes = e.options.Secrets.Clean(message), e.options.Secrets.Clean(attributes)
	forPeople := message
	if attributes != "" {
		forPeople += " (" + strings.TrimSpace(attributes) + ")"
	}
	switch level {
	case "WARN":
		e.writeStderr("warning", forPeople)
	case "ERROR", "FATAL":
		e.writeStderr("error", forPeople)
	}
	return e.writeLog(level, message+attributes)
}

func (e *Emitter) writeLog(level, message string) error {
	return e.write(envelope{Type: "LOG", Log: &logLine{Level: level, Message: message}})
}

// Spec writes what the connector says of itself.
func (e *Emitter) Spec(s Spec) error {
	s.ProtocolVersion = protocolVersion
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.write(envelope{Type: "SPEC", Spec: &s})
}

// Catalog writes the streams of a source.
func (e *Emitter) Catalog(c Catalog) error {
	if c.Streams == nil {
		c.Streams = []Stream{} // the protocol wants a list
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.write(envelope{Type: "CATALOG", Catalog: &c})
}

// ConnectionStatus writes the result of a check, SUCCEEDED or FAILED with a message. The
// cause of a failure goes into a LOG message, because the status holds only the sentence
// for the user.
func (e *Emitter) ConnectionStatus(status, message string, cause error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	message = e.options.Secrets.Clean(message)
	if message != "" {
		e.writeStderr("error", message)
	}
	if cause != nil {
		if err := e.writeLog("ERROR", e.options.Secrets.Clean(cause.Error())); err != nil {
			return err
		}
	}
	return e.write(envelope{Type: "CONNECTION_STATUS", ConnectionStatus: &connectionStatus{Status: status, Message: message}})
}

// Flush writes out what is buffered.
func (e *Emitter) Flush() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.flush()
}

// flushSoon starts a timer so that a record is written even if no other follows. The
// next call returns an error of that flush.
func (e *Emitter) flushSoon() {
	switch {
	case e.waiting:
		return
	case e.timer == nil:
		e.timer = time.AfterFunc(flushInterval, func() {
			e.mu.Lock()
			defer e.mu.Unlock()
			defer goroutine.Recover(&e.err)
			e.waiting = false
			_ = e.flush()
		})
	default:
		e.timer.Reset(flushInterval)
	}
	e.waiting = true
}

func (e *Emitter) flush() error {
	if e.err == nil && len(e.buf) > 0 {
		if _, err := e.w.Write(e.buf); err != nil {
			e.err = fmt.Errorf("writing to standard output: %w", err)
			e.buf = nil // an unfinished write may still read it
		}
	}
	e.buf = e.buf[:0]
	if cap(e.buf) > 2*outputBuffer {
		e.buf = nil // release the memory of one huge record
	}
	return e.err
}

func (e *Emitter) write(m envelope) error {
	line, err := m.encode(e.buf)
	if err != nil {
		return err
	}
	e.buf = line
	return e.flush()
}

func (e *Emitter) millis() int64 { return e.now().UnixMilli() }
