package protocol

import (
	"encoding/json"

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
	}
	s := r.Reflect(config)
	s.Version = "http://json-schema.org/draft-07/schema#"
	s.Title = title
	allowAdditional(s)
	return s
}

func allowAdditional(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if s.Type == "object" {
		s.AdditionalProperties = jsonschema.TrueSchema
	}
	if s.Properties != nil {
		for p := s.Properties.Oldest(); p != nil; p = p.Next() {
			allowAdditional(p.Value)
		}
	}
	for _, o := range s.OneOf {
		allowAdditional(o)
	}
	allowAdditional(s.Items)
}

// secretValues returns the strings that stand in config where schema says
// airbyte_secret.
func secretValues(schema *jsonschema.Schema, config json.RawMessage) []string {
	var value any
	if err := json.Unmarshal(config, &value); err != nil {
		return nil
	}
	var found []string
	var walk func(*jsonschema.Schema, any)
	walk = func(s *jsonschema.Schema, v any) {
		if s == nil {
			return
		}
		switch v := v.(type) {
		case string:
			if secret, _ := s.Extras["airbyte_secret"].(bool); secret {
				found = append(found, v)
			}
		case map[string]any:
			if s.Properties != nil {
				for p := s.Properties.Oldest(); p != nil; p = p.Next() {
					if member, ok := v[p.Key]; ok {
						walk(p.Value, member)
					}
				}
			}
			for _, option := range s.OneOf {
				walk(option, v)
			}
		case []any:
			for _, item := range v {
				walk(s.Items, item)
			}
		}
	}
	walk(schema, value)
	return found
}
