package main

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/syncer"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/internal/nearest"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// StreamConfig is the user's configuration of one stream's table. What is left out
// stays as the table has it; an empty list removes what the table has.
type StreamConfig struct {
	Name        string          `json:"name" jsonschema:"required,title=Stream,example=sleep"`
	Namespace   string          `json:"namespace,omitempty" jsonschema:"title=Namespace"`
	Table       string          `json:"table,omitempty" jsonschema:"title=Table,example=nights"`
	PartitionBy []string        `json:"partition_by,omitempty" jsonschema:"title=Partition by,example=month(start)"`
	SortBy      []string        `json:"sort_by,omitempty" jsonschema:"title=Sort by,example=start desc"`
	Properties  TableProperties `json:"properties,omitempty" jsonschema:"title=Table properties"`
}

// Descriptions describes the keys in the specification.
func (StreamConfig) Descriptions() map[string]string {
	return map[string]string{
		"name":      "The stream's name, as the source has it.",
		"namespace": "The stream's namespace, if it has one.",
		"table":     "The table of the stream, if it is not the one of its name: TABLE or NAMESPACE.TABLE. The rename command prints this entry.",
		"partition_by": "What the table's files are partitioned by: properties of the stream, each alone or as year(p), month(p), day(p), hour(p), " +
			"bucket(N, p) or truncate(W, p). Existing files stay as they are.",
		"sort_by":    `The order of the rows in each file: properties of the stream, each ascending, or descending with "desc" after it. Nulls come first in ascending order.`,
		"properties": "Iceberg table properties to set, as text. Properties that are not listed stay as they are.",
	}
}

// TableProperties are Iceberg table properties by name.
type TableProperties map[string]string

// JSONSchema lists some of the properties, since forms cannot ask for names.
func (TableProperties) JSONSchema() *jsonschema.Schema {
	shown := jsonschema.NewProperties()
	for _, p := range []struct{ name, title, description string }{
		{"comment", "Comment", "What the table is for."},
		{"write.target-file-size-bytes", "File size", "Size in bytes at which a data file is closed."},
		{"gc.enabled", "Garbage collection", "If false, no snapshot of the table expires and no file is removed."},
	} {
		shown.Set(p.name, &jsonschema.Schema{Type: "string", Title: p.title, Description: p.description})
	}
	return &jsonschema.Schema{Type: "object", Properties: shown, PropertyNames: &jsonschema.Schema{Type: "string"}}
}

func (s StreamConfig) id() protocol.StreamID {
	return protocol.StreamID{Namespace: s.Namespace, Name: s.Name}
}

// options returns the settings of the stream's table, and what is wrong with them:
// config_errors that name the stream and the remedy.
func (s StreamConfig) options() (lake.Options, []error) {
	o := lake.Options{Settings: tabledef.Settings{Properties: s.Properties}}
	if s.Name == "" {
		return o, []error{protocol.ConfigError.Errorf(nil, `An entry of the configuration's "streams" has no "name". Give the name of the stream it is for.`)}
	}
	id := s.id()
	var faults []error
	refuse := func(key, field string, err error) {
		faults = append(faults, &protocol.Error{Kind: protocol.ConfigError, Stream: &id, Message: fmt.Sprintf("The configuration of stream %s has %q in %q: %v.", id, field, key, err)})
	}
	if s.PartitionBy != nil {
		o.PartitionBy = []tabledef.PartitionBy{}
	}
	for _, field := range s.PartitionBy {
		by, err := tabledef.ParsePartitionBy(field)
		if err != nil {
			refuse("partition_by", field, err)
			continue
		}
		o.PartitionBy = append(o.PartitionBy, by)
	}
	sameName := func(a, b string) bool { return a == b } // only the catalog tells which columns they are
	if earlier, by, found := tabledef.Redundant(o.PartitionBy, sameName); found {
		refuse("partition_by", by.String(), fmt.Errorf("it adds nothing to %q; leave one out", earlier))
	}
	if s.SortBy != nil {
		o.SortBy = []tabledef.SortBy{}
	}
	for _, field := range s.SortBy {
		by, err := tabledef.ParseSortBy(field)
		if err != nil {
			refuse("sort_by", field, err)
			continue
		}
		if slices.ContainsFunc(o.SortBy, func(earlier tabledef.SortBy) bool { return earlier.Column == by.Column }) {
			refuse("sort_by", field, errors.New("the column is listed twice; leave one out"))
		}
		o.SortBy = append(o.SortBy, by)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if err := tabledef.CheckProperty(name, s.Properties[name]); err != nil {
			refuse("properties", name, err)
		}
	}
	return o, faults
}

// streamFaults returns what is wrong with the entries, whatever the catalog has.
func (c Config) streamFaults() []error {
	var faults []error
	seen := map[protocol.StreamID]bool{}
	tables := map[string]protocol.StreamID{}
	for _, s := range c.Streams {
		_, wrong := s.options()
		faults = append(faults, wrong...)
		if s.Table != "" {
			faults = append(faults, c.checkTableName(s.Table))
			at := c.locationOf(s).String()
			if other, taken := tables[at]; taken && other != s.id() {
				faults = append(faults, protocol.ConfigError.Errorf(nil, `The configuration has streams %s and %s with the same "table", %s. Each stream needs a table of its own.`, other, s.id(), at))
			}
			tables[at] = s.id()
		}
		id := s.id()
		if seen[id] && id.Name != "" {
			faults = append(faults, &protocol.Error{Kind: protocol.ConfigError, Stream: &id, Message: fmt.Sprintf(
				`The configuration has stream %s twice in "streams". Leave one entry.`, id)})
		}
		seen[id] = true
	}
	return faults
}

// warnOfStrayStreams warns of entries for streams that are not in the catalog.
func (c Config) warnOfStrayStreams(streams syncer.Streams, log *slog.Logger) {
	var names []string
	for _, s := range streams.All() {
		names = append(names, s.ID.String())
	}
	for _, s := range c.Streams {
		if id := s.id(); !streams.Has(id) {
			log.Warn("the configuration's \"streams\" has an entry for a stream that is not in the catalog: it has no effect."+nearest.DidYouMean(id.String(), names), "stream", id.String())
		}
	}
}

// tableOptions returns the settings of a stream's table. The configuration must have
// no faults.
func (c Config) tableOptions(id protocol.StreamID) lake.Options {
	o := c.lakeOptions()
	for _, s := range c.Streams {
		if s.id() == id {
			of, _ := s.options()
			o.Settings = of.Settings
		}
	}
	o.Connection = c.Connection
	return o
}

// plan returns the plan of a stream's table under this configuration.
func (c Config) plan(s protocol.ConfiguredStream) (*columnar.Plan, error) {
	p, err := columnar.NewPlan(s, columnar.Options{Namespace: c.Namespace, Names: c.Names, Nested: c.Nested, Numbers: c.Numbers})
	if err != nil {
		return nil, err
	}
	for _, s := range c.Streams {
		if s.id() == p.Stream && s.Table != "" {
			p.Location, p.Named = c.locationOf(s), true
			p.Otherwise = p.Location
		}
	}
	return p, nil
}

// locationOf is the table that an entry names: in the namespace that it names, or in that
// of the stream.
func (c Config) locationOf(s StreamConfig) columnar.Location {
	if dot := strings.LastIndex(s.Table, "."); dot >= 0 {
		return columnar.Location{Namespace: s.Table[:dot], Table: s.Table[dot+1:]}
	}
	at := columnar.Location{Namespace: c.Namespace, Table: s.Table}
	if s.Namespace != "" {
		at.Namespace = c.Names.Legal(s.Namespace)
	}
	return at
}
