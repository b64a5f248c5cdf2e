package columns

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/apache/iceberg-go"
)

const (
	// mappingKey is the table property that holds the mapping.
	mappingKey = "airbyte.columns"
	// movedKey is what tables had before there were mappings.
	movedKey = "airbyte.moved-columns"
)

// An entry ties a property to one of its columns.
type entry struct {
	ID       int    `json:"id"`                 // of the column
	In       int    `json:"in,omitempty"`       // id of the column that the property is inside of; 0: none
	Property string `json:"property,omitempty"` // as the source spells it; "" for the elements of a list
	Holds    string `json:"holds,omitempty"`    // of a column of strings: "", which is text, json or unknown
}

// What a column of strings holds.
const (
	holdsText    = ""
	holdsJSON    = "json"
	holdsUnknown = "unknown" // of an adopted column, until its property is sent
)

// mapping is the entries of a table in the order in which they were added.
type mapping struct {
	entries []*entry
	kept    int              // how many of those the table has
	holds   map[int]string   // by the column's id, as the last of its entries says
	within  map[int][]*entry // by the id of the column around
	tied    map[int][]*entry // by the column's id
}

func newMapping() *mapping {
	return &mapping{holds: map[int]string{}, within: map[int][]*entry{}, tied: map[int][]*entry{}}
}

func (m *mapping) add(added entry) {
	e := &added
	m.entries = append(m.entries, e)
	m.within[e.In] = append(m.within[e.In], e)
	m.tied[e.ID] = append(m.tied[e.ID], e)
	m.holds[e.ID] = e.Holds
}

// encode returns the mapping as the table property has it. Of new entries that
// say the same of a column one is enough.
func (m *mapping) encode() (string, error) {
	type pair struct {
		id       int
		property string
	}
	entries := append([]*entry{}, m.entries[:m.kept]...)
	seen := map[pair]bool{}
	for _, e := range m.entries[m.kept:] {
		e.Holds = m.holds[e.ID]
		if p := (pair{e.ID, e.Property}); !seen[p] {
			seen[p] = true
			entries = append(entries, e)
		}
	}
	data, err := json.Marshal(entries)
	return string(data), err
}

// A PropertyError is a property of a table that is not what this program wrote there.
type PropertyError struct {
	Key string
	Err error
}

func (e *PropertyError) Error() string {
	return fmt.Sprintf("reading the property %s: %v", e.Key, e.Err)
}

// WithoutIDs are properties without those that name columns by their field ids.
func WithoutIDs(props iceberg.Properties) iceberg.Properties {
	rest := maps.Clone(props)
	delete(rest, mappingKey)
	delete(rest, docsKey)
	return rest
}

// read returns the mapping of a table; known is false when it has none.
func read(props iceberg.Properties) (m *mapping, known bool, err error) {
	m = newMapping()
	recorded, known := props[mappingKey]
	if !known {
		return m, false, nil
	}
	var entries []entry
	if err := json.Unmarshal([]byte(recorded), &entries); err != nil {
		return nil, true, &PropertyError{mappingKey, err}
	}
	for _, e := range entries {
		m.add(e)
	}
	m.kept = len(entries)
	return m, true, nil
}

// adopt returns entries for the columns of a table that has no mapping: of a new
// one, of those made before there were mappings, and of other programs'. In a
// table of this program the docs of columns tell their properties.
func adopt(have *iceberg.Schema, want Wanted, made bool) *mapping {
	a := adopter{m: newMapping(), made: made}
	a.fields(slices.DeleteFunc(have.Fields(), want.isAirbyte), 0)
	return a.m
}

type adopter struct {
	m    *mapping
	made bool
}

func (a *adopter) fields(fields []iceberg.NestedField, in int) {
	for _, f := range fields {
		property := f.Name
		if a.made {
			property = documentedProperty(f.Name, f.Type, f.Doc)
		}
		a.m.add(entry{ID: f.ID, In: in, Property: property, Holds: adopted(f.Type)})
		a.inside(f.Type, f.ID)
	}
}

func (a *adopter) inside(t iceberg.Type, id int) {
	switch t := t.(type) {
	case *iceberg.StructType:
		a.fields(t.FieldList, id)
	case *iceberg.ListType:
		if holds := adopted(t.Element); holds != holdsText {
			a.m.add(entry{ID: t.ElementID, In: id, Holds: holds})
		}
		a.inside(t.Element, t.ElementID)
	}
}

// adopted is what a column that was adopted is taken to hold.
func adopted(t iceberg.Type) string {
	if _, ok := t.(iceberg.StringType); ok {
		return holdsUnknown
	}
	return holdsText
}

// documentedProperty returns the property that the doc of a column tells, which is the
// column's name unless the doc begins with one that the column was called after.
func documentedProperty(column string, t iceberg.Type, doc string) string {
	for name := doc; name != ""; name = name[:max(0, strings.LastIndex(name, docSeparator))] {
		if isNamedAfter(column, t, name) {
			return name
		}
	}
	if strings.HasPrefix(column, nameless) && isNamedAfter(column, t, "") {
		return "" // is a name, too
	}
	return column
}

// nameless begins the names of the columns of a property that is called "".
var nameless = Suffixed("", "")[:4] // then come more digits of a hash

// isNamedAfter reports whether a column may have got its name from a property's.
func isNamedAfter(column string, t iceberg.Type, property string) bool {
	const maxTaken = 3 // names; see unique and variant
	for _, names := range []Names{Lowercase, Preserve} {
		asked := names.column(property)
		called := []string{asked}
		for n, original := 0, property; n < maxTaken; n, original = n+1, original+"\x00" {
			called = append(called, Suffixed(asked, original))
		}
		for _, name := range called {
			if column == name {
				return true
			}
			for n := 1; n <= maxTaken; n++ {
				if column == variantName(name, t, holdsText, n) || column == variantName(name, t, holdsJSON, n) {
					return true
				}
			}
		}
	}
	return false
}

// docSeparator stands between a property's name and its description.
const docSeparator = ": "

// docOf is the doc of a property's new column: its description, after its name
// where that is not the column's.
func docOf(property, column string, t iceberg.Type, description string) string {
	switch {
	case documentedProperty(column, t, description) == property:
		return description
	case description == "":
		return property
	}
	return property + docSeparator + description
}
