package protocol

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// Main gives run the process: its arguments and standard streams, a context
// that ends on SIGTERM or SIGINT, and then ends the process with run's exit
// code. A second signal ends it at once.
//
// Only the run's own writer reaches standard output from here on: descriptor 1
// becomes a copy of standard error, so that a stray print in any library, and in
// any process it starts, does not end up between two messages.
//
// A process that a signal stopped says so as its callers expect. Some (PyAirbyte)
// accept only a child that died of the signal, so the default action is restored
// and the signal raised again. Process 1 of a container cannot die of its own
// signal; it exits with 128 plus the signal's number. A run that was done when
// the signal came, and any that returns 0 in spite of it, is a success.
func Main(run func(ctx context.Context, env Env) int) {
	stdout, err := takeStdout()
	if err != nil {
		log.Fatalf("taking over standard output: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	stopped := make(chan syscall.Signal, 1)
	Go(func() error {
		s := (<-signals).(syscall.Signal)
		stopped <- s
		cancel()
		dieOf((<-signals).(syscall.Signal))
		return nil
	})
	code := run(ctx, Env{Args: os.Args[1:], Stdin: os.Stdin, Stdout: stdout, Stderr: os.Stderr, Getenv: os.Getenv})
	if code != exitOK {
		select {
		case s := <-stopped:
			dieOf(s)
		default:
		}
	}
	os.Exit(code)
}

// dieOf ends the process the way an unhandled signal does.
func dieOf(s syscall.Signal) {
	if os.Getpid() != 1 {
		signal.Reset(s)
		if err := syscall.Kill(os.Getpid(), s); err == nil {
			select {} // the signal is on its way
		}
	}
	os.Exit(128 + int(s))
}

// takeStdout returns the process's standard output and lets descriptor 1 lead
// to standard error.
func takeStdout() (*os.File, error) {
	fd, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	if err := unix.Dup2(2, 1); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "/dev/stdout"), nil
}
