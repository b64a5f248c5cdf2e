package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
	"github.com/ingest-connectors/whoop-iceberg/schemas"
)

var update = flag.Bool("update", false, "write testdata/spec.json anew")

func spec(t *testing.T) json.RawMessage {
	t.Helper()
	r := protocoltest.Source(t, &source{}, "spec")
	if len(r.Messages) != 1 {
		t.Fatalf("%d messages", len(r.Messages))
	}
	return r.Messages[0].Spec
}

// The specification is a contract with every configuration there is: a change
// of it is to be seen.
func TestSpecIsTheGoldenOne(t *testing.T) {
	var got bytes.Buffer
	if err := json.Indent(&got, spec(t), "", "  "); err != nil {
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

// node is a JSON Schema as Airbyte's forms understand it.
type node map[string]any

// The rules are those of Airbyte's connector acceptance tests.
func TestSpecKeepsAirbytesRules(t *testing.T) {
	var message struct {
		Schema node `json:"connectionSpecification"`
	}
	if err := json.Unmarshal(spec(t), &message); err != nil {
		t.Fatal(err)
	}
	if s, _ := message.Schema["$schema"].(string); !strings.Contains(s, "draft-07") {
		t.Errorf("$schema is %q", s)
	}
	walkSpec(t, "", message.Schema)
}

// secretNames are property names that Airbyte takes for secrets.
var secretNames = []string{
	"client_token", "access_token", "api_token", "token", "secret", "client_secret", "password", "key",
	"service_account_info", "service_account", "tenant_id", "certificate", "jwt", "app_id", "appid", "refresh_token",
}

func walkSpec(t *testing.T, path string, n node) {
	for _, keyword := range []string{"allOf", "anyOf", "not", "if", "then", "else", "patternProperties", "prefixItems", "dependentSchemas", "dependentRequired", "$ref", "$defs"} {
		if n[keyword] != nil {
			t.Errorf("%s uses %s", path, keyword)
		}
	}
	kind, ok := n["type"].(string)
	if !ok {
		t.Errorf("%s has type %v", path, n["type"])
	}
	properties, _ := n["properties"].(map[string]any)
	options, _ := n["oneOf"].([]any)
	if kind == "object" && (n["additionalProperties"] != true || len(properties) == 0 && len(options) == 0) {
		t.Errorf("%s is closed or empty", path)
	}
	checkOrder(t, path, properties)
	for name, p := range properties {
		child := node(p.(map[string]any))
		here := path + "/" + name
		if slices.Contains(secretNames, name) && child["airbyte_secret"] != true {
			t.Errorf("%s is not marked as a secret", here)
		}
		if child["const"] == nil && (child["title"] == nil || child["description"] == nil) {
			t.Errorf("%s has no title or no description", here)
		}
		if child["format"] == "date-time" {
			pattern, _ := child["pattern"].(string)
			if re, err := regexp.Compile(pattern); err != nil || pattern == "" || !re.MatchString("2020-01-01T00:00:00Z") || re.MatchString("2020-01-01") {
				t.Errorf("%s: pattern %q does not say what a date-time is", here, pattern)
			}
		}
		walkSpec(t, here, child)
	}
	for _, name := range asList(n["required"]) {
		if properties[name.(string)] == nil {
			t.Errorf("%s requires %v, which it does not have", path, name)
		}
	}
	if len(options) > 0 {
		checkOptions(t, path, options)
	}
}

func asList(v any) []any {
	list, _ := v.([]any)
	return list
}

func checkOrder(t *testing.T, path string, properties map[string]any) {
	var orders []float64
	for name, p := range properties {
		order, ok := p.(map[string]any)["order"].(float64)
		if !ok || slices.Contains(orders, order) {
			t.Errorf("%s/%s has order %v", path, name, p.(map[string]any)["order"])
		}
		orders = append(orders, order)
	}
}

// checkOptions: exactly one property is common to all options and constant.
func checkOptions(t *testing.T, path string, options []any) {
	common := map[string]int{}
	values := map[string]bool{}
	for _, o := range options {
		option := node(o.(map[string]any))
		properties := option["properties"].(map[string]any)
		if option["title"] == nil {
			t.Errorf("%s has an option without a title", path)
		}
		for name, p := range properties {
			if value, ok := p.(map[string]any)["const"].(string); ok {
				common[name]++
				values[value] = true
				if p.(map[string]any)["order"] != 0.0 || p.(map[string]any)["default"] != nil || p.(map[string]any)["enum"] != nil {
					t.Errorf("%s: %s is not first, or has a default", path, name)
				}
			}
		}
		walkSpec(t, path+"/"+option["title"].(string), option)
	}
	if len(common) != 1 || len(values) != len(options) {
		t.Errorf("%s: options are told apart by %v with values %v", path, common, values)
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
	all, err := schemas.Names()
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "schemas used", slices.Sorted(maps.Keys(used)), all)
}

// Every record there is has the types its schema says, and no field that the
// schema does not describe.
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
