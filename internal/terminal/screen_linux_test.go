package terminal_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal/terminaltest"
)

func TestScreen(t *testing.T) {
	const erase = "\r\x1b[K"
	write := func(s *terminal.Screen) {
		fmt.Fprintf(s, "%s one\n", s.Styled("error:", terminal.Alarm))
		s.Show("working on the first of a few things")
		s.Show("working on the first of a few things")
		fmt.Fprintln(s, "two")
		s.Show("")
		fmt.Fprintln(s, "three")
		s.Show("waiting")
		fmt.Fprint(s, "name? ")
		fmt.Fprintln(s, "four")
	}
	for name, tt := range map[string]struct {
		alone bool
		env   map[string]string
		want  string
	}{
		"alone":       {true, nil, "\x1b[1;31merror:\x1b[0m one\n" + erase + "working on the firs…" + erase + "two\nworking on the firs…" + erase + "three\n" + erase + "waiting" + erase + "name? four\n"},
		"in a pipe":   {false, nil, "\x1b[1;31merror:\x1b[0m one\ntwo\nthree\nname? four\n"},
		"NO_COLOR":    {false, map[string]string{"NO_COLOR": "1"}, "error: one\ntwo\nthree\nname? four\n"},
		"an old one":  {true, map[string]string{"TERM": "dumb"}, "error: one\ntwo\nthree\nname? four\n"},
		"colour only": {false, map[string]string{"NO_COLOR": ""}, "\x1b[1;31merror:\x1b[0m one\ntwo\nthree\nname? four\n"},
	} {
		tty, output := terminaltest.Open(t, 21)
		s := terminal.NewScreen(tty, tt.alone, func(name string) string { return tt.env[name] })
		if !s.IsTerminal() || terminal.Width(tty) != 21 {
			t.Errorf("%s: terminal %v, %d columns", name, s.IsTerminal(), terminal.Width(tty))
		}
		write(s)
		if got := output(); got != tt.want {
			t.Errorf("%s: got  %q\nwant %q", name, got, tt.want)
		}
	}
	var file bytes.Buffer
	s := terminal.NewScreen(&file, true, nil)
	write(s)
	if want := "error: one\ntwo\nthree\nname? four\n"; s.IsTerminal() || file.String() != want {
		t.Errorf("a file: got %q, want %q", &file, want)
	}
}
