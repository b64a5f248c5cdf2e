package main

import (
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

var update = flag.Bool("update", false, "write testdata/spec.json again")

// specification is what spec prints, indented.
func specification(t *testing.T) []byte {
	t.Helper()
	run := protocoltest.Destination(t, destination{}, nil, "spec")
	if run.Code != 0 || len(run.Messages) != 1 {
		t.Fatalf("exit code %d: %s", run.Code, run.Stdout)
	}
	var spec any
	if err := json.Unmarshal(run.Messages[0].Spec, &spec); err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(spec, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

// Configurations outlive versions: whoever changes the specification sees here
// what becomes of them.
func TestSpecIsTheRecordedOne(t *testing.T) {
	got := specification(t)
	if *update {
		if err := os.WriteFile("testdata/spec.json", got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/spec.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("spec (-recorded +now; go test -update records it):\n%s", diff)
	}
}

func TestSpecKeepsToTheRulesOfForms(t *testing.T) {
	for test, problems := range protocoltest.SpecProblems(specification(t)) {
		t.Errorf("%s: %q", test, problems)
	}
}
