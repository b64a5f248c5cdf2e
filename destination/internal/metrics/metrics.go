// Package metrics measures what a sync does, with OpenTelemetry, if the standard
// environment variables ask for it; see [Start].
//
// Nothing is measured for single records: the numbers are those of commits and of
// maintenance.
package metrics

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/maintenance"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

// Metrics are the instruments of one sync. A nil *Metrics measures nothing.
type Metrics struct {
	provider *sdk.MeterProvider
	warn     func(error)
	began    time.Time

	sync     metric.Float64Histogram
	records  metric.Int64Counter
	stateLag metric.Float64Histogram

	commit, maintenance                  metric.Float64Histogram
	lastCommit                           metric.Float64Gauge
	retries, addedRows, addedFiles, size metric.Int64Counter
	compacted, expired, removed, orphans metric.Int64Counter
}

// seconds are the buckets of durations. OpenTelemetry's own are for milliseconds.
var seconds = metric.WithExplicitBucketBoundaries(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600, 4*3600)

// newMetrics makes the instruments. docs/destination.md explains each of them.
func newMetrics(provider *sdk.MeterProvider, warn func(error)) *Metrics {
	meter := provider.Meter("github.com/ingest-connectors/whoop-iceberg/destination", metric.WithInstrumentationVersion(cli.Version))
	var errs []error
	duration := func(name, what string) metric.Float64Histogram {
		h, err := meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(what), seconds)
		errs = append(errs, err)
		return h
	}
	count := func(name, unit, what string) metric.Int64Counter {
		c, err := meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(what))
		errs = append(errs, err)
		return c
	}
	m := &Metrics{
		provider: provider, warn: warn, began: time.Now(),

		sync:     duration("airbyte.destination.sync.duration", "how long the write took, with maintenance"),
		records:  count("airbyte.destination.records", "{record}", "records of the input that commits made durable"),
		stateLag: duration("airbyte.destination.state.lag", "from a state's arrival until it was echoed, its rows being committed"),

		commit:     duration("iceberg.commit.duration", "how long one commit of one table took, with all attempts"),
		retries:    count("iceberg.commit.retries", "{attempt}", "attempts after the first: another program was first, or the catalog did not answer"),
		addedRows:  count("iceberg.commit.added_records", "{row}", "rows in the data files that commits added, with those copied from older files"),
		addedFiles: count("iceberg.commit.added_data_files", "{file}", "data files that commits added"),
		size:       count("iceberg.commit.added_files_size", "By", "bytes of the files that commits added"),

		maintenance: duration("iceberg.maintenance.duration", "how long the maintenance of one table took after a write"),
		compacted:   count("iceberg.maintenance.compacted_files", "{file}", "data files that maintenance replaced by larger ones"),
		expired:     count("iceberg.maintenance.expired_snapshots", "{snapshot}", "snapshots that maintenance expired"),
		removed:     count("iceberg.maintenance.removed_files", "{file}", "files that only expired snapshots named, and that were removed"),
		orphans:     count("iceberg.maintenance.removed_orphans", "{file}", "files that nothing named, and that were removed"),
	}
	var err error
	m.lastCommit, err = meter.Float64Gauge("iceberg.commit.time", metric.WithUnit("s"), metric.WithDescription("when the table was committed last, in Unix time"))
	if err = errors.Join(append(errs, err)...); err != nil {
		warn(err)
	}
	return m
}

// A Table says whose numbers they are.
type Table struct {
	Stream     protocol.StreamID
	Mode       protocol.DestinationSyncMode
	Identifier table.Identifier
}

// attributes are those of the table, and of the error if there is one.
func (t Table) attributes(err error) metric.MeasurementOption {
	attributes := []attribute.KeyValue{
		attribute.String("airbyte.stream.name", t.Stream.Name),
		attribute.String("airbyte.destination_sync_mode", string(t.Mode)),
		semconv.DBNamespace(strings.Join(catalog.NamespaceFromIdent(t.Identifier), ".")),
		semconv.DBCollectionName(catalog.TableNameFromIdent(t.Identifier)),
	}
	if t.Stream.Namespace != "" {
		attributes = append(attributes, attribute.String("airbyte.stream.namespace", t.Stream.Namespace))
	}
	return metric.WithAttributes(append(attributes, errorType(err)...)...)
}

// errorType is the attribute of a failure: the kind of its error, "canceled" if the
// run was told to stop, "streams_failed" if only some streams failed.
func errorType(err error) []attribute.KeyValue {
	if err == nil {
		return nil
	}
	kind := string(protocol.KindOf(err))
	switch {
	case errors.Is(err, context.Canceled):
		kind = "canceled"
	case errors.Is(err, protocol.ErrStreamsFailed):
		kind = "streams_failed"
	}
	return []attribute.KeyValue{semconv.ErrorTypeKey.String(kind)}
}

// Committed measures a commit of a table, which may have failed.
func (m *Metrics) Committed(t Table, did lake.Committed, err error) {
	if m == nil || did.Attempts == 0 { // there was nothing to commit
		return
	}
	ctx, of := context.Background(), t.attributes(nil)
	m.commit.Record(ctx, did.Duration.Seconds(), t.attributes(err))
	m.retries.Add(ctx, int64(did.Attempts-1), of)
	if err != nil {
		return
	}
	m.lastCommit.Record(ctx, float64(time.Now().UnixMilli())/1000, of)
	m.addedRows.Add(ctx, did.Rows, of)
	m.addedFiles.Add(ctx, did.Files, of)
	m.size.Add(ctx, did.Bytes, of)
}

// Durable counts records of the input whose rows are committed.
func (m *Metrics) Durable(t Table, records int64) {
	if m != nil {
		m.records.Add(context.Background(), records, t.attributes(nil))
	}
}

// Echoed measures how long ago the state came that was echoed now.
func (m *Metrics) Echoed(received time.Time) {
	if m != nil {
		m.stateLag.Record(context.Background(), time.Since(received).Seconds())
	}
}

// Maintained measures the maintenance of a table.
func (m *Metrics) Maintained(t Table, took time.Duration, did maintenance.Report, err error) {
	if m == nil {
		return
	}
	ctx, of := context.Background(), t.attributes(nil)
	m.maintenance.Record(ctx, took.Seconds(), t.attributes(err))
	m.compacted.Add(ctx, int64(did.CompactedFiles), of)
	m.expired.Add(ctx, int64(did.ExpiredSnapshots), of)
	m.removed.Add(ctx, int64(did.RemovedFiles), of)
	m.orphans.Add(ctx, int64(did.RemovedOrphans), of)
}

// LastExport is how long the end of a sync waits for the last export.
func LastExport() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 3*time.Second)
}

// End measures the sync, which may have failed, and exports what was not exported yet,
// in the time that there is for it, as [LastExport].
func (m *Metrics) End(err error, lastExport func() (context.Context, context.CancelFunc)) {
	if m == nil {
		return
	}
	m.sync.Record(context.Background(), time.Since(m.began).Seconds(), metric.WithAttributes(errorType(err)...))
	ctx, cancel := lastExport()
	defer cancel()
	if err := m.provider.Shutdown(ctx); err != nil {
		m.warn(err)
	}
}
