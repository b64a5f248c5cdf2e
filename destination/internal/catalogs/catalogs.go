// Package catalogs opens the Iceberg catalog a configuration names.
//
// Whatever its kind, a catalog opened here keeps three promises the library does
// not make: what a failed commit has left is known as far as it can be (see
// [Catalog.CommitTable]), the errors of the catalog name their remedies, and no
// call waits for ever.
//
// A kind of catalog is one file, with the struct of its configuration, and one
// row each in kinds and in the tests' table of kinds.
package catalogs

import (
	"context"
	"errors"

	"github.com/invopop/jsonschema"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/spec"
)

// Config is the kind of a catalog, with what that kind needs.
type Config spec.Choice

// Default is the configuration for those that have none.
func Default() Config { return Config{Type: "sqlite"} }

// A kind is the configuration of one kind of catalog.
type kind interface {
	// validate finds what is wrong without looking for the catalog. Its error is
	// a config_error.
	validate() error
	// inWarehouse reports whether the catalog lies in the warehouse, and moves
	// with it.
	inWarehouse(warehouse string) bool
	// open opens the catalog of a warehouse. create says whether one that is not
	// there yet is made; when it is false and there is none the error is
	// [ErrNone].
	open(ctx context.Context, files *storage.Storage, create bool) (*Catalog, error)
}

var kinds = spec.Forms[kind]{
	{Type: "sqlite", Title: "SQLite file", New: func() kind { return &sqliteConfig{} }},
	{Type: "postgres", Title: "PostgreSQL", New: func() kind { return &postgresConfig{} }},
	{Type: "glue", Title: "AWS Glue", New: func() kind { return &glueConfig{} }},
	{Type: "rest", Title: "Iceberg REST", New: func() kind { return &restConfig{} }},
}

// JSONSchema is the oneOf of all kinds.
func (Config) JSONSchema() *jsonschema.Schema { return kinds.Schema() }

// UnmarshalJSON keeps the type that c has if there is none in raw.
func (c *Config) UnmarshalJSON(raw []byte) error {
	return kinds.Unmarshal(raw, (*spec.Choice)(c))
}

// Validate finds what is wrong with the configuration without looking for the
// catalog. Its error is a config_error.
func (c Config) Validate() error {
	_, err := c.kind()
	return err
}

// InWarehouse reports whether the catalog lies in the warehouse, and moves with
// it.
func (c Config) InWarehouse(warehouse string) bool {
	k, err := c.kind()
	return err == nil && k.inWarehouse(warehouse)
}

func (c Config) kind() (kind, error) {
	k, err := kinds.Chosen("catalog", spec.Choice(c))
	if err != nil {
		return nil, err
	}
	return k, k.validate()
}

// catalogName is stored with every row of a SQL catalog. It is the name
// PyIceberg's SqlCatalog("default", …) looks for.
const catalogName = "default"

// ErrNone is the cause of [OpenExisting]'s error when nothing has been
// written to the warehouse yet.
var ErrNone = errors.New("no catalog")

// Open opens the catalog of a warehouse and makes both where they are not there
// yet. Its errors name the remedy: config errors for what the user must change,
// transient errors for what goes away by itself.
func Open(ctx context.Context, cfg Config, files *storage.Storage) (*Catalog, error) {
	return open(ctx, cfg, files, true)
}

// OpenExisting opens a catalog to look at what is there. It makes nothing;
// where there is no catalog it fails with a config error that wraps [ErrNone].
func OpenExisting(ctx context.Context, cfg Config, files *storage.Storage) (*Catalog, error) {
	return open(ctx, cfg, files, false)
}

func open(ctx context.Context, cfg Config, files *storage.Storage, create bool) (*Catalog, error) {
	k, err := cfg.kind()
	if err != nil {
		return nil, err
	}
	if files.Vended() && cfg.Type != "rest" {
		return nil, protocol.ConfigError.Errorf(nil, `The configuration has "storage.vended", and only a catalog of the type "rest" gives credentials. Remove it, and give credentials in "storage".`)
	}
	return k.open(ctx, files, create)
}

// noLake says that place, to which a key of the configuration led, holds no
// catalog.
func noLake(files *storage.Storage, place, key string, cause error) error {
	return protocol.ConfigError.Errorf(errors.Join(ErrNone, cause),
		"Nothing has been written to %s yet: %s does not contain a catalog. Run write first, or correct the configuration's %q.", files.Warehouse(), place, key)
}
