package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

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
	d := unsignalled()
	run := func(stdin string, args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := d.run(t.Context(), cli.Env{Args: args, Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr}); code != 0 {
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
