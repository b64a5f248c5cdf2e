package main

import (
	"context"
	"log/slog"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/readers"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/syncer"
)

// checkReadability warns about what the configured readers will not be able to read
// under the configuration, and about what they cannot read of the tables that exist.
func checkReadability(ctx context.Context, config Config, cat *catalogs.Catalog, log *slog.Logger) error {
	if len(config.Readers) == 0 {
		return nil
	}
	o := readers.Options{Upsert: config.Upsert, Names: config.Names, Nested: config.Nested}
	for _, s := range config.Streams {
		table, _ := s.options() // parseConfig has reported what is wrong
		o.Streams = append(o.Streams, readers.Stream{ID: s.id(), PartitionBy: table.PartitionBy})
	}
	for _, f := range readers.CheckOptions(config.Readers, o) {
		log.Warn(f.String(), "reader", string(f.Reader))
	}
	tables, err := ownTables(ctx, cat)
	if err != nil {
		return err
	}
	for _, t := range tables {
		for _, f := range readers.CheckTable(config.Readers, readers.TableOf(t)) {
			log.Warn(f.String(), "reader", string(f.Reader))
		}
	}
	return nil
}

// warnOfReadability warns about what the configured readers cannot read of the tables
// that a sync is about to write.
func warnOfReadability(config Config, streams syncer.Streams, log *slog.Logger) {
	for _, s := range streams.All() {
		t := readers.TableOf(s.Table.Opened())
		t.WritesPositionDeletes = s.Table.WritesPositionDeletes()
		for _, f := range readers.CheckTable(config.Readers, t) {
			log.Warn(f.String(), "reader", string(f.Reader), "stream", s.ID.String())
		}
	}
}
