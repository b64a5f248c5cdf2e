package main

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columns"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/readers"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snowflake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/syncer"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/spec"
)

// Config is the user's configuration. Everything but the warehouse has a default.
type Config struct {
	Warehouse   string              `json:"warehouse" jsonschema:"required,title=Warehouse,pattern=^(file:///|s3://).+,example=file:///local/lake,example=s3://bucket/lake" jsonschema_extras:"pattern_descriptor=file:///absolute/path or s3://bucket/prefix"`
	Namespace   string              `json:"namespace,omitempty" jsonschema:"title=Namespace,default=airbyte"`
	Connection  string              `json:"connection,omitempty" jsonschema:"title=Connection,example=shop-eu"`
	Catalog     catalogs.Config     `json:"catalog,omitempty" jsonschema:"title=Catalog"`
	Storage     storage.Config      `json:"storage,omitempty" jsonschema:"title=Storage"`
	Upsert      lake.Upsert         `json:"upsert,omitempty" jsonschema:"title=Upsert,enum=auto,enum=copy_on_write,enum=merge_on_read,default=auto"`
	Nested      columnar.Nested     `json:"nested,omitempty" jsonschema:"title=Nested objects,enum=struct,enum=json,default=struct"`
	Numbers     columnar.Numbers    `json:"numbers,omitempty" jsonschema:"title=Numbers,enum=double,enum=decimal,default=double"`
	Names       columns.Names       `json:"names,omitempty" jsonschema:"title=Names,enum=lowercase,enum=preserve,default=lowercase"`
	Completion  syncer.Completion   `json:"completion,omitempty" jsonschema:"title=Completion,enum=strict,enum=state_hint,enum=eof,default=state_hint"`
	Commit      syncer.CommitLimits `json:"commit,omitempty" jsonschema:"title=Commit"`
	Memory      syncer.Memory       `json:"memory_mebibytes,omitempty" jsonschema:"title=Memory (MiB),default=512,minimum=256,maximum=1048576"`
	Scratch     string              `json:"scratch,omitempty" jsonschema:"title=Scratch directory,example=/var/tmp"`
	Maintenance Maintenance         `json:"maintenance,omitempty" jsonschema:"title=Maintenance"`
	Snowflake   snowflake.Config    `json:"snowflake,omitempty" jsonschema:"title=Snowflake"`
	Readers     []readers.Reader    `json:"readers,omitempty" jsonschema:"title=Readers"`
	Streams     []StreamConfig      `json:"streams,omitempty" jsonschema:"title=Streams"`
}

// Descriptions describes the keys in the specification.
func (Config) Descriptions() map[string]string {
	return map[string]string{
		"warehouse": "Where the tables live: file:///absolute/path, or s3://bucket/prefix with the storage s3.",
		"namespace": "Iceberg namespace of streams that have none.",
		"connection": "A name for this connection. Only connections with this name can then write the tables that it writes. " +
			"Without it, streams of two sources that have one name and one namespace are written into one table.",
		"catalog": "The catalog that knows the tables.",
		"storage": "How the warehouse is reached.",
		"upsert": "How append_dedup replaces rows. copy_on_write rewrites the data files that hold them; merge_on_read writes position deletes; " +
			"auto rewrites files while that is little work. No choice writes equality deletes, which Snowflake and others cannot read.",
		"nested":  "Objects with declared properties become structs, or strings that hold JSON.",
		"numbers": "Numbers that are not integers become doubles, or exact decimals (38 digits, 9 of them after the decimal point).",
		"names":   "Names of tables and columns have only a-z, 0-9 and _, or are kept as the source has them.",
		"completion": "What proves that a source has sent all of a stream, before an overwrite replaces the old rows. strict: its COMPLETE status; " +
			"state_hint: if the input has no statuses at all, also a STATE as the stream's last message; eof: if it has none, also the end of the input.",
		"commit":           "When rows become visible: at the first STATE after any of these.",
		"memory_mebibytes": "The memory that the process may use.",
		"scratch": "The directory of this machine for what does not fit into memory: states, and with files on S3 also rows, keys and files that are not uploaded yet. " +
			"The default is TMPDIR, or /tmp.",
		"streams":     "How the tables of single streams are named, partitioned and sorted.",
		"readers":     "Programs that are to read the tables. What one of them cannot read is a warning of check and of every write, with what to set instead.",
		"snowflake":   "How Snowflake is told of the tables.",
		"maintenance": "How tables are kept in shape: small files are compacted, deletes are applied, old snapshots expire and unreferenced files are removed.",
	}
}

// parseConfig reads and checks a configuration. Its error is a config_error that
// names every key that is wrong, and the remedy.
func parseConfig(raw json.RawMessage) (Config, error) {
	c := Config{
		Namespace:  "airbyte",
		Catalog:    catalogs.Default(),
		Storage:    storage.Default(),
		Upsert:     lake.Auto,
		Nested:     columnar.Struct,
		Numbers:    columnar.Double,
		Names:      columns.Lowercase,
		Completion: syncer.StateHint,
		Commit:     syncer.CommitLimits{MaxRows: 1_000_000, MaxMebibytes: 256, MaxSeconds: 300},
		Memory:     512,
		Snowflake:  snowflake.Default(),

		Maintenance: Maintenance{OnWrite: true, ExpireAfterDays: 7, KeepSnapshots: 10, ReaderMinutes: 60, BudgetSeconds: 60},
	}
	err := spec.DecodeConfig(raw, &c)
	if err != nil && !errors.As(err, new(spec.WrongTypes)) {
		return c, err
	}
	return c, spec.JoinFaults(err, append([]error{spec.CheckConfig(raw, c)}, c.faults()...)...)
}

// faults returns what is wrong with the configuration, besides what its schema
// tells, and as far as no catalog of streams and no warehouse is needed to know it.
func (c Config) faults() []error {
	var faults []error
	if c.Warehouse == "" {
		faults = append(faults, protocol.ConfigError.Errorf(nil, `The configuration has no "warehouse". Give the directory for the tables, as in "file:///local/lake".`))
	} else {
		faults = append(faults, c.Storage.Validate(c.Warehouse))
	}
	if c.Scratch != "" && !filepath.IsAbs(c.Scratch) {
		faults = append(faults, protocol.ConfigError.Errorf(nil, `The configuration's "scratch" is %q. It must be the absolute path of a directory.`, c.Scratch))
	}
	faults = append(faults, c.Catalog.Validate(), c.Snowflake.Validate(c.lake()))
	faults = append(faults, c.streamFaults()...)
	if c.Namespace == "" {
		faults = append(faults, protocol.ConfigError.Errorf(nil, `The configuration's "namespace" is empty. Give it a name, or leave it out for "airbyte".`))
	} else if legal := c.Names.Legal(c.Namespace); c.Namespace != legal {
		faults = append(faults, protocol.ConfigError.Errorf(nil, `The configuration's "namespace" is %q, which not every engine can read. Write %q, or leave it out for "airbyte".`, c.Namespace, legal))
	}
	return faults
}

// ownWarehouse returns the directory of all tables of this program, or "" if the
// catalog is elsewhere and may know tables in any place.
func (c Config) ownWarehouse() string {
	if !c.Catalog.InWarehouse(c.Warehouse) {
		return ""
	}
	return c.Warehouse
}

// lake is where Snowflake finds the tables.
func (c Config) lake() snowflake.Lake {
	return snowflake.Lake{Warehouse: c.Warehouse, Namespace: c.Namespace, CatalogType: c.Catalog.Type}
}

// lakeOptions are the settings of all tables, whichever verb opens them.
func (c Config) lakeOptions() lake.Options {
	return lake.Options{Upsert: c.Upsert, ReaderTime: c.Maintenance.readerTime(), Warehouse: c.ownWarehouse(), Memory: c.Memory.Shared()}
}

// openCatalog opens the catalog, and makes it and the warehouse if they are not
// there.
func (c Config) openCatalog(ctx context.Context) (*catalogs.Catalog, error) {
	files, err := storage.Open(ctx, c.Storage, c.Warehouse, c.Scratch)
	if err != nil {
		return nil, err
	}
	return catalogs.Open(ctx, c.Catalog, files)
}

// openExisting opens the catalog to look at what is there.
func (c Config) openExisting(ctx context.Context) (*catalogs.Catalog, error) {
	files, err := storage.Open(ctx, c.Storage, c.Warehouse, c.Scratch)
	if err != nil {
		return nil, err
	}
	return catalogs.OpenExisting(ctx, c.Catalog, files)
}
