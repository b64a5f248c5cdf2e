// Package destinationtest runs the scripts that show what the destination does,
// each file of destination/testdata/script one behaviour, with the program in
// this process or with a built one.
package destinationtest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// A Program runs the destination once, with the given standard input.
type Program func(args []string, stdin []byte) (stdout, stderr []byte, code int)

// A Look is taken at the tables of a configuration, whose path it is given,
// whenever a script has had them written to, or has tried to. Its error fails
// the script.
type Look func(script, config string, written bool) error

// Scripts runs the scripts of a directory. In files whose names begin with "config", $WORK is the
// script's own directory. Beside the commands of testscript there are:
//
//	[!] destination VERB ARGUMENTS… [<FILE]
//	    Runs the program, with FILE as its standard input. What it says on
//	    standard output must keep to the protocol, whether it succeeds or not.
//	unended FILE
//	    Takes the last line end away from FILE.
//	fill FILE N
//	    Puts N letters in the place of $FILL in FILE.
//	repeat FILE N
//	    Puts each line of FILE with $N in it there N times, $N being 1 to N.
//	exitcode N
//	    The last run's exit code was N.
//	capture NAME PATTERN
//	    $NAME is from now on what the parentheses in PATTERN match of the last run's
//	    standard output.
//	check STATUS [PATTERN]
//	    The last run ended in this CONNECTION_STATUS, with such a message.
//	failed KIND PATTERN [STREAM]
//	    The last run had a TRACE error of this failure_type with such a
//	    message, about the stream.
//	failures N
//	    The last run had N TRACE errors.
//	[!] logged LEVEL PATTERN
//	    The last run had a LOG line of this level that matches.
//	states FILE
//	    The STATE messages of the last run are, byte for byte, the lines of FILE.
//	rows STREAM FILE [FLAGS…]
//	    What preview shows of a stream, but for Airbyte's own columns, are the
//	    lines of FILE. The order of rows has no meaning. The last run stays what
//	    it was.
//	damaged
//	    From here on files are missing on purpose: there is nothing to look at.
//
// After every write and maintain, whether it succeeds or not, look is taken at
// the tables, unless it is nil.
func Scripts(t *testing.T, dir string, program Program, look Look) {
	command := func(f func(*scenario, bool, ...string)) func(*testscript.TestScript, bool, []string) {
		return func(ts *testscript.TestScript, neg bool, args []string) {
			s := ts.Value(scenarioKey{}).(*scenario)
			s.TestScript = ts
			f(s, neg, args...)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir:                dir,
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			env.Values[scenarioKey{}] = &scenario{program: program, look: look}
			return fillInWork(env.WorkDir)
		},
		Condition: func(name string) (bool, error) {
			if name == "root" {
				return os.Getuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"destination": command((*scenario).destination),
			"unended":     command((*scenario).unended),
			"fill":        command((*scenario).fill),
			"repeat":      command((*scenario).repeat),
			"exitcode":    command((*scenario).exitcode),
			"capture":     command((*scenario).capture),
			"check":       command((*scenario).check),
			"failed":      command((*scenario).failed),
			"failures":    command((*scenario).failures),
			"logged":      command((*scenario).logged),
			"states":      command((*scenario).states),
			"rows":        command((*scenario).rows),
			"damaged":     command((*scenario).damaged),
		},
	})
}

// fillInWork puts a script's directory into its configurations.
func fillInWork(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "config*"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, bytes.ReplaceAll(text, []byte("$WORK"), []byte(dir)), 0o600); err != nil {
			return err
		}
	}
	return nil
}

type scenarioKey struct{}

// A scenario is a script that is running.
type scenario struct {
	*testscript.TestScript
	program Program
	look    Look
	last    protocoltest.Run
}

func (s *scenario) damaged(bool, ...string) { s.look = nil }

// problems makes the problems that protocoltest finds those of the script.
type problems struct {
	testing.TB
	found []string
}

func (p *problems) Helper() {}

func (p *problems) Errorf(format string, args ...any) {
	p.found = append(p.found, fmt.Sprintf(format, args...))
}

func (p *problems) Logf(format string, args ...any) { p.Errorf(format, args...) }

// inScript makes the paths among the arguments those of the script's files.
func (s *scenario) inScript(args []string) []string {
	out := slices.Clone(args)
	for i, arg := range out {
		if i > 0 && (out[i-1] == "--config" || out[i-1] == "--catalog") && arg != "" {
			out[i] = s.MkAbs(arg)
		}
	}
	return out
}

func (s *scenario) destination(neg bool, args ...string) {
	args = s.inScript(args)
	var input []byte
	if n := len(args); n > 0 && strings.HasPrefix(args[n-1], "<") {
		input, args = []byte(s.ReadFile(args[n-1][1:])), args[:n-1]
	}
	stdout, stderr, code := s.program(args, input)
	s.last = protocoltest.Run{Args: args, Input: input, Stdout: stdout, Stderr: stderr, Code: code}
	fmt.Fprintf(s.Stdout(), "%s", stdout)
	fmt.Fprintf(s.Stderr(), "%s", stderr)
	verb := ""
	if len(args) > 0 && !slices.Contains(args, "-h") {
		verb = args[0]
	}
	if slices.Contains([]string{"spec", "check", "write"}, verb) {
		var broken problems
		s.last.Check(&broken)
		if len(broken.found) > 0 {
			s.Fatalf("%s", strings.Join(broken.found, "\n"))
		}
	}
	if neg == (code == 0) {
		s.Fatalf("exit code %d", code)
	}
	if config := slices.Index(args, "--config") + 1; s.look != nil && (verb == "write" || verb == "maintain") && config > 0 && config < len(args) {
		s.Check(s.look(s.Name(), args[config], code == 0))
	}
}

func (s *scenario) rewrite(name string, change func(string) string) {
	s.Check(os.WriteFile(s.MkAbs(name), []byte(change(s.ReadFile(name))), 0o600))
}

func (s *scenario) unended(_ bool, args ...string) {
	s.rewrite(args[0], func(text string) string { return strings.TrimSuffix(text, "\n") })
}

func (s *scenario) fill(_ bool, args ...string) {
	n, err := strconv.Atoi(args[1])
	s.Check(err)
	s.rewrite(args[0], func(text string) string { return strings.ReplaceAll(text, "$FILL", strings.Repeat("x", n)) })
}

func (s *scenario) repeat(_ bool, args ...string) {
	n, err := strconv.Atoi(args[1])
	s.Check(err)
	s.rewrite(args[0], func(text string) string {
		var all strings.Builder
		for line := range strings.Lines(text) {
			if !strings.Contains(line, "$N") {
				all.WriteString(line)
				continue
			}
			for i := range n {
				all.WriteString(strings.ReplaceAll(line, "$N", strconv.Itoa(i+1)))
			}
		}
		return all.String()
	})
}

func (s *scenario) exitcode(_ bool, args ...string) {
	if want := args[0]; strconv.Itoa(s.last.Code) != want {
		s.Fatalf("exit code %d, want %s", s.last.Code, want)
	}
}

func (s *scenario) capture(_ bool, args ...string) {
	re, err := regexp.Compile("(?m)" + args[1])
	s.Check(err)
	found := re.FindSubmatch(s.last.Stdout)
	if len(found) != 2 {
		s.Fatalf("standard output has no %s", args[1])
	}
	s.Setenv(args[0], string(found[1]))
}

func (s *scenario) matches(pattern, text string) bool {
	re, err := regexp.Compile(pattern)
	s.Check(err)
	return re.MatchString(text)
}

func (s *scenario) check(_ bool, args ...string) {
	status, pattern := args[0], "^$"
	if len(args) > 1 {
		pattern = args[1]
	}
	for _, m := range s.last.Messages {
		if c := m.ConnectionStatus; c != nil {
			if c.Status != status || !s.matches(pattern, c.Message) {
				s.Fatalf("%s: %s", c.Status, c.Message)
			}
			return
		}
	}
	s.Fatalf("no CONNECTION_STATUS")
}

func (s *scenario) failed(_ bool, args ...string) {
	kind, pattern, stream := args[0], args[1], ""
	if len(args) > 2 {
		stream = args[2]
	}
	for _, e := range s.last.Errors() {
		about := ""
		if e.Stream != nil {
			about = e.Stream.ID().String()
		}
		if string(e.FailureType) == kind && about == stream && s.matches(pattern, e.Message) {
			return
		}
	}
	s.Fatalf("no such TRACE error")
}

func (s *scenario) failures(_ bool, args ...string) {
	if n := len(s.last.Errors()); strconv.Itoa(n) != args[0] {
		s.Fatalf("%d TRACE errors, want %s", n, args[0])
	}
}

func (s *scenario) logged(neg bool, args ...string) {
	level, pattern := args[0], args[1]
	for _, m := range s.last.Messages {
		if m.Log != nil && m.Log.Level == level && s.matches(pattern, m.Log.Message) {
			if neg {
				s.Fatalf("logged: %s", m.Log.Message)
			}
			return
		}
	}
	if !neg {
		s.Fatalf("no such LOG line")
	}
}

func (s *scenario) states(_ bool, args ...string) {
	var got strings.Builder
	for _, m := range s.last.Messages {
		if m.Type == "STATE" {
			fmt.Fprintf(&got, "%s\n", m.Raw)
		}
	}
	if diff := cmp.Diff(s.ReadFile(args[0]), got.String()); diff != "" {
		s.Fatalf("states (-want +got):\n%s", diff)
	}
}

func (s *scenario) rows(_ bool, args ...string) {
	want := slices.Sorted(strings.Lines(s.ReadFile(args[1])))
	preview := []string{"preview", args[0], "--limit", "0", "--json"}
	if !slices.Contains(args, "--config") {
		preview = append(preview, "--config", "config.json")
	}
	last := s.last
	s.destination(false, append(preview, args[2:]...)...)
	stdout := string(s.last.Stdout)
	s.last = last
	var got []string
	for line := range strings.Lines(stdout) {
		data, _, ours := strings.Cut(line, `"_airbyte_raw_id":`) // which come last
		if !ours {
			s.Fatalf("a row without Airbyte's columns: %s", line)
		}
		got = append(got, strings.TrimSuffix(data, ",")+"}\n")
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		s.Fatalf("rows of %s (-want +got):\n%s", args[0], diff)
	}
}
