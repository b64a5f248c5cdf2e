package protocol

import (
	"context"
	"errors"
	"fmt"
)

// A Kind says whose move it is when something failed; its text is the
// failure_type of the protocol.
type Kind string

const (
	// SystemError is a fault of ours. The orchestrator retries.
	SystemError Kind = "system_error"
	// ConfigError is for the user to mend. The orchestrator does not retry.
	ConfigError Kind = "config_error"
	// TransientError goes away by itself. The orchestrator retries.
	TransientError Kind = "transient_error"
)

// Error is a failure with a sentence for the user: what is wrong and how to
// mend it. It is made where the cause is understood; errors without one reach
// the user as system errors.
type Error struct {
	Kind    Kind
	Message string
	Stream  *StreamID // the stream it belongs to; nil: the whole run
	Err     error     // the cause, for the operator; may be nil
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	return e.Message + " (" + e.Err.Error() + ")"
}

func (e *Error) Unwrap() error { return e.Err }

// ErrStreamsFailed is what Source.Read and Destination.Write return when the
// failures of single streams have already been reported through
// [Emitter.Fail]: the exit code tells, and nothing more is printed. Joined with
// another error or wrapped in text, it does not keep that from being reported.
var ErrStreamsFailed = errors.New("streams failed")

type panicError struct {
	value any
	stack string
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

func (p *panicError) Unwrap() error {
	err, _ := p.value.(error)
	return err
}

// describe finds the user's sentence in err.
func describe(err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return &Error{Kind: e.Kind, Message: e.Message, Stream: e.Stream, Err: err}
	case errors.Is(err, context.Canceled):
		return interrupted(err)
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Kind: TransientError, Message: "Something took longer than its time limit: " + err.Error(), Err: err}
	}
	return &Error{Kind: SystemError, Message: "Internal error: " + err.Error(), Err: err}
}

func interrupted(err error) *Error {
	return &Error{Kind: TransientError, Message: "The run was interrupted. Start it again to continue from the last state.", Err: err}
}
