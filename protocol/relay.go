package protocol

import (
	"fmt"
	"os"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
)

// Relay writes a source's message to standard error, unless shownOn says that the source
// has written it there itself. In a shell's pipe both programs have one standard error.
// Sources of others write failures to standard output alone, where the pipe ends.
func (e *Emitter) Relay(message, shownOn string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if shownOn == "" || shownOn != e.shownOn {
		e.writeStderr("source", e.secrets.Excerpt(message, maxStderr))
	}
}

// PrintError writes an error to standard error alone. It sums up for people several errors
// with [Error.TraceOnly], which programs read on standard output.
func (e *Emitter) PrintError(message string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.writeStderr("error", e.secrets.Clean(message))
}

// identity returns what only one open terminal, pipe or file of this machine has; "" if
// w is none.
func identity(w any) string {
	file, ok := w.(*os.File)
	if !ok {
		return ""
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		return ""
	}
	return fmt.Sprintf("%x:%x", stat.Dev, stat.Ino)
}

// isRegularFile reports whether r is a file that stays where it is, not a pipe.
func isRegularFile(r any) bool {
	file, ok := r.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode().IsRegular()
}

// maxStderr is the length at which a message on standard error is cut. Standard
// output has all of it.
const maxStderr = 2000

// writeStderr writes a line for people. It ignores errors: a closed standard error
// does not stop the run.
func (e *Emitter) writeStderr(what, message string) {
	if len(message) > maxStderr+len("…") {
		message = strings.ToValidUTF8(message[:maxStderr], "") + "…"
	}
	style := terminal.Alarm
	if what == "warning" {
		style = terminal.Warning
	}
	fmt.Fprintf(e.screen, "%s %s\n", e.screen.Styled(what+":", style), oneLine(message))
}

// oneLine returns text without what could end the line or control a terminal.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}
