package protocol

import "runtime/debug"

// Go runs f in a goroutine and returns a channel with room for its error. A panic in
// f is an error too: without recovery, it would end the process without a reason for
// the orchestrator. Both programs start goroutines only with Go, or with an errgroup
// of [Recovered] functions.
func Go(f func() error) <-chan error {
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

// Recover, deferred, turns a panic into an error.
func Recover(err *error) {
	if v := recover(); v != nil {
		*err = &panicError{value: v, stack: string(debug.Stack())}
	}
}
