package schemas

import (
	"encoding/json"
	"io/fs"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

type schema struct {
	Schema               string            `json:"$schema"`
	Description          string            `json:"description"`
	Type                 any               `json:"type"`
	Format               string            `json:"format"`
	AirbyteType          string            `json:"airbyte_type"`
	Properties           map[string]schema `json:"properties"`
	Required             []string          `json:"required"`
	AdditionalProperties *bool             `json:"additionalProperties"`
}

// names returns the kinds of record there are schemas for.
func names(t *testing.T) []string {
	t.Helper()
	paths, err := fs.Glob(files, "*.json")
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range paths {
		paths[i] = strings.TrimSuffix(p, ".json")
	}
	return paths
}

func TestSchemasFollowTheHouseRules(t *testing.T) {
	all := names(t)
	if len(all) != 6 {
		t.Fatalf("schemas: %v, want 6", all)
	}
	for _, name := range all {
		t.Run(name, func(t *testing.T) {
			raw, err := Get(name)
			if err != nil {
				t.Fatal(err)
			}
			var s schema
			if err := json.Unmarshal(raw, &s); err != nil {
				t.Fatal(err)
			}
			if s.Type != "object" || !strings.Contains(s.Schema, "draft-07") {
				t.Errorf("type %v, $schema %q; want an object of draft-07", s.Type, s.Schema)
			}
			check(t, name, s)
			c := jsonschema.NewCompiler()
			doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(raw)))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.AddResource(name, doc); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Compile(name); err != nil {
				t.Errorf("not a valid schema: %v", err)
			}
		})
	}
}

// check demands of every field a description and a nullable type, of every
// object that it is open and requires nothing, of every instant its time zone.
func check(t *testing.T, path string, s schema) {
	if s.Description == "" {
		t.Errorf("%s has no description", path)
	}
	if strings.HasSuffix(path, ".percent_recorded") && (!strings.Contains(s.Description, "from 0 to 100") || !strings.Contains(s.Description, "1.0")) {
		t.Errorf("%s does not say what WHOOP documents and what it answers: %s", path, s.Description)
	}
	if len(s.Required) > 0 {
		t.Errorf("%s requires %v", path, s.Required)
	}
	if s.Properties != nil && (s.AdditionalProperties == nil || !*s.AdditionalProperties) {
		t.Errorf("%s is closed to additional properties", path)
	}
	if s.Format == "date-time" && s.AirbyteType != "timestamp_with_timezone" {
		t.Errorf("%s is an instant with airbyte_type %q", path, s.AirbyteType)
	}
	for name, p := range s.Properties {
		if types, ok := p.Type.([]any); !ok || len(types) != 2 || types[0] != "null" {
			t.Errorf("%s.%s has type %v, want [null, x]", path, name, p.Type)
		}
		check(t, path+"."+name, p)
	}
}

func TestUnknownNameIsAnError(t *testing.T) {
	if _, err := Get("heart_beat"); err == nil {
		t.Error("Get of an unknown name succeeded")
	}
}
