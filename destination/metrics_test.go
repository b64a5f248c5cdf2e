package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/protobuf/proto"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/metrics"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// A testCollector receives metrics over OTLP.
type testCollector struct {
	*httptest.Server

	mu       sync.Mutex
	paths    []string
	headers  http.Header // of the last request
	received *collector.ExportMetricsServiceRequest
}

func newTestCollector(t *testing.T) *testCollector {
	t.Helper()
	c := &testCollector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		received := &collector.ExportMetricsServiceRequest{}
		if err == nil {
			err = proto.Unmarshal(body, received)
		}
		if err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.paths, c.headers, c.received = append(c.paths, r.URL.Path), r.Header, received
	}))
	t.Cleanup(c.Close)
	return c
}

// last returns the paths of all requests, and the headers and the content of the last one.
func (c *testCollector) last() ([]string, http.Header, *collector.ExportMetricsServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paths, c.headers, c.received
}

// attributes prints the values of attributes in order, "/" between them.
func attributes(all []*common.KeyValue) string {
	values := map[string]string{}
	for _, a := range all {
		values[a.Key] = a.Value.GetStringValue()
	}
	var text []string
	for _, key := range []string{"airbyte.stream.namespace", "airbyte.stream.name", "airbyte.destination_sync_mode", "db.namespace", "db.collection.name", "error.type"} {
		if value, ok := values[key]; ok {
			text = append(text, value)
		}
	}
	return strings.Join(text, "/")
}

// numbers returns what was received: counters by their name and attributes, of histograms how often.
func (c *testCollector) numbers(t *testing.T) map[string]int64 {
	t.Helper()
	paths, _, received := c.last()
	if len(paths) != 1 {
		t.Fatalf("%d requests", len(paths))
	}
	found := map[string]int64{}
	for _, scope := range received.ResourceMetrics[0].ScopeMetrics {
		for _, m := range scope.Metrics {
			for _, p := range m.GetSum().GetDataPoints() {
				found[m.Name+" "+attributes(p.Attributes)] = p.GetAsInt()
			}
			for _, p := range m.GetHistogram().GetDataPoints() {
				found[m.Name+" "+attributes(p.Attributes)] = int64(p.Count)
			}
			for _, p := range m.GetGauge().GetDataPoints() { // the time, which nobody knows
				found[m.Name+" "+attributes(p.Attributes)] = 1
			}
		}
	}
	return found
}

// A measuredLake is a lake that is written with the environment of the test.
type measuredLake struct {
	d               destination
	config, catalog string
}

const measuredCatalog = `{"streams":[
	{"stream":{"name":"items","namespace":"shop","json_schema":{"properties":{"id":{"type":"integer"}}}},"sync_mode":"incremental","destination_sync_mode":"append"},
	{"stream":{"name":"people","json_schema":{"properties":{"id":{"type":"integer"}}}},"sync_mode":"incremental","destination_sync_mode":"append_dedup","primary_key":[["id"]]}]}`

func newMeasuredLake(t *testing.T) *measuredLake {
	t.Helper()
	// Whatever the machine of the test has.
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
		}
	}
	l := &measuredLake{d: unsignalled()}
	l.config = protocoltest.File(t, fmt.Appendf(nil, `{"warehouse":"file://%s","commit":{"max_rows":1}}`, t.TempDir()))
	l.catalog = protocoltest.File(t, []byte(measuredCatalog))
	return l
}

// measuredInput is two batches of two streams, each with a state.
func measuredInput() string {
	var b strings.Builder
	record := func(stream string, id int) {
		fmt.Fprintf(&b, `{"type":"RECORD","record":{%s,"emitted_at":1,"data":{"id":%d}}}`+"\n", stream, id)
	}
	state := func(descriptor string, n int) {
		fmt.Fprintf(&b, `{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{%s},"stream_state":{"n":%d}}}}`+"\n", descriptor, n)
	}
	for n := range 2 {
		for id := range 3 {
			record(`"stream":"items","namespace":"shop"`, id)
		}
		state(`"name":"items","namespace":"shop"`, n)
		record(`"stream":"people"`, 7)
		record(`"stream":"people"`, 7)
		state(`"name":"people"`, n)
	}
	for _, descriptor := range []string{`"name":"items","namespace":"shop"`, `"name":"people"`} {
		fmt.Fprintf(&b, `{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1,"stream_status":{"stream_descriptor":{%s},"status":"COMPLETE"}}}`+"\n", descriptor)
	}
	return b.String()
}

func (l *measuredLake) write(t *testing.T) (stdout, stderr string, code int) {
	t.Helper()
	var out, text bytes.Buffer
	code = l.d.run(t.Context(), cli.Env{
		Args: []string{"write", "--config", l.config, "--catalog", l.catalog}, Stdin: strings.NewReader(measuredInput()),
		Stdout: &out, Stderr: &text, Getenv: os.Getenv,
	})
	return out.String(), text.String(), code
}

// commits returns the numbers in the lines that the write logged.
func commits(t *testing.T, stdout string) (found map[string]int64) {
	t.Helper()
	found = map[string]int64{}
	for line := range strings.Lines(stdout) {
		var m struct{ Log struct{ Message string } }
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		var name, snapshot, took string
		var rows, files, size, attempts int64
		if n, _ := fmt.Sscanf(m.Log.Message, "committed table=%s rows=%d files=%d bytes=%d snapshot=%s attempts=%d took=%s", &name, &rows, &files, &size, &snapshot, &attempts, &took); n == 7 {
			of := map[string]string{"shop.items": " shop/items/append/shop/items", "airbyte.people": " people/append_dedup/airbyte/people"}[name]
			found["iceberg.commit.duration"+of]++
			found["iceberg.commit.added_records"+of] += rows
			found["iceberg.commit.added_data_files"+of] += files
			found["iceberg.commit.added_files_size"+of] += size
			found["iceberg.commit.retries"+of] += attempts - 1
			found["iceberg.commit.time"+of] = 1
		}
	}
	return found
}

// Metrics say what the write did, for each table.
func TestMetricsSayWhatWasWritten(t *testing.T) {
	l, c := newMeasuredLake(t), newTestCollector(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=open%20sesame")
	t.Setenv("OTEL_SERVICE_NAME", "lake")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	stdout, stderr, code := l.write(t)
	if code != 0 {
		t.Fatal(stderr)
	}
	want := commits(t, stdout)
	if n := want["iceberg.commit.duration shop/items/append/shop/items"]; n < 1 {
		t.Fatalf("%d commits: %s", n, stdout)
	}
	for of, records := range map[string]int64{" shop/items/append/shop/items": 6, " people/append_dedup/airbyte/people": 4} {
		want["airbyte.destination.records"+of] = records
		want["iceberg.maintenance.duration"+of] = 1
		for _, name := range []string{"compacted_files", "expired_snapshots", "removed_files", "removed_orphans"} {
			want["iceberg.maintenance."+name+of] = 0
		}
	}
	want["airbyte.destination.sync.duration "] = 1
	want["airbyte.destination.state.lag "] = int64(strings.Count(stdout, `"type":"STATE"`))
	if diff := cmp.Diff(want, c.numbers(t)); diff != "" {
		t.Errorf("(-written +measured):\n%s", diff)
	}
	paths, headers, received := c.last()
	if paths[0] != "/v1/metrics" || headers.Get("Api-Key") != "open sesame" {
		t.Errorf("a request to %s with %v", paths[0], headers)
	}
	resource := map[string]string{}
	for _, a := range received.ResourceMetrics[0].Resource.Attributes {
		resource[a.Key] = a.Value.GetStringValue()
	}
	if resource["service.name"] != "lake" || resource["deployment.environment.name"] != "test" || resource["service.version"] != cli.Version || resource["service.instance.id"] == "" {
		t.Errorf("resource: %v", resource)
	}
}

// A write that failed is measured with the kind of its error.
func TestMetricsSayWhatFailed(t *testing.T) {
	l, c := newMeasuredLake(t), newTestCollector(t)
	t.Setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", c.URL+"/mine")
	failing := make(chan struct{})
	close(failing)
	l.d.openCatalog = func(ctx context.Context, config Config) (*catalogs.Catalog, error) {
		cat, err := config.openCatalog(ctx)
		if err == nil {
			cat.Backend = refusing{cat.Backend, failing}
		}
		return cat, err
	}
	if _, _, code := l.write(t); code == 0 {
		t.Error("exit code 0")
	}
	got := c.numbers(t)
	if got["airbyte.destination.sync.duration system_error"] != 1 || got["iceberg.commit.duration shop/items/append/shop/items/system_error"] != 1 {
		t.Errorf("%v", got)
	}
	for name := range got {
		if strings.HasPrefix(name, "airbyte.destination.records") || strings.HasPrefix(name, "iceberg.commit.added") {
			t.Errorf("%s is measured", name)
		}
	}
	if paths, _, _ := c.last(); paths[0] != "/mine" {
		t.Errorf("a request to %s", paths[0])
	}
}

// A collector that does not answer, or not well, fails no sync: there is one warning, without the secrets.
func TestACollectorThatIsAwayFailsNoSync(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	asked, gaveUp := make(chan struct{}, 1), make(chan struct{}, 1)
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		asked <- struct{}{}
		<-r.Context().Done()
		gaveUp <- struct{}{}
	}))
	defer silent.Close()
	echoing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "who is "+r.Header.Get("Authorization")+"?", http.StatusUnauthorized)
	}))
	defer echoing.Close()
	for name, env := range map[string]map[string]string{
		"nobody":  {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://" + nobody.Addr().String()},
		"silent":  {"OTEL_EXPORTER_OTLP_ENDPOINT": silent.URL},
		"echoing": {"OTEL_EXPORTER_OTLP_ENDPOINT": echoing.URL},
		"no URL":  {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://me:opensesame@["},
		"unknown": {"OTEL_METRICS_EXPORTER": "none,nonsense"},
		"headers": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://" + nobody.Addr().String(), "OTEL_EXPORTER_OTLP_HEADERS": "opensesame"},
		"grpc":    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://" + nobody.Addr().String(), "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newMeasuredLake(t)
			t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20opensesame")
			for name, value := range env {
				t.Setenv(name, value)
			}
			if name == "silent" { // its time is over when it has been asked
				l.d.lastExport = func() (context.Context, context.CancelFunc) {
					limited, cancel := metrics.LastExport()
					cancel()
					if end, ok := limited.Deadline(); !ok || time.Until(end) > 3*time.Second {
						t.Errorf("the last export may take until %v", end)
					}
					export, cancel := context.WithCancel(t.Context())
					go func() {
						<-asked
						cancel()
					}()
					return export, cancel
				}
			}
			stdout, stderr, code := l.write(t)
			if code != 0 || strings.Count(stdout, `"type":"STATE"`) != 4 {
				t.Errorf("exit code %d: %s", code, stderr)
			}
			if n := strings.Count(stdout, `"level":"WARN"`); n != 1 || !strings.Contains(stdout, "there is trouble with the metrics") {
				t.Errorf("%d warnings: %s", n, stderr)
			}
			if strings.Contains(stdout+stderr, "sesame") {
				t.Errorf("a secret: %s", stderr)
			}
			if name == "silent" {
				<-gaveUp
			}
		})
	}
}

// Without the variables, or when they say so, nothing is sent or said.
func TestNoMetricsUnlessAskedFor(t *testing.T) {
	c := newTestCollector(t)
	for name, env := range map[string]map[string]string{
		"nothing":  {},
		"disabled": {"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL, "OTEL_SDK_DISABLED": "true"},
		"none":     {"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL, "OTEL_METRICS_EXPORTER": "none"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newMeasuredLake(t)
			for name, value := range env {
				t.Setenv(name, value)
			}
			if stdout, stderr, code := l.write(t); code != 0 || strings.Contains(stdout, "WARN") || stderr != "" {
				t.Errorf("exit code %d: %s", code, stderr)
			}
			if paths, _, _ := c.last(); len(paths) > 0 {
				t.Error("metrics were sent")
			}
		})
	}
}

// The console exporter writes to standard error.
func TestMetricsOnTheConsole(t *testing.T) {
	l := newMeasuredLake(t)
	t.Setenv("OTEL_METRICS_EXPORTER", "console")
	console, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stderr
	os.Stderr = console
	stdout, stderr, code := l.write(t)
	os.Stderr = before
	if code != 0 || strings.Contains(stdout, "iceberg.commit.duration") {
		t.Errorf("exit code %d: %s %s", code, stdout, stderr)
	}
	if text, err := os.ReadFile(console.Name()); err != nil || !bytes.Contains(text, []byte("iceberg.commit.duration")) {
		t.Errorf("%s %v", text, err)
	}
}
