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
