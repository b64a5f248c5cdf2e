package columns

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/iceberg-go"
)

// A history is what happens to a table, step by step.
type history struct {
	t       *testing.T
	names   Names
	key     []string
	made    bool // the table was made by this program
	have    *iceberg.Schema
	last    int
	props   iceberg.Properties
	changes []string

	partitionFields []string
}

// send places the columns that a stream with such properties asks for; see
// parser. It returns which column each property has.
func (h *history) send(properties string) (string, error) {
	evolved, want, err := h.evolve(properties)
	if err != nil {
		return "", err
	}
	return bound(want.Properties, evolved), nil
}

func (h *history) evolve(properties string) (*Evolution, Wanted, error) {
	p := &parser{text: properties, json: map[int]bool{}}
	want := Wanted{Names: h.names, Properties: p.fields(), JSON: p.json, Key: h.key}
	for i := range want.Properties {
		want.Properties[i].Required = slices.Contains(h.key, want.Properties[i].Name)
	}
	want.Airbyte = []iceberg.NestedField{{ID: p.next(), Name: "_airbyte_raw_id", Type: iceberg.PrimitiveTypes.String, Required: true}}
	if h.have == nil {
		evolved, err := Create(want)
		if err != nil {
			return nil, want, err
		}
		h.made, h.props, h.have = true, iceberg.Properties{}, evolved.Schema
	}
	h.last = max(h.last, h.have.HighestFieldID())
	evolved, err := Evolve(want, h.have, h.last, h.partitionFields, h.props, h.made)
	if err != nil {
		return nil, want, err
	}
	again, err := Evolve(want, evolved.Schema, evolved.Schema.HighestFieldID(), h.partitionFields, iceberg.Properties{mappingKey: evolved.mapping}, true)
	if err != nil {
		return nil, want, err
	}
	if again.mapping != evolved.mapping || !again.Schema.Equals(evolved.Schema) {
		h.t.Errorf("placing %q once more changes the table", properties)
	}
	h.made, h.have, h.last = true, evolved.Schema, max(h.last, evolved.Schema.HighestFieldID())
	set, remove := evolved.Properties(h.props)
	maps.Copy(h.props, set)
	for _, k := range remove {
		delete(h.props, k)
	}
	h.changes = nil
	for _, m := range evolved.TypeChanges {
		h.changes = append(h.changes, fmt.Sprintf("%s holds %s, %s to %s", m.Column, m.Holds, m.Sends, m.To))
	}
	h.check()
	return evolved, want, nil
}

// check looks for columns of one level that only case tells apart, and for ids
// that two columns have.
func (h *history) check() {
	ids := map[int]bool{}
	var level func(fields []iceberg.NestedField)
	inside := func(t iceberg.Type) {
		for {
			list, ok := t.(*iceberg.ListType)
			if !ok {
				break
			}
			t = list.Element
		}
		if s, ok := t.(*iceberg.StructType); ok {
			level(s.FieldList)
		}
	}
	level = func(fields []iceberg.NestedField) {
		names := map[string]bool{}
		for _, f := range fields {
			if names[strings.ToLower(f.Name)] {
				h.t.Errorf("two columns are called %q", f.Name)
			}
			if ids[f.ID] {
				h.t.Errorf("two columns have the id %d", f.ID)
			}
			names[strings.ToLower(f.Name)], ids[f.ID] = true, true
			inside(f.Type)
		}
	}
	level(h.have.Fields())
}

// bound says which column each property has, those that are called as they are
// by their names alone.
func bound(properties []iceberg.NestedField, evolved *Evolution) string {
	var all []string
	for _, w := range properties {
		f, ok := evolved.Schema.FindFieldByID(evolved.IDs[w.ID])
		text := w.Name
		if !ok {
			text += "=?"
		} else if f.Name != w.Name {
			text += "=" + f.Name
		}
		t := w.Type
		for {
			list, ok := t.(*iceberg.ListType)
			if !ok {
				break
			}
			t, text = list.Element, text+"[]"
		}
		if s, ok := t.(*iceberg.StructType); ok {
			text += "{" + bound(s.FieldList, evolved) + "}"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// change lets another program change a column, given by its id.
func (h *history) change(id int, change func(f *iceberg.NestedField) (keep bool)) {
	h.last = max(h.last, h.have.HighestFieldID())
	var level func(fields []iceberg.NestedField) []iceberg.NestedField
	var inside func(t iceberg.Type) iceberg.Type
	inside = func(t iceberg.Type) iceberg.Type {
		switch t := t.(type) {
		case *iceberg.StructType:
			return &iceberg.StructType{FieldList: level(t.FieldList)}
		case *iceberg.ListType:
			list := *t
			list.Element = inside(t.Element)
			return &list
		}
		return t
	}
	level = func(fields []iceberg.NestedField) []iceberg.NestedField {
		var kept []iceberg.NestedField
		for _, f := range fields {
			if f.ID == id && !change(&f) {
				continue
			}
			f.Type = inside(f.Type)
			kept = append(kept, f)
		}
		return kept
	}
	var identifiers []int
	fields := level(h.have.Fields())
	for _, f := range fields {
		if slices.Contains(h.have.IdentifierFieldIDs, f.ID) {
			identifiers = append(identifiers, f.ID)
		}
	}
	h.have = iceberg.NewSchemaWithIdentifiers(0, identifiers, fields...)
}

// A parser reads properties: "a long, b json, o {x text}, l [text], d double?".
type parser struct {
	text string
	last int
	json map[int]bool
}

func (p *parser) next() int {
	p.last++
	return p.last
}

func (p *parser) token() string {
	p.text = strings.TrimLeft(p.text, " ")
	if p.text != "" && strings.ContainsRune("{}[],", rune(p.text[0])) {
		t := p.text[:1]
		p.text = p.text[1:]
		return t
	}
	end := strings.IndexAny(p.text, " {}[],")
	if end < 0 {
		end = len(p.text)
	}
	t := p.text[:end]
	p.text = p.text[end:]
	return t
}

func (p *parser) fields() (fields []iceberg.NestedField) {
	for {
		name := p.token()
		if name == "" || name == "}" {
			return fields
		}
		if name == "," {
			continue
		}
		f := iceberg.NestedField{ID: p.next(), Name: strings.ReplaceAll(name, "·", " ")}
		f.Type = p.typ(f.ID)
		fields = append(fields, f)
	}
}

func (p *parser) typ(id int) iceberg.Type {
	switch t := p.token(); t {
	case "{":
		return &iceberg.StructType{FieldList: p.fields()}
	case "[":
		list := &iceberg.ListType{ElementID: p.next()}
		list.Element = p.typ(list.ElementID)
		p.token()
		return list
	case "json":
		p.json[id] = true
		return iceberg.PrimitiveTypes.String
	case "text":
		return iceberg.PrimitiveTypes.String
	case "long":
		return iceberg.PrimitiveTypes.Int64
	case "int":
		return iceberg.PrimitiveTypes.Int32
	case "double":
		return iceberg.PrimitiveTypes.Float64
	case "float":
		return iceberg.PrimitiveTypes.Float32
	case "decimal":
		return numbers
	case "date":
		return iceberg.PrimitiveTypes.Date
	default:
		if digits, ok := strings.CutPrefix(t, "decimal"); ok {
			precision, _ := strconv.Atoi(digits)
			return iceberg.DecimalTypeOf(precision, Scale)
		}
		panic("no type " + t)
	}
}
