package protocoltest

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// SpecProblems holds the payload of a SPEC message against what Airbyte's
// connector acceptance tests and its forms demand. Problems are listed by the
// name of the acceptance test that would find them; those it would not find,
// but a person before the form would, by "forms".
func SpecProblems(spec json.RawMessage) map[string][]string {
	c := specChecker{}
	var s struct {
		Root schema `json:"connectionSpecification"`
	}
	if err := json.Unmarshal(spec, &s); err != nil {
		c.problem("forms", "spec", "%v", err)
		return c
	}
	if version, _ := s.Root["$schema"].(string); !strings.Contains(version, "draft-07") {
		c.problem("forms", "connectionSpecification", "$schema is %q, not that of draft-07", version)
	}
	if s.Root["type"] != "object" {
		c.problem("forms", "connectionSpecification", "it is no object")
	}
	c.schema(s.Root, "connectionSpecification", 0)
	return c
}

// specChecker collects problems, by test.
type specChecker map[string][]string

func (c specChecker) problem(test, where, format string, args ...any) {
	c[test] = append(c[test], where+": "+fmt.Sprintf(format, args...))
}

// schema is a JSON Schema as Airbyte's forms read it.
type schema map[string]any

func (s schema) properties() map[string]schema {
	all := map[string]schema{}
	members, _ := s["properties"].(map[string]any)
	for name, member := range members {
		all[name], _ = member.(map[string]any)
	}
	return all
}

func (s schema) list(keyword string) []any { l, _ := s[keyword].([]any); return l }

func (s schema) options() []schema {
	var all []schema
	for _, o := range s.list("oneOf") {
		option, _ := o.(map[string]any)
		all = append(all, option)
	}
	return all
}

func (s schema) text(keyword string) string { t, _ := s[keyword].(string); return strings.TrimSpace(t) }

// forbidden are the keywords that forms do not understand.
var forbidden = []string{
	"allOf", "anyOf", "not", "if", "then", "else", "patternProperties", "prefixItems", "dependentSchemas", "dependentRequired", "definitions", "$defs",
}

// secretNames are property names that the tests take for secrets.
var secretNames = []string{
	"client_token", "access_token", "api_token", "token", "secret", "client_secret", "password", "key", "service_account_info", "service_account",
	"tenant_id", "certificate", "jwt", "credentials", "app_id", "appid", "refresh_token",
}

// schema checks a schema and those in it. Depth is the number of objects around
// it; options of a oneOf count as the object they belong to.
func (c specChecker) schema(s schema, where string, depth int) {
	for _, word := range forbidden {
		if s[word] != nil {
			c.problem("test_forbidden_complex_types", where, "it has the keyword %s", word)
		}
	}
	if s["$ref"] != nil {
		c.problem("test_defined_refs_exist_in_json_spec_file", where, "it is a reference")
	}
	if _, one := s["type"].(string); !one {
		c.problem("test_property_type_is_not_array", where, "its type is %v, not one type", s["type"])
	}
	if display := s["display_type"]; display != nil && (s["oneOf"] == nil || display != "dropdown" && display != "radio") {
		c.problem("test_display_type", where, "display_type is %v", display)
	}
	if s["group"] != nil && depth != 1 {
		c.problem("test_nested_group", where, "only properties of the top level have a group")
	}
	c.values(s, where)
	properties := s.properties()
	switch s["type"] {
	case "object":
		if s["additionalProperties"] != true {
			c.problem("test_additional_properties_is_true", where, "additionalProperties is %v", s["additionalProperties"])
		}
		if len(properties) == 0 && len(s.options()) == 0 {
			c.problem("test_object_not_empty", where, "it has no properties")
		}
	case "array":
		if items, _ := s["items"].(map[string]any); items["type"] == nil {
			c.problem("test_array_type", where, "its items have no type")
		}
	}
	for _, name := range s.list("required") {
		if properties[fmt.Sprint(name)] == nil {
			c.problem("forms", where, "it requires %v, which it does not have", name)
		}
	}
	orders := map[any]string{}
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		p := properties[name]
		switch other, taken := orders[p["order"]]; {
		case taken && p["order"] != nil:
			c.problem("test_duplicate_order", where, "%s and %s have the order %v", other, name, p["order"])
		case p["order"] == nil:
			c.problem("forms", where, "%s has no order", name)
		}
		orders[p["order"]] = name
		c.property(p, name, where+"."+name)
		c.schema(p, where+"."+name, depth+1)
	}
	c.options(s, where, depth)
}

// property checks what only a property has.
func (c specChecker) property(p schema, name, where string) {
	// A const is not shown.
	if p["const"] == nil && (p.text("title") == "" || p.text("description") == "") {
		c.problem("forms", where, "it has no title or no description")
	}
	if slices.Contains(secretNames, name) && (p["type"] == "string" || p["type"] == "integer" || p["type"] == "number") && p["airbyte_secret"] != true {
		c.problem("test_secret_is_properly_marked", where, "it is not marked as airbyte_secret")
	}
	if p["airbyte_secret"] == true && p["type"] != "string" {
		c.problem("test_secret_is_properly_marked", where, "it is a secret and no string")
	}
	const day, instant = "2020-01-01", "2020-01-01T00:00:00Z"
	pattern := p.text("pattern")
	re, err := regexp.Compile(pattern)
	switch format := p["format"]; {
	case err != nil:
		c.problem("test_date_pattern", where, "%v", err)
	case (format == "date" || format == "date-time") && pattern == "":
		c.problem("test_date_pattern", where, "it has the format %s and no pattern", format)
	case format == "date" && !re.MatchString(day), format == "date-time" && (!re.MatchString(instant) || re.MatchString(day)):
		c.problem("test_date_pattern", where, "its pattern is not that of a %s", format)
	case pattern != "" && format == nil && p["type"] == "string" && (re.MatchString(day) || re.MatchString(instant)) && !re.MatchString("x"):
		c.problem("test_date_format", where, "it has the pattern of a date and no format")
	}
}

// values checks enum and default.
func (c specChecker) values(s schema, where string) {
	values := s.list("enum")
	for i, v := range values {
		if slices.Contains(values[:i], v) {
			c.problem("test_enum_usage", where, "it lists %v twice", v)
		}
	}
	if len(values) > 0 && s["default"] != nil && !slices.Contains(values, s["default"]) {
		c.problem("forms", where, "its default %v is none of its values", s["default"])
	}
}

// options checks a oneOf: objects with titles, told apart by one property that
// has another const in each.
func (c specChecker) options(s schema, where string, depth int) {
	const test = "test_oneof_usage"
	if len(s.options()) > 0 && s["type"] != "object" {
		c.problem(test, where, "oneOf stands on what is no object")
	}
	var tell string
	seen := map[any]bool{}
	for i, o := range s.options() {
		option := fmt.Sprintf("%s option %d", where, i)
		if o.text("title") == "" {
			c.problem(test, option, "it has no title")
		}
		var constants []string
		for name, p := range o.properties() {
			if p["const"] == nil {
				continue
			}
			constants = append(constants, name)
			if p["default"] != nil || p["enum"] != nil || seen[p["const"]] || p["order"] != 0.0 || !slices.Contains(o.list("required"), any(name)) {
				c.problem(test, option, "%s must be required, come first, and have nothing but a const that no other option has: %v", name, p)
			}
			seen[p["const"]] = true
		}
		if i == 0 && len(constants) == 1 {
			tell = constants[0]
		}
		if len(constants) != 1 || constants[0] != tell {
			c.problem(test, option, "exactly one property, the same in every option, must have a const; here it is %q", constants)
		}
		c.schema(o, option, depth)
	}
}
