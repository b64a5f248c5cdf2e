// Package snowflake makes Snowflake show the tables as they are committed.
//
// Snowflake reads a table that another program writes from the metadata file it was
// last told of. With the mode register, this program tells it after each commit, and
// makes sure that it has moved. With linked, a database of Snowflake follows the
// catalog by itself, and this program looks whether it does.
//
// Whatever fails here, rows and states are committed already: it is a warning, or with
// "required" the failure of the sync at its end.
package snowflake

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"
	"github.com/invopop/jsonschema"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/spec"
)

// Config is the mode, with what that mode needs.
type Config spec.Choice

// Default is the configuration for those that have none.
func Default() Config { return Config{Key: modeKey, Type: "none"} }

const modeKey = "mode"

// A Lake is where the tables are that Snowflake shall show.
type Lake struct {
	Warehouse   string // as the tables' locations begin
	Namespace   string // of streams that have none
	CatalogType string // as the configuration has it
}

// A mode is the configuration of one way in which Snowflake gets to know of commits.
type mode interface {
	// validate finds what is wrong without asking Snowflake. Its error is a
	// config_error.
	validate(Lake) error
	// check asks Snowflake for all that a sync needs. tables are those that the
	// catalog has.
	check(ctx context.Context, lake Lake, tables []*table.Table) error
	// newRefresher prepares a sync of some tables.
	newRefresher(lake Lake, tables []*lake.Table, log *slog.Logger) Refresher
	// probe shows a table that a check has made, as a sync does, and removes it again.
	probe(ctx context.Context, lake Lake, probe *table.Table) error
}

var modes = spec.Forms[mode]{
	{Type: "none", Title: "None", New: func() mode { return &noneConfig{} }},
	{Type: "register", Title: "Registered tables", New: func() mode {
		return &registerConfig{CatalogSource: objectStore, IdentifierCase: upperCase}
	}},
	{Type: "linked", Title: "Catalog-linked database", New: func() mode { return &linkedConfig{} }},
}

// JSONSchema is the oneOf of all modes.
func (Config) JSONSchema() *jsonschema.Schema { return modes.SchemaBy(modeKey) }

// UnmarshalJSON keeps the mode that c has if there is none in raw.
func (c *Config) UnmarshalJSON(raw []byte) error {
	return modes.Unmarshal(raw, (*spec.Choice)(c))
}

// Enabled reports whether Snowflake shows the tables.
func (c Config) Enabled() bool { return c.Type != "none" }

func (c Config) mode() (mode, error) { return modes.Chosen("snowflake", spec.Choice(c)) }

// Validate finds what is wrong with the configuration without asking Snowflake. Its
// error is a config_error.
func (c Config) Validate(lake Lake) error {
	m, err := c.mode()
	if err != nil {
		return err
	}
	return m.validate(lake)
}

// Check asks Snowflake for all that a sync of such tables needs. Its error says what
// is missing, with the statements that an administrator must run.
func (c Config) Check(ctx context.Context, lake Lake, tables []*table.Table) error {
	m, err := c.mode()
	if err != nil {
		return err
	}
	return m.check(ctx, lake, tables)
}

// Probe shows a table in Snowflake that a check has created, and removes it there.
func (c Config) Probe(ctx context.Context, lake Lake, probe *table.Table) error {
	m, err := c.mode()
	if err != nil {
		return err
	}
	return m.probe(ctx, lake, probe)
}

// A Refresher tells Snowflake of commits. Its methods may be called from several
// goroutines.
type Refresher interface {
	// Committed says that the rows of tables have changed. It returns when Snowflake
	// shows them, or when it has logged why it does not.
	Committed(ctx context.Context, tables []*lake.Table)
	// Finish makes sure that Snowflake shows every table, at the end of a sync. It
	// logs what is wrong, and returns it only if the configuration says so.
	Finish(ctx context.Context) error
	Close()
}

// NewRefresher prepares a sync of tables. It asks Snowflake nothing.
func (c Config) NewRefresher(l Lake, tables []*lake.Table, log *slog.Logger) (Refresher, error) {
	m, err := c.mode()
	if err != nil {
		return nil, err
	}
	return m.newRefresher(l, tables, log), nil
}

// noneConfig is for tables that Snowflake does not show.
type noneConfig struct{}

func (*noneConfig) validate(Lake) error                                      { return nil }
func (*noneConfig) check(context.Context, Lake, []*table.Table) error        { return nil }
func (*noneConfig) probe(context.Context, Lake, *table.Table) error          { return nil }
func (*noneConfig) newRefresher(Lake, []*lake.Table, *slog.Logger) Refresher { return noRefresher{} }

// noRefresher tells nobody.
type noRefresher struct{}

func (noRefresher) Committed(context.Context, []*lake.Table) {}
func (noRefresher) Finish(context.Context) error             { return nil }
func (noRefresher) Close()                                   {}

// A catalogSource is the kind of a catalog integration, as Snowflake's CATALOG_SOURCE.
type catalogSource string

const (
	objectStore catalogSource = "object_store" // Snowflake is told each metadata file
	glue        catalogSource = "glue"         // it asks the catalog for the metadata file
	icebergREST catalogSource = "iceberg_rest"
	polaris     catalogSource = "polaris"
)

type identifierCase string

const (
	upperCase identifierCase = "upper"
	preserve  identifierCase = "preserve"
)

// registerConfig is for tables that this program registers one by one.
type registerConfig struct {
	Connection
	Database           identifier     `json:"database" jsonschema:"required,title=Database,example=LAKE"`
	Schema             identifier     `json:"schema,omitempty" jsonschema:"title=Schema,example=WHOOP"`
	CatalogSource      catalogSource  `json:"catalog_source,omitempty" jsonschema:"title=Catalog source,enum=object_store,enum=glue,enum=iceberg_rest,enum=polaris,default=object_store"`
	CatalogIntegration identifier     `json:"catalog_integration" jsonschema:"required,title=Catalog integration"`
	ExternalVolume     identifier     `json:"external_volume,omitempty" jsonschema:"title=External volume"`
	VolumeBaseURL      string         `json:"volume_base_url,omitempty" jsonschema:"title=Base URL of the external volume,example=s3://bucket/lake"`
	IdentifierCase     identifierCase `json:"identifier_case,omitempty" jsonschema:"title=Identifier case,enum=upper,enum=preserve,default=upper"`
	Required           bool           `json:"required,omitempty" jsonschema:"title=Required,default=false"`
}

// Descriptions describes the keys in the specification.
func (registerConfig) Descriptions() map[string]string {
	return map[string]string{
		"database": "The database for the tables. Names are as in SQL: upper-case unless they are in double quotes.",
		"schema":   "The schema for all tables. Without it, each namespace has a schema of its own name.",
		"catalog_source": "The CATALOG_SOURCE of the catalog integration. With object_store Snowflake is told the metadata file of each commit; " +
			"with the others it asks the catalog.",
		"catalog_integration": "The name of the catalog integration.",
		"external_volume":     "The name of the external volume. Leave it out only if the catalog vends credentials.",
		"volume_base_url":     "The STORAGE_BASE_URL of the external volume, if it is not the warehouse.",
		"identifier_case":     "Names of tables are upper-case, so that queries need no quotes, or as the catalog has them.",
		"required":            "If Snowflake does not show a table in the end, the sync fails. Rows and states are safe in any case.",
	}
}

func (c *registerConfig) validate(lake Lake) error {
	faults := append(c.faults(), checkWarehouse(lake.Warehouse))
	faults = append(faults, checkName("database", c.Database, true), checkName("schema", c.Schema, false),
		checkName("catalog_integration", c.CatalogIntegration, true), checkName("external_volume", c.ExternalVolume, c.CatalogSource == objectStore || c.CatalogSource == glue))
	switch {
	case c.CatalogSource == objectStore:
		if !below(lake.Warehouse, c.volumeBase(lake)) {
			faults = append(faults, protocol.ConfigError.Errorf(nil, `The configuration's "warehouse" is not below "snowflake.volume_base_url", so Snowflake cannot read it. Give the STORAGE_BASE_URL of the external volume, which must contain the warehouse.`))
		}
	case lake.CatalogType == "sqlite", lake.CatalogType == "postgres":
		faults = append(faults, protocol.ConfigError.Errorf(nil, `The configuration's "snowflake.catalog_source" is %q, and Snowflake cannot ask a catalog of the type %q. Set it to "object_store".`, c.CatalogSource, lake.CatalogType))
	case c.CatalogSource == polaris && lake.CatalogType == "glue":
		faults = append(faults, protocol.ConfigError.Errorf(nil, `The configuration's "snowflake.catalog_source" is %q, and its "catalog.type" is %q. Set the first to "iceberg_rest" or "object_store".`, c.CatalogSource, lake.CatalogType))
	}
	return protocol.JoinErrors(faults...)
}

// volumeBase is the location below which the external volume has its files.
func (c *registerConfig) volumeBase(lake Lake) string {
	if c.VolumeBaseURL != "" {
		return c.VolumeBaseURL
	}
	return lake.Warehouse
}

// checkWarehouse returns an error if Snowflake cannot read a warehouse.
func checkWarehouse(warehouse string) error {
	if strings.HasPrefix(warehouse, "s3://") {
		return nil
	}
	return protocol.ConfigError.Errorf(nil, `The configuration has a "snowflake.mode", and its "warehouse" is not on S3. Snowflake cannot read files of this machine: move the warehouse to s3://bucket/prefix, or set "snowflake.mode" to "none".`)
}

// checkName returns an error if a name in the configuration is not one.
func checkName(key string, name identifier, required bool) error {
	switch {
	case name == "" && required:
		return protocol.ConfigError.Errorf(nil, `The configuration has no "snowflake.%s". Give its name.`, key)
	case name != "" && !name.valid():
		return protocol.ConfigError.Errorf(nil, `The configuration's "snowflake.%s" is %q, which is not an identifier. Put a name with other characters than letters, digits, _ and $ into double quotes.`, key, string(name))
	}
	return nil
}

func (c *registerConfig) applyCase(name string) string {
	if c.IdentifierCase == upperCase {
		return strings.ToUpper(name)
	}
	return name
}

// A tableSource is a table as its catalog names it.
type tableSource struct{ namespace, table string }

func sourceOf(id table.Identifier) tableSource {
	return tableSource{strings.Join(catalog.NamespaceFromIdent(id), "."), catalog.TableNameFromIdent(id)}
}

func (s tableSource) String() string { return fmt.Sprintf("%s.%s", s.namespace, s.table) }

// nameOf returns where Snowflake has a table.
func (c *registerConfig) nameOf(s tableSource) tableName {
	n := tableName{c.Database.name(), c.applyCase(s.namespace), c.applyCase(s.table)}
	if c.Schema != "" {
		n.schema = c.Schema.name()
	}
	return n
}

// linkedConfig is for a database that follows the catalog by itself.
type linkedConfig struct {
	Connection
	Database identifier `json:"database" jsonschema:"required,title=Catalog-linked database,example=LAKE"`
	Required bool       `json:"required,omitempty" jsonschema:"title=Required,default=false"`
}

// Descriptions describes the keys in the specification.
func (linkedConfig) Descriptions() map[string]string {
	return map[string]string{
		"database": "The name of the catalog-linked database, as in SQL: upper-case unless it is in double quotes.",
		"required": "If the database does not follow the catalog in the end, the sync fails. Rows and states are safe in any case.",
	}
}

func (c *linkedConfig) validate(lake Lake) error {
	faults := append(c.faults(), checkWarehouse(lake.Warehouse), checkName("database", c.Database, true))
	if lake.CatalogType == "sqlite" || lake.CatalogType == "postgres" {
		faults = append(faults, protocol.ConfigError.Errorf(nil, `The configuration's "snowflake.mode" is "linked", and no database of Snowflake can be linked to a catalog of the type %q. Set it to "register".`, lake.CatalogType))
	}
	return protocol.JoinErrors(faults...)
}
