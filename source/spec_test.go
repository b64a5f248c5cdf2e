package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
	"github.com/ingest-connectors/whoop-iceberg/schemas"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox"
)

var update = flag.Bool("update", false, "rewrite testdata/spec.json")

func sourceSpec(t *testing.T) json.RawMessage {
	t.Helper()
	r := protocoltest.Source(t, &source{}, "spec")
	if len(r.Messages) != 1 {
		t.Fatalf("%d messages", len(r.Messages))
	}
	return r.Messages[0].Spec
}

// The specification is a contract with every configuration that exists, so a change
// of it must show in a review.
func TestSpecIsTheGoldenOne(t *testing.T) {
	var got bytes.Buffer
	if err := json.Indent(&got, sourceSpec(t), "", "  "); err != nil {
		t.Fatal(err)
	}
	got.WriteByte('\n')
	const path = "testdata/spec.json"
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "spec (go test ./source -update writes it)", got.String(), string(want))
}

func TestSpecKeepsAirbytesRules(t *testing.T) {
	for test, problems := range protocoltest.SpecProblems(sourceSpec(t)) {
		t.Errorf("%s: %q", test, problems)
	}
}

func TestDiscoverMatchesItsOwnSchemas(t *testing.T) {
	w := young(t, 1, 1, nil)
	r := protocoltest.Source(t, w.source, "discover", "--config", protocoltest.File(t, w.config))
	if r.Code != 0 {
		t.Fatalf("exit code %d: %v", r.Code, r.Errors())
	}
	used := map[string]bool{}
	for i, m := range r.Messages[0].Catalog.Streams {
		var schema struct{ Properties map[string]json.RawMessage }
		if err := json.Unmarshal(m.JSONSchema, &schema); err != nil {
			t.Fatal(err)
		}
		for _, path := range append(m.SourceDefinedPrimaryKey, m.DefaultCursorField) {
			if len(path) > 0 && schema.Properties[path[0]] == nil {
				t.Errorf("%s: %v is not in the schema", m.Name, path)
			}
		}
		incremental := slices.Contains(m.SupportedSyncModes, protocol.Incremental)
		if incremental != m.SourceDefinedCursor || incremental != m.IsResumable || incremental != (schema.Properties[deletedAt] != nil) {
			t.Errorf("%s: %+v", m.Name, m)
		}
		used[streams[i].schema] = true
	}
	wantEqual(t, "streams", len(r.Messages[0].Catalog.Streams), 11)
	all, err := filepath.Glob("../schemas/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for i, path := range all {
		all[i] = strings.TrimSuffix(filepath.Base(path), ".json")
	}
	wantEqual(t, "schemas used", slices.Sorted(maps.Keys(used)), all)
}

// However WHOOP tells the life of a token, or does not, the configuration that results is one
// that an orchestrator starts the source with.
func TestANewConfigurationFollowsTheSpecification(t *testing.T) {
	for _, expiry := range []sandbox.ExpiresIn{sandbox.ExpiresInNumber, sandbox.ExpiresInText, sandbox.ExpiresInMissing} {
		w := young(t, 1, 2, map[string]any{"start_date": "2026-01-16T00:00:00.5+01:00"})
		w.credential("token_expiry_date", "2026-01-15T12:00:00Z") // it is over
		if err := w.server.SetProfile(sandbox.Profile{ExpiresIn: expiry}); err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(day)
		w.sync(catalog(t, protocol.Incremental, "cycles")) // which compares it
		if a := w.server.Audit(); a.Refreshes != 1 {
			t.Errorf("%q: %d refreshes", expiry, a.Refreshes)
		}
	}
}

// Every record has the types that its schema says, and no field that the schema does
// not describe.
func TestRecordsFollowTheirSchemas(t *testing.T) {
	w := young(t, 5, 60, nil)
	r := w.sync(catalog(t, protocol.FullRefresh))
	for _, s := range streams {
		raw, err := schemas.Get(s.schema)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		closeObjects(doc)
		c := jsonschema.NewCompiler()
		if err := c.AddResource(s.schema, doc); err != nil {
			t.Fatal(err)
		}
		compiled, err := c.Compile(s.schema)
		if err != nil {
			t.Fatal(err)
		}
		records := r.Records(s.id())
		if len(records) == 0 {
			t.Errorf("%s has no records", s.name)
		}
		for _, data := range records {
			value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if err := compiled.Validate(value); err != nil {
				t.Errorf("%s: %v: %s", s.name, err, data)
			}
		}
	}
}

// closeObjects forbids fields that a schema does not name.
func closeObjects(schema any) {
	n, ok := schema.(map[string]any)
	if !ok {
		return
	}
	if n["properties"] != nil {
		n["additionalProperties"] = false
	}
	properties, _ := n["properties"].(map[string]any)
	for _, p := range properties {
		closeObjects(p)
	}
}
