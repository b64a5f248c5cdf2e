package spec

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/ingest-connectors/whoop-iceberg/internal/nearest"
	"github.com/ingest-connectors/whoop-iceberg/internal/redact"
)

// Secrets returns the strings and numbers of config that the schema marks
// as airbyte_secret, and those below such a place. From other strings it returns
// what looks like a credential, which may have been put into the wrong place.
func Secrets(schema *jsonschema.Schema, config json.RawMessage) []string {
	var found []string
	for s := range settings(schema, config) {
		found = append(found, redact.CredentialsIn(s.key)...)
		switch v := s.value.(type) {
		case string:
			if s.secret {
				found = append(found, v)
			} else {
				found = append(found, redact.CredentialsIn(v)...)
			}
		case json.Number:
			if s.secret {
				found = append(found, v.String())
			}
		}
	}
	return found
}

// UnknownKeys returns a warning for each key of config that schema does not declare.
// Keys with a leading underscore belong to orchestrators and are left out.
func UnknownKeys(schema *jsonschema.Schema, config json.RawMessage) []string {
	var warnings []string
	for s := range settings(schema, config) {
		if s.known || strings.HasPrefix(s.key, "_") {
			continue
		}
		remedy := cmp.Or(s.nested(), nearest.DidYouMean(s.key, properties(s.object)), " See the output of spec for the keys there are.")
		warnings = append(warnings, fmt.Sprintf("The configuration's key %q is not known and has no effect.%s", s.path, remedy))
	}
	return warnings
}

// nested says how an unknown key is written that is a path, as documentation names keys in
// objects; "" if it is none.
func (s setting) nested() string {
	names := strings.Split(s.key, ".")
	schemas := s.object
	for _, name := range names {
		var members []*jsonschema.Schema
		for _, o := range schemas {
			if p := property(o, name); p != nil {
				members = append(members, variants(p)...)
			}
		}
		if schemas = members; len(schemas) == 0 {
			return ""
		}
	}
	text, _ := json.Marshal(s.value) // it was decoded from JSON
	if s.secret || slices.ContainsFunc(schemas, isSecret) {
		text = []byte(`"…"`)
	}
	return fmt.Sprintf(` Write {"%s": %s%s.`, strings.Join(names, `": {"`), text, strings.Repeat("}", len(names)))
}

// A setting is one value in a configuration, with what the schema says about it.
type setting struct {
	path, key string // "catalog.type", "type"; both "" for the whole
	value     any
	schemas   []*jsonschema.Schema // all that may apply: those of the alternatives of a oneOf too
	known     bool                 // the schema declares the key, or the object takes any
	object    []*jsonschema.Schema // if it is not known: those of the object that it is in
	secret    bool                 // it is, or is below, an airbyte_secret
}

// settings yields every value of a configuration, objects and arrays before what
// is in them. It yields nothing if config is not JSON.
func settings(schema *jsonschema.Schema, config json.RawMessage) iter.Seq[setting] {
	value, err := decodeAny(config)
	return func(yield func(setting) bool) {
		if err == nil {
			root := setting{value: value, known: true}
			if schema != nil {
				root.schemas = variants(schema)
			}
			root.walk(yield)
		}
	}
}

func (s setting) walk(yield func(setting) bool) bool {
	s.secret = s.secret || slices.ContainsFunc(s.schemas, isSecret)
	if !yield(s) {
		return false
	}
	switch v := s.value.(type) {
	case map[string]any:
		s.schemas = chosen(s.schemas, v)
		for _, key := range slices.Sorted(maps.Keys(v)) {
			member := setting{path: join(s.path, key), key: key, value: v[key], secret: s.secret, known: true}
			for _, o := range s.schemas {
				if p := property(o, key); p != nil {
					member.schemas = append(member.schemas, variants(p)...)
				}
				// Where the names are the user's, each is as good as another.
				member.known = member.known && (o.Properties == nil || o.Properties.Len() == 0 || o.PropertyNames != nil)
			}
			member.known = member.known || len(member.schemas) > 0
			if !member.known {
				member.object = s.schemas
			}
			if !member.walk(yield) {
				return false
			}
		}
	case []any:
		for i, item := range v {
			element := setting{path: fmt.Sprintf("%s.%d", s.path, i), value: item, secret: s.secret, known: true}
			for _, o := range s.schemas {
				if o.Items != nil {
					element.schemas = append(element.schemas, variants(o.Items)...)
				}
			}
			if !element.walk(yield) {
				return false
			}
		}
	}
	return true
}

func isSecret(s *jsonschema.Schema) bool { return s.Extras["airbyte_secret"] == true }

// join returns the path of a member of the object at path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// chosen leaves out the alternatives that an object says it is not: those whose
// const is another than its value, if there is one that has its value. A key that is
// a secret in one alternative may be none in another.
func chosen(schemas []*jsonschema.Schema, object map[string]any) []*jsonschema.Schema {
	says := func(o *jsonschema.Schema, same bool) bool {
		for key, value := range object {
			if p := property(o, key); p != nil && p.Const != nil && (p.Const == value) == same {
				return true
			}
		}
		return false
	}
	if !slices.ContainsFunc(schemas, func(o *jsonschema.Schema) bool { return says(o, true) }) {
		return schemas
	}
	return slices.DeleteFunc(slices.Clone(schemas), func(o *jsonschema.Schema) bool { return says(o, false) })
}

// variants returns a schema and the alternatives of its oneOf.
func variants(s *jsonschema.Schema) []*jsonschema.Schema {
	return append([]*jsonschema.Schema{s}, s.OneOf...)
}

// properties are the names of the members that schemas declare.
func properties(schemas []*jsonschema.Schema) (names []string) {
	for _, s := range schemas {
		if s.Properties == nil {
			continue
		}
		for p := s.Properties.Oldest(); p != nil; p = p.Next() {
			names = append(names, p.Key)
		}
	}
	return names
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
