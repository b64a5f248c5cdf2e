package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// A Column is a column of a table, or of an object in it.
type Column struct {
	Name     string // with dots
	Depth    int    // how many columns it is in
	Type     string
	Required bool
	Doc      string
}

// A SchemaChange is what a schema of a table has that the one before has not.
type SchemaChange struct {
	ID      int
	Since   time.Time // of the first snapshot with it; zero: no snapshot that is left has it
	Before  bool      // it may have been in use before that
	Current bool
	Changes []string
}

// columnsOf are the columns of the current schema, also those of objects.
func columnsOf(meta table.Metadata) []Column {
	var all []Column
	for _, c := range flatten(meta.CurrentSchema()) {
		all = append(all, c.Column)
	}
	return all
}

type flatColumn struct {
	Column
	id int
}

// flatten lists the columns of a schema in order, each before those in it.
func flatten(schema *iceberg.Schema) (all []flatColumn) {
	var walk func(f iceberg.NestedField, name string, depth int)
	walk = func(f iceberg.NestedField, name string, depth int) {
		all = append(all, flatColumn{Column{Name: name, Depth: depth, Type: typeName(f.Type), Required: f.Required, Doc: f.Doc}, f.ID})
		inner := []iceberg.NestedField(nil)
		switch t := f.Type.(type) {
		case *iceberg.StructType:
			inner = t.FieldList
		case *iceberg.ListType:
			if _, nested := t.Element.(iceberg.NestedType); nested {
				inner = []iceberg.NestedField{t.ElementField()}
			}
		case *iceberg.MapType:
			inner = []iceberg.NestedField{t.KeyField(), t.ValueField()}
		}
		for _, in := range inner {
			walk(in, name+"."+in.Name, depth+1)
		}
	}
	for _, f := range schema.Fields() {
		walk(f, f.Name, 0)
	}
	return all
}

// typeName is a type without the columns in it.
func typeName(of iceberg.Type) string {
	switch t := of.(type) {
	case *iceberg.StructType:
		return "struct"
	case *iceberg.ListType:
		return "list of " + typeName(t.Element)
	case *iceberg.MapType:
		return "map"
	}
	return of.String()
}

// schemaChanges compares each schema of a table with the one before it, and returns the
// newest first.
func schemaChanges(tbl *table.Table) []SchemaChange {
	meta := tbl.Metadata()
	schemas := slices.Clone(meta.Schemas())
	slices.SortFunc(schemas, func(a, b *iceberg.Schema) int { return cmp.Compare(a.ID, b.ID) })
	var all []SchemaChange
	for i, schema := range schemas {
		c := SchemaChange{ID: schema.ID, Current: schema.ID == meta.CurrentSchema().ID}
		c.Since, c.Before = firstUse(meta, schema.ID)
		if i > 0 {
			c.Changes = compare(flatten(schemas[i-1]), flatten(schema))
		}
		all = append(all, c)
	}
	slices.Reverse(all)
	return all
}

// firstUse is the time of the first snapshot with a schema, and whether a snapshot before
// it may have had it, too.
func firstUse(meta table.Metadata, schema int) (first time.Time, before bool) {
	for _, s := range meta.Snapshots() {
		if s.SchemaID == nil || *s.SchemaID != schema {
			continue
		}
		if at := fromMillis(s.TimestampMs); first.IsZero() || at.Before(first) {
			first = at
			before = s.ParentSnapshotID != nil && meta.SnapshotByID(*s.ParentSnapshotID) == nil
		}
	}
	return first, before
}

// compare says what is different in a schema. A column stays the same whatever its name.
func compare(before, after []flatColumn) (changes []string) {
	had := map[int]flatColumn{}
	for _, c := range before {
		had[c.id] = c
	}
	has := map[int]bool{}
	for _, c := range after {
		has[c.id] = true
		b, known := had[c.id]
		switch {
		case !known:
			changes = append(changes, fmt.Sprintf("%s (%s) was added", c.Name, c.Type))
			continue
		case b.Name != c.Name:
			changes = append(changes, fmt.Sprintf("%s was renamed to %s", b.Name, c.Name))
		}
		if b.Type != c.Type {
			changes = append(changes, fmt.Sprintf("%s became %s, from %s", c.Name, c.Type, b.Type))
		}
		if b.Required && !c.Required {
			changes = append(changes, c.Name+" became optional")
		}
		if !b.Required && c.Required {
			changes = append(changes, c.Name+" became required")
		}
		if b.Doc != c.Doc {
			changes = append(changes, c.Name+" has another description")
		}
	}
	for _, b := range before {
		if !has[b.id] {
			changes = append(changes, b.Name+" was removed")
		}
	}
	return changes
}
