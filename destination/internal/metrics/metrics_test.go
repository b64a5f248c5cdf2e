package metrics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/maintenance"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// measureAll records every metric once with success and once with failure, and returns them by name.
func measureAll(t *testing.T) map[string]metricdata.Metrics {
	t.Helper()
	reader := sdk.NewManualReader()
	m := newMetrics(sdk.NewMeterProvider(sdk.WithReader(reader)), func(err error) { t.Error(err) })
	of := Table{Stream: protocol.StreamID{Name: "items", Namespace: "shop"}, Mode: protocol.Append, Identifier: table.Identifier{"lake", "shop", "items"}}
	for _, err := range []error{nil, &protocol.Error{Kind: protocol.TransientError}} {
		m.Committed(of, lake.Committed{Attempts: 3, Rows: 5, Files: 2, Bytes: 700, Duration: time.Second}, err)
		m.Maintained(of, time.Second, maintenance.Report{}, err)
		m.sync.Record(t.Context(), 1, metric.WithAttributes(errorType(err)...))
	}
	m.Durable(of, 4)
	m.Echoed(time.Now())
	var got metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	found := map[string]metricdata.Metrics{}
	for _, scope := range got.ScopeMetrics {
		for _, m := range scope.Metrics {
			found[m.Name] = m
		}
	}
	return found
}

// kindOf returns the kind of a metric and the keys of its attributes.
func kindOf(t *testing.T, m metricdata.Metrics) (kind string, attributes map[string]bool) {
	t.Helper()
	var sets []attribute.Set
	switch data := m.Data.(type) {
	case metricdata.Histogram[float64]:
		kind = "histogram"
		for _, p := range data.DataPoints {
			sets = append(sets, p.Attributes)
		}
	case metricdata.Sum[int64]:
		kind = "counter"
		for _, p := range data.DataPoints {
			sets = append(sets, p.Attributes)
		}
	case metricdata.Gauge[float64]:
		kind = "gauge"
		for _, p := range data.DataPoints {
			sets = append(sets, p.Attributes)
		}
	default:
		t.Fatalf("%s is a %T", m.Name, m.Data)
	}
	attributes = map[string]bool{}
	for _, set := range sets {
		for _, a := range set.ToSlice() {
			attributes[string(a.Key)] = true
		}
	}
	return kind, attributes
}

// The documentation has every metric and every attribute, as they are.
func TestDocsHaveEveryMetric(t *testing.T) {
	page, err := os.ReadFile("../../../docs/destination.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Metrics\n")
	section, _, _ = strings.Cut(section, "\n## ")
	const errorKey = "error.type"
	var rows []string
	keys := map[string]bool{}
	for _, m := range measureAll(t) {
		kind, attributes := kindOf(t, m)
		maps.Copy(keys, attributes)
		of := []string{}
		if attributes["db.collection.name"] {
			of = append(of, "table")
		}
		if attributes[errorKey] {
			of = append(of, "error")
		}
		if len(of) == 0 {
			of = append(of, "–")
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s, %s | %s | %s |", m.Name, kind, m.Unit, strings.Join(of, ", "), m.Description))
	}
	for _, row := range rows {
		if !strings.Contains(section, row+"\n") {
			t.Errorf("docs/destination.md lacks %s", row)
		}
	}
	if documented := regexp.MustCompile("(?m)^\\| `[^`]+` \\| (histogram|counter|gauge)").FindAllString(section, -1); len(documented) != len(rows) {
		t.Errorf("docs/destination.md has %d metrics, and there are %d", len(documented), len(rows))
	}
	var documented []string
	for _, found := range regexp.MustCompile("(?m)^- `([a-z_.]+)`").FindAllStringSubmatch(section, -1) {
		documented = append(documented, found[1])
	}
	slices.Sort(documented)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(keys)), documented); diff != "" {
		t.Errorf("attributes (-code +docs):\n%s", diff)
	}
}

// A commit that failed took its time and its attempts, and added nothing.
func TestAFailedCommitAddsNothing(t *testing.T) {
	found := measureAll(t)
	for name, want := range map[string]int64{
		"iceberg.commit.added_records": 5, "iceberg.commit.added_data_files": 2, "iceberg.commit.added_files_size": 700, "iceberg.commit.retries": 4,
	} {
		sum := int64(0)
		for _, p := range found[name].Data.(metricdata.Sum[int64]).DataPoints {
			sum += p.Value
		}
		if sum != want {
			t.Errorf("%s is %d, not %d", name, sum, want)
		}
	}
	commits := found["iceberg.commit.duration"].Data.(metricdata.Histogram[float64]).DataPoints
	if len(commits) != 2 || commits[0].Count != 1 || commits[1].Count != 1 {
		t.Errorf("commits: %v", commits)
	}
}

// The kind of a failure is one of few, whatever the error says.
func TestErrorTypes(t *testing.T) {
	for want, err := range map[string]error{
		"config_error":    fmt.Errorf("opening: %w", &protocol.Error{Kind: protocol.ConfigError}),
		"canceled":        fmt.Errorf("writing: %w", context.Canceled),
		"streams_failed":  protocol.ErrStreamsFailed,
		"transient_error": fmt.Errorf("asking: %w", context.DeadlineExceeded),
		"system_error":    errors.New("something else"),
	} {
		if got := errorType(err); len(got) != 1 || got[0].Value.AsString() != want {
			t.Errorf("%v has the type %v, not %s", err, got, want)
		}
	}
}

// Metrics are made only if a variable says where they go.
func TestExporters(t *testing.T) {
	for _, tt := range []struct {
		env  string
		want string
		bad  string // what the error says
	}{
		{env: ""},
		{env: "OTEL_SERVICE_NAME=lake OTEL_METRIC_EXPORT_INTERVAL=1000 OTEL_EXPORTER_OTLP_HEADERS=a=b OTEL_EXPORTER_OTLP_PROTOCOL=grpc"},
		{env: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://c:4318"},
		{env: "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318", want: "otlp"},
		{env: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://c:4318/x", want: "otlp"},
		{env: "OTEL_METRICS_EXPORTER=otlp", want: "otlp"},
		{env: "OTEL_METRICS_EXPORTER=console", want: "console"},
		{env: "OTEL_METRICS_EXPORTER=console,otlp", want: "console otlp"},
		{env: "OTEL_METRICS_EXPORTER=none OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318"},
		{env: "OTEL_SDK_DISABLED=TRUE OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318 OTEL_METRICS_EXPORTER=otlp"},
		{env: "OTEL_SDK_DISABLED=no OTEL_METRICS_EXPORTER=otlp", want: "otlp"},
		{env: "OTEL_METRICS_EXPORTER=prometheus", bad: `"prometheus"`},
		{env: "OTEL_METRICS_EXPORTER=prometheus,otlp", want: "otlp", bad: `"prometheus"`},
		{env: "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4317 OTEL_EXPORTER_OTLP_PROTOCOL=grpc", bad: `"grpc"`},
		{env: "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318 OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=http/protobuf", want: "otlp"},
	} {
		env := map[string]string{}
		for _, variable := range strings.Fields(tt.env) {
			name, value, _ := strings.Cut(variable, "=")
			env[name] = value
		}
		names, err := exporters(func(name string) string { return env[name] })
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("%s: %q, not %q", tt.env, got, tt.want)
		}
		if (err != nil) != (tt.bad != "") || err != nil && !strings.Contains(err.Error(), tt.bad) {
			t.Errorf("%s: %v", tt.env, err)
		}
	}
}
