package protocol_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

func environment(variables map[string]string) func(string) string {
	return func(name string) string { return variables[name] }
}

func TestVariablesAreExpanded(t *testing.T) {
	getenv := environment(map[string]string{"HOME": "/home/me", "_p2": `say "hi" ${HOME} \`, "EMPTY": ""})
	for config, want := range map[string]string{
		`{"a":"${HOME}","b":["x${HOME}${HOME}y",{"c":"${_p2}"}]}`: `{"a":"/home/me","b":["x/home/me/home/mey",{"c":"say \"hi\" ${HOME} \\"}]}`,
		`{"a":"\u0024{HOME}"}`:                  `{"a":"/home/me"}`,
		`{"${HOME}":1,"n":1e400,"s":"${HOME}"}`: `{"${HOME}":1,"n":1e400,"s":"/home/me"}`, // keys and numbers stay
		`{"a":"$${HOME} $${NONE}"}`:             `{"a":"${HOME} ${NONE}"}`,
		`{"a":"$$${HOME}"}`:                     `{"a":"$${HOME}"}`,
		// What is no reference stays as it is, to the byte.
		`{"b" : "p$w{o}r${d $HOME ${1} ${} ${a-b} $$ $${", "a":"<${HOME"}`: `{"b" : "p$w{o}r${d $HOME ${1} ${} ${a-b} $$ $${", "a":"<${HOME"}`,
	} {
		got, err := protocol.ExpandVariables(json.RawMessage(config), getenv)
		if err != nil || string(got) != want {
			t.Errorf("%s became %s, %v; want %s", config, got, err, want)
		}
	}
	_, err := protocol.ExpandVariables(json.RawMessage(`{"b":{"list":["${NONE}"]},"a":"${EMPTY}${HOME}"}`), getenv)
	want := `The configuration's "a" refers to the environment variable EMPTY, which is not set. Set it, or write $${EMPTY} if the value is meant to contain ${EMPTY}. ` +
		`The configuration's "b.list.0" refers to the environment variable NONE, which is not set. Set it, or write $${NONE} if the value is meant to contain ${NONE}.`
	if e := (*protocol.Error)(nil); !errors.As(err, &e) || e.Kind != protocol.ConfigError || e.Message != want {
		t.Errorf("error %v", err)
	}
}

// Who types a configuration into Airbyte must not see the environment of its pods, and
// a password there may contain anything.
func TestVariablesAreNotExpandedOnThePlatform(t *testing.T) {
	const config = `{"password":"a${HOME}b$${HOME}c${NONE}"}`
	for _, marker := range []string{"WORKLOAD_ID", "WORKER_JOB_ID", "WORKER_CONNECTOR_IMAGE"} {
		got, err := protocol.ExpandVariables(json.RawMessage(config), environment(map[string]string{"HOME": "/home/me", marker: "x"}))
		if err != nil || string(got) != config {
			t.Errorf("%s: %s, %v", marker, got, err)
		}
	}
}

// Both kinds of verbs expand variables, and what they hold is a secret where the key is one.
func TestAVerbIsGivenTheVariables(t *testing.T) {
	failure := func(config json.RawMessage) error {
		return &protocol.Error{Kind: protocol.ConfigError, Message: "refused: " + string(config)}
	}
	s := source{check: func(_ context.Context, config json.RawMessage, _ *protocol.Emitter) error { return failure(config) }}
	show := protocol.Command{Name: "show", Config: true, New: func(*flag.FlagSet) func(context.Context, protocol.Env) error {
		return func(_ context.Context, env protocol.Env) error { return failure(env.Config) }
	}}
	getenv := environment(map[string]string{"PASSWORD": "opensesame", "LABEL": "plainly"})
	for _, verb := range []string{"check", "show"} {
		for config, want := range map[string]string{
			`{"password":"${PASSWORD}","tags":["${LABEL}"]}`: `plainly`,
			`{"password":"${PASWORD}"}`:                      `The configuration's "password" refers to the environment variable PASWORD, which is not set.`,
		} {
			var stderr bytes.Buffer
			env := protocol.Env{Args: []string{verb, "--config", protocoltest.File(t, config)}, Stdout: io.Discard, Stderr: &stderr, Getenv: getenv}
			protocol.RunSource(t.Context(), s, env, show)
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
	show := protocol.Command{Name: "show", Config: true, New: func(*flag.FlagSet) func(context.Context, protocol.Env) error {
		return func(_ context.Context, env protocol.Env) error {
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
		env := protocol.Env{Args: []string{tt.verb, "--config", "-"}, Stdin: strings.NewReader(tt.input), Stdout: &out, Stderr: &out}
		if code := protocol.RunSource(t.Context(), s, env, show); code != tt.code || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%s %q: exit code %d, %s", tt.verb, tt.input, code, &out)
		}
	}
	run := protocoltest.Destination(t, destination{}, []byte(goodConfig), "write", "--config", "-", "--catalog", protocoltest.File(t, goodCatalog))
	if errs := run.Errors(); run.Code != 1 || len(errs) != 1 || errs[0].FailureType != protocol.ConfigError ||
		!strings.HasPrefix(errs[0].Message, "write reads messages from standard input, so the configuration cannot come from there.") {
		t.Errorf("exit code %d: %s", run.Code, run.Stdout)
	}
}
