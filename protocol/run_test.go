package protocol_test

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
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

type config struct {
	Password string      `json:"password" jsonschema:"required" jsonschema_extras:"airbyte_secret=true"`
	Pages    int         `json:"pages"`
	Tags     []string    `json:"tags"`
	Auth     *authConfig `json:"auth"`
}

type authConfig struct {
	Token string `json:"token" jsonschema_extras:"airbyte_secret=true"`
}

func spec() protocol.Spec {
	return protocol.Spec{ConnectionSpecification: protocol.Reflect(&config{}, "Test")}
}

// source is a Source made of functions.
type source struct {
	check    func(context.Context, json.RawMessage, *protocol.Emitter) error
	discover func(context.Context, json.RawMessage, *protocol.Emitter) (protocol.Catalog, error)
	read     func(context.Context, protocol.ReadJob, *protocol.Emitter) error
}

func (source) Spec() protocol.Spec { return spec() }

func (s source) Check(ctx context.Context, c json.RawMessage, out *protocol.Emitter) error {
	return s.check(ctx, c, out)
}

func (s source) Discover(ctx context.Context, c json.RawMessage, out *protocol.Emitter) (protocol.Catalog, error) {
	return s.discover(ctx, c, out)
}

func (s source) Read(ctx context.Context, job protocol.ReadJob, out *protocol.Emitter) error {
	return s.read(ctx, job, out)
}

// destination is a Destination that repeats each state when it has counted the
// records before it.
type destination struct{}

func (destination) Spec() protocol.Spec { return spec() }

func (destination) Check(context.Context, json.RawMessage, *protocol.Emitter) error { return nil }

func (destination) Write(_ context.Context, job protocol.WriteJob, out *protocol.Emitter) error {
	in := protocol.NewInput(job.Input, out.Logger())
	var records int64
	for {
		item, err := in.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case item.Records != nil:
			records += int64(bytes.Count(item.Records.Data, []byte("\n")))
			item.Records.Release()
		case item.State != nil:
			if err := out.Echo(*item.State, records, 0); err != nil {
				return err
			}
			records = 0
		}
	}
}

const (
	goodConfig  = `{"password":"pass\"word","pages":null}`
	goodCatalog = `{"streams":[{"stream":{"name":"s","json_schema":{}},"sync_mode":"incremental","destination_sync_mode":"append","generation_id":null}]}`
)

var stream = protocol.StreamID{Name: "s"}

// sync reads one stream of two records.
func sync(_ context.Context, _ protocol.ReadJob, out *protocol.Emitter) error {
	for _, err := range []error{
		out.Status(stream, protocol.Started),
		out.Record(stream, json.RawMessage(`{"a":1}`)), out.Record(stream, json.RawMessage(`{"a":2}`)),
		out.State(protocol.NewStreamState(stream, json.RawMessage(`{"c":2}`))),
		out.Status(stream, protocol.Complete),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

func started(then func(out *protocol.Emitter) error) func(context.Context, protocol.ReadJob, *protocol.Emitter) error {
	return func(_ context.Context, _ protocol.ReadJob, out *protocol.Emitter) error {
		if err := out.Status(stream, protocol.Started); err != nil {
			return err
		}
		return then(out)
	}
}

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
		{name: "an unknown verb", args: []string{"write", "--config", c}, code: 2, want: []string{`There is no verb \"write\".`}, stderr: "read --config FILE --catalog FILE [--state FILE]"},
		{name: "an unknown flag", args: []string{"check", "--verbose"}, code: 2, want: []string{"flag provided but not defined: -verbose"}, stderr: "-verbose"},
		{name: "a stray argument", args: []string{"check", "now", "--config", c}, code: 2, want: []string{`\"now\" belongs to no flag`}, stderr: "Usage of check"},
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
			if !strings.Contains(string(run.Stderr), tt.stderr) || (tt.stderr == "") != (len(run.Stderr) == 0) {
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
			run := protocoltest.Run{Args: args, Code: protocol.RunSource(ctx, s, protocol.Env{Args: args, Stdout: &out, Stderr: io.Discard})}
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

func TestWarningsNameKeysThatHaveNoEffect(t *testing.T) {
	s := source{check: func(context.Context, json.RawMessage, *protocol.Emitter) error { return nil }}
	c := protocoltest.File(t, "\ufeff"+`{"pasword":"x","Password":"secret","_internal":1,"auth":{"tokn":"","token":"t"},"tags":["a"]}`)
	var got []string
	for _, m := range protocoltest.Source(t, s, "check", "--config", c).Messages {
		if m.Type == "LOG" {
			got = append(got, m.Log.Message)
		}
	}
	want := []string{
		`The configuration's key "auth.tokn" is not known and has no effect. See the output of spec for the keys there are.`,
		`The configuration's key "pasword" is not known and has no effect. See the output of spec for the keys there are.`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

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
		code := protocol.RunSource(t.Context(), s, protocol.Env{Args: tt.args, Stdout: &out, Stderr: io.Discard, Getenv: tt.getenv})
		if code != 0 || strings.Contains(out.String(), `"level":"DEBUG","message":"detail"`) != tt.want {
			t.Errorf("%v: exit code %d, %s", tt.args[3:], code, &out)
		}
	}
}

func TestCommandsForPeople(t *testing.T) {
	hello := protocol.Command{Name: "hello", Summary: "greets", New: func(flags *flag.FlagSet) func(context.Context, protocol.Env) error {
		name := flags.String("name", "world", "whom")
		return func(_ context.Context, env protocol.Env) error {
			if *name == "nobody" {
				return &protocol.Error{Kind: protocol.ConfigError, Message: "There is nobody."}
			}
			_, err := fmt.Fprintln(env.Stdout, "hello", *name, env.Args)
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
		{[]string{"hello", "a", "-h"}, 0, "", "-name"},
		{[]string{"hello", "--name", "nobody"}, 1, "", "There is nobody.\n"},
		{[]string{"hello", "--nam"}, 2, "", "-name"},
		{[]string{"hello", "-h"}, 0, "", "-name"},
		{[]string{"help"}, 0, "", "hello      greets"},
		{[]string{"--help"}, 0, "", "spec"},
		{[]string{"check", "-h"}, 0, "", "-config FILE"},
		{nil, 2, "", "check --config FILE"},
	}
	for _, tt := range tests {
		var stdout, stderr bytes.Buffer
		code := protocol.RunSource(t.Context(), source{}, protocol.Env{Args: tt.args, Stdout: &stdout, Stderr: &stderr}, hello)
		if code != tt.code || stdout.String() != tt.stdout || !strings.Contains(stderr.String(), tt.stderr) {
			t.Errorf("%v: exit code %d, stdout %q, stderr %q", tt.args, code, &stdout, &stderr)
		}
	}
}

func TestDecodeConfig(t *testing.T) {
	defaults := func() config { return config{Pages: 3, Tags: []string{"d"}, Auth: &authConfig{Token: "d"}} }
	got := defaults()
	if err := protocol.DecodeConfig(json.RawMessage(`{"password":"p","pages":null,"tags":null,"auth":null,"other":{"x":null}}`), &got); err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.Password = "p"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("nulls change defaults (-want +got):\n%s", diff)
	}
	for raw, want := range map[string]string{
		`{"pages":"many"}`:            `The configuration's "pages" is of type string where integer belongs.`,
		`{"auth":{"token":12345678}}`: `The configuration's "auth.token" is of type number where string belongs.`,
		`{"tags":{}}`:                 `The configuration's "tags" is of type object where array belongs.`,
		`{"pages":1} {}`:              `The configuration cannot be read: invalid character '{' after top-level value`,
	} {
		err := protocol.DecodeConfig(json.RawMessage(raw), &config{})
		var e *protocol.Error
		if !errors.As(err, &e) || e.Kind != protocol.ConfigError || e.Message != want || strings.Contains(err.Error(), "12345678") {
			t.Errorf("%s: %v, want %s", raw, err, want)
		}
	}
}

func TestReflect(t *testing.T) {
	got, err := json.MarshalIndent(protocol.Reflect(&config{}, "Test"), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/reflect.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
		t.Errorf("schema (-want +got):\n%s", diff)
	}
}

func TestLevelsOfLogging(t *testing.T) {
	var out bytes.Buffer
	log := protocol.NewEmitter(&out).Logger()
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
