package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columns"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/syncer"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Config is what the user says of the lake. Everything but the warehouse has
// a default.
type Config struct {
	Warehouse  string              `json:"warehouse" jsonschema:"required,title=Warehouse,pattern=^file:///.+,example=file:///local/lake" jsonschema_description:"Where the tables live: file:///absolute/path." jsonschema_extras:"order=0,pattern_descriptor=file:///absolute/path"`
	Namespace  string              `json:"namespace,omitempty" jsonschema:"title=Namespace,default=airbyte" jsonschema_description:"Iceberg namespace of the streams that carry none." jsonschema_extras:"order=1"`
	Catalog    catalogs.Config     `json:"catalog,omitempty" jsonschema:"title=Catalog" jsonschema_description:"Which catalog knows the tables." jsonschema_extras:"order=2"`
	Storage    Storage             `json:"storage,omitempty" jsonschema:"title=Storage" jsonschema_description:"How the warehouse is reached." jsonschema_extras:"order=3"`
	Upsert     lake.Upsert         `json:"upsert,omitempty" jsonschema:"title=Upsert,enum=auto,enum=copy_on_write,enum=merge_on_read,default=auto" jsonschema_description:"How append_dedup replaces rows. copy_on_write rewrites the data files that hold them; merge_on_read writes position deletes beside them; auto rewrites while that is little work. No choice writes equality deletes, which Snowflake and others cannot read." jsonschema_extras:"order=4"`
	Nested     columnar.Nested     `json:"nested,omitempty" jsonschema:"title=Nested objects,enum=struct,enum=json,default=struct" jsonschema_description:"Objects whose properties are declared become structs, or strings that hold JSON." jsonschema_extras:"order=5"`
	Numbers    columnar.Numbers    `json:"numbers,omitempty" jsonschema:"title=Numbers,enum=double,enum=decimal,default=double" jsonschema_description:"Numbers that are not integers become doubles, or exact decimals (38 digits, 9 of them behind the point)." jsonschema_extras:"order=6"`
	Names      columns.Names       `json:"names,omitempty" jsonschema:"title=Names,enum=lowercase,enum=preserve,default=lowercase" jsonschema_description:"Tables and columns are named in a-z, 0-9 and _ only, or as the source names them." jsonschema_extras:"order=7"`
	Completion syncer.Completion   `json:"completion,omitempty" jsonschema:"title=Completion,enum=strict,enum=state_hint,enum=eof,default=state_hint" jsonschema_description:"What proves that a source has sent all of a stream, before an overwrite replaces what was there. strict: its COMPLETE status; state_hint: where a runner sends no statuses at all, a STATE as the stream's last message; eof: where it sends none, the end of the input." jsonschema_extras:"order=8"`
	Commit     syncer.CommitLimits `json:"commit,omitempty" jsonschema:"title=Commit" jsonschema_description:"When rows become visible: at the first STATE after any of these." jsonschema_extras:"order=9"`
	Memory     syncer.Memory       `json:"memory_mebibytes,omitempty" jsonschema:"title=Memory (MiB),default=512,minimum=256,maximum=1048576" jsonschema_description:"The memory the process may use." jsonschema_extras:"order=10"`

	Streams     []StreamConfig `json:"streams,omitempty" jsonschema:"title=Streams" jsonschema_description:"How the tables of single streams are partitioned and sorted." jsonschema_extras:"order=12"`
	Maintenance Maintenance    `json:"maintenance,omitempty" jsonschema:"title=Maintenance" jsonschema_description:"How tables are kept in shape: small files compacted, deletes folded in, old snapshots and files that nothing names removed." jsonschema_extras:"order=11"`
}

// Storage says how files of the warehouse are reached.
type Storage struct {
	Type string `json:"type"`
}

// JSONSchema shows the kinds of storage as Airbyte's forms want alternatives.
func (Storage) JSONSchema() *jsonschema.Schema {
	kind := jsonschema.NewProperties()
	kind.Set("type", &jsonschema.Schema{Type: "string", Const: "local", Extras: map[string]any{"order": 0}})
	return &jsonschema.Schema{
		Type: "object",
		OneOf: []*jsonschema.Schema{
			{Type: "object", Title: "Local files", Properties: kind, Required: []string{"type"}},
		},
	}
}

// parseConfig reads and checks a configuration. Its error is a Config error
// that names every key with a fault, and the remedies.
func parseConfig(raw json.RawMessage) (Config, error) {
	c := Config{
		Namespace:  "airbyte",
		Catalog:    catalogs.Config{Type: "sqlite"},
		Storage:    Storage{Type: "local"},
		Upsert:     lake.Auto,
		Nested:     columnar.Struct,
		Numbers:    columnar.Double,
		Names:      columns.Lowercase,
		Completion: syncer.StateHint,
		Commit:     syncer.CommitLimits{MaxRows: 1_000_000, MaxMebibytes: 256, MaxSeconds: 300},
		Memory:     512,

		Maintenance: Maintenance{OnWrite: true, ExpireAfterDays: 7, KeepSnapshots: 10, ReaderMinutes: 60, BudgetSeconds: 60},
	}
	if err := protocol.DecodeConfig(raw, &c); err != nil {
		return c, err
	}
	return c, together(c.faults())
}

// faults are all that is wrong with the configuration whatever the catalog of
// streams, and whatever is found at the warehouse.
func (c Config) faults() []error {
	var faults []error
	add := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	if c.Warehouse == "" {
		add(configError(`The configuration has no "warehouse". Give the directory the tables shall live in, as in "file:///local/lake".`))
	} else {
		add(c.Catalog.Validate(c.Warehouse))
	}
	if c.Storage.Type != "local" {
		add(configError(`The configuration's "storage.type" is %q. The storage there is: local.`, c.Storage.Type))
	}
	for _, choice := range []struct {
		key, value string
		allowed    []string
	}{
		{"upsert", string(c.Upsert), []string{string(lake.Auto), string(lake.CopyOnWrite), string(lake.MergeOnRead)}},
		{"nested", string(c.Nested), []string{string(columnar.Struct), string(columnar.JSON)}},
		{"numbers", string(c.Numbers), []string{string(columnar.Double), string(columnar.Decimal)}},
		{"names", string(c.Names), []string{string(columns.Lowercase), string(columns.Preserve)}},
		{"completion", string(c.Completion), []string{string(syncer.Strict), string(syncer.StateHint), string(syncer.EndOfInput)}},
	} {
		if !slices.Contains(choice.allowed, choice.value) {
			add(configError("The configuration's %q is %q. It must be one of %s.", choice.key, choice.value, strings.Join(choice.allowed, ", ")))
		}
	}
	for _, number := range []struct {
		key              string
		value, min, most int64
	}{
		{"commit.max_rows", c.Commit.MaxRows, 1, 1_000_000_000},
		{"commit.max_mebibytes", c.Commit.MaxMebibytes, 1, 1 << 20},
		{"commit.max_seconds", c.Commit.MaxSeconds, 1, 24 * 60 * 60},
		{"memory_mebibytes", int64(c.Memory), 256, 1 << 20},
		{"maintenance.expire_after_days", c.Maintenance.ExpireAfterDays, 1, 3650},
		{"maintenance.keep_snapshots", c.Maintenance.KeepSnapshots, 1, 100_000},
		{"maintenance.reader_minutes", c.Maintenance.ReaderMinutes, 1, 7 * 24 * 60},
		{"maintenance.budget_seconds", c.Maintenance.BudgetSeconds, 1, 24 * 60 * 60},
	} {
		if number.value < number.min || number.value > number.most {
			add(configError("The configuration's %q is %d. It must be from %d to %d.", number.key, number.value, number.min, number.most))
		}
	}
	faults = append(faults, streamFaults(c.Streams)...)
	if legal := c.Names.Legal(c.Namespace); c.Namespace != legal {
		add(configError(`The configuration's "namespace" is %q, which not every engine can read. Write %q, or leave it away for "airbyte".`, c.Namespace, legal))
	}
	return faults
}

// ownWarehouse is the directory that all tables of this program lie in; "" when
// the catalog is elsewhere, and may know tables anywhere.
func (c Config) ownWarehouse() string {
	if !c.Catalog.InWarehouse(c.Warehouse) {
		return ""
	}
	return c.Warehouse
}

// together is one Config error for all that is wrong.
func together(faults []error) error {
	if len(faults) < 2 {
		return errors.Join(faults...)
	}
	messages := make([]string, len(faults))
	for i, err := range faults {
		messages[i] = err.Error()
		if e := (*protocol.Error)(nil); errors.As(err, &e) {
			messages[i] = e.Message
		}
	}
	return &protocol.Error{Kind: protocol.ConfigError, Message: strings.Join(messages, " "), Err: errors.Join(faults...)}
}

func configError(format string, args ...any) error {
	return &protocol.Error{Kind: protocol.ConfigError, Message: fmt.Sprintf(format, args...)}
}
