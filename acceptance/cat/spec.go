package cat

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

func (s *Suite) testSpec(t *testing.T, test SpecTest) {
	raw := s.answer(t, "SPEC", "spec").Spec
	spec := object(t, raw)
	config := s.file(t, test.Config)
	t.Run("test_match_expected", func(t *testing.T) {
		wantEqual(t, test.Spec, object(t, s.file(t, test.Spec)), spec)
	})
	problems := protocoltest.SpecProblems(raw)
	for _, name := range []string{
		"test_enum_usage", "test_oneof_usage", "test_secret_is_properly_marked", "test_property_type_is_not_array", "test_object_not_empty",
		"test_array_type", "test_forbidden_complex_types", "test_date_pattern", "test_date_format", "test_duplicate_order", "test_nested_group",
		"test_display_type", "test_defined_refs_exist_in_json_spec_file", "test_additional_properties_is_true",
		"forms", // not Airbyte's: what its forms need beyond that
	} {
		t.Run(name, func(t *testing.T) {
			for _, problem := range problems[name] {
				t.Error(problem)
			}
		})
		delete(problems, name)
	}
	for name := range problems {
		t.Errorf("problems of an unknown kind: %s", name)
	}
	t.Run("test_oauth_is_default_method", func(t *testing.T) {
		if hasOAuth := spec["advanced_auth"] != nil; hasOAuth != test.Auth.OAuth {
			t.Errorf("auth_default_method says oauth: %t, the specification has advanced_auth: %t", test.Auth.OAuth, hasOAuth)
		}
	})
	t.Run("test_secret_never_in_the_output", func(t *testing.T) {
		schema, err := json.Marshal(spec["connectionSpecification"])
		if err != nil {
			t.Fatal(err)
		}
		for _, verb := range []string{"check", "discover"} {
			run := s.Speak(t, verb, "--config", s.path(test.Config), "--debug")
			if run.Secrets = protocoltest.Secrets(schema, config); len(run.Secrets) == 0 {
				t.Fatal("the configuration holds no secret")
			}
			run.Check(t)
		}
	})
}

// compile compiles a draft-07 schema, whose formats are demands.
func compile(t testing.TB, schema any) *jsonschema.Schema {
	t.Helper()
	raw, err := json.Marshal(schema)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7)
	c.AssertFormat()
	if err := c.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("schema.json")
	if err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return compiled
}

func validate(t testing.TB, schema *jsonschema.Schema, raw []byte) {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("%v: %s", err, raw)
	}
}
