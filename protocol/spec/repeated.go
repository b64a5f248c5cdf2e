package spec

import (
	"bytes"
	"encoding/json"
	"strings"
)

// RepeatedKey returns the path of a key that an object of a configuration has twice, "" if
// there is none. Keys that differ in their case are one key, as for encoding/json, which
// would take the last one.
func RepeatedKey(config json.RawMessage) string {
	dec := json.NewDecoder(bytes.NewReader(config))
	_, repeated := repeatedIn(dec, "")
	return repeated
}

// repeatedIn reads a value and looks for a key that is there twice. It reports false at the
// end of an object or array, and where the text is no JSON.
func repeatedIn(dec *json.Decoder, path string) (more bool, repeated string) {
	token, err := dec.Token()
	switch {
	case err != nil || token == json.Delim('}') || token == json.Delim(']'):
		return false, ""
	case token == json.Delim('['):
		for more := true; more && repeated == ""; {
			more, repeated = repeatedIn(dec, path)
		}
	case token == json.Delim('{'):
		seen := map[string]bool{}
		for repeated == "" {
			name, err := dec.Token()
			key, isKey := name.(string)
			if err != nil || !isKey {
				break
			}
			at := join(path, key)
			folded := strings.ToLower(key)
			if seen[folded] {
				return false, at
			}
			seen[folded] = true
			_, repeated = repeatedIn(dec, at)
		}
	}
	return true, repeated
}
