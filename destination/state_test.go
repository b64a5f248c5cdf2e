package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/checkpoint"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// After any crash the states that are printed are such that no row is missed.
func TestContinueFrom(t *testing.T) {
	const (
		streamA = `{"type":"STREAM","stream":{"stream_descriptor":{"name":"a"},"stream_state":{"n":1}}}`
		streamB = `{"type":"STREAM","stream":{"stream_descriptor":{"name":"b"},"stream_state":{"n":2}}}`
		global1 = `{"type":"GLOBAL","global":{"shared_state":{"lsn":1},"stream_states":[{"stream_descriptor":{"name":"a"}},{"stream_descriptor":{"name":"b"}}]}}`
		global2 = `{"type":"GLOBAL","global":{"shared_state":{"lsn":2},"stream_states":[{"stream_descriptor":{"name":"a"}},{"stream_descriptor":{"name":"b"}}]}}`
		bare    = `{"type":"GLOBAL","global":{"shared_state":{"lsn":3},"stream_states":[]}}`
		legacy  = `{"data":{"a":1}}`
	)
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	at := func(number int64, state string) *tableState {
		s := &tableState{Checkpoint: checkpoint.Checkpoint{Number: number, Committed: noon, State: json.RawMessage(state)}}
		if err := s.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s
	}
	turnedBack := at(8, global2)
	turnedBack.Committed = noon.Add(-time.Hour)
	unnumbered := at(0, global1)
	unnumbered.Committed = noon.Add(-time.Hour)
	for name, tt := range map[string]struct {
		copies  []*tableState // of a, b, c
		missing string        // streams whose tables are not there
		want    []string
	}{
		"nothing":                               {[]*tableState{nil, nil, nil}, "", nil},
		"each stream has its own":               {[]*tableState{at(1, streamA), at(2, streamB), nil}, "", []string{streamA, streamB}},
		"all tables have the same":              {[]*tableState{at(1, global1), at(1, global1), at(1, global1)}, "", []string{global1}},
		"a crash between the tables":            {[]*tableState{at(8, global2), at(7, global1), at(8, global2)}, "", []string{global1}},
		"and the clock was turned back":         {[]*tableState{turnedBack, at(7, global1), turnedBack}, "", []string{global1}},
		"of equal numbers the earlier":          {[]*tableState{at(0, global2), unnumbered, at(0, global2)}, "", []string{global1}},
		"a crash before a table had any":        {[]*tableState{at(1, global1), at(1, global1), nil}, "", nil},
		"a stream that was added":               {[]*tableState{at(1, global1), at(1, global1), nil}, "c", []string{global1}},
		"a table that was dropped":              {[]*tableState{at(1, global1), nil, at(1, global1)}, "b", nil},
		"LEGACY says nothing of what was added": {[]*tableState{at(1, legacy), at(1, legacy), nil}, "c", nil},
		"LEGACY":                                {[]*tableState{at(1, legacy), at(1, legacy), at(1, legacy)}, "", []string{legacy}},
		"no list of streams, all tables":        {[]*tableState{at(3, bare), at(3, bare), at(3, bare)}, "", []string{bare}},
		"the source changed the kind": {
			[]*tableState{at(4, streamA), at(3, bare), at(3, bare)}, "", []string{streamA},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var ids []protocol.StreamID
			var exists []bool
			for _, name := range []string{"a", "b", "c"} {
				ids = append(ids, protocol.StreamID{Name: name})
				exists = append(exists, name != tt.missing)
			}
			var got []string
			for _, s := range continueFrom(ids, tt.copies, exists) {
				got = append(got, string(s.State))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("states (-want +got):\n%s", diff)
			}
		})
	}
}

// There may be many long states: each is read when it is printed.
func TestStatesInFilesAreNotHeldInMemory(t *testing.T) {
	dir := t.TempDir()
	config := protocoltest.File(t, map[string]any{"warehouse": "file://" + dir})
	catalog := `{"streams":[
		{"stream":{"name":"a","json_schema":{"properties":{"id":{"type":"integer"}}}},"sync_mode":"incremental","destination_sync_mode":"append"},
		{"stream":{"name":"b","json_schema":{"properties":{"id":{"type":"integer"}}}},"sync_mode":"incremental","destination_sync_mode":"append"}]}`
	var input, want strings.Builder
	for i, name := range []string{"a", "b"} {
		state := fmt.Sprintf(`{"type":"STREAM","stream":{"stream_descriptor":{"name":%q},"stream_state":{"x":%q}}}`, name, strings.Repeat(name, 5000))
		fmt.Fprintf(&input, `{"type":"RECORD","record":{"stream":%q,"emitted_at":1,"data":{"id":1}}}`+"\n"+`{"type":"STATE","state":%s}`+"\n", name, state)
		want.WriteString([]string{"[", ","}[i] + state)
	}
	want.WriteString("]\n")
	d := newDestination()
	d.signalDelay = 0
	run := func(stdin string, args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := d.run(t.Context(), protocol.Env{Args: args, Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr}); code != 0 {
			t.Fatalf("exit code %d: %s", code, stderr.String())
		}
		return stdout.String()
	}
	path := protocoltest.File(t, json.RawMessage(catalog))
	run(input.String(), "write", "--config", config, "--catalog", path)
	if diff := cmp.Diff(want.String(), run("", "state", "--config", config, "--catalog", path)); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}

	settings, err := parseConfig(fmt.Appendf(nil, `{"warehouse":"file://%s"}`, dir))
	if err != nil {
		t.Fatal(err)
	}
	configured, err := protocol.ParseConfiguredCatalog([]byte(catalog))
	if err != nil {
		t.Fatal(err)
	}
	states, err := committedStates(t.Context(), settings, configured)
	if err != nil || len(states) != 2 {
		t.Fatalf("%d states, %v", len(states), err)
	}
	for _, s := range states {
		if s.File == "" || s.State != nil {
			t.Errorf("a state of %d bytes is held, its file is %q", len(s.State), s.File)
		}
	}
}
