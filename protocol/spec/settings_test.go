package spec

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
		if found := Secrets(nil, raw); !slices.Contains(found, "opensesame") {
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
		if found := Secrets(schema, json.RawMessage(config)); slices.Contains(found, "ding") != secret {
			t.Errorf("%s: found %q", config, found)
		}
	}
}
