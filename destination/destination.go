package main

import (
	"context"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/metrics"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/syncer"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/spec"
)

// destination implements [protocol.Destination]. Tests replace its fields.
type destination struct {
	openCatalog func(context.Context, Config) (*catalogs.Catalog, error)
	signalDelay time.Duration
	lastExport  func() (context.Context, context.CancelFunc)
}

func newDestination() destination {
	return destination{
		openCatalog: func(ctx context.Context, c Config) (*catalogs.Catalog, error) { return c.openCatalog(ctx) },
		signalDelay: syncer.SignalDelay,
		lastExport:  metrics.LastExport,
	}
}

func (destination) Spec() protocol.Spec {
	return protocol.Spec{
		DocumentationURL:              "https://github.com/ingest-connectors/whoop-iceberg/blob/main/docs/destination.md",
		ConnectionSpecification:       spec.Reflect(&Config{}, "Apache Iceberg"),
		SupportsIncremental:           true,
		SupportedDestinationSyncModes: []protocol.DestinationSyncMode{protocol.Append, protocol.Overwrite, protocol.AppendDedup},
	}
}
