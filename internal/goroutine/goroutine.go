// Package goroutine starts goroutines whose panics are errors. Without recovery, a panic
// would end the process without a reason for the orchestrator. Both programs start
// goroutines only with [Start], or with an errgroup of [Recovered] functions.
package goroutine

import (
	"fmt"
	"runtime/debug"
)

// Start runs f in a goroutine and returns a channel with room for its error.
func Start(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- Recovered(f)() }()
	return done
}

// Recovered returns f with its panics turned into errors, for an errgroup.
func Recovered(f func() error) func() error {
	return func() (err error) {
		defer Recover(&err)
		return f()
	}
}

// Recover, deferred, turns a panic into a [*PanicError].
func Recover(err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{Value: v, Stack: string(debug.Stack())}
	}
}

// A PanicError is a panic that was recovered.
type PanicError struct {
	Value any
	Stack string // of the goroutine that panicked
}

func (p *PanicError) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

func (p *PanicError) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}
