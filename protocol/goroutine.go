package protocol

import "runtime/debug"

// Go runs f in a goroutine and sends its error on the channel it returns, which
// has room for it. A panic in f is an error like any other: unrecovered, it
// would end the process without telling the orchestrator why. No other goroutine
// is started in either program, except by an errgroup of [Recovered] functions.
func Go(f func() error) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- Recovered(f)() }()
	return ended
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
