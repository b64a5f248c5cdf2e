package terminal

import (
	"bytes"
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// A Screen is where people read: usually standard error. Below what is written to it,
// it can show a line that changes, if it is a terminal that no other program of a pipe
// writes to. It is safe for concurrent use.
type Screen struct {
	mu    sync.Mutex
	w     io.Writer
	file  *os.File // nil: not a terminal
	live  bool
	color bool
	shown string // the line that changes; "": none
}

// NewScreen returns a screen on w. Colours are left away if NO_COLOR is set. The line
// that changes is only for a terminal that this program has for itself: another one
// that writes to it would destroy the line and leave pieces of it.
func NewScreen(w io.Writer, alone bool, getenv func(string) string) *Screen {
	s := &Screen{w: w}
	if Is(w) {
		s.file = w.(*os.File)
		capable := (getenv == nil || getenv("TERM") != "dumb") && understandsEscapes(s.file)
		s.live = alone && capable
		s.color = capable && (getenv == nil || getenv("NO_COLOR") == "")
	}
	return s
}

// IsTerminal reports whether people see at once what is written.
func (s *Screen) IsTerminal() bool { return s.file != nil }

// Live reports whether Show does anything.
func (s *Screen) Live() bool { return s.live }

const (
	eraseLine = "\r\x1b[K"
	reset     = "\x1b[0m"
)

// A Style is how a word stands out, where there are colours.
type Style string

// Styles of words.
const (
	Alarm   Style = "\x1b[1;31m" // what failed
	Warning Style = "\x1b[1;33m"
	Quiet   Style = "\x1b[2m" // what is said by the way
	Heading Style = "\x1b[1m"
)

// Styled returns a word in a style, or as it is where there are no colours.
func (s *Screen) Styled(word string, style Style) string {
	if !s.color {
		return word
	}
	return string(style) + word + reset
}

// Write writes text that stays. The line that changes is shown again below it.
func (s *Screen) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shown == "" {
		return s.w.Write(text)
	}
	shown := s.shown
	if !bytes.HasSuffix(text, []byte("\n")) {
		shown = "" // the line goes on, as a question does for its answer
	}
	s.shown = shown
	// One call of Write, so that nothing comes between.
	if _, err := s.w.Write([]byte(eraseLine + string(text) + shown)); err != nil {
		return 0, err
	}
	return len(text), nil
}

// Show shows a line in place of the one before; "" erases it. It is cut at the
// terminal's width.
func (s *Screen) Show(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.live {
		return
	}
	if width := widthOf(s.file); width > 1 {
		line = Cut(line, width-1) // in the last column, some terminals begin a new line
	}
	if line == s.shown {
		return
	}
	s.shown = line
	_, _ = io.WriteString(s.w, eraseLine+line) // who closed standard error does not want it
}

// Is reports whether a stream is a terminal.
func Is(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Width returns the width of a terminal, or 0 if w is none.
func Width(w io.Writer) int {
	if file, ok := w.(*os.File); ok {
		return widthOf(file)
	}
	return 0
}

func widthOf(file *os.File) int {
	columns, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return columns
}
