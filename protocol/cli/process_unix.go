//go:build !windows

package cli

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// endOfInput are the keys that end what is typed.
const endOfInput = "Ctrl-D"

// takeStdout returns the process's standard output and redirects descriptor 1 to
// standard error.
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

// dieBySignal ends the process the way an unhandled signal does, or with exit code
// 128 plus its number if it cannot die of it: as process 1, or as a process whose
// default is to ignore the signal.
func dieBySignal(s syscall.Signal, ignored bool) {
	if os.Getpid() != 1 && !ignored {
		signal.Reset(s)
		if err := syscall.Kill(os.Getpid(), s); err == nil {
			select {} // the signal is on its way
		}
	}
	os.Exit(128 + int(s))
}
