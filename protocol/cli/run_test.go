package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

const (
	goodConfig  = `{"password":"pass\"word","pages":null}`
	goodCatalog = `{"streams":[{"stream":{"name":"s","json_schema":{}},"sync_mode":"incremental","destination_sync_mode":"append","generation_id":null}]}`
)

func TestSourceRuns(t *testing.T) {
	bad := &protocol.Error{Kind: protocol.ConfigError, Message: "The password pass\"word is wrong.", Err: errors.New("401 for pass\"word")}
	checks := func(err error) source {
		return source{check: func(context.Context, json.RawMessage, *protocol.Emitter) error { return err }}
	}
	file := func(content string) string { return protocoltest.File(t, content) }
	c, cat := file(goodConfig), file(goodCatalog)
	tests := []struct {
		name   string
		source source
		args   []string
		code   int
		want   []string // parts of the messages, one each, of those that are no LOG
		stderr string   // part of stderr; "" for nothing there
	}{
		{name: "spec", args: []string{"spec"}, want: []string{`"protocol_version":"0.18.0"`}},
		{name: "check that succeeds", source: checks(nil), args: []string{"check", "--config", c}, want: []string{`"SUCCEEDED"`}},
		{name: "a flag with an equals sign, debug", source: checks(nil), args: []string{"check", "--debug", "--config=" + c}, want: []string{`"SUCCEEDED"`}},
		{name: "check that fails", source: checks(fmt.Errorf("asking: %w", bad)), args: []string{"check", "--config", c}, want: []string{`{"status":"FAILED","message":"The password **** is wrong."}`}},
		{name: "check that crashes", source: checks(errors.New("no such file")), args: []string{"check", "--config", c}, code: 1, want: []string{`"Internal error: no such file","internal_message":"no such file","failure_type":"system_error"`}},
		{
			name: "check that is handed a system error", source: checks(&protocol.Error{Kind: protocol.SystemError, Message: "Ours."}),
			args: []string{"check", "--config", c}, code: 1, want: []string{`"message":"Ours.","failure_type":"system_error"`},
		},
		{
			name: "discover",
			source: source{discover: func(context.Context, json.RawMessage, *protocol.Emitter) (protocol.Catalog, error) {
				return protocol.Catalog{Streams: []protocol.Stream{{Name: "s"}}}, nil
			}},
			args: []string{"discover", "--config", c}, want: []string{`"name":"s"`},
		},
		{
			name: "discover that panics",
			source: source{discover: func(context.Context, json.RawMessage, *protocol.Emitter) (protocol.Catalog, error) {
				panic("with pass\"word")
			}},
			args: []string{"discover", "--config", c}, code: 1, want: []string{`panic: with ****`},
		},
		{
			name: "read", source: source{read: sync}, args: []string{"read", "--config", c, "--catalog", cat},
			want: []string{`"STARTED"`, `"RUNNING"`, `{"a":1}`, `{"a":2}`, `"recordCount":2.0`, `"COMPLETE"`},
		},
		{
			name: "read from a state", source: source{read: func(ctx context.Context, job protocol.ReadJob, out *protocol.Emitter) error {
				if len(job.States) != 1 || string(job.States[0].StreamState()) != `{"c":1}` || job.Catalog.Streams[0].Cursor() != nil {
					return fmt.Errorf("got %+v", job)
				}
				return sync(ctx, job, out)
			}},
			args: []string{"read", "--state", file(`[{"type":"STREAM","stream":{"stream_descriptor":{"name":"s"},"stream_state":{"c":1}}}]`), "--config", c, "--catalog", cat},
			want: []string{`"STARTED"`, `"RUNNING"`, `{"a":1}`, `{"a":2}`, `"recordCount":2.0`, `"COMPLETE"`},
		},
		{
			name: "read with a stream that failed", source: source{read: started(func(out *protocol.Emitter) error {
				return errors.Join(out.Fail(stream, bad), protocol.ErrStreamsFailed)
			})},
			args: []string{"read", "--config", c, "--catalog", cat}, code: 1,
			want: []string{`"STARTED"`, `"internal_message":"The password **** is wrong. (401 for ****)","failure_type":"config_error","stream_descriptor":{"name":"s"}`, `"INCOMPLETE"`},
		},
		{
			name: "read with a stream that failed and something else", source: source{read: started(func(out *protocol.Emitter) error {
				return errors.Join(out.Fail(stream, bad), errors.New("closing"), protocol.ErrStreamsFailed)
			})},
			args: []string{"read", "--config", c, "--catalog", cat}, code: 1,
			want: []string{`"STARTED"`, `"stream_descriptor":{"name":"s"}`, `"INCOMPLETE"`, `Internal error: closing\nstreams failed`},
		},
		{
			name: "read that crashes", source: source{read: started(func(*protocol.Emitter) error { return bad })},
			args: []string{"read", "--config", c, "--catalog", cat}, code: 1, want: []string{`"STARTED"`, `"config_error"`, `"INCOMPLETE"`},
		},
		{
			name: "read that panics", source: source{read: started(func(*protocol.Emitter) error { var p *config; p.Pages++; return nil })},
			args: []string{"read", "--config", c, "--catalog", cat}, code: 1, want: []string{`"STARTED"`, `"stack_trace":"goroutine`, `"INCOMPLETE"`},
		},
		{name: "read without catalog", args: []string{"read", "--config", c}, code: 1, want: []string{"read needs --catalog"}},
		{name: "read with discover's output", args: []string{"read", "--config", c, "--catalog", file(`{"type":"CATALOG","catalog":{"streams":[]}}`)}, code: 1, want: []string{"has no list of streams"}},
		{name: "read of a stream twice", args: []string{"read", "--config", c, "--catalog", file(`{"streams":[{"stream":{"name":"s"}},{"stream":{"name":"s","namespace":""}}]}`)}, code: 1, want: []string{"names stream \\\"s\\\" twice"}},
		{name: "read of a stream without name", args: []string{"read", "--config", c, "--catalog", file(`{"streams":[{"name":"s"}]}`)}, code: 1, want: []string{"stream number 1 has no name"}},
		{name: "read with a bad state", args: []string{"read", "--config", c, "--catalog", cat, "--state", file("x")}, code: 1, want: []string{`The state file is not a list of states`}},
		{name: "check without config", args: []string{"check"}, code: 1, want: []string{`check needs --config with the path of the config file.","failure_type":"config_error"`}},
		{name: "check with a missing config", args: []string{"check", "--config", "/no/such/file"}, code: 1, want: []string{"The config file cannot be read: open /no/such/file: no such file or directory."}},
		{name: "check with a config that is no JSON", args: []string{"check", "--config", file("password: x")}, code: 1, want: []string{"is not a JSON object: invalid character 'p'"}},
		{name: "check with a config that is null", args: []string{"check", "--config", file("null")}, code: 1, want: []string{"is not a JSON object: it is null"}},
		{name: "check with a list as config", args: []string{"check", "--config", file("[]")}, code: 1, want: []string{"is not a JSON object: it is of type array."}},
		{name: "check with a config in UTF-16", args: []string{"check", "--config", file("\xff\xfe{\x00}\x00")}, code: 1, want: []string{"is encoded in UTF-16 (little-endian) but must be JSON in UTF-8. Windows PowerShell"}},
		{name: "read with a catalog in UTF-16", args: []string{"read", "--config", c, "--catalog", file("{\x00}\x00")}, code: 1, want: []string{"is encoded in UTF-16 (little-endian) but must be JSON in UTF-8"}},
		{name: "read with a list as catalog", args: []string{"read", "--config", c, "--catalog", file("[]")}, code: 1, want: []string{"The configured catalog cannot be read: it is of type array. A configured catalog is"}},
		{name: "read with a state in UTF-16", args: []string{"read", "--config", c, "--catalog", cat, "--state", file("\xfe\xff\x00[\x00]")}, code: 1, want: []string{"is encoded in UTF-16 (big-endian)"}},
		{name: "read with text as state", args: []string{"read", "--config", c, "--catalog", cat, "--state", file(`"x"`)}, code: 1, want: []string{"not a list of states of the Airbyte protocol: it is of type string."}},
		{name: "an unknown verb", args: []string{"write", "--config", c}, code: 2, want: []string{`There is no verb \"write\".`}, stderr: "source help lists the verbs.\n"},
		{name: "an unknown flag", args: []string{"check", "--verbose"}, code: 2, want: []string{"check: unknown flag --verbose"}, stderr: "--verbose"},
		{name: "a mistyped verb", args: []string{"chekc", "--config", c}, code: 2, want: []string{`There is no verb \"chekc\". Did you mean \"check\"?`}, stderr: "source help lists the verbs.\n"},
		{name: "help for a mistyped verb", args: []string{"help", "chekc"}, code: 2, want: []string{`There is no verb \"chekc\". Did you mean \"check\"?`}, stderr: "source help lists the verbs.\n"},
		{name: "a mistyped flag", args: []string{"check", "--configg", c}, code: 2, want: []string{"check: unknown flag --configg; did you mean --config?"}, stderr: "--config FILE"},
		{name: "a flag without its value", args: []string{"check", "--config"}, code: 2, want: []string{"check: flag needs an argument: --config"}, stderr: "--config FILE"},
		{name: "flags with one dash", source: checks(nil), args: []string{"check", "-debug", "-config=" + c}, want: []string{`"SUCCEEDED"`}},
		{name: "a flag before the verb", args: []string{"--config", c, "check"}, source: checks(nil), want: []string{`"SUCCEEDED"`}},
		{name: "a stray argument", args: []string{"check", "now", "--config", c}, code: 2, want: []string{`\"now\" is not a flag`}, stderr: "Usage: source check --config FILE [flags]\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run := protocoltest.Source(t, tt.source, tt.args...)
			if run.Code != tt.code {
				t.Errorf("exit code %d, want %d", run.Code, tt.code)
			}
			var got []string
			for _, m := range run.Messages {
				if m.Type != "LOG" {
					got = append(got, string(m.Raw))
				}
			}
			contains := cmp.Comparer(func(a, b string) bool { return strings.Contains(a, b) || strings.Contains(b, a) })
			if diff := cmp.Diff(tt.want, got, contains); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
			// What went wrong is said to people too, each thing once.
			said := map[string]int{}
			for line := range strings.Lines(string(run.Stderr)) {
				said[strings.TrimSuffix(line, "\n")]++
			}
			failures := 0
			for _, m := range run.Messages {
				message := ""
				switch {
				case m.Trace != nil && m.Trace.Error != nil:
					message = m.Trace.Error.Message
					if d := m.Trace.Error.Stream; d != nil {
						message = "Stream " + d.Name + ": " + message
					}
				case m.ConnectionStatus != nil && m.ConnectionStatus.Status == "FAILED":
					message = m.ConnectionStatus.Message
				default:
					continue
				}
				failures++
				if line := "error: " + strings.ReplaceAll(message, "\n", " "); said[line] != 1 {
					t.Errorf("stderr %q, want once %q", run.Stderr, line)
				}
			}
			if !strings.Contains(string(run.Stderr), tt.stderr) || failures == 0 && len(run.Stderr) > 0 {
				t.Errorf("stderr %q, want %q in it", run.Stderr, tt.stderr)
			}
		})
	}
}

func TestAnInterruptedRunSaysSo(t *testing.T) {
	c, cat := protocoltest.File(t, goodConfig), protocoltest.File(t, goodCatalog)
	for name, args := range map[string][]string{"check": {"check", "--config", c}, "read": {"read", "--config", c, "--catalog", cat}} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			stop := func() error {
				cancel()
				// As a client reports it that saw its request end.
				return &protocol.Error{Kind: protocol.TransientError, Message: "No answer.", Err: ctx.Err()}
			}
			s := source{
				check: func(context.Context, json.RawMessage, *protocol.Emitter) error { return stop() },
				read:  started(func(*protocol.Emitter) error { return stop() }),
			}
			var out bytes.Buffer
			run := protocoltest.Run{Args: args, Code: cli.RunSource(ctx, s, cli.Env{Args: args, Stdout: &out, Stderr: io.Discard})}
			run.Stdout = out.Bytes()
			run.Check(t)
			errs := run.Errors()
			if run.Code != 1 || len(errs) != 1 || errs[0].FailureType != protocol.TransientError || !strings.HasPrefix(errs[0].Message, "The run was interrupted.") {
				t.Errorf("exit code %d, %s", run.Code, &out)
			}
		})
	}
}

func TestDestinationRuns(t *testing.T) {
	c, cat := protocoltest.File(t, goodConfig), protocoltest.File(t, goodCatalog)
	record := `{"type":"RECORD","record":{"stream":"s","emitted_at":1,"data":{}}}` + "\n"
	state := `{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"s"}},"id":7}}` + "\n"
	run := protocoltest.Destination(t, destination{}, []byte(record+record+state+"noise\n"+record+state), "write", "--config", c, "--catalog", cat)
	if run.Code != 0 || len(run.States()) != 2 {
		t.Errorf("exit code %d: %s", run.Code, run.Stdout)
	}
	run = protocoltest.Destination(t, destination{}, []byte(record+state+record[:20]), "write", "--config", c, "--catalog", cat)
	if errs := run.Errors(); run.Code != 1 || len(run.States()) != 1 || len(errs) != 1 || !strings.HasPrefix(errs[0].Message, "Line 3 of the input is a broken message") {
		t.Errorf("exit code %d: %s", run.Code, run.Stdout)
	}
	run = protocoltest.Destination(t, destination{}, nil, "check", "--config", c)
	if run.Code != 0 {
		t.Errorf("exit code %d: %s", run.Code, run.Stdout)
	}
	run = protocoltest.Destination(t, destination{}, nil, "discover", "--config", c)
	if run.Code != 2 {
		t.Errorf("exit code %d: %s", run.Code, run.Stdout)
	}
}

// An orchestrator that closes standard error is told all the same.
func TestWrongArgumentsAreTracedWithoutStandardError(t *testing.T) {
	closed, err := os.Open(os.DevNull) // for reading only
	if err != nil {
		t.Fatal(err)
	}
	defer closed.Close()
	var stdout bytes.Buffer
	code := cli.RunSource(t.Context(), source{}, cli.Env{Args: []string{"check", "--configg"}, Stdout: &stdout, Stderr: closed})
	if code != 2 || !strings.Contains(stdout.String(), "did you mean --config?") {
		t.Errorf("exit code %d, %s", code, &stdout)
	}
}
