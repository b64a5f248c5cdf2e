package protocol

import (
	"fmt"
	"strings"

	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
)

// Relay writes a source's message to standard error, unless shownOn says that the source
// has written it there itself. In a shell's pipe both programs have one standard error.
// Sources of others write failures to standard output alone, where the pipe ends.
func (e *Emitter) Relay(message, shownOn string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if shownOn == "" || shownOn != e.options.ShownOn {
		e.writeStderr("source", e.options.Secrets.Excerpt(message, maxStderr))
	}
}

// PrintError writes an error to standard error alone. It sums up for people several errors
// with [Error.TraceOnly], which programs read on standard output.
func (e *Emitter) PrintError(message string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.writeStderr("error", e.options.Secrets.Clean(message))
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
	fmt.Fprintf(e.options.Stderr, "%s %s\n", e.options.Stderr.Styled(what+":", style), terminal.OneLine(message))
}
