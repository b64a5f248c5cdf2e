package columns

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/iceberg-go"

	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
)

// A model knows of every column which properties have had it and what they sent.
type model struct {
	t       *testing.T
	h       *history
	rng     *rand.Rand
	log     []string
	sent    map[int]string            // kind, by the id of the column
	held    map[int]map[string]bool   // properties, by the id of the column
	adopted map[int]bool              // another program's columns, by their ids
	columns map[string]map[string]int // last column of a property for a kind, by path and kind
	fault   bool
}

var (
	spellings = []string{"a", "A", "a_json", "A_String", "first·name", "First·Name", "first_name", "FIRST_NAME", "1st", "_1st"}
	kinds     = []string{"text", "json", "long", "double", "decimal", "date", "[text]", "[json]"}
)

func (m *model) errorf(format string, args ...any) {
	m.fault = true
	m.t.Errorf(format, args...)
}

// properties makes up what a stream sends next.
func (m *model) properties(depth int) string {
	var all []string
	for _, at := range m.rng.Perm(len(spellings))[:1+m.rng.IntN(5)] {
		kind := kinds[m.rng.IntN(len(kinds))]
		if depth < 2 && m.rng.IntN(3) == 0 {
			kind = "{" + m.properties(depth+1) + "}"
			if m.rng.IntN(2) == 0 {
				kind = "[" + kind + "]"
			}
		}
		all = append(all, spellings[at]+" "+kind)
	}
	return strings.Join(all, ", ")
}

// another lets another program add, rename or drop a column.
func (m *model) another() {
	fields := m.h.have.Fields()
	f := fields[m.rng.IntN(len(fields))]
	for m.rng.IntN(2) == 0 { // inside of it
		t := f.Type
		for {
			list, ok := t.(*iceberg.ListType)
			if !ok {
				break
			}
			t = list.Element
		}
		s, ok := t.(*iceberg.StructType)
		if !ok || len(s.FieldList) < 2 {
			break
		}
		fields = s.FieldList
		f = fields[m.rng.IntN(len(fields))]
	}
	name := m.h.names.column(spellings[m.rng.IntN(len(spellings))])
	free := !slices.ContainsFunc(fields, func(f iceberg.NestedField) bool { return foldCase(f.Name) == foldCase(name) })
	switch {
	case f.Name == "_airbyte_raw_id" && free:
		m.log = append(m.log, fmt.Sprintf("add %q", name))
		m.h.last = max(m.h.last, m.h.have.HighestFieldID()) + 1
		m.h.have = iceberg.NewSchema(0, append(fields, iceberg.NestedField{ID: m.h.last, Name: name, Type: iceberg.PrimitiveTypes.String})...)
	case f.Name == "_airbyte_raw_id":
	case m.rng.IntN(3) == 0:
		m.log = append(m.log, fmt.Sprintf("drop %q", f.Name))
		m.h.change(f.ID, func(*iceberg.NestedField) bool { return false })
	case free:
		m.log = append(m.log, fmt.Sprintf("rename %q to %q", f.Name, name))
		m.h.change(f.ID, func(f *iceberg.NestedField) bool { f.Name = name; return true })
	}
}

// table gives the model a table that another program made.
func (m *model) table() {
	var all []string
	taken := map[string]bool{}
	for _, at := range m.rng.Perm(len(spellings))[:1+m.rng.IntN(5)] {
		name := Preserve.column(strings.ReplaceAll(spellings[at], "·", "_"))
		if !taken[foldCase(name)] {
			taken[foldCase(name)] = true
			all = append(all, name+" "+kinds[m.rng.IntN(len(kinds))])
		}
	}
	text := strings.Join(all, ", ")
	m.log = append(m.log, "another program makes: "+text)
	m.h.table(text, nil, false)
}

// kindOf is what a wanted field sends, numbers being of one kind.
func kindOf(t iceberg.Type, id int, json map[int]bool) string {
	switch t := t.(type) {
	case *iceberg.StructType:
		return "struct"
	case *iceberg.ListType:
		return "list of " + kindOf(t.Element, t.ElementID, json)
	case iceberg.StringType:
		if json[id] {
			return "json"
		}
	case iceberg.Float64Type, iceberg.DecimalType:
		return "number"
	}
	return t.String()
}

// level compares the columns of one level with what they had before.
func (m *model) level(want []iceberg.NestedField, json map[int]bool, ids map[int]int, path string) {
	now := map[int]string{}
	for _, w := range want {
		id := ids[w.ID]
		if other, taken := now[id]; taken {
			m.errorf("%s%s and %s%s have one column", path, w.Name, path, other)
		}
		now[id] = w.Name
	}
	for _, w := range want {
		id, kind := ids[w.ID], kindOf(w.Type, w.ID, json)
		at := fmt.Sprintf("%s%s", path, w.Name)
		name, there := m.h.have.FindColumnName(id)
		if !there {
			m.errorf("%s has no column", at)
		}
		if m.sent[id] != "" && m.sent[id] != kind {
			m.errorf("column %s had %s and now has %s", name, m.sent[id], kind)
		}
		m.sent[id] = kind
		if m.held[id] == nil {
			m.held[id] = map[string]bool{}
		}
		m.held[id][w.Name] = true
		for other := range m.held[id] {
			if foldCase(other) != foldCase(w.Name) {
				m.errorf("column %s was of %q and is of %q", name, other, w.Name)
			}
		}
		if last, ok := m.columns[at][kind]; ok && last != id {
			older := slices.ContainsFunc(want, func(o iceberg.NestedField) bool {
				return o.Name != w.Name && (m.held[last][o.Name] || m.adopted[last] && foldCase(o.Name) == foldCase(w.Name))
			})
			if _, alive := m.h.have.FindFieldByID(last); alive && !older {
				m.errorf("%s had column %d and now has %d", at, last, id)
			}
		}
		if m.columns[at] == nil {
			m.columns[at] = map[string]int{}
		}
		m.columns[at][kind] = id
		t, inside := w.Type, fmt.Sprintf("%s%d.", path, id)
		for {
			list, ok := t.(*iceberg.ListType)
			if !ok {
				break
			}
			t = list.Element
		}
		if s, ok := t.(*iceberg.StructType); ok {
			m.level(s.FieldList, json, ids, inside)
		}
	}
}

// sync places what a stream sends, in any order of its properties.
func (m *model) sync() {
	m.h.names = []Names{Lowercase, Preserve}[m.rng.IntN(2)]
	text := m.properties(0)
	m.h.key = nil
	if m.rng.IntN(4) == 0 {
		m.h.key = []string{strings.ReplaceAll(strings.Fields(text)[0], "·", " ")}
		if strings.ContainsAny(strings.Fields(text)[1], "[{") {
			m.h.key = nil
		}
	}
	m.log = append(m.log, fmt.Sprintf("%s, key %q: %s", m.h.names, m.h.key, text))
	was, last, props, made := m.h.have, m.h.last, maps.Clone(m.h.props), m.h.made
	mapping := props[mappingKey]
	if was != nil && mapping == "" {
		for _, f := range was.Fields() {
			m.adopted[f.ID] = true
		}
	}
	evolved, want, err := m.h.evolve(text)
	if err != nil {
		if m.h.key == nil {
			m.errorf("error %v", err)
		}
		if was != nil && m.h.have != was {
			m.errorf("a typeConflict changed the table")
		}
		return
	}
	if before := strings.TrimSuffix(mapping, "]"); !strings.HasPrefix(m.h.props[mappingKey], before) {
		m.errorf("entries were changed: %s, then %s", mapping, m.h.props[mappingKey])
	}
	if was != nil {
		reversed := want
		reversed.Properties = slices.Clone(want.Properties)
		slices.Reverse(reversed.Properties)
		other, err := Evolve(reversed, was, max(last, was.HighestFieldID()), m.h.partitionFields, props, made)
		if err != nil {
			m.errorf("in another order: %v", err)
		} else {
			for _, w := range want.Properties {
				a, _ := evolved.Schema.FindColumnName(evolved.IDs[w.ID])
				b, _ := other.Schema.FindColumnName(other.IDs[w.ID])
				if a != b {
					m.errorf("in another order %q has column %s, not %s", w.Name, b, a)
				}
			}
		}
	}
	m.level(want.Properties, want.JSON, evolved.IDs, "")
}

func histories(t *testing.T, seed uint64) {
	m := &model{
		t: t, h: &history{t: t}, rng: rand.New(rand.NewPCG(seed, 0)),
		sent: map[int]string{}, held: map[int]map[string]bool{}, adopted: map[int]bool{}, columns: map[string]map[string]int{},
	}
	if m.rng.IntN(4) == 0 {
		m.table()
	}
	for range 12 {
		if m.h.have != nil && m.rng.IntN(4) == 0 {
			m.another()
		}
		m.sync()
		if m.fault || t.Failed() {
			t.Fatalf("seed %d:\n%s\n%s", seed, strings.Join(m.log, "\n"), m.h.have)
		}
	}
}

func TestRandomHistoriesKeepColumns(t *testing.T) {
	for seed := range testsize.Of(40, 1000) {
		histories(t, uint64(seed))
	}
}

func FuzzHistories(f *testing.F) {
	f.Add(uint64(1393)) // a property of the key that has had two columns
	f.Fuzz(histories)
}
