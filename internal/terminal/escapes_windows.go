package terminal

import (
	"os"

	"golang.org/x/sys/windows"
)

// understandsEscapes has a console take escape sequences for what they are elsewhere, and
// reports whether it does.
func understandsEscapes(console *os.File) bool {
	handle := windows.Handle(console.Fd())
	var mode uint32
	if err := windows.GetConsoleMode(handle, &mode); err != nil {
		return false
	}
	return windows.SetConsoleMode(handle, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
