// Package tabledef says what the table of a stream is to be: its columns,
// partition spec, sort order, properties and owner. It computes that from the
// stream's plan, the user's settings and the table's metadata, and changes
// nothing itself: it returns what to require of the catalog and what to update.
package tabledef

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columns"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Settings is what the user's configuration says of a table. What is nil stays
// as it is in the table, and so do files that are already there.
type Settings struct {
	PartitionBy []PartitionBy
	SortBy      []SortBy
	Properties  map[string]string
	Connection  string // the only one that may write the table; "": no name
}

// A Definition is what the table of a stream is to be.
type Definition struct {
	Plan    *columnar.Plan
	Columns *columns.Evolution // the table's columns, and which property goes to which
	Settings
}

// String is the table's name.
func (d Definition) String() string { return d.Plan.Location.String() }

// A New is a table to create.
type New struct {
	Schema     *iceberg.Schema // with provisional ids: catalogs choose their own
	Spec       iceberg.PartitionSpec
	Order      table.SortOrder
	Properties iceberg.Properties
}

// Create defines a new table.
func Create(p *columnar.Plan, s Settings) (*New, error) {
	stream, err := ownerProperty(p.Stream)
	if err != nil {
		return nil, err
	}
	d := Definition{Plan: p, Settings: s}
	if d.Columns, err = columns.Create(p.Keyed()); err != nil {
		return nil, err
	}
	n := &New{Schema: d.Columns.Schema, Properties: iceberg.Properties{streamKey: stream}}
	if s.Connection != "" {
		n.Properties[connectionKey] = s.Connection
	}
	maps.Copy(n.Properties, s.Properties)
	if n.Spec, err = d.newSpec(); err != nil {
		return nil, err
	}
	fields, err := d.sortFields(d.Columns.Schema)
	if err != nil {
		return nil, err
	}
	n.Order, err = newOrder(table.InitialSortOrderID, fields)
	return n, err
}

// A Change is what brings a table one step closer to its definition.
type Change struct {
	Requirements []table.Requirement
	Updates      []table.Update // none: the table is as defined
}

// String names the properties that a change sets or removes, and its other updates as the REST
// catalog's API calls them.
func (c Change) String() string {
	var properties, others []string
	for _, u := range c.Updates {
		var of struct {
			Updates  map[string]string `json:"updates"`
			Removals []string          `json:"removals"`
		}
		text, err := json.Marshal(u)
		if err == nil {
			err = json.Unmarshal(text, &of)
		}
		if of.Updates == nil && of.Removals == nil || err != nil {
			others = append(others, u.Action())
			continue
		}
		properties = append(slices.AppendSeq(properties, maps.Keys(of.Updates)), of.Removals...)
	}
	if slices.Sort(properties); len(properties) > 0 {
		others = append([]string{"properties " + strings.Join(properties, ", ")}, others...)
	}
	return strings.Join(others, ", ")
}

// Evolve defines a table that exists: package columns has the rules for its
// columns. A table without an owner becomes the stream's. First the columns
// change; the change after that partitions and sorts by what they then are.
func Evolve(p *columnar.Plan, s Settings, loaded *table.Table) (Definition, Change, error) {
	d := Definition{Plan: p, Settings: s}
	if err := checkOwner(p, s.Connection, loaded); err != nil {
		return d, Change{}, err
	}
	meta := loaded.Metadata()
	if err := d.checkFieldNames(meta.PartitionSpecs()); err != nil {
		return d, Change{}, err
	}
	have := meta.CurrentSchema()
	_, owned := meta.Properties()[streamKey]
	recorded := meta.Properties()
	if isCopy(meta) {
		recorded = columns.WithoutIDs(recorded)
	}
	var err error
	if d.Columns, err = columns.Evolve(p.Keyed(), have, meta.LastColumnID(), partitionFieldNames(meta.PartitionSpecs()), recorded, owned); err != nil {
		return d, Change{}, d.explainColumns(err)
	}
	var c Change
	if !SameColumns(have, d.Columns.Schema) {
		c.Updates = append(c.Updates, table.NewAddSchemaUpdate(withNewID(meta, d.Columns.Schema)), table.NewSetCurrentSchemaUpdate(-1))
	}
	if names, err := extendNameMapping(meta, d.Columns.Schema); err != nil {
		return d, Change{}, err
	} else if names != nil {
		c.Updates = append(c.Updates, table.NewSetPropertiesUpdate(names))
	}
	set, remove := d.Columns.Properties(meta.Properties())
	if set != nil {
		c.Updates = append(c.Updates, table.NewSetPropertiesUpdate(set))
	}
	if remove != nil {
		c.Updates = append(c.Updates, table.NewRemovePropertiesUpdate(remove))
	}
	if isCopy(meta) {
		c.Updates = append(c.Updates, MarkOwn(meta)...)
	}
	if !owned {
		stream, err := ownerProperty(p.Stream)
		if err != nil {
			return d, Change{}, err
		}
		c.Updates = append(c.Updates, table.NewSetPropertiesUpdate(iceberg.Properties{streamKey: stream}))
	}
	if s.Connection != "" && meta.Properties()[connectionKey] == "" {
		c.Updates = append(c.Updates, table.NewSetPropertiesUpdate(iceberg.Properties{connectionKey: s.Connection}))
	}
	if len(c.Updates) == 0 {
		if c, err = d.changeSettings(loaded); err != nil {
			return d, Change{}, err
		}
	}
	c.Requirements = append(c.Requirements,
		table.AssertTableUUID(meta.TableUUID()), table.AssertCurrentSchemaID(have.ID), table.AssertLastAssignedFieldID(meta.LastColumnID()))
	return d, c, nil
}

// withNewID is a schema with an id that no other schema of the table has. Most catalogs
// give it one themselves; Nessie does not.
func withNewID(meta table.Metadata, schema *iceberg.Schema) *iceberg.Schema {
	id := 0
	for _, other := range meta.Schemas() {
		id = max(id, other.ID+1)
	}
	return iceberg.NewSchemaWithIdentifiers(id, schema.IdentifierFieldIDs, schema.Fields()...)
}

// changeSettings brings a table's partition spec, sort order and properties to
// the settings. Files that are there stay as they are: each names the spec it
// was written with, and a field that comes back gets the id that it had.
func (d Definition) changeSettings(loaded *table.Table) (c Change, err error) {
	if c.Requirements, c.Updates, err = d.changeSpec(loaded); err != nil {
		return Change{}, err
	}
	meta := loaded.Metadata()
	order, err := d.changeOrder(meta)
	if err != nil {
		return Change{}, err
	}
	if len(order) > 0 {
		c.Requirements = append(c.Requirements, table.AssertDefaultSortOrderID(meta.DefaultSortOrder()))
		c.Updates = append(c.Updates, order...)
	}
	props := iceberg.Properties{}
	for key, value := range d.Settings.Properties {
		if now, ok := meta.Properties()[key]; !ok || now != value {
			props[key] = value
		}
	}
	if len(props) > 0 {
		c.Updates = append(c.Updates, table.NewSetPropertiesUpdate(props))
	}
	return c, nil
}

// explainColumns says why the table cannot have the plan's columns.
func (d Definition) explainColumns(err error) error {
	var conflict *columns.Conflict
	if errors.As(err, &conflict) {
		return d.configError(nil, "Column %q of table %s %s", conflict.Column, d, conflict.Reason)
	}
	var spoiled *columns.PropertyError
	if errors.As(err, &spoiled) {
		return d.configError(spoiled.Err, "The property %s of table %s is not what this program wrote there: %v. Set it back. If nobody knows what it was, remove it: properties then keep the columns of their names.", spoiled.Key, d, spoiled.Err)
	}
	return fmt.Errorf("evolving the columns of table %s: %w", d, err)
}

// column finds the table's column that a property's values go to.
func (d Definition) column(schema *iceberg.Schema, property string) (iceberg.NestedField, error) {
	if wanted, ok := d.Plan.Column(property); ok {
		if f, ok := schema.FindFieldByID(d.Columns.IDs[wanted.ID]); ok {
			return f, nil
		}
	}
	return iceberg.NestedField{}, fmt.Errorf("defining table %s: it has no column for %q", d, property)
}

func (d Definition) configError(cause error, format string, args ...any) error {
	return &protocol.Error{Kind: protocol.ConfigError, Stream: &d.Plan.Stream, Message: fmt.Sprintf(format, args...), Err: cause}
}

// SameColumns compares schemas by all but their ids.
func SameColumns(a, b *iceberg.Schema) bool {
	identifiers := func(s *iceberg.Schema) []int { return slices.Sorted(slices.Values(s.IdentifierFieldIDs)) }
	return slices.Equal(identifiers(a), identifiers(b)) && slices.EqualFunc(a.Fields(), b.Fields(), func(a, b iceberg.NestedField) bool {
		return a.Equals(b)
	})
}
