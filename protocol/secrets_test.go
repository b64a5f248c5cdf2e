package protocol

import (
	"encoding/json"
	"slices"
	"testing"
)

// A secret in the wrong place, as a value or a key that the schema does not know, is found all the same.
func TestSecretsInTheWrongPlaceAreFound(t *testing.T) {
	for _, config := range []map[string]any{
		{"anything": []any{map[string]string{"else": "https://me:opensesame@host/x"}}},
		{"https://me:opensesame@host/x": 1},
	} {
		raw, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		if found := secretValues(nil, raw); !slices.Contains(found, "opensesame") {
			t.Errorf("%s: found %q", raw, found)
		}
	}
}

// A key is a secret if the chosen form says so, or if any form does when none is chosen.
func TestAKeyIsASecretInItsFormOnly(t *testing.T) {
	schema := vehicles.Schema()
	for config, secret := range map[string]bool{
		`{"type":"bike","bell":"ding"}`: true,
		`{"type":"car","bell":"ding"}`:  false,
		`{"type":"boat","bell":"ding"}`: true,
		`{"bell":"ding"}`:               true,
	} {
		if found := secretValues(schema, json.RawMessage(config)); slices.Contains(found, "ding") != secret {
			t.Errorf("%s: found %q", config, found)
		}
	}
}

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
