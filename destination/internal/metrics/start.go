package metrics

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/go-logr/logr/funcr"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdoutmetric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

// Start returns the instruments of a sync, or nil unless OpenTelemetry's environment
// variables name an exporter or an endpoint. The exporter reads the others itself.
//
// No trouble with metrics fails a sync, and the first one is logged.
func Start(out *protocol.Emitter) *Metrics {
	names, err := exporters(os.Getenv)
	if len(names) == 0 && err == nil {
		return nil
	}
	var once sync.Once
	warn := func(err error) {
		once.Do(func() {
			out.Logger().Warn("there is trouble with the metrics; the sync goes on without them. Check the OTEL_ variables and the collector", "error", out.Excerpt(err.Error(), 500))
		})
	}
	if err != nil {
		warn(err)
	}
	if len(names) == 0 {
		return nil
	}
	// The SDK says through these what is wrong with the other variables, and why an
	// export failed.
	otel.SetLogger(funcr.New(func(_, message string) { warn(errors.New(message)) }, funcr.Options{Verbosity: 1}))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(warn))
	options := []sdk.Option{sdk.WithResource(describeProcess(warn))}
	for _, name := range names {
		exporter, err := newExporter(name)
		if err != nil {
			warn(err)
			continue
		}
		options = append(options, sdk.WithReader(sdk.NewPeriodicReader(exporter)))
	}
	return newMetrics(sdk.NewMeterProvider(options...), warn)
}

// exporters returns the names of the exporters to use: "otlp" or "console". The
// error is about those that there are not.
func exporters(getenv func(string) string) (names []string, err error) {
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") {
		return nil, nil
	}
	wanted := getenv("OTEL_METRICS_EXPORTER")
	if wanted == "" && hasEndpoint(getenv) {
		wanted = "otlp"
	}
	for name := range strings.SplitSeq(wanted, ",") {
		switch name = strings.TrimSpace(name); name {
		case "none", "":
		case "console":
			names = append(names, name)
		case "otlp":
			protocol := getenv("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL")
			if protocol == "" {
				protocol = getenv("OTEL_EXPORTER_OTLP_PROTOCOL")
			}
			if protocol != "" && protocol != "http/protobuf" {
				err = errors.Join(err, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is %q, and this program speaks only http/protobuf: set that, and the collector's port for it, usually 4318", protocol))
				continue
			}
			names = append(names, name)
		default:
			err = errors.Join(err, fmt.Errorf("OTEL_METRICS_EXPORTER has %q, and this program has only otlp, console and none", name))
		}
	}
	return names, err
}

func hasEndpoint(getenv func(string) string) bool {
	return getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || getenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT") != ""
}

func newExporter(name string) (sdk.Exporter, error) {
	if name == "console" { // standard output carries protocol messages
		return stdoutmetric.New(stdoutmetric.WithWriter(os.Stderr))
	}
	var options []otlpmetrichttp.Option
	if !hasEndpoint(os.Getenv) { // the specification's default; the exporter's own is https
		options = append(options, otlpmetrichttp.WithInsecure())
	}
	return otlpmetrichttp.New(context.Background(), options...)
}

// describeProcess returns what the metrics belong to. OTEL_SERVICE_NAME and
// OTEL_RESOURCE_ATTRIBUTES come last and win. Syncs run side by side, so each one is
// an instance of its own.
func describeProcess(warn func(error)) *resource.Resource {
	r, err := resource.New(context.Background(),
		resource.WithTelemetrySDK(),
		resource.WithAttributes(semconv.ServiceName("destination-iceberg"), semconv.ServiceVersion(cli.Version), semconv.ServiceInstanceID(uuid.NewString())),
		resource.WithFromEnv())
	if err != nil {
		warn(err)
	}
	return r
}
