package protocol

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"

	"github.com/invopop/jsonschema"
)

// Spec is what a connector says of itself: the JSON Schema of its
// configuration and, for a destination, the sync modes it knows.
type Spec struct {
	DocumentationURL              string                `json:"documentationUrl,omitempty"`
	ChangelogURL                  string                `json:"changelogUrl,omitempty"`
	ConnectionSpecification       *jsonschema.Schema    `json:"connectionSpecification"`
	SupportsIncremental           bool                  `json:"supportsIncremental"`
	SupportedDestinationSyncModes []DestinationSyncMode `json:"supported_destination_sync_modes,omitempty"`
	AdvancedAuth                  json.RawMessage       `json:"advanced_auth,omitempty"`
	ProtocolVersion               string                `json:"protocol_version"`
}

// Reflect makes the specification of a configuration from its struct: no
// references and no identifiers, since Airbyte's forms resolve none; additional
// properties allowed, since orchestrators put keys of their own (beginning
// with an underscore) into a configuration.
func Reflect(config any, title string) *jsonschema.Schema {
	r := jsonschema.Reflector{
		Anonymous:                  true,
		DoNotReference:             true,
		ExpandedStruct:             true,
		AllowAdditionalProperties:  true,
		RequiredFromJSONSchemaTags: true,
		// Two structs of one name in different packages are two types.
		Namer: func(t reflect.Type) string { return t.PkgPath() + "." + t.Name() },
	}
	s := r.Reflect(config)
	s.Version = "http://json-schema.org/draft-07/schema#"
	s.Title = title
	conform(s)
	return s
}

// conform lets a schema and those in it say what tags cannot: that more
// properties are allowed, and that an order is a number.
func conform(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if s.Type == "object" {
		s.AdditionalProperties = jsonschema.TrueSchema
	}
	if text, ok := s.Extras["order"].(string); ok {
		if order, err := strconv.Atoi(text); err == nil {
			s.Extras["order"] = order
		}
	}
	if s.Properties != nil {
		for p := s.Properties.Oldest(); p != nil; p = p.Next() {
			conform(p.Value)
		}
	}
	for _, o := range s.OneOf {
		conform(o)
	}
	conform(s.Items)
}

// secretValues returns the strings and numbers that stand in config where
// schema says airbyte_secret, or below such a place, and what any other string
// there has of credentials: it may have been put into the wrong place.
func secretValues(schema *jsonschema.Schema, config json.RawMessage) []string {
	value, err := decodeAny(config)
	if err != nil {
		return nil
	}
	var found []string
	var walk func(s *jsonschema.Schema, v any, secret bool)
	walk = func(s *jsonschema.Schema, v any, secret bool) {
		if s == nil {
			s = &jsonschema.Schema{}
		}
		if marked, _ := s.Extras["airbyte_secret"].(bool); marked {
			secret = true
		}
		switch v := v.(type) {
		case string:
			if secret {
				found = append(found, v)
			} else {
				found = append(found, credentialsIn(v)...)
			}
		case json.Number:
			if secret {
				found = append(found, v.String())
			}
		case map[string]any:
			for key, member := range v {
				found = append(found, credentialsIn(key)...)
				walk(property(s, key), member, secret)
			}
			for _, option := range s.OneOf {
				walk(option, v, secret)
			}
		case []any:
			for _, item := range v {
				walk(s.Items, item, secret)
			}
		}
	}
	walk(schema, value, false)
	return found
}

// property returns the schema of a member, nil if there is none. Names are
// compared as encoding/json does.
func property(s *jsonschema.Schema, name string) *jsonschema.Schema {
	if s.Properties == nil {
		return nil
	}
	for p := s.Properties.Oldest(); p != nil; p = p.Next() {
		if strings.EqualFold(p.Key, name) {
			return p.Value
		}
	}
	return nil
}
