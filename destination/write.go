package main

import (
	"context"
	"errors"
	"io"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/checkpoint"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/metrics"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/syncer"
	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Write writes the input into the catalog's tables; package syncer says how.
// Afterwards it maintains the tables (maintain.go).
func (d destination) Write(ctx context.Context, job protocol.WriteJob, out *protocol.Emitter) (err error) {
	measured := metrics.Start(out)
	defer func() { measured.End(err, d.lastExport) }()
	config, err := parseConfig(job.Config)
	if err != nil {
		return err
	}
	config.Memory.LimitProcess()
	streams, err := config.planStreams(job.Catalog)
	if err != nil {
		return err
	}
	return withShutdownTimeout(ctx, func() error {
		catalog, err := d.openCatalog(ctx, config)
		if err != nil {
			return err
		}
		err = goroutine.Recovered(func() error { return d.write(ctx, config, streams, catalog, job.Input, out, measured) })()
		// A commit is durable when it returns, whatever becomes of the connection.
		if closeErr := goroutine.Recovered(catalog.Close)(); closeErr != nil {
			out.Logger().Warn("the catalog could not be closed; the rows and states that were committed are safe", "error", closeErr.Error())
		}
		return err
	})
}

func (d destination) write(ctx context.Context, config Config, streams syncer.Streams, catalog *catalogs.Catalog, input io.Reader, out *protocol.Emitter, measured *metrics.Metrics) error {
	config.warnOfStrayStreams(streams, out.Logger())
	if err := streams.Open(ctx, catalog, config.Memory, out.Logger()); err != nil {
		return err
	}
	warnOfReadability(config, streams, out.Logger())
	refresher, err := config.Snowflake.NewRefresher(config.lake(), streams.Tables(), out.Logger())
	if err != nil {
		return err
	}
	defer refresher.Close()
	stateFiles := checkpoint.NewFiles(catalog.Storage())
	err = syncer.Run(ctx, syncer.Config{
		Commit: config.Commit, Completion: config.Completion, Memory: config.Memory, Scratch: config.Scratch, SignalDelay: d.signalDelay,
		// Snowflake is not waited for when the run is told to stop.
		Committed: func(tables []*lake.Table) { refresher.Committed(ctx, tables) },
		Metrics:   measured,
	}, streams, stateFiles, input, out)
	if err != nil && !errors.Is(err, protocol.ErrStreamsFailed) {
		return err
	}
	// What Snowflake shows is pinned before other snapshots expire.
	notShown := refresher.Finish(ctx)
	after := &afterWrite{Maintenance: config.Maintenance, options: config.Maintenance.options(false), log: out.Logger(), progress: out.Progress(), measured: measured}
	after.maintain(ctx, config.Memory, streams.All(), stateFiles, catalog)
	return errors.Join(err, notShown)
}

// planStreams checks the whole catalog before anything is written.
func (c Config) planStreams(catalog protocol.ConfiguredCatalog) (syncer.Streams, error) {
	return syncer.PlanStreams(catalog, c.plan, c.tableOptions)
}
