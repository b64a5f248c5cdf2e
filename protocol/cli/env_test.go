package cli

import (
	"slices"
	"testing"
)

// Headers of OpenTelemetry carry keys.
func TestHeadersOfMetricsAreSecrets(t *testing.T) {
	env := Env{Getenv: func(name string) string {
		return map[string]string{
			"OTEL_EXPORTER_OTLP_HEADERS":         "api-key=first%2Bkey, Authorization=Bearer%20second",
			"OTEL_EXPORTER_OTLP_METRICS_HEADERS": "third,x-key=four=th,y-key=fif%th",
			"OTEL_EXPORTER_OTLP_ENDPOINT":        "https://me:sixth@collector",
		}[name]
	}}
	found := env.secrets()
	for _, want := range []string{"first%2Bkey", "first+key", "Bearer%20second", "Bearer second", "second", "third", "four=th", "fif%th", "sixth"} {
		if !slices.Contains(found, want) {
			t.Errorf("%q is not among %q", want, found)
		}
	}
}
