package protocol

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"
)

// Forms are the forms of a setting that is an object. The object's "type" names
// the form, and each form has keys of its own. S is an interface that all forms
// implement.
type Forms[S any] []Form[S]

// Form is one of the forms of a setting.
type Form[S any] struct {
	Type, Title string
	New         func() S // returns a pointer to a struct with the defaults; it has no "type"
}

// Schema returns a oneOf with a const type in each alternative, as Airbyte's
// forms want it.
func (fs Forms[S]) Schema() *jsonschema.Schema {
	schema := &jsonschema.Schema{Type: "object"}
	for _, f := range fs {
		form := Reflect(f.New(), f.Title)
		form.Version = ""
		form.Properties.Set("type", &jsonschema.Schema{Type: "string", Const: f.Type})
		if err := form.Properties.MoveToFront("type"); err != nil {
			panic(err) // it was set just now
		}
		form.Required = append([]string{"type"}, form.Required...)
		schema.OneOf = append(schema.OneOf, form)
	}
	return schema
}

// Decode decodes an object, which may be nil, into the form of a type. It returns
// false when there is no such form.
func (fs Forms[S]) Decode(formType string, raw json.RawMessage) (form S, found bool, err error) {
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

// Check finds a type that no form has, and keys that belong to other forms: the
// type has a default, so that the user may have meant another. setting is the path
// of the object in the configuration. The error is a [ConfigError].
func (fs Forms[S]) Check(setting, formType string, raw json.RawMessage) error {
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
		return configErrorf("The configuration's %q is %q. The %s types are: %s.", setting+".type", formType, setting, strings.Join(types, ", "))
	}
	var given map[string]json.RawMessage
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &given); err != nil {
			return err
		}
	}
	source := ""
	if given["type"] == nil {
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
			return configErrorf("The configuration has a %q, and its %q is %q%s. Set it to %s, or remove %[1]q.",
				setting+"."+key, setting+".type", formType, source, strings.Join(others, " or "))
		}
	}
	return nil
}

func configErrorf(format string, args ...any) error {
	return &Error{Kind: ConfigError, Message: fmt.Sprintf(format, args...)}
}
