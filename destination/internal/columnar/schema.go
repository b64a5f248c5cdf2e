package columnar

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/iceberg-go"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columns"
	"github.com/ingest-connectors/whoop-iceberg/internal/nearest"
)

// A kind is how the values of a column are kept.
type kind uint8

const (
	kindJSON   kind = iota // any JSON, as text as it came: a string keeps its quotes
	kindString             // anything that is no string as its JSON text
	kindBoolean
	kindLong
	kindDouble
	kindKeyDouble // doubles that numbers must not be rounded to
	kindDecimal
	kindDate
	kindTimestamp   // wall-clock time
	kindTimestampTZ // instant
	kindStruct
	kindList
)

// numbers with "numbers":"decimal" and in primary keys
const (
	decimalPrecision = columns.Precision
	decimalScale     = columns.Scale
)

// A field is a property of a record, and once it is bound to a table its column.
type field struct {
	name    string // of the property
	doc     string // what the source says of it
	column  string // once bound
	id      int    // of the column; before that it only tells fields apart
	kind    kind
	fields  []field // of a struct
	element *field  // of a list
	key     bool    // never null
	typo    string  // its type in the schema, if JSON Schema has no such type
}

// An airbyteSchema is the part of draft-07 that Airbyte's types are made of.
// Whatever does not have the expected form is as good as absent: a schema is
// never refused, its column holds JSON at worst.
type airbyteSchema struct {
	types      []string // without null
	format     string
	airbyte    string // airbyte_type
	doc        string // description
	properties []property
	items      json.RawMessage
	options    []json.RawMessage // oneOf or anyOf
}

type property struct {
	name   string
	schema json.RawMessage
}

func parseSchema(raw json.RawMessage) airbyteSchema {
	var s airbyteSchema
	for _, member := range members(raw) {
		switch member.name {
		case "type":
			var one string
			var many []string
			if json.Unmarshal(member.schema, &one) == nil {
				many = []string{one}
			} else if json.Unmarshal(member.schema, &many) != nil {
				many = []string{"unknown"}
			}
			s.types = slices.DeleteFunc(many, func(t string) bool { return t == "null" })
		case "format":
			_ = json.Unmarshal(member.schema, &s.format)
		case "airbyte_type":
			_ = json.Unmarshal(member.schema, &s.airbyte)
		case "description":
			_ = json.Unmarshal(member.schema, &s.doc)
		case "properties":
			s.properties = members(member.schema)
		case "items":
			s.items = member.schema
		case "oneOf", "anyOf":
			_ = json.Unmarshal(member.schema, &s.options)
		}
	}
	return s
}

// members returns the members of a JSON object in the order of the text, the
// last of equal names standing for all; nothing when raw is no object.
func members(raw json.RawMessage) []property {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	var all []property
	seen := map[string]int{}
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil
		}
		var value json.RawMessage
		if dec.Decode(&value) != nil {
			return nil
		}
		if i, again := seen[name]; again {
			all[i].schema = value
			continue
		}
		seen[name] = len(all)
		all = append(all, property{name, value})
	}
	return all
}

// fieldsOf plans the properties of an object.
func fieldsOf(properties []property, o Options) []field {
	fields := make([]field, len(properties))
	for i, p := range properties {
		s := parseSchema(p.schema)
		fields[i] = s.field(o)
		fields[i].name, fields[i].doc = p.name, strings.TrimSpace(s.doc)
	}
	return fields
}

// fieldOf chooses the kind of a column for a JSON Schema.
func fieldOf(raw json.RawMessage, o Options) field {
	s := parseSchema(raw)
	return s.field(o)
}

func (s *airbyteSchema) field(o Options) field {
	if len(s.types) == 0 && len(s.options) > 0 {
		return unionOf(s.options, o)
	}
	switch s.singleType() {
	case "string":
		return field{kind: s.stringKind()}
	case "boolean":
		return field{kind: kindBoolean}
	case "integer":
		return field{kind: kindLong}
	case "number":
		switch {
		case s.airbyte == "integer":
			return field{kind: kindLong}
		case o.Numbers == Decimal:
			return field{kind: kindDecimal}
		}
		return field{kind: kindDouble}
	case "object":
		if o.Nested != JSON && len(s.properties) > 0 {
			return field{kind: kindStruct, fields: fieldsOf(s.properties, o)}
		}
	case "array":
		if element, ok := elementOf(s.items, o); ok {
			return field{kind: kindList, element: &element}
		}
	case "": // several, or none
	default:
		return field{kind: kindJSON, typo: s.singleType()}
	}
	return field{kind: kindJSON}
}

// UnknownTypes lists the properties whose type in the schema is none of JSON Schema's, with
// the type; "" if there are none.
func (p *Plan) UnknownTypes() string {
	var found []string
	var look func(prefix string, f *field)
	look = func(path string, f *field) {
		if f.typo != "" {
			found = append(found, fmt.Sprintf("%q has %s", path, perhaps(f.typo, nearest.Name(f.typo, jsonTypes))))
		}
		for i := range f.fields {
			look(path+"."+f.fields[i].name, &f.fields[i])
		}
		if f.element != nil {
			look(path, f.element)
		}
	}
	for i := range p.fields {
		look(p.fields[i].name, &p.fields[i])
	}
	return someOf(found, false, func(s string) string { return s })
}

var jsonTypes = []string{"string", "boolean", "integer", "number", "object", "array", "null"}

// singleType returns the one type a schema allows, or "".
func (s *airbyteSchema) singleType() string {
	types := slices.Clone(s.types)
	slices.Sort(types)
	types = slices.Compact(types)
	switch {
	case len(types) == 1:
		return types[0]
	case slices.Equal(types, []string{"integer", "number"}):
		return "number" // which integers are
	case len(types) == 0 && len(s.properties) > 0:
		return "object"
	}
	return ""
}

func (s *airbyteSchema) stringKind() kind {
	switch s.format {
	case "date":
		return kindDate
	case "date-time":
		if s.airbyte == "timestamp_without_timezone" {
			return kindTimestamp
		}
		return kindTimestampTZ
	}
	return kindString // also times of day: Spark reads no time
}

// unionOf collapses a union of equal types, as one with null is. A union of
// strings of different formats is a string.
func unionOf(options []json.RawMessage, o Options) field {
	var kinds []kind
	var only field
	for _, option := range options {
		if s := parseSchema(option); s.types != nil && len(s.types) == 0 {
			continue // null
		}
		only = fieldOf(option, o)
		kinds = append(kinds, only.kind)
	}
	every := func(is func(kind) bool) bool {
		return len(kinds) > 0 && !slices.ContainsFunc(kinds, func(k kind) bool { return !is(k) })
	}
	switch {
	case len(kinds) == 1:
		return only
	case every(func(k kind) bool { return k == only.kind && k != kindStruct && k != kindList }):
		return only
	case every(func(k kind) bool {
		return k == kindString || k == kindDate || k == kindTimestamp || k == kindTimestampTZ
	}):
		return field{kind: kindString}
	}
	return field{kind: kindJSON}
}

// elementOf plans the elements of an array; not ok when the schema does not
// say what they are. A list of schemas means any of them.
func elementOf(items json.RawMessage, o Options) (field, bool) {
	var options []json.RawMessage
	if json.Unmarshal(items, &options) == nil && len(options) > 0 {
		return unionOf(options, o), true
	}
	if len(members(items)) == 0 {
		return field{}, false
	}
	return fieldOf(items, o), true
}

// A wantedBuilder makes wanted columns of fields, and numbers both.
type wantedBuilder struct {
	last int
	json map[int]bool
}

func (w *wantedBuilder) next() int {
	w.last++
	return w.last
}

func (w *wantedBuilder) fields(fields []field) []iceberg.NestedField {
	list := make([]iceberg.NestedField, len(fields))
	for i := range fields {
		fields[i].id = w.next()
	}
	for i := range fields {
		f := &fields[i]
		list[i] = iceberg.NestedField{ID: f.id, Name: f.name, Doc: f.doc, Type: w.typ(f), Required: f.key}
	}
	return list
}

func (w *wantedBuilder) typ(f *field) iceberg.Type {
	switch f.kind {
	case kindStruct:
		return &iceberg.StructType{FieldList: w.fields(f.fields)}
	case kindList:
		f.element.id = w.next()
		return &iceberg.ListType{ElementID: f.element.id, Element: w.typ(f.element)}
	case kindJSON:
		w.json[f.id] = true
	}
	return f.kind.icebergType()
}

// icebergType returns the type of columns of simple values.
func (k kind) icebergType() iceberg.Type {
	switch k {
	case kindBoolean:
		return iceberg.PrimitiveTypes.Bool
	case kindLong:
		return iceberg.PrimitiveTypes.Int64
	case kindDouble:
		return iceberg.PrimitiveTypes.Float64
	case kindDecimal:
		return iceberg.DecimalTypeOf(decimalPrecision, decimalScale)
	case kindDate:
		return iceberg.PrimitiveTypes.Date
	case kindTimestamp:
		return iceberg.PrimitiveTypes.Timestamp
	case kindTimestampTZ:
		return iceberg.PrimitiveTypes.TimestampTz
	case kindJSON, kindString:
		return iceberg.PrimitiveTypes.String
	}
	panic(fmt.Sprintf("columnar: kind %d is not of simple values", k))
}
