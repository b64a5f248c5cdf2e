package protocol

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Kind says who has to act after a failure. It is the protocol's failure_type.
type Kind string

const (
	// SystemError is a bug of the connector. The orchestrator retries.
	SystemError Kind = "system_error"
	// ConfigError is for the user to fix. The orchestrator does not retry.
	ConfigError Kind = "config_error"
	// TransientError goes away by itself. The orchestrator retries.
	TransientError Kind = "transient_error"
)

// Error is a failure with a message for the user: what is wrong and how to fix it.
// It is created where the cause is understood. Other errors reach the user as system
// errors.
type Error struct {
	Kind    Kind
	Message string
	Stream  *StreamID // the stream it belongs to; nil: the whole run
	Err     error     // the cause, for the operator; may be nil
	// TraceOnly keeps the message off standard error: [Emitter.PrintError] writes one
	// there for several errors.
	TraceOnly bool
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	cause := e.Err.Error()
	if strings.Contains(e.Message, strings.ReplaceAll(cause, "\n", " ")) { // several errors have a line each
		return e.Message
	}
	return e.Message + " (" + cause + ")"
}

func (e *Error) Unwrap() error { return e.Err }

// ofStream begins a message for people with the stream it is about, unless it names that
// itself: the same error often befalls several streams.
func (e *Error) ofStream(message string) string {
	if e.Stream == nil {
		return message
	}
	name := e.Stream.String()
	for _, named := range []string{"tream " + name + " ", "tream " + name + ":", `tream "` + name + `"`} {
		if strings.Contains(message, named) {
			return message
		}
	}
	return "Stream " + name + ": " + message
}

// Errorf returns an [Error] of the kind, with a message for the user. cause may be nil.
func (k Kind) Errorf(cause error, format string, args ...any) error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...), Err: cause}
}

// JoinErrors makes one error of all that are not nil, with the messages of all of them: a
// config_error if one of them is, since a new run would not help, else a transient_error.
func JoinErrors(errs ...error) error {
	errs = slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err == nil })
	if len(errs) < 2 {
		return errors.Join(errs...)
	}
	all := &Error{Kind: TransientError, Err: errors.Join(errs...)}
	messages := make([]string, len(errs))
	for i, err := range errs {
		messages[i] = err.Error()
		if e := (*Error)(nil); errors.As(err, &e) {
			messages[i] = e.Message
			if e.Kind == ConfigError {
				all.Kind = ConfigError
			}
		}
	}
	all.Message = strings.Join(messages, " ")
	return all
}

// ErrStreamsFailed is returned by Source.Read and Destination.Write when
// [Emitter.Fail] has already reported the failures of single streams. It sets the exit
// code, and nothing more is printed. If it is joined with another error or wrapped in
// text, that is reported.
var ErrStreamsFailed = errors.New("streams failed")

// KindOf returns the kind with which err is reported.
func KindOf(err error) Kind { return describe(err).Kind }

// describe finds the message for the user in err.
func describe(err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return &Error{Kind: e.Kind, Message: e.Message, Stream: e.Stream, Err: err, TraceOnly: e.TraceOnly}
	case errors.Is(err, context.Canceled):
		return interrupted(err)
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Kind: TransientError, Message: "A request took longer than its time limit: " + err.Error() + ". Start the run again.", Err: err}
	}
	return &Error{Kind: SystemError, Message: "Internal error: " + err.Error(), Err: err}
}

func interrupted(err error) *Error {
	return &Error{Kind: TransientError, Message: "The run was interrupted. Start it again to continue from the last state.", Err: err}
}
