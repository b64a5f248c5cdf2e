// Package terminaltest has a terminal for tests.
package terminaltest

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Open returns a terminal that is so many columns wide, and a function that closes it
// and returns what was written to it, with "\n" for the ends of lines.
func Open(t testing.TB, columns int) (terminal *os.File, output func() string) {
	t.Helper()
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = control.Close() })
	fd := int(control.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Close() }) // it is closed already where output was read
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: uint16(columns)}); err != nil {
		t.Fatal(err)
	}
	written := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(control) // it ends with an error when the terminal is closed
		written <- string(text)
	}()
	return terminal, func() string {
		if err := terminal.Close(); err != nil {
			t.Error(err)
		}
		return strings.ReplaceAll(<-written, "\r\n", "\n")
	}
}
