package columns

import (
	"fmt"
	"slices"

	"github.com/apache/iceberg-go"
)

// Wanted is the columns that a stream asks for. The ids in it only tell fields
// apart.
type Wanted struct {
	Names      Names
	Properties []iceberg.NestedField // called as the source spells them, with their descriptions as docs
	Airbyte    []iceberg.NestedField // Airbyte's own, called as their columns
	JSON       map[int]bool          // fields whose strings are JSON
	Key        []string              // properties that tell rows apart; nil: rows are appended
}

// isAirbyte reports whether a column of the table is one of Airbyte's own.
func (w Wanted) isAirbyte(f iceberg.NestedField) bool {
	return slices.ContainsFunc(w.Airbyte, func(own iceberg.NestedField) bool { return own.Name == f.Name })
}

// Evolution is a table's schema with all that a stream asked for.
type Evolution struct {
	Schema      *iceberg.Schema
	IDs         map[int]int // from the ids of the wanted fields to those of the columns
	TypeChanges []TypeChange
	mapping     string
	docs        string
}

// A TypeChange says that values of a property do not go to its oldest column, because
// that holds another type.
type TypeChange struct {
	Column string // path of the oldest column
	To     string // path of the column that takes the values
	Holds  string // type of the oldest
	Sends  string // type of the values
}

// A Conflict is an error that says why a column cannot take the values of a
// property, and what to do.
type Conflict struct{ Column, Reason string }

func (c *Conflict) Error() string { return fmt.Sprintf("column %q %s", c.Column, c.Reason) }

// Create plans the columns of a table that is yet to be made.
func Create(want Wanted) (*Evolution, error) {
	ev := &evolver{want: want, mapping: newMapping(), docs: docs{hashes: map[int]string{}}, ids: map[int]int{}, next: 1, isNew: true}
	return ev.evolve(iceberg.NewSchema(0))
}

// Evolve adds columns to a table. lastID is the highest id of a column that it
// ever had, and made tells that this program has made it. No new column gets the
// name of one of its partition fields: Iceberg's Java library does not load a
// table in which such a field is not made of the column of its name, be it a
// field of a former spec. Errors may be a *[Conflict].
func Evolve(want Wanted, have *iceberg.Schema, lastID int, partitionFields []string, props iceberg.Properties, made bool) (*Evolution, error) {
	m, known, err := read(props)
	if err != nil {
		return nil, err
	}
	if !known {
		m = adopt(have, want, made)
	}
	d, err := readDocs(props, made)
	if err != nil {
		return nil, err
	}
	ev := &evolver{want: want, mapping: m, docs: d, ids: map[int]int{}, next: lastID + 1, byName: !known && !made, partitionFields: partitionFields}
	return ev.evolve(have)
}

// Properties returns the table properties to be set and to be removed.
func (ev *Evolution) Properties(props iceberg.Properties) (set iceberg.Properties, remove []string) {
	for key, value := range map[string]string{mappingKey: ev.mapping, docsKey: ev.docs} {
		if props[key] != value {
			if set == nil {
				set = iceberg.Properties{}
			}
			set[key] = value
		}
	}
	if _, superseded := props[movedKey]; superseded {
		remove = []string{movedKey}
	}
	return set, remove
}

type evolver struct {
	want        Wanted
	mapping     *mapping
	docs        docs
	ids         map[int]int
	next        int
	isNew       bool // no column was there before, so those that are wanted as required are
	byName      bool // columns of another program are adopted
	typeChanges []TypeChange

	partitionFields []string // names of all specs' fields
}

func (ev *evolver) evolve(have *iceberg.Schema) (*Evolution, error) {
	fields, err := ev.level(level{top: true, withoutRows: ev.isNew}, have.Fields(), ev.want.Properties, ev.want.Airbyte)
	if err != nil {
		return nil, err
	}
	if err := filled(fields, ""); err != nil {
		return nil, err
	}
	evolved := &Evolution{Schema: iceberg.NewSchemaWithIdentifiers(0, ev.identifiers(have, fields), fields...), IDs: ev.ids, TypeChanges: ev.typeChanges}
	if evolved.mapping, err = ev.mapping.encode(); err != nil {
		return nil, fmt.Errorf("recording columns: %w", err)
	}
	if evolved.docs, err = ev.docs.encode(); err != nil {
		return nil, fmt.Errorf("recording the docs of columns: %w", err)
	}
	return evolved, nil
}

// filled looks for objects of which another program has dropped every field. Their rows cannot be read, and the
// library counts no field ids in a schema that has one, so it would give them twice.
func filled(fields []iceberg.NestedField, path string) error {
	for _, f := range fields {
		t, in := f.Type, path+f.Name
		for list, ok := t.(*iceberg.ListType); ok; list, ok = t.(*iceberg.ListType) {
			t, in = list.Element, in+".element"
		}
		s, ok := t.(*iceberg.StructType)
		switch {
		case !ok:
		case len(s.FieldList) == 0:
			return &Conflict{in, "has no fields: another program has dropped them all. Drop the column too, or add a field to it."}
		default:
			if err := filled(s.FieldList, in+"."); err != nil {
				return err
			}
		}
	}
	return nil
}

// identifiers are the columns of the key, if all of them can be identifier
// fields; those that the table has, if rows are appended.
func (ev *evolver) identifiers(have *iceberg.Schema, fields []iceberg.NestedField) []int {
	keys := have.IdentifierFieldIDs
	if ev.want.Key != nil {
		keys = nil
		for _, w := range ev.want.Properties {
			if slices.Contains(ev.want.Key, w.Name) {
				keys = append(keys, ev.ids[w.ID])
			}
		}
	}
	var identifiers []int
	for _, f := range fields {
		_, single := f.Type.(iceberg.Float32Type)
		_, double := f.Type.(iceberg.Float64Type)
		if slices.Contains(keys, f.ID) && f.Required && !single && !double {
			identifiers = append(identifiers, f.ID)
		}
	}
	if ev.want.Key != nil && len(identifiers) < len(keys) {
		return nil
	}
	return identifiers
}

// A level is the columns of a table, or those inside of one.
type level struct {
	in          int    // id of the column around
	top         bool   // of the table
	withoutRows bool   // no rows are there, so what is wanted as required is
	path        string // of its columns begins so
}

// level returns the columns of a level with those that are wanted added to them.
// fixed are wanted ones that go by their names.
func (ev *evolver) level(l level, have, want, fixed []iceberg.NestedField) ([]iceberg.NestedField, error) {
	fields := slices.Clone(have)
	targets, err := ev.choose(l, have, want)
	if err != nil {
		return nil, err
	}
	for _, w := range fixed {
		s := target{want: w, name: w.Name, fixed: true}
		s.at = slices.IndexFunc(have, func(h iceberg.NestedField) bool { return h.Name == w.Name })
		if s.at >= 0 && ev.fits(have[s.at].Type, have[s.at].ID, w.Type, w.ID) == unfit {
			return nil, ev.typeConflict(have[s.at], w, "is this program's own", l.path)
		}
		if s.at < 0 && slices.Contains(ev.partitionFields, w.Name) {
			return nil, &Conflict{w.Name, "is this program's own and is not there, but a partition field has its name. Rename the table in the catalog, or write the stream to another namespace, then sync it from the beginning."}
		}
		targets = append(targets, s)
	}
	taken := make([]bool, len(have))
	for i := range targets {
		s := &targets[i]
		w := s.want
		if s.at < 0 {
			s.at = len(fields)
			fields = append(fields, iceberg.NestedField{ID: ev.nextID(), Name: s.name, Doc: w.Doc, Required: w.Required && l.withoutRows})
		} else {
			taken[s.at] = true
			fields[s.at].Required = fields[s.at].Required && w.Required
		}
		f := &fields[s.at]
		if !s.fixed {
			ev.docs.describe(f, w)
			ev.mapColumn(l.in, w, f.ID)
		}
		ev.ids[w.ID] = f.ID
	}
	for i, wanted := range taken {
		fields[i].Required = fields[i].Required && wanted
	}
	for _, s := range targets {
		f := &fields[s.at]
		inside := level{in: f.ID, withoutRows: l.withoutRows || f.Type == nil, path: l.path + f.Name}
		if f.Type, err = ev.typ(inside, f.Type, s.want.Type, s.want.ID, s.fixed); err != nil {
			return nil, err
		}
	}
	return ev.orderColumns(l, fields, len(have)), nil
}

// orderColumns puts new columns before Airbyte's own, which come last.
func (ev *evolver) orderColumns(l level, fields []iceberg.NestedField, old int) []iceberg.NestedField {
	at := slices.IndexFunc(fields[:old], ev.want.isAirbyte)
	if !l.top || at < 0 {
		return fields
	}
	added := slices.IndexFunc(fields[old:], ev.want.isAirbyte)
	if added < 0 {
		added = len(fields) - old
	}
	return slices.Concat(fields[:at], fields[old:old+added], fields[at:old], fields[old+added:])
}

// mapColumn adds the entry of a property and a column, unless it is there.
func (ev *evolver) mapColumn(in int, want iceberg.NestedField, id int) {
	e := entry{ID: id, In: in, Property: want.Name, Holds: ev.contentOf(want.ID)}
	tied := slices.ContainsFunc(ev.mapping.tied[id], func(other *entry) bool { return other.Property == e.Property })
	if !tied || e.Holds != ev.mapping.holds[id] {
		ev.mapping.add(e)
	}
}

// typ returns the type of a column that holds what is there, nil for nothing,
// and what is wanted.
func (ev *evolver) typ(l level, have, want iceberg.Type, wantID int, fixed bool) (iceberg.Type, error) {
	switch want := want.(type) {
	case *iceberg.StructType:
		var inside []iceberg.NestedField
		if have != nil {
			inside = have.(*iceberg.StructType).FieldList
		}
		l.path += "."
		wanted, byName := want.FieldList, []iceberg.NestedField(nil)
		if fixed {
			wanted, byName = nil, want.FieldList
		}
		fields, err := ev.level(l, inside, wanted, byName)
		return &iceberg.StructType{FieldList: fields}, err
	case *iceberg.ListType:
		list := iceberg.ListType{ElementRequired: want.ElementRequired && l.withoutRows}
		var element iceberg.Type
		if have != nil {
			list = *have.(*iceberg.ListType)
			list.ElementRequired = list.ElementRequired && want.ElementRequired
			element = list.Element
		} else {
			list.ElementID = ev.nextID()
		}
		ev.ids[want.ElementID] = list.ElementID
		if holds := ev.contentOf(want.ElementID); !fixed && holds != ev.mapping.holds[list.ElementID] {
			ev.mapping.add(entry{ID: list.ElementID, In: l.in, Holds: holds})
		}
		var err error
		l.in, l.path = list.ElementID, l.path+".element"
		list.Element, err = ev.typ(l, element, want.Element, want.ElementID, fixed)
		return &list, err
	}
	if have == nil {
		return want, nil
	}
	return widened(have, want), nil
}

func (ev *evolver) nextID() int {
	id := ev.next
	ev.next++
	return id
}

func (ev *evolver) typeConflict(have, want iceberg.NestedField, what, path string) error {
	return &Conflict{path + have.Name, fmt.Sprintf("%s and holds %s, but now %s must be written. Rename the table in the catalog, or write the stream to another namespace, then sync it from the beginning.",
		what, describe(have.Type, ev.mapping.holds[have.ID]), describe(want.Type, ev.contentOf(want.ID)))}
}
