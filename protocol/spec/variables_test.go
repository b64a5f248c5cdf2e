package spec_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/spec"
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
		got, err := spec.ExpandVariables(json.RawMessage(config), getenv)
		if err != nil || string(got) != want {
			t.Errorf("%s became %s, %v; want %s", config, got, err, want)
		}
	}
	_, err := spec.ExpandVariables(json.RawMessage(`{"b":{"list":["${NONE}"]},"a":"${EMPTY}${HOME}"}`), getenv)
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
		got, err := spec.ExpandVariables(json.RawMessage(config), environment(map[string]string{"HOME": "/home/me", marker: "x"}))
		if err != nil || string(got) != config {
			t.Errorf("%s: %s, %v", marker, got, err)
		}
	}
}
