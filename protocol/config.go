package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"
)

// DecodeConfig reads a configuration into config, a pointer to a struct that
// holds the defaults. An explicit null counts as absent. Its error is a Config
// error that names the key.
func DecodeConfig(raw json.RawMessage, config any) error {
	err := json.Unmarshal(raw, config)
	var wrongType *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrongType) && wrongType.Field != "":
		return &Error{Kind: ConfigError, Message: fmt.Sprintf("The configuration's %q is a JSON %s where a value of type %s belongs.",
			wrongType.Field, wrongType.Value, wrongType.Type), Err: err}
	default:
		return &Error{Kind: ConfigError, Message: "The configuration cannot be read: " + err.Error(), Err: err}
	}
}

// unknownKeys returns the keys of config that schema does not declare, as
// paths. Keys with a leading underscore belong to orchestrators and are passed
// over.
func unknownKeys(schema *jsonschema.Schema, config json.RawMessage) []string {
	var value any
	if err := json.Unmarshal(config, &value); err != nil {
		return nil
	}
	var unknown []string
	var walk func(options []*jsonschema.Schema, v any, path string)
	walk = func(options []*jsonschema.Schema, v any, path string) {
		switch v := v.(type) {
		case map[string]any:
			declared := map[string][]*jsonschema.Schema{}
			free := true // an object without declared members takes any
			for _, s := range options {
				if s.Properties == nil {
					continue
				}
				for p := s.Properties.Oldest(); p != nil; p = p.Next() {
					declared[p.Key] = append(declared[p.Key], variants(p.Value)...)
					free = false
				}
			}
			if free {
				return
			}
			for _, key := range slices.Sorted(maps.Keys(v)) {
				if strings.HasPrefix(key, "_") {
					continue
				}
				if s, ok := declared[key]; ok {
					walk(s, v[key], path+key+".")
				} else {
					unknown = append(unknown, path+key)
				}
			}
		case []any:
			for i, item := range v {
				for _, s := range options {
					if s.Items != nil {
						walk(variants(s.Items), item, fmt.Sprintf("%s%d.", path, i))
					}
				}
			}
		}
	}
	walk(variants(schema), value, "")
	return unknown
}

// variants returns a schema and the alternatives of its oneOf.
func variants(s *jsonschema.Schema) []*jsonschema.Schema {
	return append([]*jsonschema.Schema{s}, s.OneOf...)
}
