package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/invopop/jsonschema"
)

const (
	outputBuffer  = 256 << 10
	flushInterval = time.Second // how long a record may wait in the buffer
)

// Emitter is the only writer of the message stream. It is safe for concurrent
// use, hands whole lines to the operating system, and writes out at once after
// everything that is not a record; records wait a second at most.
//
// For a source it keeps what a connector could forget: it counts the records of
// each stream and stamps the count on that stream's next state, reports RUNNING
// at the first record (of an empty stream before COMPLETE), and lets nothing
// follow a stream's last status.
//
// The first failed write is kept and returned by every later call: whoever
// reads the stream is gone, and the run should end.
type Emitter struct {
	mu      sync.Mutex
	w       io.Writer
	buf     []byte // whole lines
	err     error
	streams map[StreamID]*emitted
	secrets Redactor
	schema  *jsonschema.Schema // of the configuration; nil: not known
	log     *slog.Logger
	people  io.Writer   // warnings and errors go there too, as text
	timer   *time.Timer // for a flush; nil before the first record
	waiting bool        // the timer runs
	now     func() time.Time
}

// emitted is what the emitter remembers of a stream.
type emitted struct {
	head    []byte // the line of a record up to its emitted_at
	records int64  // since the stream's last state
	status  StreamStatus
}

func (s *emitted) open() bool { return s.status == Started || s.status == Running }
func (s *emitted) over() bool { return s.status == Complete || s.status == Incomplete }

// NewEmitter returns an Emitter that writes to w.
func NewEmitter(w io.Writer) *Emitter {
	e := &Emitter{w: w, streams: map[StreamID]*emitted{}, people: io.Discard, now: time.Now}
	e.log = e.newLogger(slog.LevelInfo)
	return e
}

// Redact keeps the given values out of logs, traces and check results from now
// on.
func (e *Emitter) Redact(secrets ...string) { e.secrets.Add(secrets...) }

// Excerpt returns the beginning of a text, of most bytes at most, without the
// values to be kept out.
func (e *Emitter) Excerpt(text string, most int) string { return e.secrets.Excerpt(text, most) }

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

// Record writes one record. Data is a JSON object, which the caller vouches
// for; its bytes pass through untouched, except that line breaks between tokens
// are taken out.
func (e *Emitter) Record(id StreamID, data json.RawMessage) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return e.err
	}
	s := e.stream(id)
	if s.over() {
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
	if len(e.buf) >= outputBuffer {
		return e.flush()
	}
	e.flushSoon()
	return nil
}

// appendOneLine appends raw JSON without line breaks. Inside a JSON string a
// line break cannot stand, so every one is white space. (A reader with
// universal newlines, as Python's, ends a line at a carriage return, too.)
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

// State writes a source's checkpoint, stamped with the number of records since
// the previous one: of its stream, or, if it is not a STREAM state, of all.
func (e *Emitter) State(s State) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var n int64
	if s.Type == StreamState {
		st := e.stream(s.Stream)
		if st.over() {
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

// Echo writes a state back, verbatim, with the number of its records the
// destination has written and of those it could not keep.
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
	before, after := s.before, s.after
	if before == nil {
		before, after = []byte(`{"type":"STATE","state":`), []byte("}")
	}
	for _, part := range [][]byte{before, raw, after} {
		e.buf = appendOneLine(e.buf, part)
	}
	e.buf = append(e.buf, '\n')
	return e.flush()
}

// Control writes the configuration as it has to be from now on, complete, and
// keeps the secrets in it out of everything else. It has reached the reader's
// pipe when Control returns.
func (e *Emitter) Control(config json.RawMessage) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.secrets.Add(secretValues(e.schema, config)...)
	return e.write(envelope{Type: "CONTROL", Control: &control{
		Type: "CONNECTOR_CONFIG", EmittedAt: e.millis(),
		ConnectorConfig: connectorConfig{Config: config},
	}})
}

// Log writes a line for people. Levels are FATAL, ERROR, WARN, INFO, DEBUG and
// TRACE; warnings and errors are said on standard error too.
func (e *Emitter) Log(level, message string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	message = e.secrets.Clean(message)
	switch level {
	case "WARN":
		e.say("warning", message)
	case "ERROR", "FATAL":
		e.say("error", message)
	}
	return e.writeLog(level, message)
}

func (e *Emitter) writeLog(level, message string) error {
	return e.write(envelope{Type: "LOG", Log: &logLine{Level: level, Message: message}})
}

// Relay says something of another program's to people, on standard error, in
// that program's words.
func (e *Emitter) Relay(whose, message string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.say(whose, e.secrets.Excerpt(message, mostSaid))
}

// mostSaid is how many bytes of a message people are told; the whole of it is on
// standard output.
const mostSaid = 2000

// say writes a line to people. Who does not read what is written for people does
// not stop the run.
func (e *Emitter) say(what, message string) {
	if len(message) > mostSaid+len("…") {
		message = strings.ToValidUTF8(message[:mostSaid], "") + "…"
	}
	_, _ = fmt.Fprintf(e.people, "%s: %s\n", what, strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' ' // it may not end the line, or steer a terminal
		}
		return r
	}, message))
}

func (e *Emitter) spec(s Spec) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.write(envelope{Type: "SPEC", Spec: &s})
}

func (e *Emitter) catalog(c Catalog) error {
	if c.Streams == nil {
		c.Streams = []Stream{} // the protocol wants a list
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.write(envelope{Type: "CATALOG", Catalog: &c})
}

// connectionStatus is the result of a check. The cause of a failure is for the
// operator, since the status has room for the sentence only.
func (e *Emitter) connectionStatus(status, message string, cause error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	message = e.secrets.Clean(message)
	if message != "" {
		e.say("error", message)
	}
	if cause != nil {
		if err := e.writeLog("ERROR", e.secrets.Clean(cause.Error())); err != nil {
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

// flushSoon sees to it that a record does not wait for the next one. An error
// of that flush is kept for the next call.
func (e *Emitter) flushSoon() {
	switch {
	case e.waiting:
		return
	case e.timer == nil:
		e.timer = time.AfterFunc(flushInterval, func() {
			e.mu.Lock()
			defer e.mu.Unlock()
			defer Recover(&e.err)
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
		}
	}
	e.buf = e.buf[:0]
	if cap(e.buf) > 2*outputBuffer {
		e.buf = nil // one huge record does not hold its memory for good
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
