//go:build acceptance

package acceptance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
)

// A column is what the documentation promises for a property: worked out here from the JSON
// Schema once more, so that the destination's own reading of it is put to the test.
type column struct {
	name string
	kind string // Iceberg's name of a primitive, "struct" or "list", or "json" for text that is JSON
	of   []column
}

// airbyteColumns end every table.
var airbyteColumns = []column{
	{name: "_airbyte_raw_id", kind: "string"},
	{name: "_airbyte_extracted_at", kind: "timestamptz"},
	{name: "_airbyte_meta", kind: "struct", of: []column{
		{name: "sync_id", kind: "long"},
		{name: "changes", kind: "list", of: []column{{kind: "struct", of: []column{
			{name: "field", kind: "string"}, {name: "change", kind: "string"}, {name: "reason", kind: "string"},
		}}}},
	}},
	{name: "_airbyte_generation_id", kind: "long"},
}

// columnsOf are a stream's columns under the default configuration, without Airbyte's.
func columnsOf(t testing.TB, schema json.RawMessage) []column {
	t.Helper()
	var s struct {
		Properties json.RawMessage
	}
	unmarshal(t, schema, &s)
	var columns []column
	for _, p := range members(t, s.Properties) {
		columns = append(columns, columnOf(t, p.name, p.value))
	}
	return columns
}

func columnOf(t testing.TB, name string, schema json.RawMessage) column {
	t.Helper()
	var s struct {
		Type        any
		Format      string
		AirbyteType string `json:"airbyte_type"`
		Properties  json.RawMessage
		Items       json.RawMessage
		OneOf       []json.RawMessage
	}
	unmarshal(t, schema, &s)
	if alternatives := slices.DeleteFunc(s.OneOf, func(of json.RawMessage) bool { return string(of) == `{"type":"null"}` }); len(alternatives) > 0 {
		if len(alternatives) > 1 {
			return column{name: name, kind: "json"}
		}
		return columnOf(t, name, alternatives[0])
	}
	kinds, several := s.Type.([]any)
	if !several {
		kinds = []any{s.Type}
	}
	kinds = slices.DeleteFunc(slices.Clone(kinds), func(k any) bool { return k == "null" })
	c := column{name: name, kind: "string"}
	if len(kinds) != 1 {
		return c
	}
	switch kind := kinds[0]; {
	case kind == "boolean":
		c.kind = "boolean"
	case kind == "integer", kind == "number" && s.AirbyteType == "integer":
		c.kind = "long"
	case kind == "number":
		c.kind = "double"
	case kind == "string" && s.Format == "date":
		c.kind = "date"
	case kind == "string" && s.Format == "date-time" && s.AirbyteType == "timestamp_without_timezone":
		c.kind = "timestamp"
	case kind == "string" && s.Format == "date-time":
		c.kind = "timestamptz"
	case kind == "object" && s.Properties != nil:
		c.kind, c.of = "struct", columnsOf(t, schema)
	case kind == "array" && s.Items != nil:
		c.kind, c.of = "list", []column{columnOf(t, "", s.Items)}
	case kind == "array":
		c.kind = "json"
	}
	return c
}

// String is the type as the engines' scripts write it.
func (c column) String() string {
	switch c.kind {
	case "json":
		return "string"
	case "struct":
		var fields []string
		for _, f := range c.of {
			fields = append(fields, f.name+": "+f.String())
		}
		return "struct<" + strings.Join(fields, ", ") + ">"
	case "list":
		return "list<" + c.of[0].String() + ">"
	}
	return c.kind
}

// row reads the values of a row, whoever wrote it: the API's record, an engine's, ours.
// Equal values become equal: numbers by type, instants in UTC.
func row(t testing.TB, columns []column, object any) map[string]any {
	t.Helper()
	members, ok := object.(map[string]any)
	if !ok {
		t.Fatalf("%v is no row", object)
	}
	values := map[string]any{}
	for _, c := range columns {
		var err error
		if values[c.name], err = c.value(members[c.name]); err != nil {
			t.Fatalf("column %s: %v", c.name, err)
		}
	}
	for name := range members {
		if _, declared := values[name]; !declared {
			t.Fatalf("%s is no column", name)
		}
	}
	return values
}

func (c column) value(v any) (any, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case json.Number:
		switch c.kind {
		case "long":
			return v.Int64()
		case "double":
			return v.Float64()
		}
	case string:
		switch {
		case c.kind == "string", c.kind == "json", c.kind == "date":
			return v, nil
		case c.kind == "timestamptz":
			t, err := time.Parse(time.RFC3339Nano, v)
			return t.UTC(), err
		case c.kind == "timestamp":
			return time.Parse("2006-01-02T15:04:05", v)
		case strings.HasPrefix(c.kind, "decimal"):
			return decimal(v)
		}
	case bool:
		if c.kind == "boolean" {
			return v, nil
		}
	case map[string]any:
		if c.kind != "struct" {
			break
		}
		fields := map[string]any{}
		for _, f := range c.of {
			var err error
			if fields[f.name], err = f.value(v[f.name]); err != nil {
				return nil, fmt.Errorf("%s: %w", f.name, err)
			}
		}
		for name := range v {
			if _, declared := fields[name]; !declared {
				return nil, fmt.Errorf("%s is no field", name)
			}
		}
		return fields, nil
	case []any:
		if c.kind != "list" {
			break
		}
		elements := []any{}
		for _, e := range v {
			element, err := c.of[0].value(e)
			if err != nil {
				return nil, err
			}
			elements = append(elements, element)
		}
		return elements, nil
	}
	if n, ok := v.(json.Number); ok && strings.HasPrefix(c.kind, "decimal") {
		return decimal(n.String())
	}
	return nil, fmt.Errorf("%#v is no %s", v, c)
}

func decimal(text string) (any, error) {
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return nil, fmt.Errorf("%q is no decimal", text)
	}
	return r.RatString(), nil
}

type jsonMember struct {
	name  string
	value json.RawMessage
}

// members are those of a JSON object, in its order.
func members(t testing.TB, object json.RawMessage) []jsonMember {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(object))
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
	var all []jsonMember
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		m := jsonMember{name: name.(string)}
		if err := dec.Decode(&m.value); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// unmarshal keeps numbers as they are written.
func unmarshal(t testing.TB, data []byte, into any) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(into); err != nil {
		t.Fatalf("%v: %.500s", err, data)
	}
}
