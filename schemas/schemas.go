// Package schemas holds the JSON Schema (draft-07, with Airbyte's types) of
// each kind of record that WHOOP's API v2 returns. Every field has a
// description with its unit; none is required, since WHOOP leaves fields out
// and sends null for others, and every object takes fields it does not name.
package schemas

import (
	"embed"
	"encoding/json"
	"fmt"
)

//go:embed *.json
var files embed.FS

// Get returns the schema of a kind of record, such as "cycle".
func Get(name string) (json.RawMessage, error) {
	data, err := files.ReadFile(name + ".json")
	if err != nil {
		return nil, fmt.Errorf("reading the schema of %s: %w", name, err)
	}
	return data, nil
}
