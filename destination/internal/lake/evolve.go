package lake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// evolve brings the table's schema to the plan's: columns are added, made
// wider or optional; none is ever removed, narrowed or rewritten, and what none
// of them can hold gets one more. A table that is nobody's becomes the stream's.
// Then the table is arranged as the options say.
func (t *Table) evolve(ctx context.Context, loaded *table.Table) (*table.Table, error) {
	retry := t.retry()
	for {
		if err := t.ours(loaded); err != nil {
			return nil, err
		}
		meta := loaded.Metadata()
		have := meta.CurrentSchema()
		placed, err := t.place(have, meta.Properties())
		if err != nil {
			return nil, err
		}
		t.plan, t.moves = t.given.Renamed(placed.names), placed.moves
		merged := t.merge(have, meta.LastColumnID())
		updates, err := placed.update(meta.Properties())
		if err != nil {
			return nil, err
		}
		if !sameColumns(have, merged) {
			updates = append(updates, table.NewAddSchemaUpdate(merged), table.NewSetCurrentSchemaUpdate(-1))
		}
		if _, owned := meta.Properties()[streamKey]; !owned {
			stream, err := ownerOf(t.plan.Stream)
			if err != nil {
				return nil, err
			}
			updates = append(updates, table.NewSetPropertiesUpdate(iceberg.Properties{streamKey: stream}))
		}
		reqs := []table.Requirement{
			table.AssertTableUUID(meta.TableUUID()),
			table.AssertCurrentSchemaID(have.ID),
			table.AssertLastAssignedFieldID(meta.LastColumnID()),
		}
		if len(updates) == 0 { // else in the next round, of the columns it then has
			var more []table.Requirement
			if more, updates, err = t.arrange(loaded); err != nil {
				return nil, err
			}
			reqs = append(reqs, more...)
		}
		if len(updates) == 0 {
			return loaded, nil
		}
		_, _, err = t.cat.CommitTable(ctx, t.id, reqs, updates)
		if err != nil && !errors.Is(err, table.ErrCommitFailed) {
			return nil, fmt.Errorf("changing the columns of table %s: %w", t, err)
		}
		if err != nil {
			switch more, waitErr := retry.again(ctx); {
			case waitErr != nil:
				return nil, waitErr
			case !more:
				return nil, fmt.Errorf("changing the columns of table %s: other programs have been changing it for %s: %w", t, t.persistence, err)
			}
		}
		// Another process may have changed the columns too: look again.
		if loaded, err = t.cat.LoadTable(ctx, t.id); err != nil {
			return nil, fmt.Errorf("loading table %s: %w", t, err)
		}
	}
}

// merge returns a table's schema with what the plan needs added to it. Columns
// of one name must be compatible.
func (t *Table) merge(have *iceberg.Schema, lastID int) *iceberg.Schema {
	m := merger{nextID: lastID + 1}
	fields := have.Fields()
	relax(fields, t.plan.Schema.Fields())
	for _, want := range t.plan.Schema.Fields() {
		i := slices.IndexFunc(fields, func(f iceberg.NestedField) bool { return f.Name == want.Name })
		if i < 0 {
			// New columns go before Airbyte's own, which come last.
			at := slices.IndexFunc(fields, func(f iceberg.NestedField) bool { return strings.HasPrefix(f.Name, "_airbyte_") })
			if at < 0 || strings.HasPrefix(want.Name, "_airbyte_") {
				at = len(fields)
			}
			fields = slices.Insert(fields, at, m.added(want))
			continue
		}
		fields[i] = m.field(fields[i], want)
	}
	var identifiers []int
	for _, f := range fields {
		isKey := slices.Contains(have.IdentifierFieldIDs, f.ID)
		if t.plan.Dedup {
			isKey = slices.Contains(t.plan.Key, f.Name)
		}
		// Iceberg wants identifier fields to be required, and a column that is
		// there already cannot become so.
		if isKey && f.Required {
			identifiers = append(identifiers, f.ID)
		}
	}
	if t.plan.Dedup && len(identifiers) < len(t.plan.Key) {
		identifiers = nil
	}
	return iceberg.NewSchemaWithIdentifiers(0, identifiers, fields...)
}

// relax makes optional what the source no longer sends.
func relax(have, want []iceberg.NestedField) {
	for i, h := range have {
		if !slices.ContainsFunc(want, func(w iceberg.NestedField) bool { return w.Name == h.Name }) {
			have[i].Required = false
		}
	}
}

// A merger gives new fields their ids.
type merger struct{ nextID int }

// field returns the field that holds both what is there and what is wanted.
func (m *merger) field(have, want iceberg.NestedField) iceberg.NestedField {
	have.Type = m.typ(have.Type, want.Type)
	have.Required = have.Required && want.Required
	if have.Doc == "" {
		have.Doc = want.Doc
	}
	return have
}

func (m *merger) typ(have, want iceberg.Type) iceberg.Type {
	switch have := have.(type) {
	case *iceberg.StructType:
		wanted := want.(*iceberg.StructType).FieldList
		fields := slices.Clone(have.FieldList)
		relax(fields, wanted)
		for _, w := range wanted {
			i := slices.IndexFunc(fields, func(f iceberg.NestedField) bool { return f.Name == w.Name })
			if i < 0 {
				fields = append(fields, m.added(w))
				continue
			}
			fields[i] = m.field(fields[i], w)
		}
		return &iceberg.StructType{FieldList: fields}
	case *iceberg.ListType:
		want := want.(*iceberg.ListType)
		return &iceberg.ListType{
			ElementID: have.ElementID, Element: m.typ(have.Element, want.Element),
			ElementRequired: have.ElementRequired && want.ElementRequired,
		}
	}
	if widens(have, want) {
		return want
	}
	return have
}

// widens reports whether every value of one type is a value of the other and
// Iceberg lets a column change so.
func widens(from, to iceberg.Type) bool {
	switch from := from.(type) {
	case iceberg.Int32Type:
		return to.Equals(iceberg.PrimitiveTypes.Int64)
	case iceberg.Float32Type:
		return to.Equals(iceberg.PrimitiveTypes.Float64)
	case iceberg.DecimalType:
		to, ok := to.(iceberg.DecimalType)
		return ok && from.Scale() == to.Scale() && from.Precision() <= to.Precision()
	}
	return false
}

// added is a wanted field with fresh ids, optional because rows that are there
// have no value for it.
func (m *merger) added(want iceberg.NestedField) iceberg.NestedField {
	want.ID = m.next()
	want.Type = m.fresh(want.Type)
	want.Required = false
	return want
}

func (m *merger) fresh(t iceberg.Type) iceberg.Type {
	switch t := t.(type) {
	case *iceberg.StructType:
		fields := slices.Clone(t.FieldList)
		for i := range fields {
			fields[i].ID = m.next()
		}
		for i := range fields {
			fields[i].Type = m.fresh(fields[i].Type)
		}
		return &iceberg.StructType{FieldList: fields}
	case *iceberg.ListType:
		id := m.next()
		return &iceberg.ListType{ElementID: id, Element: m.fresh(t.Element), ElementRequired: t.ElementRequired}
	}
	return t
}

func (m *merger) next() int {
	id := m.nextID
	m.nextID++
	return id
}

// sameColumns compares all but the schemas' ids.
func sameColumns(a, b *iceberg.Schema) bool {
	identifiers := func(s *iceberg.Schema) []int { return slices.Sorted(slices.Values(s.IdentifierFieldIDs)) }
	return slices.Equal(identifiers(a), identifiers(b)) && slices.EqualFunc(a.Fields(), b.Fields(), func(a, b iceberg.NestedField) bool {
		return a.Equals(b)
	})
}
