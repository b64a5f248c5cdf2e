package cli

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"

	_ "github.com/ingest-connectors/whoop-iceberg/internal/collector"
	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
)

// Main calls run with the process's arguments, its standard streams, and a context
// that ends on SIGTERM, SIGINT or SIGHUP, as of a terminal that is closed. Then it exits
// with run's exit code. A second signal ends the process at once, but for SIGHUP, of which
// the kernel and a shell send one each.
//
// Nobody who reads standard error is no reason to die: the process ignores SIGPIPE, so that
// a line of the log cannot end it between a refresh and the storing of its tokens.
//
// Only the run's own writer reaches standard output. What else is written there goes to
// standard error (descriptor 1 becomes a copy of it), so that a library, or a process that
// it starts, cannot print between two messages.
//
// After a signal, the process ends as its callers expect. Some (PyAirbyte) accept only
// a child that died of the signal, so Main restores the default action and raises the
// signal again. Process 1 of a container cannot die of its own signal, nor can a
// process that was started with SIGINT ignored: they exit with 128 plus the signal's
// number. A run that returns 0 in spite of a signal succeeds.
func Main(run func(ctx context.Context, env Env) int) {
	stdout, err := takeStdout()
	if err != nil {
		log.Fatalf("taking over standard output: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	// A shell without job control starts background processes that ignore SIGINT.
	ignored := signal.Ignored(syscall.SIGINT)
	die := func(s syscall.Signal) { dieBySignal(s, ignored && s == syscall.SIGINT) }
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	if !signal.Ignored(syscall.SIGHUP) { // as by nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // processes that this one starts do not ignore it
	stopped := make(chan syscall.Signal, 1)
	goroutine.Start(func() error {
		s := (<-signals).(syscall.Signal)
		stopped <- s
		cancel()
		for s := range signals {
			if s != syscall.SIGHUP {
				die(s.(syscall.Signal))
			}
		}
		return nil
	})
	code := run(ctx, Env{Name: os.Args[0], Args: os.Args[1:], Stdin: os.Stdin, Stdout: stdout, Stderr: os.Stderr, Getenv: os.Getenv})
	if code != exitOK {
		select {
		case s := <-stopped:
			die(s)
		default:
		}
	}
	os.Exit(code)
}
