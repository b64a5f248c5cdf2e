package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/iceberg-go"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// An evolutionSync is one sync of a history.
type evolutionSync struct {
	properties []property
	mode       protocol.DestinationSyncMode
	key        []string
	cursor     string
	records    []*record
}

// A record as it was sent. When it was emitted tells it from all others.
type record struct {
	at   int64
	data map[string]any
	sent map[int]*sent // by token
}

// What was sent with a token, and where the token was first seen.
type sent struct {
	path   []string // of property names; those of lists end in []
	kind   string
	column int // field id
}

// A model knows what a reader must see. It knows nothing of names of columns.
type model struct {
	rows    []*record
	owners  map[int]string            // what a column holds, by its field id
	columns map[string]map[int]string // kinds of the columns that a key property has had
	alive   map[int]bool              // columns of the schema
	emptied bool                      // the schema has an object without fields
	now     map[string]int            // the column of the last value of a top-level property
}

func newModel() model {
	return model{owners: map[int]string{}, columns: map[string]map[int]string{"id": {}, "code": {}}, alive: map[int]bool{}, now: map[string]int{}}
}

// due says whether a config_error is.
type due int

const (
	never due = iota
	allowed
	always
)

// refuses says whether a sync must be refused: an object has fields, and a key has one type and one column, the oldest of its property.
func (m *model) refuses(s *evolutionSync) due {
	refused := never
	if m.emptied { // unless the sync sends such a field
		refused = allowed
	}
	if s.mode != protocol.AppendDedup {
		return refused
	}
	for _, k := range s.key {
		had := m.columns[k]
		if len(had) == 0 {
			continue
		}
		kind := s.properties[slices.IndexFunc(s.properties, func(p property) bool { return p.name == k })].kind
		var ids []int
		for id := range had {
			ids = append(ids, id)
		}
		oldest := slices.Min(ids)
		alive := slices.ContainsFunc(ids, func(id int) bool { return m.alive[id] })
		switch {
		case !alive, m.alive[oldest] && had[oldest] != kind:
			return always
		case len(ids) > 1:
			refused = allowed
		}
	}
	return refused
}

// apply says which rows there are after a sync. Which column a value is in is known from what a reader saw before.
func (m *model) apply(s *evolutionSync) []*record {
	switch s.mode {
	case protocol.Overwrite:
		return slices.Clone(s.records)
	case protocol.Append:
		return slices.Concat(m.rows, s.records)
	}
	rows := slices.Clone(m.rows)
	for _, r := range s.records {
		wins := true
		rows = slices.DeleteFunc(rows, func(old *record) bool {
			if !m.sameKey(s.key, old, r) {
				return false
			}
			lost := s.cursor == "" || m.cursor(s.cursor, old) <= m.cursor(s.cursor, r)
			wins = wins && lost
			return lost
		})
		if wins {
			rows = append(rows, r)
		}
	}
	return rows
}

// find is what a record sent as a top-level property, with its token.
func (r *record) find(name string) (int, *sent) {
	for token, s := range r.sent {
		if len(s.path) == 1 && s.path[0] == name {
			return token, s
		}
	}
	return 0, nil
}

func (m *model) sameKey(key []string, old, r *record) bool {
	for _, k := range key {
		token, _ := r.find(k)
		was, _ := old.find(k)
		if token != was || !m.sees(k, old) {
			return false
		}
	}
	return true
}

// sees reports whether a record's value is in the column that the property has now. Column 0 is that of a record
// nobody has seen, which is of this sync.
func (m *model) sees(name string, r *record) bool {
	_, sent := r.find(name)
	return sent != nil && (sent.column == m.now[name] || sent.column == 0)
}

// cursor is a record's, which is 0 if a reader does not see it.
func (m *model) cursor(name string, r *record) int {
	if !m.sees(name, r) {
		return 0
	}
	token, _ := r.find(name)
	return token
}

// A cell is a value of a row that has no parts.
type cell struct {
	id    int
	depth int // of the column
	value any
	text  bool // the column's type is string
}

// cells are those of a row that are not null, without Airbyte's columns.
func cells(fields []iceberg.NestedField, row inspect.Row, depth int) (all []cell) {
	var of func(id int, t iceberg.Type, value any)
	of = func(id int, t iceberg.Type, value any) {
		if value == nil {
			return
		}
		switch t := t.(type) {
		case *iceberg.StructType:
			all = append(all, cells(t.FieldList, value.(inspect.Row), depth+1)...)
		case *iceberg.ListType:
			for _, element := range value.([]any) {
				of(t.ElementID, t.Element, element)
			}
		default:
			all = append(all, cell{id, depth, value, t.Equals(iceberg.PrimitiveTypes.String)})
		}
	}
	for i, f := range fields {
		if depth > 1 || !strings.HasPrefix(f.Name, "_airbyte_") {
			of(f.ID, f.Type, row[i].Value)
		}
	}
	return all
}

var tokens = regexp.MustCompile(`\d+(\.\d+)?`)

// compare holds the model against the rows of the table.
func (m *model) compare(s *evolutionSync, schema *iceberg.Schema, seen []inspect.Row) error {
	if err := m.learn(schema); err != nil {
		return err
	}
	sentNow := map[int64]*record{}
	for _, r := range slices.Concat(m.rows, s.records) {
		sentNow[r.at] = r
	}
	var found []int64
	for _, row := range seen {
		r, err := m.row(schema, row, sentNow)
		if err != nil {
			return fmt.Errorf("%w\nin the row %s", err, jsonOf(row))
		}
		found = append(found, r.at)
	}
	m.rows = m.apply(s)
	var want []int64
	for _, r := range m.rows {
		want = append(want, r.at)
		for token, sent := range r.sent {
			if sent.column == 0 && slices.Contains(found, r.at) {
				return fmt.Errorf("%d of %q is in no column", token, sent.path)
			}
		}
	}
	slices.Sort(want)
	slices.Sort(found)
	if !slices.Equal(want, found) {
		return fmt.Errorf("the table has the records of %d, not of %d", found, want)
	}
	return nil
}

func (m *model) learn(schema *iceberg.Schema) error {
	m.alive, m.emptied = map[int]bool{}, false
	return m.level(schema.Fields())
}

// level notes the columns of a schema, of which no two at one level may differ in case only.
func (m *model) level(fields []iceberg.NestedField) error {
	names := map[string]bool{}
	for _, f := range fields {
		if names[strings.ToLower(f.Name)] {
			return fmt.Errorf("two columns are called %q", f.Name)
		}
		names[strings.ToLower(f.Name)] = true
		id, t := f.ID, f.Type
		for list, ok := t.(*iceberg.ListType); ok; list, ok = t.(*iceberg.ListType) {
			id, t = list.ElementID, list.Element
		}
		m.alive[id] = true
		if s, ok := t.(*iceberg.StructType); ok {
			m.emptied = m.emptied || len(s.FieldList) == 0
			if err := m.level(s.FieldList); err != nil {
				return err
			}
		}
	}
	return nil
}

// row holds a row against its record: every value that was sent is in one column, the one where it was before.
func (m *model) row(schema *iceberg.Schema, row inspect.Row, records map[int64]*record) (*record, error) {
	var r *record
	for _, c := range row {
		switch c.Name {
		case "_airbyte_extracted_at":
			at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(c.Value))
			if err != nil {
				return nil, err
			}
			if r = records[at.UnixMilli()]; r == nil {
				return nil, fmt.Errorf("no record is of %v", at)
			}
		case "_airbyte_meta":
			if text := jsonOf(c.Value); strings.Contains(text, "NULLED") || strings.Contains(text, "TRUNCATED") {
				return nil, fmt.Errorf("a value was changed: %s", text)
			}
		}
	}
	if r == nil {
		return nil, errors.New("the row has no time")
	}
	times := map[int]int{}
	for _, c := range cells(schema.Fields(), row, 1) {
		for _, text := range tokens.FindAllString(fmt.Sprint(c.value), -1) {
			number, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return nil, err
			}
			token := int(number)
			sent := r.sent[token]
			if sent == nil {
				return nil, fmt.Errorf("the record did not send %d", token)
			}
			if times[token]++; times[token] > 1 {
				return nil, fmt.Errorf("%d is there twice", token)
			}
			if err := m.place(r, token, sent, c); err != nil {
				return nil, err
			}
		}
	}
	for token, sent := range r.sent {
		if m.alive[sent.column] && times[token] == 0 {
			return nil, fmt.Errorf("%d of %q is no more in column %d", token, sent.path, sent.column)
		}
	}
	return r, nil
}

// place holds a cell against what was sent.
func (m *model) place(r *record, token int, sent *sent, c cell) error {
	if sent.column != 0 && sent.column != c.id {
		return fmt.Errorf("%d went from column %d to %d", token, sent.column, c.id)
	}
	var value any = r.data
	path := sent.path[:min(c.depth, len(sent.path))]
	for i, step := range path {
		name, list := strings.CutSuffix(step, "[]")
		value = value.(map[string]any)[name]
		if all, ok := value.([]any); ok && list && (i < len(path)-1 || !c.text || c.value == all[0]) {
			value = all[0]
		}
	}
	kind := sent.kind
	if len(path) < len(sent.path) {
		kind = "json"
	}
	if kind == "json" {
		var got any
		if err := json.Unmarshal([]byte(fmt.Sprint(c.value)), &got); err != nil {
			return fmt.Errorf("column %d has %v: %w", c.id, c.value, err)
		}
		if !sameJSON(got, value) {
			if all, ok := value.([]any); !ok || !sameJSON(got, all[0]) {
				return fmt.Errorf("column %d has %v, not %s", c.id, c.value, jsonOf(value))
			}
		}
	} else if number, err := strconv.ParseFloat(fmt.Sprint(c.value), 64); fmt.Sprint(c.value) != fmt.Sprint(value) && (err != nil || !sameJSON(number, value)) {
		return fmt.Errorf("column %d has %v, not %v", c.id, c.value, value)
	}
	held := kind + " of " + strings.ToLower(strings.Join(path, "."))
	if owner, ok := m.owners[c.id]; ok && owner != held {
		return fmt.Errorf("column %d has %s, and %s", c.id, owner, held)
	}
	m.owners[c.id] = held
	if sent.column == 0 && len(path) == 1 {
		m.now[path[0]] = c.id
		if had := m.columns[path[0]]; had != nil {
			had[c.id] = kind
		}
	}
	sent.column = c.id
	return nil
}

// sameJSON compares a decoded value with one that was sent.
func sameJSON(got, sent any) bool {
	var decoded any
	return json.Unmarshal([]byte(jsonOf(sent)), &decoded) == nil && reflect.DeepEqual(got, decoded)
}
