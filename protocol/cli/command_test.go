package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

func TestDebugLinesAreLoggedOnRequest(t *testing.T) {
	s := source{check: func(_ context.Context, _ json.RawMessage, out *protocol.Emitter) error {
		out.Logger().Debug("detail")
		return nil
	}}
	c := protocoltest.File(t, goodConfig)
	env := func(value string) func(string) string {
		return func(name string) string { return map[string]string{"LOG_LEVEL": value}[name] }
	}
	for _, tt := range []struct {
		args   []string
		getenv func(string) string
		want   bool
	}{
		{[]string{"check", "--config", c}, env("info"), false},
		{[]string{"check", "--config", c}, env("DEBUG"), true},
		{[]string{"check", "--config", c, "--debug"}, nil, true},
	} {
		var out bytes.Buffer
		code := cli.RunSource(t.Context(), s, cli.Env{Args: tt.args, Stdout: &out, Stderr: io.Discard, Getenv: tt.getenv})
		if code != 0 || strings.Contains(out.String(), `"level":"DEBUG","message":"detail"`) != tt.want {
			t.Errorf("%v: exit code %d, %s", tt.args[3:], code, &out)
		}
	}
}

func TestCommandsForPeople(t *testing.T) {
	hello := cli.Command{Name: "hello", Arguments: "[NAME]...", Summary: "greets", New: func(flags *flag.FlagSet) func(context.Context, cli.Env) error {
		name := flags.String("name", "world", "whom")
		return func(_ context.Context, env cli.Env) error {
			if *name == "nobody" {
				return &protocol.Error{Kind: protocol.ConfigError, Message: "There is nobody."}
			}
			_, err := fmt.Fprintln(env.Stdout, "hello", *name, env.Args)
			return err
		}
	}}
	two := cli.Command{Name: "two", Arguments: "FROM TO [BY]", Summary: "moves", New: func(*flag.FlagSet) func(context.Context, cli.Env) error {
		return func(_ context.Context, env cli.Env) error {
			_, err := fmt.Fprintln(env.Stdout, "two", env.Args)
			return err
		}
	}}
	tests := []struct {
		args           []string
		code           int
		stdout, stderr string // parts
	}{
		{[]string{"hello", "--name=you", "a", "b"}, 0, "hello you [a b]\n", ""},
		{[]string{"hello", "a", "--name", "you", "b"}, 0, "hello you [a b]\n", ""},
		{[]string{"hello", "a", "b", "-name=you"}, 0, "hello you [a b]\n", ""},
		{[]string{"hello", "a", "--", "b", "--name", "you"}, 0, "hello world [a b --name you]\n", ""},
		{[]string{"hello", "a", "--nam"}, 2, "", "-name"},
		{[]string{"hello", "a", "--name=you", "b"}, 0, "hello you [a b]\n", ""},
		{[]string{"hello", "a", "--", "--name=you"}, 0, "hello world [a --name=you]\n", ""},
		{[]string{"hello", "--name", "nobody"}, 1, "", "There is nobody.\n"},
		{[]string{"hello", "--nam"}, 2, "", "-name"},
		{[]string{"hello", "--nane", "you"}, 2, "", "hello: unknown flag --nane; did you mean --name?\nUsage: source hello [NAME]... [flags]\n"},
		{[]string{"hello", "-nane=you"}, 2, "", "unknown flag -nane; did you mean --name?\n"},
		{[]string{"hello", "--name"}, 2, "", "hello: flag needs an argument: --name\n"},
		{[]string{"two", "a"}, 2, "", "two: TO is missing\nUsage: source two FROM TO [BY] [flags]\n"},
		{[]string{"two", "a", "b", "c", "d"}, 2, "", `two: "d" is one argument too many`},
		{[]string{"two", "a", "b"}, 0, "two [a b]\n", ""},
		{[]string{"two", "--", "a", "-b", "c"}, 0, "two [a -b c]\n", ""},
		{[]string{"completion"}, 2, "", "completion: SHELL is missing\n"},
		{[]string{"completion", "fsh"}, 2, "", "completion: There is no shell fsh. Did you mean \"fish\"? There are: bash, fish, powershell, zsh.\n"},
		{nil, 2, "", "check --config FILE"},
	}
	for _, tt := range tests {
		var stdout, stderr bytes.Buffer
		code := cli.RunSource(t.Context(), source{}, cli.Env{Args: tt.args, Stdout: &stdout, Stderr: &stderr}, hello, two)
		if code != tt.code || stdout.String() != tt.stdout || !strings.Contains(stderr.String(), tt.stderr) {
			t.Errorf("%v: exit code %d, stdout %q, stderr %q", tt.args, code, &stdout, &stderr)
		}
	}
}

// A program that is run within another one has no arguments but those it is given.
func TestArgumentsOfTheProcessAreNotTaken(t *testing.T) {
	given := os.Args
	defer func() { os.Args = given }()
	os.Args = []string{"host", "spec"}
	var stdout, stderr bytes.Buffer
	if code := cli.RunSource(t.Context(), source{}, cli.Env{Stdout: &stdout, Stderr: &stderr}); code != 2 || stdout.Len() > 0 {
		t.Errorf("exit code %d, stdout %q", code, &stdout)
	}
}

// Help that is asked for can be piped into a pager.
func TestHelpIsPrintedOnStandardOutput(t *testing.T) {
	hello := cli.Command{
		Name: "hello", Summary: "greets", Details: "It shouts. A text of the\ncode may be broken anywhere, and is broken again where the terminal ends.\n\nTwice.", Required: []string{"name"}, Examples: []string{"hello --name you"}, Config: true,
		New: func(flags *flag.FlagSet) func(context.Context, cli.Env) error {
			flags.String("name", "world", "whom to `GREET`")
			return nil
		},
	}
	const ofHello = `Greets.

It shouts. A text of the code may be broken anywhere, and is broken again where
the terminal ends.

Twice.

Usage:
  bin/whoop hello --config FILE --name GREET [flags]

Examples:
  bin/whoop hello --name you

Flags:
      --config FILE   path of the configuration FILE, or - for standard input
  -h, --help          print this help
      --name GREET    whom to GREET (default "world")
`
	for _, tt := range []struct {
		args []string
		want string // part of it
	}{
		{[]string{"hello", "-h"}, ofHello},
		{[]string{"hello", "a", "--name=x", "--help"}, ofHello},
		{[]string{"help", "hello"}, ofHello},
		{[]string{"hello", "-help"}, ofHello},
		{[]string{"help"}, "Reads hearts.\n\nUsage:\n  bin/whoop VERB [flags]\n"},
		{[]string{"help"}, "  hello       greets\n"},
		{[]string{"--help"}, "  read --config FILE --catalog FILE [--state FILE]\n"},
		{[]string{"-help"}, "  completion  prints a script with which a shell completes arguments\n"},
		{[]string{"read", "-h"}, " --state state.json | bin/destination write --config "},
		{[]string{"check", "-h"}, "Examples:\n  bin/whoop check --config source.json\n\nFlags:\n      --config FILE   "},
		{[]string{"--version"}, "whoop dev (go1."},
		{[]string{"completion", "-h"}, "Usage:\n  bin/whoop completion SHELL [flags]\n"},
		{[]string{"completion", "bash"}, "__start_whoop whoop\n"},
		{[]string{"completion", "fish"}, "# fish completion for whoop "},
		{[]string{"completion", "powershell"}, "# powershell completion for whoop "},
		{[]string{"completion", "zsh"}, "#compdef whoop\n"},
	} {
		var stdout, stderr bytes.Buffer
		code := cli.RunSource(t.Context(), source{}, cli.Env{Name: "bin/whoop", Summary: "Reads hearts.", Args: tt.args, Stdout: &stdout, Stderr: &stderr}, hello)
		if code != 0 || !strings.Contains(stdout.String(), tt.want) || stderr.Len() > 0 {
			t.Errorf("%v: exit code %d, stdout %s\nstderr %s", tt.args, code, &stdout, &stderr)
		}
	}
}

// Shells complete verbs, flags, and values of which there are a few.
func TestShellsComplete(t *testing.T) {
	tidy := cli.Command{
		Name: "tidy", Arguments: "[ROOM]", Values: []string{"attic", "kitchen"}, Summary: "tidies up",
		New: func(flags *flag.FlagSet) func(context.Context, cli.Env) error {
			flags.String("how", "slowly", "`slowly|well`")
			return nil
		},
	}
	for line, want := range map[string]string{
		"ti":                "tidy\ttidies up\n:4\n",
		"tidy ":             "attic\nkitchen\n:4\n",
		"tidy --h":          "--help\tprint this help\n--how\t`slowly|well`\n:4\n",
		"tidy --how ":       "slowly\nwell\n:4\n",
		"check --config ":   ":0\n", // a file
		"completion ":       "bash\nfish\npowershell\nzsh\n:4\n",
		"check --config x ": ":4\n",
	} {
		var stdout bytes.Buffer
		args := append([]string{"__complete"}, strings.Split(line, " ")...)
		code := cli.RunSource(t.Context(), source{}, cli.Env{Args: args, Stdout: &stdout, Stderr: io.Discard}, tidy)
		if code != 0 || !strings.HasPrefix(stdout.String(), want) {
			t.Errorf("%s: exit code %d, %q", line, code, &stdout)
		}
	}
}

func TestLevelsOfLogging(t *testing.T) {
	var out bytes.Buffer
	log := protocol.NewEmitter(&out, protocol.EmitterOptions{}).Logger()
	for _, level := range []slog.Level{slog.LevelInfo, slog.LevelWarn, slog.LevelError, slog.LevelError + 4} {
		log.Log(t.Context(), level, "x")
	}
	run := protocoltest.Run{Args: []string{"read"}, Code: -1, Stdout: out.Bytes()}
	run.Check(t)
	var got []string
	for _, m := range run.Messages {
		got = append(got, m.Log.Level)
	}
	if diff := cmp.Diff([]string{"INFO", "WARN", "ERROR", "ERROR"}, got); diff != "" {
		t.Errorf("levels (-want +got):\n%s", diff)
	}
}

func TestACommandIsGivenTheConfiguration(t *testing.T) {
	show := cli.Command{Name: "show", Config: true, New: func(*flag.FlagSet) func(context.Context, cli.Env) error {
		return func(_ context.Context, env cli.Env) error {
			switch {
			case strings.Contains(string(env.Config), "panic"):
				panic("index of opensesame out of range")
			case strings.Contains(string(env.Config), "fail"):
				return errors.New("opensesame was refused")
			}
			_, err := env.Stdout.Write(env.Config)
			return err
		}
	}}
	for _, tt := range []struct {
		config         string // "": no flag
		code           int
		stdout, stderr string // regular expressions
	}{
		{``, 1, `^$`, `^Give the configuration's path with --config\.\n$`},
		{`null`, 1, `^$`, `^The config file \S+ is not a JSON object: it is null\.\n$`},
		{"\ufeff" + `{"pages":1}`, 0, `^{"pages":1}$`, `^$`},
		{`{"nam":"you"}`, 0, `^{"nam":"you"}$`, `^warning: The configuration's key "nam" is not known and has no effect\.`},
		{`{"password":"opensesame","tags":["fail"]}`, 1, `^$`, `^\*\*\*\* was refused\n$`},
		{`{"password":"opensesame","tags":["panic"]}`, 1, `^$`, `^panic: index of \*\*\*\* out of range\n(.|\n)*goroutine (.|\n)*command_test\.go`},
	} {
		args := []string{"show"}
		if tt.config != "" {
			args = append(args, "--config", protocoltest.File(t, tt.config))
		}
		var stdout, stderr bytes.Buffer
		code := cli.RunSource(t.Context(), source{}, cli.Env{Args: args, Stdout: &stdout, Stderr: &stderr}, show)
		if code != tt.code || !regexp.MustCompile(tt.stdout).Match(stdout.Bytes()) || !regexp.MustCompile(tt.stderr).Match(stderr.Bytes()) {
			t.Errorf("%s: exit code %d\nstdout %s\nstderr %s", tt.config, code, &stdout, &stderr)
		}
		if bytes.Contains(stderr.Bytes(), []byte("opensesame")) {
			t.Errorf("%s: the password is shown: %s", tt.config, &stderr)
		}
	}
}

func TestTheExampleFollowsTheProtocol(t *testing.T) {
	for config, want := range map[string]string{`{"name":"you"}`: "SUCCEEDED", `{"name":null}`: "FAILED"} {
		run := protocoltest.Source(t, Greeter{}, "check", "--config", protocoltest.File(t, config))
		if len(run.Messages) != 1 || run.Messages[0].ConnectionStatus.Status != want {
			t.Errorf("check of %s: %s, want %s", config, run.Stdout, want)
		}
	}
	c, cat := protocoltest.File(t, `{"name":"you"}`), protocoltest.File(t, goodCatalog)
	if run := protocoltest.Source(t, Greeter{}, "discover", "--config", c); len(run.Messages) != 1 {
		t.Errorf("discover: %s", run.Stdout)
	}
	if run := protocoltest.Source(t, Greeter{}, "read", "--config", c, "--catalog", cat); len(run.Records(stream)) != 1 || run.Code != 0 {
		t.Errorf("read: %s", run.Stdout)
	}
}

// Whatever form an error quotes a secret in, and wherever in the configuration or the environment that stands.
func TestNoVerbShowsASecret(t *testing.T) {
	failure := errors.New(`cannot parse "https://me:open%40sesame@[": proxy http://me:pr%6Fxypass@proxy refuses; {"n":"open\u0040sesame","aws":"aws\/secret"}`)
	s := source{check: func(_ context.Context, _ json.RawMessage, out *protocol.Emitter) error {
		out.Logger().Warn("trouble", "error", failure)
		return &protocol.Error{Kind: protocol.ConfigError, Message: failure.Error(), Err: failure}
	}}
	show := cli.Command{Name: "show", Config: true, New: func(*flag.FlagSet) func(context.Context, cli.Env) error {
		return func(_ context.Context, env cli.Env) error {
			fmt.Fprintln(env.Stderr, failure)
			return failure
		}
	}}
	env := map[string]string{"HTTPS_PROXY": "http://me:proxypass@proxy", "AWS_SECRET_ACCESS_KEY": "aws/secret"}
	config := protocoltest.File(t, map[string]any{"https://me:open%40sesame@[": "https://me:open%40sesame@["})
	for _, args := range [][]string{
		{"check", "--config", config}, {"show", "--config", config}, {"check", "--config", `{"secret":"opensesame"}`},
	} {
		var out bytes.Buffer
		cli.RunSource(t.Context(), s, cli.Env{Args: args, Stdout: &out, Stderr: &out, Getenv: func(name string) string { return env[name] }}, show)
		if regexp.MustCompile("sesame|pass@|secret").MatchString(out.String()) || out.Len() == 0 {
			t.Errorf("%v shows %s", args, &out)
		}
	}
}
