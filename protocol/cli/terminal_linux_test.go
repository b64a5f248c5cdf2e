package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"regexp"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/internal/terminal/terminaltest"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

// pipe returns the write end of a pipe that somebody reads.
func pipe(t *testing.T) *os.File {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, r) //nolint:errcheck // until it is closed
	t.Cleanup(func() { w.Close(); r.Close() })
	return w
}

// What a person sees at a terminal, with the seconds as 0.0s.
func TestATerminalShowsHowARunGoes(t *testing.T) {
	read := func(_ context.Context, _ protocol.ReadJob, out *protocol.Emitter) error {
		out.Progress().Add("requests", 2)
		return errors.Join(out.Log("WARN", "odd"), out.Status(stream, protocol.Started), out.Record(stream, json.RawMessage(`{}`)), out.Status(stream, protocol.Complete))
	}
	fails := func(_ context.Context, _ protocol.ReadJob, out *protocol.Emitter) error {
		return errors.Join(out.Fail(stream, &protocol.Error{Kind: protocol.ConfigError, Message: "No."}), protocol.ErrStreamsFailed)
	}
	for name, tt := range map[string]struct {
		read     func(context.Context, protocol.ReadJob, *protocol.Emitter) error
		args     []string
		color    bool
		terminal bool
		want     string
	}{
		"a terminal":   {read: read, terminal: true, want: "warning: odd\nsource: done in 0.0s: 1 record, 1 of 1 stream, 2 requests\n"},
		"colours":      {read: read, terminal: true, color: true, want: "\x1b[1;33mwarning:\x1b[0m odd\n\x1b[2msource:\x1b[0m done in 0.0s: 1 record, 1 of 1 stream, 2 requests\n"},
		"a failure":    {read: fails, terminal: true, want: "error: Stream s: No.\nsource: failed after 0.0s: 0 of 1 stream\n"},
		"not wanted":   {read: read, terminal: true, args: []string{"--progress=false"}, want: "warning: odd\n"},
		"a file":       {read: read, want: "warning: odd\n"},
		"wanted there": {read: read, args: []string{"--progress"}, want: "warning: odd\nsource: done in 0.0s: 1 record, 1 of 1 stream, 2 requests\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var file bytes.Buffer
			env := cli.Env{Args: append(readArgs(t), tt.args...), Stdout: pipe(t), Stderr: &file, Getenv: func(name string) string {
				if name == "NO_COLOR" && !tt.color {
					return "1"
				}
				return ""
			}}
			got := file.String
			if tt.terminal {
				env.Stderr, got = terminaltest.Open(t, 80)
			}
			cli.RunSource(t.Context(), source{read: tt.read}, env)
			if got := regexp.MustCompile(`\d\.\ds`).ReplaceAllString(got(), "0.0s"); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// relaying is a destination that shows people the first message, which is a failure.
type relaying struct{ destination }

func (relaying) Write(_ context.Context, job protocol.WriteJob, out *protocol.Emitter) error {
	item, err := protocol.NewInput(job.Input, out.Logger()).Next()
	if err != nil {
		return err
	}
	out.Relay(item.Failure.Message, item.Failure.ShownOn)
	return nil
}

// In a shell's pipe both programs have one standard error, where the source has shown
// its failure already. Elsewhere the destination shows it, and in a run that reads what
// an earlier run of the source recorded.
func TestAFailureOfTheSourceIsShownOnce(t *testing.T) {
	fails := source{read: func(context.Context, protocol.ReadJob, *protocol.Emitter) error {
		return &protocol.Error{Kind: protocol.ConfigError, Message: "The token is void."}
	}}
	for name, tt := range map[string]struct {
		shared   bool
		recorded bool
		want     string
	}{
		"one standard error":     {shared: true, want: "error: The token is void.\n"},
		"two":                    {want: "source: The token is void.\n"},
		"a recorded run":         {shared: true, recorded: true, want: "error: The token is void.\nsource: The token is void.\n"},
		"one recorded elsewhere": {recorded: true, want: "source: The token is void.\n"},
	} {
		t.Run(name, func(t *testing.T) {
			open := func(name string) *os.File {
				f, err := os.CreateTemp(t.TempDir(), name)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { f.Close() })
				return f
			}
			stderr, others := open("stderr"), open("stderr")
			if tt.shared {
				others = stderr
			}
			var messages bytes.Buffer
			args := readArgs(t)
			cli.RunSource(t.Context(), fails, cli.Env{Args: args, Stdout: &messages, Stderr: others})
			args[0] = "write"
			var stdin io.Reader = &messages
			if tt.recorded {
				file := open("messages")
				if _, err := file.Write(messages.Bytes()); err != nil {
					t.Fatal(err)
				}
				if _, err := file.Seek(0, io.SeekStart); err != nil {
					t.Fatal(err)
				}
				stdin = file
			}
			cli.RunDestination(t.Context(), relaying{}, cli.Env{Args: args, Stdin: stdin, Stdout: io.Discard, Stderr: stderr})
			if got, err := os.ReadFile(stderr.Name()); err != nil || string(got) != tt.want {
				t.Errorf("got %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

// idle is a destination that writes nothing.
type idle struct{ destination }

func (idle) Write(context.Context, protocol.WriteJob, *protocol.Emitter) error { return nil }

// Without a pipe, write would wait without a word.
func TestWriteSaysAtATerminalWhatItWaitsFor(t *testing.T) {
	keyboard, _ := terminaltest.Open(t, 80)
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for name, tt := range map[string]struct {
		stdin *os.File
		want  string
	}{
		"a terminal": {keyboard, "write waits for Airbyte messages on standard input, one on each line. Nothing is connected to it. " +
			"Press Ctrl-C, and connect a source (source read … | destination write …) or a file (destination write … < messages.jsonl).\n"},
		"a file": {file, ""},
	} {
		var stderr bytes.Buffer
		args := append([]string{"write"}, readArgs(t)[1:]...)
		code := cli.RunDestination(t.Context(), idle{}, cli.Env{Args: args, Stdin: tt.stdin, Stdout: io.Discard, Stderr: &stderr})
		if code != 0 || stderr.String() != tt.want {
			t.Errorf("%s: exit code %d, %q", name, code, &stderr)
		}
	}
}
