// Package protocoltest tests connectors by what they say: it runs a verb, in
// this process or from the output of another, and holds the message stream
// against the rules of the Airbyte protocol.
package protocoltest

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

// Run is one finished run of a verb of the protocol.
type Run struct {
	Args    []string // the verb and its flags; the files they name are read again
	Input   []byte   // standard input of write
	Stdout  []byte
	Stderr  []byte
	Code    int      // exit code; -1: ended by a signal, as os.ProcessState has it
	Secrets []string // what must stand nowhere but in CONTROL messages

	Messages []Message // set by Check
}

// Source runs a verb of a source in this process and checks what it says.
func Source(t testing.TB, s protocol.Source, args ...string) *Run {
	t.Helper()
	r := &Run{Args: args, Secrets: secrets(t, s.Spec(), args)}
	r.run(t, func(env cli.Env) int { return cli.RunSource(t.Context(), s, env) })
	return r
}

// Destination runs a verb of a destination in this process, with input as its
// standard input, and checks what it says.
func Destination(t testing.TB, d protocol.Destination, input []byte, args ...string) *Run {
	t.Helper()
	r := &Run{Args: args, Input: input, Secrets: secrets(t, d.Spec(), args)}
	r.run(t, func(env cli.Env) int { return cli.RunDestination(t.Context(), d, env) })
	return r
}

func (r *Run) run(t testing.TB, run func(cli.Env) int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	r.Code = run(cli.Env{Args: r.Args, Stdin: bytes.NewReader(r.Input), Stdout: &stdout, Stderr: &stderr})
	r.Stdout, r.Stderr = stdout.Bytes(), stderr.Bytes()
	r.Check(t)
}

// TranscriptVariable is an environment variable with the path of a file that gets what
// all runs say, for a judge that is not ours.
const TranscriptVariable = "PROTOCOL_TRANSCRIPT"

// Check parses Stdout into Messages and fails the test for every rule of the
// protocol that the run has broken. Runs in this process have been checked.
func (r *Run) Check(t testing.TB) {
	t.Helper()
	r.transcribe(t)
	problems := r.problems()
	for _, problem := range problems {
		t.Errorf("%s: %s", strings.Join(r.Args, " "), problem)
	}
	if len(problems) > 0 {
		t.Logf("exit code %d; stderr: %s", r.Code, r.Stderr)
	}
}

// Records returns the data of a stream's records, in order.
func (r *Run) Records(id protocol.StreamID) []json.RawMessage {
	var data []json.RawMessage
	for _, m := range r.Messages {
		if m.Record != nil && m.Record.ID() == id {
			data = append(data, m.Record.Data)
		}
	}
	return data
}

// States returns the states, in order.
func (r *Run) States() []protocol.State {
	var states []protocol.State
	for _, m := range r.Messages {
		if m.Type == "STATE" {
			if s, err := protocol.ParseState(m.State); err == nil { // Check has reported those that are none
				states = append(states, s)
			}
		}
	}
	return states
}

// Errors returns the TRACE errors, in order.
func (r *Run) Errors() []TraceError {
	var errs []TraceError
	for _, m := range r.Messages {
		if m.Trace != nil && m.Trace.Error != nil {
			errs = append(errs, *m.Trace.Error)
		}
	}
	return errs
}

// Statuses returns the statuses of a stream, in order.
func (r *Run) Statuses(id protocol.StreamID) []protocol.StreamStatus {
	var statuses []protocol.StreamStatus
	for _, m := range r.Messages {
		if m.Trace != nil && m.Trace.StreamStatus != nil && m.Trace.StreamStatus.Stream.ID() == id {
			statuses = append(statuses, m.Trace.StreamStatus.Status)
		}
	}
	return statuses
}

// File writes content into a file of its own and returns the path: a string or
// bytes as they are, anything else as JSON.
func File(t testing.TB, content any) string {
	t.Helper()
	var data []byte
	switch c := content.(type) {
	case string:
		data = []byte(c)
	case []byte:
		data = c
	default:
		var err error
		if data, err = json.Marshal(c); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "file.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// flagValue returns the value of a flag in args, "" if it is not there.
func flagValue(args []string, name string) string {
	for i, arg := range args {
		arg = strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-")
		if value, ok := strings.CutPrefix(arg, name+"="); ok {
			return value
		}
		if arg == name && i+1 < len(args) {
			return args[i+1]
		}
	}
	return ""
}

// secrets returns the strings that stand in the config file where spec says
// airbyte_secret. A config that cannot be read has none.
func secrets(t testing.TB, spec protocol.Spec, args []string) []string {
	t.Helper()
	data, err := os.ReadFile(flagValue(args, "config"))
	if err != nil {
		return nil
	}
	schema, encoded := schemas.Load(spec.ConnectionSpecification)
	if !encoded {
		text, err := json.Marshal(spec.ConnectionSpecification)
		if err != nil {
			t.Fatalf("encoding the specification: %v", err)
		}
		schema, _ = schemas.LoadOrStore(spec.ConnectionSpecification, json.RawMessage(text))
	}
	return Secrets(schema.(json.RawMessage), data)
}

// schemas are the texts of specifications that runs in this process had.
var schemas sync.Map

// Secrets returns the strings that stand in config where schema, the
// connectionSpecification of a SPEC message, says airbyte_secret.
func Secrets(schema, config json.RawMessage) []string {
	var s, c any
	if json.Unmarshal(schema, &s) != nil || json.Unmarshal(config, &c) != nil {
		return nil
	}
	var found []string
	var walk func(schema, value any)
	walk = func(schema, value any) {
		switch v := value.(type) {
		case string:
			if get(schema, "airbyte_secret") == true && len(v) >= 4 {
				found = append(found, v)
			}
		case map[string]any:
			for name, member := range v {
				properties, _ := get(schema, "properties").(map[string]any)
				walk(properties[name], member)
			}
			options, _ := get(schema, "oneOf").([]any)
			for _, option := range options {
				walk(option, v)
			}
		case []any:
			for _, item := range v {
				walk(get(schema, "items"), item)
			}
		}
	}
	walk(s, c)
	return found
}

// transcribe adds the whole lines of Stdout to the file of the variable.
func (r *Run) transcribe(t testing.TB) {
	t.Helper()
	path := os.Getenv(TranscriptVariable)
	if path == "" {
		return
	}
	transcript, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer transcript.Close()
	if _, err := transcript.Write(r.Stdout[:bytes.LastIndexByte(r.Stdout, '\n')+1]); err != nil {
		t.Fatal(err)
	}
}

// get returns a member of an object, nil if there is none.
func get(value any, name string) any {
	object, _ := value.(map[string]any)
	return object[name]
}
