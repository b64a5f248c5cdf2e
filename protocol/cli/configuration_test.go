package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

func environment(variables map[string]string) func(string) string {
	return func(name string) string { return variables[name] }
}

// Both kinds of verbs expand variables, and what they hold is a secret where the key is one.
func TestAVerbIsGivenTheVariables(t *testing.T) {
	failure := func(config json.RawMessage) error {
		return &protocol.Error{Kind: protocol.ConfigError, Message: "refused: " + string(config)}
	}
	s := source{check: func(_ context.Context, config json.RawMessage, _ *protocol.Emitter) error { return failure(config) }}
	show := cli.Command{Name: "show", Config: true, New: func(*flag.FlagSet) func(context.Context, cli.Env) error {
		return func(_ context.Context, env cli.Env) error { return failure(env.Config) }
	}}
	getenv := environment(map[string]string{"PASSWORD": "opensesame", "LABEL": "plainly"})
	for _, verb := range []string{"check", "show"} {
		for config, want := range map[string]string{
			`{"password":"${PASSWORD}","tags":["${LABEL}"]}`: `plainly`,
			`{"password":"${PASWORD}"}`:                      `The configuration's "password" refers to the environment variable PASWORD, which is not set.`,
		} {
			var stderr bytes.Buffer
			env := cli.Env{Args: []string{verb, "--config", protocoltest.File(t, config)}, Stdout: io.Discard, Stderr: &stderr, Getenv: getenv}
			cli.RunSource(t.Context(), s, env, show)
			if text := stderr.String(); !strings.Contains(text, want) || strings.Contains(text, "opensesame") {
				t.Errorf("%s %s: %s", verb, config, text)
			}
		}
	}
}

func TestTheConfigurationCanComeFromStandardInput(t *testing.T) {
	s := source{check: func(_ context.Context, config json.RawMessage, _ *protocol.Emitter) error {
		if string(config) != goodConfig {
			return errors.New("another configuration")
		}
		return nil
	}}
	show := cli.Command{Name: "show", Config: true, New: func(*flag.FlagSet) func(context.Context, cli.Env) error {
		return func(_ context.Context, env cli.Env) error {
			_, err := env.Stdout.Write(env.Config)
			return err
		}
	}}
	for _, tt := range []struct {
		verb, input string
		code        int
		want        string
	}{
		{"check", "\ufeff" + goodConfig, 0, `"SUCCEEDED"`},
		{"show", goodConfig, 0, goodConfig},
		{"check", "", 1, "The config file - is not a JSON object: unexpected end of JSON input."},
		{"show", "\xff\xfe{\x00", 1, "The config file - is encoded in UTF-16"},
	} {
		var out bytes.Buffer
		env := cli.Env{Args: []string{tt.verb, "--config", "-"}, Stdin: strings.NewReader(tt.input), Stdout: &out, Stderr: &out}
		if code := cli.RunSource(t.Context(), s, env, show); code != tt.code || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%s %q: exit code %d, %s", tt.verb, tt.input, code, &out)
		}
	}
	run := protocoltest.Destination(t, destination{}, []byte(goodConfig), "write", "--config", "-", "--catalog", protocoltest.File(t, goodCatalog))
	if errs := run.Errors(); run.Code != 1 || len(errs) != 1 || errs[0].FailureType != protocol.ConfigError ||
		!strings.HasPrefix(errs[0].Message, "write reads messages from standard input, so the configuration cannot come from there.") {
		t.Errorf("exit code %d: %s", run.Code, run.Stdout)
	}
}

func TestUnknownKeysAreWarnings(t *testing.T) {
	s := source{check: func(context.Context, json.RawMessage, *protocol.Emitter) error { return nil }}
	c := protocoltest.File(t, "\ufeff"+`{"pasword":"x","auth":{"token":"t"}}`)
	var got []string
	for _, m := range protocoltest.Source(t, s, "check", "--config", c).Messages {
		if m.Type == "LOG" {
			got = append(got, m.Log.Level+" "+m.Log.Message)
		}
	}
	want := []string{`WARN The configuration's key "pasword" is not known and has no effect. Did you mean "password"?`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}
