package cat

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// A Suite runs the tests of a configuration on a connector.
type Suite struct {
	Config Config
	Dir    string // of the file of the configuration

	// Valueless are the fields, as paths from a dot on, of which basic_read
	// need not find a value. Airbyte's file can only turn that rule off for all.
	Valueless []Exempt

	// Speak runs a verb of the connector to its end and holds what it says
	// against the rules of the protocol.
	Speak func(t testing.TB, args ...string) *protocoltest.Run
}

// Test runs every test, as a subtest named as at Airbyte's, but those that Airbyte's
// standard tests have: check, and whether the configuration matches the specification.
func (s *Suite) Test(t *testing.T) {
	tests := s.Config.Tests
	t.Run("TestSpec", func(t *testing.T) { each(t, tests.Spec.Tests, s.testSpec) })
	t.Run("TestDiscovery", func(t *testing.T) { each(t, tests.Discovery.Tests, s.testDiscovery) })
	t.Run("TestBasicRead", func(t *testing.T) { each(t, tests.BasicRead.Tests, s.testBasicRead) })
	t.Run("TestFullRefresh", func(t *testing.T) { each(t, tests.FullRefresh.Tests, s.testFullRefresh) })
	t.Run("TestIncremental", func(t *testing.T) { each(t, tests.Incremental.Tests, s.testIncremental) })
}

func each[T any](t *testing.T, tests []T, run func(*testing.T, T)) {
	for _, test := range tests {
		run(t, test)
	}
}

func (s *Suite) path(name string) string { return filepath.Join(s.Dir, name) }

func (s *Suite) file(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(s.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// answer runs a verb that gives one message of a type, and returns that.
func (s *Suite) answer(t testing.TB, kind string, args ...string) protocoltest.Message {
	t.Helper()
	run := s.Speak(t, args...)
	var found []protocoltest.Message
	for _, m := range run.Messages {
		if m.Type == kind {
			found = append(found, m)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%v: %d messages of type %s, exit code %d, errors %v", args, len(found), kind, run.Code, run.Errors())
	}
	return found[0]
}

// catalog reads a configured catalog and keeps the streams with the sync mode;
// "" keeps all.
func (s *Suite) catalog(t testing.TB, name string, mode protocol.SyncMode) protocol.ConfiguredCatalog {
	t.Helper()
	whole, err := protocol.ParseConfiguredCatalog(s.file(t, name))
	if err != nil {
		t.Fatal(err)
	}
	var kept protocol.ConfiguredCatalog
	for _, stream := range whole.Streams {
		if mode == "" || stream.SyncMode == mode {
			kept.Streams = append(kept.Streams, stream)
		}
	}
	if len(kept.Streams) == 0 {
		t.Fatalf("%s has no stream with the sync mode %q", name, mode)
	}
	return kept
}

// read reads the streams of a catalog, which must succeed.
func (s *Suite) read(t testing.TB, config string, catalog protocol.ConfiguredCatalog, states ...protocol.State) *protocoltest.Run {
	t.Helper()
	args := []string{"read", "--config", s.path(config), "--catalog", protocoltest.File(t, catalog)}
	if len(states) > 0 {
		list := make([]json.RawMessage, len(states))
		for i, state := range states {
			list[i] = state.Raw
		}
		args = append(args, "--state", protocoltest.File(t, list))
	}
	run := s.Speak(t, args...)
	if run.Code != 0 {
		t.Fatalf("exit code %d: %v", run.Code, run.Errors())
	}
	return run
}

// object decodes a JSON object with its numbers as they are written.
func object(t testing.TB, raw []byte) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var value map[string]any
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return value
}

// keyOf is the record's primary key as text. No part of it may be null.
func keyOf(t testing.TB, stream protocol.ConfiguredStream, record map[string]any) string {
	t.Helper()
	var key []any
	for _, path := range stream.Key() {
		value := at(record, path)
		if value == nil {
			t.Fatalf("stream %s: a record whose key %v is null: %v", stream.ID(), path, record)
		}
		key = append(key, value)
	}
	text, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// at returns the value at a path of members, nil if there is none.
func at(value any, path []string) any {
	for _, name := range path {
		members, _ := value.(map[string]any)
		value = members[name]
	}
	return value
}

func wantEqual(t testing.TB, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
