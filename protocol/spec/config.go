package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/ingest-connectors/whoop-iceberg/internal/jsonerrors"
	"github.com/ingest-connectors/whoop-iceberg/internal/nearest"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// DecodeConfig reads a configuration into config, a pointer to a struct that
// holds the defaults. An explicit null counts as absent, also for defaults that
// are slices, maps and pointers. Its error is a [protocol.ConfigError], and a [WrongTypes]
// if the configuration is an object whose values have other types than they must have.
// Then config has the other values.
//
// It compares types only; [CheckConfig] compares values with the schema.
func DecodeConfig(raw json.RawMessage, config any) error {
	value, err := decodeAny(raw)
	if err != nil {
		return unreadable(err)
	}
	removeNulls(value)
	wrong := WrongTypes{}
	for {
		given, err := json.Marshal(value)
		if err != nil {
			return unreadable(err)
		}
		err = json.Unmarshal(given, config)
		var wrongType *json.UnmarshalTypeError
		switch {
		case err == nil && len(wrong) == 0:
			return nil
		case err == nil:
			return wrong
		case !errors.As(err, &wrongType) || wrongType.Field == "":
			return unreadable(err)
		}
		path := keyPath(given, wrongType.Field)
		key := strings.Join(path, ".")
		wrong = append(wrong, wrongValue{key, fmt.Sprintf("The configuration's %q is of type %s but must be of type %s.",
			key, jsonerrors.GivenType(wrongType), jsonerrors.WantedType(wrongType))})
		if !remove(value, path) { // encoding/json names the first one only
			return wrong
		}
	}
}

func unreadable(err error) error {
	return protocol.ConfigError.Errorf(nil, "The configuration cannot be read: %v", err)
}

// WrongTypes are the values of a configuration that have another type than they must have.
type WrongTypes []wrongValue

type wrongValue struct{ key, message string }

func (w WrongTypes) Error() string { return w.Unwrap().Error() }

// Unwrap returns a [protocol.ConfigError] that names all of them.
func (w WrongTypes) Unwrap() error {
	var messages []string
	for _, v := range w {
		messages = append(messages, v.message)
	}
	return &protocol.Error{Kind: protocol.ConfigError, Message: strings.Join(messages, " ")}
}

// JoinFaults joins what is wrong with a configuration: the error of [DecodeConfig] and
// what was found afterwards. It leaves out what was found of a key whose value has another
// type, and of keys in it: it was not decoded.
func JoinFaults(decoding error, faults ...error) error {
	var wrong WrongTypes
	errors.As(decoding, &wrong)
	follows := func(fault error) bool {
		return fault != nil && slices.ContainsFunc(wrong, func(v wrongValue) bool {
			return strings.Contains(fault.Error(), `"`+v.key+`"`) || strings.Contains(fault.Error(), `"`+v.key+`.`)
		})
	}
	return protocol.JoinErrors(append([]error{decoding}, slices.DeleteFunc(faults, follows)...)...)
}

// remove removes what is at a path from a value, in each element of arrays on the way. It
// reports whether there was something.
func remove(value any, path []string) (found bool) {
	switch v := value.(type) {
	case map[string]any:
		for key, member := range v {
			if !strings.EqualFold(key, path[0]) { // as encoding/json matches them
				continue
			}
			if len(path) == 1 {
				delete(v, key)
				found = true
			} else {
				found = remove(member, path[1:]) || found
			}
		}
	case []any:
		for _, element := range v {
			found = remove(element, path) || found
		}
	}
	return found
}

// keyPath returns a field's path in the configuration. The path of encoding/json also
// contains embedded structs.
func keyPath(config json.RawMessage, field string) []string {
	var path []string
	for name := range strings.SplitSeq(field, ".") {
		var object map[string]json.RawMessage
		if json.Unmarshal(config, &object) == nil {
			found := false
			for key, value := range object {
				if strings.EqualFold(key, name) { // as encoding/json matches them
					found, config = true, value
				}
			}
			if !found {
				continue
			}
		}
		path = append(path, name)
	}
	return path
}

// removeNulls removes the members of objects that are null.
func removeNulls(value any) {
	switch v := value.(type) {
	case map[string]any:
		maps.DeleteFunc(v, func(_ string, member any) bool { return member == nil })
		for _, member := range v {
			removeNulls(member)
		}
	case []any:
		for _, item := range v {
			removeNulls(item)
		}
	}
}

// decodeAny decodes one JSON value with its numbers as they are written.
func decodeAny(raw json.RawMessage) (value any, err error) {
	if !json.Valid(raw) { // also what follows the value
		return nil, json.Unmarshal(raw, &value)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	err = dec.Decode(&value)
	return value, err
}

// CheckConfig compares the values in raw with the schema of config. Its error is a
// [protocol.ConfigError] that names every value below its minimum, above its maximum, or
// not in its enum. The tags of config are the only place where these are written.
func CheckConfig(raw json.RawMessage, config any) error {
	var broken []string
	for s := range settings(Reflect(config, ""), raw) {
		for _, schema := range s.schemas {
			if rule := brokenRule(schema, s.value); rule != "" {
				broken = append(broken, fmt.Sprintf("The configuration's %q is %s. It must be %s.%s", s.path, s.text(), rule, suggestion(schema, s.value)))
				break
			}
		}
	}
	if len(broken) == 0 {
		return nil
	}
	return &protocol.Error{Kind: protocol.ConfigError, Message: strings.Join(broken, " ")}
}

// text is the value as the configuration has it.
func (s setting) text() string {
	text, _ := json.Marshal(s.value) // it was decoded from JSON
	return string(text)
}

// brokenRule returns what a value must be, or "" when the schema allows it.
func brokenRule(schema *jsonschema.Schema, value any) string {
	switch v := value.(type) {
	case string:
		if len(schema.Enum) > 0 && !slices.Contains(schema.Enum, any(v)) {
			return "one of " + strings.ReplaceAll(strings.Trim(fmt.Sprintf("%v", schema.Enum), "[]"), " ", ", ")
		}
	case json.Number:
		n, err := v.Float64()
		low, noLow := schema.Minimum.Float64()
		high, noHigh := schema.Maximum.Float64()
		switch {
		case noLow != nil && noHigh != nil, err == nil && (noLow != nil || n >= low) && (noHigh != nil || n <= high):
		case noHigh != nil:
			return "at least " + schema.Minimum.String()
		case noLow != nil:
			return "at most " + schema.Maximum.String()
		default:
			return fmt.Sprintf("from %s to %s", schema.Minimum, schema.Maximum)
		}
	}
	return ""
}

// suggestion names the value of the enum that a wrong one was probably meant to be.
func suggestion(schema *jsonschema.Schema, value any) string {
	given, _ := value.(string)
	var names []string
	for _, allowed := range schema.Enum {
		names = append(names, fmt.Sprint(allowed))
	}
	return nearest.DidYouMean(given, names)
}
