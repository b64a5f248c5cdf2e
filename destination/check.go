package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/probe"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Check reads the whole configuration, looks at the tables that exist, and probes the
// warehouse with a table of its own.
func (d destination) Check(ctx context.Context, raw json.RawMessage, out *protocol.Emitter) error {
	config, err := parseConfig(raw)
	if err != nil {
		return err
	}
	return withShutdownTimeout(ctx, func() error {
		cat, err := d.openCatalog(ctx, config)
		if err != nil {
			return err
		}
		if !cat.KeepsBranches() {
			out.Logger().Info("this catalog keeps no branches of a table: the rows of a refresh appear when it is complete, and a refresh that is interrupted begins again")
		}
		err = checkLocations(ctx, config, cat)
		if err == nil {
			err = checkReadability(ctx, config, cat, out.Logger())
		}
		if err == nil && config.Snowflake.Enabled() {
			err = checkSnowflake(ctx, config, cat)
		}
		if err == nil {
			err = probeWarehouse(ctx, config, cat)
		}
		return errors.Join(err, cat.Close())
	})
}

// checkLocations returns an error if a table is not in the warehouse that its catalog
// is in.
func checkLocations(ctx context.Context, config Config, cat *catalogs.Catalog) error {
	ids, err := catalogs.TableIDs(ctx, cat)
	if err != nil {
		return err
	}
	for _, id := range ids {
		_, err := lake.Attach(ctx, cat, id, lake.Options{Warehouse: config.ownWarehouse()})
		if e := (*protocol.Error)(nil); errors.As(err, &e) && e.Kind == protocol.ConfigError {
			return err
		}
		if !errors.Is(err, fs.ErrNotExist) || config.ownWarehouse() == "" {
			continue // other faults of a table are reported by the sync that needs it
		}
		at, locationErr := cat.MetadataLocation(ctx, id)
		if locationErr != nil {
			return locationErr
		}
		if !filenames.Within(filenames.ResolveLinks(at), filenames.ResolveLinks(config.Warehouse)) {
			return tabledef.ExplainLoss(id, err)
		}
	}
	return nil
}

func probeWarehouse(ctx context.Context, config Config, cat *catalogs.Catalog) error {
	plan, err := config.plan(probe.Stream())
	if err != nil {
		return err
	}
	if !config.Snowflake.Enabled() {
		return probe.Run(ctx, cat, config.Warehouse, plan, nil)
	}
	return probe.Run(ctx, cat, config.Warehouse, plan, func(ctx context.Context, t *table.Table) error {
		return config.Snowflake.Probe(ctx, config.lake(), t)
	})
}

// checkSnowflake asks Snowflake for what the tables that exist need.
func checkSnowflake(ctx context.Context, config Config, cat *catalogs.Catalog) error {
	tables, err := ownTables(ctx, cat)
	if err != nil {
		return err
	}
	return config.Snowflake.Check(ctx, config.lake(), tables)
}

// ownTables returns the tables that this program writes. One that cannot be loaded is
// reported by the sync that needs it.
func ownTables(ctx context.Context, cat *catalogs.Catalog) ([]*table.Table, error) {
	ids, err := catalogs.TableIDs(ctx, cat)
	if err != nil {
		return nil, err
	}
	var tables []*table.Table
	for _, id := range ids {
		loaded, err := cat.LoadTable(ctx, id)
		if err != nil {
			continue
		}
		if _, isOwn, err := tabledef.Owner(loaded); err == nil && isOwn {
			tables = append(tables, loaded)
		}
	}
	return tables, nil
}
