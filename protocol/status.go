package protocol

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
)

// Status reports the status of a stream. The emitter itself reports RUNNING, with the
// first record or before COMPLETE. It does not repeat the current status. After
// COMPLETE or INCOMPLETE, any other status is an error.
func (e *Emitter) Status(id StreamID, status StreamStatus) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.stream(id)
	switch {
	case s.status == status:
		return nil
	case s.done():
		return fmt.Errorf("stream %s is %s and cannot become %s", id, s.status, status)
	case s.status == Started && status == Complete:
		if err := e.writeStatus(id, Running); err != nil {
			return err
		}
	}
	return e.writeStatus(id, status)
}

// RateLimited reports that a stream waits for quota until an instant; zero: unknown.
// It reports nothing for a stream that has not started or is done.
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

// Fail reports the failure of one stream, while the others continue: it writes a
// TRACE that names the stream and, unless the stream is done, makes it INCOMPLETE.
// The run should end with [ErrStreamsFailed].
func (e *Emitter) Fail(id StreamID, err error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := describe(err)
	d.Stream = &id
	if err := e.writeFailure(d); err != nil {
		return err
	}
	if e.stream(id).done() {
		return nil
	}
	return e.writeStatus(id, Incomplete)
}

// FailRun reports the failure of the whole run: it writes a TRACE with the reason,
// unless that is [ErrStreamsFailed], and makes every open stream INCOMPLETE. If ctx has
// ended, a cancellation is an interruption.
func (e *Emitter) FailRun(ctx context.Context, err error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !errors.Is(err, ErrStreamsFailed) || err.Error() != ErrStreamsFailed.Error() {
		d := describe(err)
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			d = interrupted(err)
		}
		if err := e.writeFailure(d); err != nil {
			return err
		}
	}
	return e.closeStreams()
}

// closeStreams makes the open streams INCOMPLETE.
func (e *Emitter) closeStreams() error {
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
	if status == Complete {
		e.options.Progress.Add("streams", 1)
	}
	return e.write(envelope{Type: "TRACE", Trace: &trace{
		Type: "STREAM_STATUS", EmittedAt: e.millis(),
		StreamStatus: &streamStatus{Descriptor: newDescriptor(id), Status: status, Reasons: reasons},
	}})
}

func (e *Emitter) writeFailure(d *Error) error {
	t := &traceError{Message: e.options.Secrets.Clean(d.Message), FailureType: d.Kind}
	if e.err == nil && !d.TraceOnly { // else nobody reads the messages, and the run reports it
		e.writeStderr("error", d.ofStream(t.Message))
		t.ShownOn = e.options.ShownOn
	}
	if d.Err != nil && d.Err.Error() != d.Message {
		t.InternalMessage = e.options.Secrets.Clean(d.Err.Error())
	}
	if p := (*goroutine.PanicError)(nil); errors.As(d.Err, &p) {
		t.StackTrace = e.options.Secrets.Clean(p.Stack)
	}
	if d.Stream != nil {
		t.Descriptor = newDescriptor(*d.Stream)
	}
	return e.write(envelope{Type: "TRACE", Trace: &trace{Type: "ERROR", EmittedAt: e.millis(), Error: t}})
}
