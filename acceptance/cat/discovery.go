package cat

import (
	"slices"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

func (s *Suite) testDiscovery(t *testing.T, test DiscoveryTest) {
	streams := s.answer(t, "CATALOG", "discover", "--config", s.path(test.Config)).Catalog.Streams
	t.Run("test_discover", func(t *testing.T) {
		seen := map[protocol.StreamID]bool{}
		for _, stream := range streams {
			if stream.Name == "" || seen[stream.ID()] {
				t.Errorf("stream %q: the name is empty or there twice", stream.Name)
			}
			seen[stream.ID()] = true
		}
		if len(streams) == 0 {
			t.Error("there are no streams")
		}
	})
	perStream := func(name string, check func(*testing.T, protocol.Stream, map[string]any)) {
		t.Run(name, func(t *testing.T) {
			for _, stream := range streams {
				t.Run(stream.Name, func(t *testing.T) { check(t, stream, object(t, stream.JSONSchema)) })
			}
		})
	}
	perStream("test_streams_have_valid_json_schemas", func(t *testing.T, _ protocol.Stream, schema map[string]any) {
		compile(t, schema)
	})
	perStream("test_defined_cursors_exist_in_schema", func(t *testing.T, stream protocol.Stream, schema map[string]any) {
		if len(stream.DefaultCursorField) > 0 {
			wantField(t, schema, stream.DefaultCursorField)
		} else if stream.SourceDefinedCursor {
			t.Error("the source defines a cursor and does not name it")
		}
	})
	perStream("test_primary_keys_exist_in_schema", func(t *testing.T, stream protocol.Stream, schema map[string]any) {
		if len(stream.SourceDefinedPrimaryKey) == 0 {
			t.Error("there is no primary key")
		}
		for _, path := range stream.SourceDefinedPrimaryKey {
			wantField(t, schema, path)
		}
	})
	perStream("test_primary_keys_data_type", func(t *testing.T, stream protocol.Stream, schema map[string]any) {
		wantSimpleKeys(t, stream.SourceDefinedPrimaryKey, schema)
	})
	perStream("test_streams_has_sync_modes", func(t *testing.T, stream protocol.Stream, _ map[string]any) {
		for _, mode := range stream.SupportedSyncModes {
			if mode != protocol.FullRefresh && mode != protocol.Incremental {
				t.Errorf("there is no sync mode %q", mode)
			}
		}
		if len(stream.SupportedSyncModes) == 0 {
			t.Error("there are no sync modes")
		}
	})
	for name, words := range map[string][]string{
		"test_defined_refs_exist_in_schema":    {"$ref"},
		"test_defined_keyword_exist_in_schema": {"allOf", "not"},
	} {
		perStream(name, func(t *testing.T, _ protocol.Stream, schema map[string]any) {
			walk(schema, "", func(path string, s map[string]any) {
				for _, word := range words {
					if s[word] != nil {
						t.Errorf("%s has the keyword %s", path, word)
					}
				}
			})
		})
	}
	perStream("test_additional_properties_is_true", func(t *testing.T, _ protocol.Stream, schema map[string]any) {
		walk(schema, "", func(path string, s map[string]any) {
			if more, there := s["additionalProperties"]; there && more != true {
				t.Errorf("%s: additionalProperties is %v", path, more)
			}
		})
	})
	perStream("test_catalog_has_supported_data_types", func(t *testing.T, _ protocol.Stream, schema map[string]any) {
		wantSupportedTypes(t, schema)
	})
}

// walk visits a schema and those of its properties and items.
func walk(schema map[string]any, path string, visit func(path string, schema map[string]any)) {
	visit(path, schema)
	properties, _ := schema["properties"].(map[string]any)
	for name, p := range properties {
		if property, ok := p.(map[string]any); ok {
			walk(property, path+"."+name, visit)
		}
	}
	if items, ok := schema["items"].(map[string]any); ok {
		walk(items, path+"[]", visit)
	}
}

// types returns the types a schema allows, without null.
func types(schema map[string]any) []string {
	var all []string
	switch t := schema["type"].(type) {
	case string:
		all = []string{t}
	case []any:
		for _, one := range t {
			if name, _ := one.(string); name != "null" {
				all = append(all, name)
			}
		}
	}
	return all
}

// formats are the formats and airbyte_types that strings and numbers may have.
var formats = []struct{ kind, format, airbyte string }{
	{"string", "", ""},
	{"string", "date", ""},
	{"string", "date-time", ""},
	{"string", "date-time", "timestamp_with_timezone"},
	{"string", "date-time", "timestamp_without_timezone"},
	{"string", "time", "time_with_timezone"},
	{"string", "time", "time_without_timezone"},
	{"string", "", "big_integer"},
	{"string", "", "big_number"},
	{"number", "", ""},
	{"number", "", "integer"},
	{"integer", "", ""},
	{"boolean", "", ""},
	{"object", "", ""},
	{"array", "", ""},
}

func wantSupportedTypes(t testing.TB, schema map[string]any) {
	t.Helper()
	walk(schema, "", func(path string, s map[string]any) {
		if !supported(s) {
			t.Errorf("%s: Airbyte has no type for %v, %v, %v", path, s["type"], s["format"], s["airbyte_type"])
		}
	})
}

func supported(schema map[string]any) bool {
	kinds := types(schema)
	format, _ := schema["format"].(string)
	airbyte, _ := schema["airbyte_type"].(string)
	for _, kind := range kinds {
		if !slices.Contains(formats, struct{ kind, format, airbyte string }{kind, format, airbyte}) {
			return false
		}
	}
	return len(kinds) > 0
}

// field returns the schema at a path of properties, nil if there is none.
func field(schema map[string]any, path []string) map[string]any {
	for _, name := range path {
		properties, _ := schema["properties"].(map[string]any)
		schema, _ = properties[name].(map[string]any)
	}
	return schema
}

func wantField(t testing.TB, schema map[string]any, path []string) {
	t.Helper()
	if field(schema, path) == nil {
		t.Errorf("there is no field %v", path)
	}
}

func wantSimpleKeys(t testing.TB, keys [][]string, schema map[string]any) {
	t.Helper()
	for _, path := range keys {
		kinds := types(field(schema, path))
		if len(kinds) != 1 || kinds[0] == "object" || kinds[0] == "array" {
			t.Errorf("the key %v has the types %v", path, kinds)
		}
	}
}
