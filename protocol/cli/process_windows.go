package cli

import (
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

// endOfInput are the keys that end what is typed.
const endOfInput = "Ctrl-Z and Enter"

// takeStdout returns the process's standard output. What else is written there, by this
// process or those that it starts, goes to standard error.
func takeStdout() (*os.File, error) {
	stdout := os.Stdout
	if err := windows.SetStdHandle(windows.STD_OUTPUT_HANDLE, windows.Handle(os.Stderr.Fd())); err != nil {
		return nil, err
	}
	os.Stdout = os.Stderr
	return stdout, nil
}

// dieBySignal ends the process. Windows has no signals to die of: Ctrl-C and the closing of
// the console arrive as what they are called elsewhere.
func dieBySignal(s syscall.Signal, _ bool) { os.Exit(128 + int(s)) }
