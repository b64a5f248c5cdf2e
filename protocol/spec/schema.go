// Package spec makes the specification of a connector's configuration from a Go struct,
// and reads configurations by it. The struct and its tags are the only place where keys,
// defaults, limits and secrets are declared:
//
//   - [Reflect] makes the JSON Schema, with [Forms] for settings of several forms.
//   - [ExpandVariables] replaces environment variables in a configuration, [DecodeConfig]
//     decodes it, and [CheckConfig] compares its values with the schema.
//   - [Secrets] finds the values to redact, and [UnknownKeys] the keys without effect.
package spec

import (
	"reflect"
	"strings"
	"sync"

	"github.com/invopop/jsonschema"
)

// Reflect makes the specification of a configuration from its struct. It has no
// references and no identifiers, because Airbyte's forms resolve none. It allows
// additional properties, because orchestrators add keys of their own (beginning
// with an underscore) to a configuration. Forms show the properties in the order
// of the fields.
//
// A property is described by its jsonschema_description tag or, where sentences
// do not fit into a tag, by the method Descriptions() map[string]string of the
// struct that has the field. The map's keys are the JSON names.
//
// A struct is reflected once for each title, because that takes milliseconds. So
// nobody may change what is returned.
func Reflect(config any, title string) *jsonschema.Schema {
	key := reflected{reflect.TypeOf(config), title}
	s, ok := specifications.Load(key)
	if !ok {
		s, _ = specifications.LoadOrStore(key, specify(config, title))
	}
	return s.(*jsonschema.Schema)
}

// specifications are those that Reflect has made: a [*jsonschema.Schema] for each reflected.
var specifications sync.Map

type reflected struct {
	config reflect.Type
	title  string
}

// specify makes a schema that is the caller's own.
func specify(config any, title string) *jsonschema.Schema {
	r := jsonschema.Reflector{
		Anonymous:                  true,
		DoNotReference:             true,
		ExpandedStruct:             true,
		AllowAdditionalProperties:  true,
		RequiredFromJSONSchemaTags: true,
		// Two structs of one name in different packages are two types.
		Namer:         func(t reflect.Type) string { return t.PkgPath() + "." + t.Name() },
		LookupComment: description,
	}
	s := r.Reflect(config)
	s.Version = "http://json-schema.org/draft-07/schema#"
	s.Title = title
	conform(s)
	return s
}

// description returns what the struct t says about one of its fields.
func description(t reflect.Type, field string) string {
	described, ok := reflect.Zero(t).Interface().(interface{ Descriptions() map[string]string })
	if !ok || field == "" { // "" asks about the type
		return ""
	}
	f, _ := t.FieldByName(field)
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return described.Descriptions()[name]
}

// conform completes a schema and those in it: objects allow more properties, and
// the order of each property is its position.
func conform(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if s.Type == "object" {
		s.AdditionalProperties = jsonschema.TrueSchema
	}
	if s.Properties != nil {
		position := 0
		for p := s.Properties.Oldest(); p != nil; p = p.Next() {
			if p.Value.Extras == nil {
				p.Value.Extras = map[string]any{}
			}
			p.Value.Extras["order"] = position
			position++
			conform(p.Value)
		}
	}
	for _, o := range s.OneOf {
		conform(o)
	}
	conform(s.Items)
}
