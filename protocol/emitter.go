package protocol

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"
)

const (
	outputBuffer  = 256 << 10
	flushInterval = time.Second // how long a record may wait in the buffer
)

// Emitter is the only writer of the message stream. It writes whole lines, is
// safe for concurrent use, and flushes after everything that is not a record.
//
// For a source it counts the records of each stream and stamps the count on
// that stream's next state, so that a connector cannot forget.
//
// The first failed write is kept and returned by every later call: whoever
// reads the stream is gone, and the run should end.
type Emitter struct {
	mu      sync.Mutex
	w       *bufio.Writer
	err     error
	line    []byte // scratch for the line being made
	streams map[StreamID]*emitted
	secrets Redactor
	log     *slog.Logger
	pending bool // a flush is due
	now     func() time.Time
}

// emitted is what the emitter remembers of a stream.
type emitted struct {
	head    []byte // the line of a record up to its emitted_at
	records int64  // since the stream's last state
	status  StreamStatus
}

// NewEmitter returns an Emitter that writes to w.
func NewEmitter(w io.Writer) *Emitter {
	e := &Emitter{w: bufio.NewWriterSize(w, outputBuffer), streams: map[StreamID]*emitted{}, now: time.Now}
	e.log = e.newLogger(slog.LevelInfo)
	return e
}

// Redact keeps the given values out of logs, traces and check results from now
// on.
func (e *Emitter) Redact(secrets ...string) { e.secrets.Add(secrets...) }

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

// Record writes one record. Data is a JSON object; its bytes pass through
// untouched, except that line breaks between tokens are taken out.
func (e *Emitter) Record(id StreamID, data json.RawMessage) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.stream(id)
	e.line = append(e.line[:0], s.head...)
	e.line = strconv.AppendInt(e.line, e.now().UnixMilli(), 10)
	e.line = append(e.line, `,"data":`...)
	e.line = appendOneLine(e.line, data)
	e.line = append(e.line, "}}"...)
	s.records++
	if !e.pending {
		e.pending = true
		time.AfterFunc(flushInterval, func() { _ = e.Flush() }) // the error is kept for the next call
	}
	return e.writeLine(false)
}

// appendOneLine appends raw JSON without line breaks. Inside a JSON string a
// line break cannot stand, so every one is white space.
func appendOneLine(dst, raw []byte) []byte {
	for _, c := range raw {
		if c == '\n' || c == '\r' {
			return appendSqueezed(dst, raw)
		}
	}
	return append(dst, raw...)
}

func appendSqueezed(dst, raw []byte) []byte {
	for _, c := range raw {
		if c != '\n' && c != '\r' {
			dst = append(dst, c)
		}
	}
	return dst
}

// State writes a source's checkpoint, stamped with the number of records of
// its streams since their previous state.
func (e *Emitter) State(s State) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var n int64
	if s.Type == StreamState {
		st := e.stream(s.Stream)
		n, st.records = st.records, 0
	} else {
		for _, st := range e.streams {
			n += st.records
			st.records = 0
		}
	}
	return e.writeState(s.withStats("sourceStats", n, 0))
}

// Echo writes a state back, verbatim, with the number of its records the
// destination has written and of those it could not keep.
func (e *Emitter) Echo(s State, written, rejected int64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.writeState(s.withStats("destinationStats", written, rejected))
}

func (e *Emitter) writeState(raw json.RawMessage) error {
	e.line = append(e.line[:0], `{"type":"STATE","state":`...)
	e.line = appendOneLine(e.line, raw)
	e.line = append(e.line, '}')
	return e.writeLine(true)
}

// Status reports where a stream stands. After COMPLETE or INCOMPLETE the
// stream is over.
func (e *Emitter) Status(id StreamID, status StreamStatus) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stream(id).status = status
	return e.write(envelope{Type: "TRACE", Trace: &trace{Type: "STREAM_STATUS", EmittedAt: e.millis(),
		StreamStatus: &streamStatus{Descriptor: newDescriptor(id), Status: status}}})
}

// RateLimited reports that a stream waits for quota, until the given instant
// if that is known.
func (e *Emitter) RateLimited(id StreamID, until time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	reason := statusReason{Type: "RATE_LIMITED"}
	if !until.IsZero() {
		reason.RateLimited = &rateLimited{QuotaReset: until.UnixMilli()}
	}
	return e.write(envelope{Type: "TRACE", Trace: &trace{Type: "STREAM_STATUS", EmittedAt: e.millis(),
		StreamStatus: &streamStatus{Descriptor: newDescriptor(id), Status: Running, Reasons: []statusReason{reason}}}})
}

// Control writes the configuration as it has to be from now on. It has reached
// the reader's pipe when Control returns.
func (e *Emitter) Control(config json.RawMessage) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.write(envelope{Type: "CONTROL", Control: &control{Type: "CONNECTOR_CONFIG", EmittedAt: e.millis(),
		ConnectorConfig: connectorConfig{Config: config}}})
}

// Fail reports the failure of one stream and lets the others go on: the stream
// becomes INCOMPLETE, and the error a TRACE that names it.
func (e *Emitter) Fail(id StreamID, err error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := describe(err)
	d.Stream = &id
	if err := e.writeFailure(d, ""); err != nil {
		return err
	}
	return e.close(id)
}

func (e *Emitter) close(id StreamID) error {
	e.stream(id).status = Incomplete
	return e.write(envelope{Type: "TRACE", Trace: &trace{Type: "STREAM_STATUS", EmittedAt: e.millis(),
		StreamStatus: &streamStatus{Descriptor: newDescriptor(id), Status: Incomplete}}})
}

// crash reports the failure of the whole run; streams begun and not ended
// become INCOMPLETE.
func (e *Emitter) crash(err error, stack string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if werr := e.writeFailure(describe(err), stack); werr != nil {
		return werr
	}
	return e.closeOpen()
}

func (e *Emitter) interrupt() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closeOpen()
}

func (e *Emitter) closeOpen() error {
	var errs []error
	for id, s := range e.streams {
		if s.status == Started || s.status == Running {
			errs = append(errs, e.close(id))
		}
	}
	return errors.Join(errs...)
}

func (e *Emitter) writeFailure(d *Error, stack string) error {
	t := &traceError{
		Message:     e.secrets.Clean(d.Message),
		FailureType: d.Kind,
		StackTrace:  e.secrets.Clean(stack),
	}
	if d.Err != nil {
		t.InternalMessage = e.secrets.Clean(d.Err.Error())
	}
	if d.Stream != nil {
		t.Descriptor = newDescriptor(*d.Stream)
	}
	return e.write(envelope{Type: "TRACE", Trace: &trace{Type: "ERROR", EmittedAt: e.millis(), Error: t}})
}

// Log writes a line for people. Levels are FATAL, ERROR, WARN, INFO, DEBUG and
// TRACE.
func (e *Emitter) Log(level, message string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.write(envelope{Type: "LOG", Log: &logLine{Level: level, Message: e.secrets.Clean(message)}})
}

func (e *Emitter) spec(s Spec) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.write(envelope{Type: "SPEC", Spec: &s})
}

func (e *Emitter) catalog(c Catalog) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.write(envelope{Type: "CATALOG", Catalog: &c})
}

func (e *Emitter) connectionStatus(status, message string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.write(envelope{Type: "CONNECTION_STATUS", ConnectionStatus: &connectionStatus{Status: status, Message: e.secrets.Clean(message)}})
}

// Flush writes out what is buffered.
func (e *Emitter) Flush() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.flush()
}

func (e *Emitter) flush() error {
	e.pending = false
	if e.err == nil {
		if err := e.w.Flush(); err != nil {
			e.err = fmt.Errorf("writing to standard output: %w", err)
		}
	}
	return e.err
}

func (e *Emitter) write(m envelope) error {
	line, err := m.encode(e.line[:0])
	if err != nil {
		return err
	}
	e.line = line
	return e.writeLine(true)
}

func (e *Emitter) writeLine(flush bool) error {
	if e.err != nil {
		return e.err
	}
	e.line = append(e.line, '\n')
	if _, err := e.w.Write(e.line); err != nil {
		e.err = fmt.Errorf("writing to standard output: %w", err)
		return e.err
	}
	if cap(e.line) > outputBuffer {
		e.line = nil // one huge record does not hold its memory for good
	}
	if flush {
		return e.flush()
	}
	return nil
}

func (e *Emitter) millis() int64 { return e.now().UnixMilli() }
