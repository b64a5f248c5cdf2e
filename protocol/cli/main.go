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
// that ends on SIGTERM or SIGINT. Then it exits with run's exit code. A second signal
// ends the process at once.
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
	stopped := make(chan syscall.Signal, 1)
	goroutine.Start(func() error {
		s := (<-signals).(syscall.Signal)
		stopped <- s
		cancel()
		die((<-signals).(syscall.Signal))
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
