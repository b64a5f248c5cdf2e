package protocol

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Status reports where a stream stands. RUNNING need not be reported: it goes
// out with the first record, or before COMPLETE. A status that the stream has
// already is not repeated. After COMPLETE or INCOMPLETE the stream is over, and
// any other is an error.
func (e *Emitter) Status(id StreamID, status StreamStatus) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.stream(id)
	switch {
	case s.status == status:
		return nil
	case s.over():
		return fmt.Errorf("stream %s is %s and cannot become %s", id, s.status, status)
	case s.status == Started && status == Complete:
		if err := e.writeStatus(id, Running); err != nil {
			return err
		}
	}
	return e.writeStatus(id, status)
}

// RateLimited reports that a stream waits for quota, until the given instant
// if that is known. For a stream that has not begun or is over there is nothing
// to report.
func (e *Emitter) RateLimited(id StreamID, until time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.stream(id).open() {
		return nil
	}
	reason := statusReason{Type: "RATE_LIMITED"}
	if !until.IsZero() {
		reason.RateLimited = &rateLimited{QuotaReset: until.UnixMilli()}
	}
	return e.writeStatus(id, Running, reason)
}

// Fail reports the failure of one stream and lets the others go on: the stream
// becomes INCOMPLETE, unless it is over, and the error a TRACE that names it.
// The run should end with [ErrStreamsFailed].
func (e *Emitter) Fail(id StreamID, err error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := describe(err)
	d.Stream = &id
	if err := e.writeFailure(d); err != nil {
		return err
	}
	if e.stream(id).over() {
		return nil
	}
	return e.writeStatus(id, Incomplete)
}

// crash reports the failure of the whole run; streams begun and not ended
// become INCOMPLETE.
func (e *Emitter) crash(d *Error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.writeFailure(d); err != nil {
		return err
	}
	return e.closeOpen()
}

// closeStreams makes the streams begun and not ended INCOMPLETE.
func (e *Emitter) closeStreams() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closeOpen()
}

func (e *Emitter) closeOpen() error {
	byName := func(a, b StreamID) int { return strings.Compare(a.String(), b.String()) }
	for _, id := range slices.SortedFunc(maps.Keys(e.streams), byName) {
		if e.streams[id].open() {
			if err := e.writeStatus(id, Incomplete); err != nil {
				return err
			}
		}
	}
	return e.flush()
}

func (e *Emitter) writeStatus(id StreamID, status StreamStatus, reasons ...statusReason) error {
	e.stream(id).status = status
	return e.write(envelope{Type: "TRACE", Trace: &trace{
		Type: "STREAM_STATUS", EmittedAt: e.millis(),
		StreamStatus: &streamStatus{Descriptor: newDescriptor(id), Status: status, Reasons: reasons},
	}})
}

func (e *Emitter) writeFailure(d *Error) error {
	t := &traceError{Message: e.secrets.Clean(d.Message), FailureType: d.Kind}
	if e.err == nil { // else the run says so itself, or nobody listens
		e.say("error", t.Message)
	}
	if d.Err != nil && d.Err.Error() != d.Message {
		t.InternalMessage = e.secrets.Clean(d.Err.Error())
	}
	if p := (*panicError)(nil); errors.As(d.Err, &p) {
		t.StackTrace = e.secrets.Clean(p.stack)
	}
	if d.Stream != nil {
		t.Descriptor = newDescriptor(*d.Stream)
	}
	return e.write(envelope{Type: "TRACE", Trace: &trace{Type: "ERROR", EmittedAt: e.millis(), Error: t}})
}
