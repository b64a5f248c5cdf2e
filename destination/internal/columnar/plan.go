package columnar

import (
	"fmt"
	"slices"
	"strings"

	"github.com/apache/iceberg-go"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columns"
	"github.com/ingest-connectors/whoop-iceberg/internal/nearest"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Nested says how objects with declared properties are kept.
type Nested string

const (
	Struct Nested = "struct" // the default
	JSON   Nested = "json"   // as a string holding JSON
)

// Numbers says how JSON numbers that are not integers are kept.
type Numbers string

const (
	Double  Numbers = "double"  // the default
	Decimal Numbers = "decimal" // decimal(38,9)
)

// Options are the user's choices; a zero value is the default.
type Options struct {
	Namespace string // of streams that carry none
	Names     columns.Names
	Nested    Nested
	Numbers   Numbers
}

// A Location is the legal names by which a catalog knows a table.
type Location struct{ Namespace, Table string }

// Identifier is the location as catalogs take it.
func (l Location) Identifier() []string {
	return append(strings.Split(l.Namespace, "."), l.Table)
}

// String is the table's full name, as in "whoop.sleep".
func (l Location) String() string { return l.Namespace + "." + l.Table }

// Plan says how the records of one stream become rows of one table.
type Plan struct {
	Stream    protocol.StreamID
	Location                  // of the table
	Named     bool            // the configuration names the table, which is no other then
	Otherwise Location        // of a table that was made with the other choice of names
	Wanted    columns.Wanted  // the properties in order and the four columns of Airbyte
	Schema    *iceberg.Schema // of a table that is yet to be made
	Dedup     bool            // keep one row per key: destination_sync_mode append_dedup
	Key       []string        // properties of the primary key; only when Dedup
	Cursor    string          // property that orders versions of a row, only when Dedup; "" orders by arrival
	Deleted   string          // _ab_cdc_deleted_at; "" when the stream has none

	fields []field // of Wanted
}

// deletedAt is the property of Airbyte's CDC sources that says that a record
// deletes its key.
const deletedAt = "_ab_cdc_deleted_at"

// NewPlan plans one stream. Its error is a Config error that names the stream,
// the field and the remedy.
func NewPlan(s protocol.ConfiguredStream, o Options) (*Plan, error) {
	id := s.ID()
	properties := parseSchema(s.Stream.JSONSchema).properties
	if err := checkDepth(properties, o); err != nil {
		return nil, &protocol.Error{Kind: protocol.ConfigError, Stream: &id, Message: fmt.Sprintf("Stream %s: %v.", id, err)}
	}
	p := &Plan{
		Stream:    id,
		Location:  o.location(o.Names, id),
		Otherwise: o.location(o.Names.Other(), id),
		Dedup:     s.DestinationSyncMode == protocol.AppendDedup,
		fields:    fieldsOf(parseSchema(s.Stream.JSONSchema).properties, o),
	}
	for _, path := range append(s.Key(), s.Cursor()) {
		if f := p.property(path); f != nil && f.kind == kindDouble {
			f.kind = kindDecimal // which is exact; whatever the mode, so that the mode can be changed later
		}
	}
	if p.Dedup {
		if err := p.keyed(s); err != nil {
			return nil, &protocol.Error{Kind: protocol.ConfigError, Stream: &id, Message: fmt.Sprintf("Stream %s: %v.", id, err)}
		}
	}
	if f := p.property([]string{deletedAt}); f != nil {
		p.Deleted = f.name
	}
	p.want(o.Names)
	evolved, err := columns.Create(p.Keyed())
	if err != nil {
		return nil, fmt.Errorf("planning stream %s: %w", id, err)
	}
	p.Schema = evolved.Schema
	return p, nil
}

// want numbers the fields and says what columns they ask for.
func (p *Plan) want(names columns.Names) {
	properties := len(p.fields)
	p.fields = append(p.fields, airbyteFields()...)
	w := wantedBuilder{json: map[int]bool{}}
	all := w.fields(p.fields)
	p.Wanted = columns.Wanted{
		Names: names, Properties: all[:properties], Airbyte: all[properties:], JSON: w.json,
	}
}

// Keyed returns the wanted columns with what tells rows apart.
func (p *Plan) Keyed() columns.Wanted {
	w := p.Wanted
	if p.Dedup {
		w.Key = p.Key
	}
	return w
}

func (o Options) location(names columns.Names, id protocol.StreamID) Location {
	namespace := id.Namespace
	if namespace == "" {
		namespace = o.Namespace
	}
	return Location{Namespace: names.Legal(namespace), Table: names.Legal(id.Name)}
}

// Alternative returns a name that is made from the stream's own names, for when
// the table of that name is another stream's; with a higher n another one.
func (p *Plan) Alternative(table string, n int) string {
	return columns.Suffixed(table, p.Stream.Namespace+"\x00"+p.Stream.Name+strings.Repeat("\x00", n))
}

// Column finds the wanted field of a top-level property; where there is no such
// property, that of the column of this name in a new table.
func (p *Plan) Column(name string) (iceberg.NestedField, bool) {
	all := slices.Concat(p.Wanted.Properties, p.Wanted.Airbyte)
	at := slices.IndexFunc(all, func(f iceberg.NestedField) bool { return f.Name == name })
	if at < 0 {
		at = slices.IndexFunc(p.Schema.Fields(), func(f iceberg.NestedField) bool { return f.Name == name })
	}
	if at < 0 {
		return iceberg.NestedField{}, false
	}
	return all[at], true
}

// keyed finds the properties that tell rows apart and that order them.
func (p *Plan) keyed(s protocol.ConfiguredStream) error {
	if len(s.Key()) == 0 {
		return fmt.Errorf("append_dedup needs a primary key; choose one in the catalog, or the sync mode append")
	}
	for _, path := range s.Key() {
		f := p.property(path)
		switch {
		case len(path) != 1:
			return fmt.Errorf("the primary key %q is inside an object; choose a key of top-level fields, or the sync mode append", protocol.PathString(path))
		case f == nil:
			return fmt.Errorf("the primary key %q is not in the stream's schema.%s Refresh the schema, or choose another key", path[0], p.didYouMean(path[0]))
		case f.kind == kindStruct || f.kind == kindList:
			return fmt.Errorf("the primary key %q is an object or an array; choose a key of strings, numbers, dates or booleans, or the sync mode append", path[0])
		}
		f.key = true
		if !slices.Contains(p.Key, f.name) {
			p.Key = append(p.Key, f.name)
		}
	}
	path := s.Cursor()
	if len(path) == 0 {
		return nil
	}
	f := p.property(path)
	switch {
	case len(path) != 1:
		return fmt.Errorf("the cursor %q is inside an object; choose a top-level field", protocol.PathString(path))
	case f == nil:
		return fmt.Errorf("the cursor %q is not in the stream's schema.%s Refresh the schema, or choose another cursor", path[0], p.didYouMean(path[0]))
	case f.kind == kindStruct || f.kind == kindList || f.kind == kindJSON:
		return fmt.Errorf("the cursor %q has no single simple type, so its values have no order; choose another cursor", path[0])
	}
	p.Cursor = f.name
	return nil
}

// didYouMean names the property that was probably meant by one that there is not.
func (p *Plan) didYouMean(name string) string {
	var names []string
	for _, f := range p.fields {
		names = append(names, f.name)
	}
	return nearest.DidYouMean(name, names)
}

// property finds a top-level property.
func (p *Plan) property(path []string) *field {
	if len(path) != 1 {
		return nil
	}
	i := slices.IndexFunc(p.fields, func(f field) bool { return f.name == path[0] })
	if i < 0 {
		return nil
	}
	return &p.fields[i]
}

// The columns that Airbyte adds to each table, the last ones of every plan.
const (
	rawIDColumn = iota
	extractedAtColumn
	metaColumn
	generationColumn
	airbyteColumns
)

func airbyteFields() []field {
	withName := func(name string, f field) field {
		f.name = name
		return f
	}
	text := field{kind: kindString}
	change := field{kind: kindStruct, fields: []field{withName("field", text), withName("change", text), withName("reason", text)}}
	changes := field{kind: kindList, element: new(field)}
	*changes.element = withName("element", change)
	return []field{
		rawIDColumn:       withName("_airbyte_raw_id", field{kind: kindString, key: true}),
		extractedAtColumn: withName("_airbyte_extracted_at", field{kind: kindTimestampTZ}),
		metaColumn: withName("_airbyte_meta", field{kind: kindStruct, fields: []field{
			withName("sync_id", field{kind: kindLong}), withName("changes", changes),
		}}),
		generationColumn: withName("_airbyte_generation_id", field{kind: kindLong}),
	}
}
