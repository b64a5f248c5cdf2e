package spec

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/ingest-connectors/whoop-iceberg/internal/nearest"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Forms are the forms of a setting that is an object. One key of the object, "type"
// unless the [Choice] has another, names the form, and each form has keys of its own.
// S is an interface that all forms implement.
type Forms[S any] []Form[S]

// Form is one of the forms of a setting.
type Form[S any] struct {
	Type, Title string
	New         func() S // returns a pointer to a struct with the defaults; it has no "type"
}

// A Choice is such an object in a configuration.
type Choice struct {
	Key  string // that names the form; "": "type"
	Type string // which may be a default
	raw  json.RawMessage
}

func (c Choice) key() string { return cmp.Or(c.Key, "type") }

// Schema returns a oneOf with a const type in each alternative.
func (fs Forms[S]) Schema() *jsonschema.Schema { return fs.SchemaBy("type") }

// SchemaBy is Schema for forms that another key than "type" names.
func (fs Forms[S]) SchemaBy(key string) *jsonschema.Schema {
	schema := &jsonschema.Schema{Type: "object"}
	for _, f := range fs {
		schema.OneOf = append(schema.OneOf, Alternative(key, f.Type, f.Title, f.New()))
	}
	return schema
}

// Alternative returns the schema of one alternative of a oneOf, as Airbyte's forms
// want it: the first property is a constant that tells the alternatives apart, and
// the others are those of the struct config.
func Alternative(key, value, title string, config any) *jsonschema.Schema {
	s := specify(config, title)
	s.Version = ""
	s.Properties.Set(key, &jsonschema.Schema{Type: "string", Const: value})
	if err := s.Properties.MoveToFront(key); err != nil {
		panic(err) // it was set just now
	}
	s.Required = append([]string{key}, s.Required...)
	return s
}

// Unmarshal reads an object. The choice keeps its type if the object has none.
func (fs Forms[S]) Unmarshal(raw []byte, choice *Choice) error {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(raw, &given); err != nil {
		return err
	}
	for key, value := range given {
		if strings.EqualFold(key, choice.key()) { // as encoding/json matches them
			if err := json.Unmarshal(value, &choice.Type); err != nil {
				if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
					wrong.Field = key
				}
				return err
			}
		}
	}
	choice.raw = slices.Clone(raw)
	_, _, err := fs.decode(choice.Type, choice.raw)
	return err
}

// Chosen returns the form that was chosen. setting is the path of the object in the
// configuration. The error is a [protocol.ConfigError] if no form has the type, or if a key
// belongs to other forms: the type has a default, so that the user may have meant
// another.
func (fs Forms[S]) Chosen(setting string, choice Choice) (form S, err error) {
	if err := fs.check(setting, choice); err != nil {
		return form, err
	}
	form, _, err = fs.decode(choice.Type, choice.raw)
	return form, err
}

// decode decodes an object, which may be nil, into the form of a type. It returns
// false when there is no such form.
func (fs Forms[S]) decode(formType string, raw json.RawMessage) (form S, found bool, err error) {
	i := slices.IndexFunc(fs, func(f Form[S]) bool { return f.Type == formType })
	if i < 0 {
		return form, false, nil
	}
	form = fs[i].New()
	if len(raw) > 0 {
		err = json.Unmarshal(raw, form)
	}
	return form, true, err
}

// check finds a type that no form has, and keys that belong to other forms.
func (fs Forms[S]) check(setting string, choice Choice) error {
	named, formType := setting+"."+choice.key(), choice.Type
	keys := map[string][]string{} // of each type
	var types []string
	for _, f := range fs {
		types = append(types, f.Type)
		for p := Reflect(f.New(), "").Properties.Oldest(); p != nil; p = p.Next() {
			keys[f.Type] = append(keys[f.Type], p.Key)
		}
	}
	if !slices.Contains(types, formType) {
		slices.Sort(types)
		return protocol.ConfigError.Errorf(nil, "The configuration's %q is %q.%s The %s %ss are: %s.", named, formType, nearest.DidYouMean(formType, types), setting, choice.key(), strings.Join(types, ", "))
	}
	var given map[string]json.RawMessage
	if len(choice.raw) > 0 {
		if err := json.Unmarshal(choice.raw, &given); err != nil {
			return err
		}
	}
	source := ""
	if given[choice.key()] == nil {
		source = ", the default"
	}
	for _, key := range slices.Sorted(maps.Keys(given)) {
		has := func(of string) bool {
			return slices.ContainsFunc(keys[of], func(k string) bool { return strings.EqualFold(k, key) })
		}
		if has(formType) || string(given[key]) == `""` {
			continue
		}
		var others []string
		for _, t := range types {
			if has(t) {
				others = append(others, fmt.Sprintf("%q", t))
			}
		}
		if len(others) > 0 {
			return protocol.ConfigError.Errorf(nil, "The configuration has a %q, and its %q is %q%s. Set it to %s, or remove %[1]q.",
				setting+"."+key, named, formType, source, strings.Join(others, " or "))
		}
	}
	return nil
}
