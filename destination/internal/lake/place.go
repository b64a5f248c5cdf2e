package lake

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// movedKey is the table property that says of which columns of the stream a
// column holds values, for those that are not called as in the stream's plan:
// an object from the path of the table's column to that of the stream's.
const movedKey = "airbyte.moved-columns"

// A Move says that a column of the stream is kept under another name, because
// the table's column of its name holds another type.
type Move struct {
	Column string // path of the stream's
	To     string // path of the table's
	Holds  string // type of the table's column of the stream's name
	Sends  string // type of the stream's
}

// maxColumn is the longest name of a column in bytes, as for the plan's own.
const maxColumn = 127

// placer finds for each column of a plan the column of the table that takes
// its values: the one of its name; where that has another type the one of name
// and type, which is made if need be. So no type is ever changed under a
// reader's eyes, and a source that returns to the old type returns to the old
// column.
type placer struct {
	t     *Table
	moved map[string]string // as movedKey says
	names map[string]string // other names for the columns of the plan, by path
	moves []Move
}

// place finds the columns of a table for the plan as it was given.
func (t *Table) place(have *iceberg.Schema, props iceberg.Properties) (*placer, error) {
	p := &placer{t: t, moved: map[string]string{}, names: map[string]string{}}
	if recorded, ok := props[movedKey]; ok {
		if err := json.Unmarshal([]byte(recorded), &p.moved); err != nil {
			return nil, fmt.Errorf("reading the property %s of table %s: %w", movedKey, t, err)
		}
	}
	return p, p.fields(have.Fields(), t.given.Schema.Fields(), "", "")
}

// update records the moves that are new.
func (p *placer) update(props iceberg.Properties) ([]table.Update, error) {
	if len(p.moved) == 0 {
		return nil, nil
	}
	data, err := json.Marshal(p.moved)
	if err != nil {
		return nil, fmt.Errorf("recording the moved columns of table %s: %w", p.t, err)
	}
	if string(data) == props[movedKey] {
		return nil, nil
	}
	return []table.Update{table.NewSetPropertiesUpdate(iceberg.Properties{movedKey: string(data)})}, nil
}

// fields places the fields of one object. The paths of the table's fields begin
// with in, those of the plan's with from.
func (p *placer) fields(have, want []iceberg.NestedField, in, from string) error {
	taken := map[string]struct{}{} // names that are not free, in lower case
	for _, f := range slices.Concat(have, want) {
		taken[strings.ToLower(f.Name)] = struct{}{}
	}
	for _, w := range want {
		at := slices.IndexFunc(have, func(h iceberg.NestedField) bool { return h.Name == w.Name })
		if at < 0 {
			continue // added under its name
		}
		h := have[at]
		if _, others := p.moved[in+w.Name]; others || !compatible(h.Type, w.Type) {
			moved, err := p.move(have, h, w, taken, in, from)
			if err != nil {
				return err
			}
			if moved == nil {
				continue
			}
			h = *moved
		}
		if err := p.inside(h.Type, w.Type, in+h.Name, from+w.Name); err != nil {
			return err
		}
	}
	return nil
}

// inside places what is inside a column that has a place.
func (p *placer) inside(have, want iceberg.Type, in, from string) error {
	switch have := have.(type) {
	case *iceberg.StructType:
		return p.fields(have.FieldList, want.(*iceberg.StructType).FieldList, in+".", from+".")
	case *iceberg.ListType:
		return p.inside(have.Element, want.(*iceberg.ListType).Element, in+".element", from+".element")
	}
	return nil
}

// move finds another column for w than h, which has its name. It returns nil
// when that column is yet to be added.
func (p *placer) move(have []iceberg.NestedField, h, w iceberg.NestedField, taken map[string]struct{}, in, from string) (*iceberg.NestedField, error) {
	if from == "" && (slices.Contains(p.t.given.Key, w.Name) || strings.HasPrefix(w.Name, "_airbyte_")) {
		what := "is part of the primary key"
		if strings.HasPrefix(w.Name, "_airbyte_") {
			what = "is this program's own"
		}
		return nil, p.t.configError(nil,
			"Column %q of table %s %s and holds %s, and now %s is to be written. Rename the table in the catalog or write the stream to another namespace, then sync it anew.",
			w.Name, p.t, what, h.Type, w.Type)
	}
	for n := 1; ; n++ {
		name := movedName(w, n)
		at := slices.IndexFunc(have, func(h iceberg.NestedField) bool { return h.Name == name })
		switch {
		case at >= 0 && p.moved[in+name] == from+w.Name && compatible(have[at].Type, w.Type):
		case at < 0 && !has(taken, strings.ToLower(name)):
			taken[strings.ToLower(name)] = struct{}{}
		default:
			continue
		}
		p.moved[in+name], p.names[from+w.Name] = from+w.Name, name
		p.moves = append(p.moves, Move{Column: from + w.Name, To: in + name, Holds: h.Type.String(), Sends: w.Type.String()})
		if at < 0 {
			return nil, nil
		}
		return &have[at], nil
	}
}

func has(set map[string]struct{}, name string) bool {
	_, ok := set[name]
	return ok
}

// movedName is the n-th choice, from 1, of a name for a column that cannot
// have its own.
func movedName(w iceberg.NestedField, n int) string {
	suffix := "_" + w.Type.Type()
	if d, ok := w.Type.(iceberg.DecimalType); ok {
		suffix = fmt.Sprintf("_decimal_%d_%d", d.Precision(), d.Scale())
	}
	if n > 1 {
		suffix += fmt.Sprintf("_%d", n)
	}
	return strings.ToValidUTF8(w.Name[:min(len(w.Name), maxColumn-len(suffix))], "") + suffix
}

// compatible tells whether one column can hold the values of both types, apart
// from what is inside of structs, which have columns of their own.
func compatible(have, want iceberg.Type) bool {
	switch have := have.(type) {
	case *iceberg.StructType:
		_, ok := want.(*iceberg.StructType)
		return ok
	case *iceberg.ListType:
		want, ok := want.(*iceberg.ListType)
		return ok && compatible(have.Element, want.Element)
	}
	return have.Equals(want) || widens(want, have) || widens(have, want)
}
