package spec_test

import (
	"encoding/json"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/protocol/spec"
)

func TestRepeatedKeysAreFound(t *testing.T) {
	for config, want := range map[string]string{
		`{}`: "",
		`{"a":1,"b":{"a":2},"c":[{"a":1},{"a":2}]}`: "",
		`{"a":1,"b":2,"a":3}`:                       "a",
		`{"warehouse":"x","Warehouse":"y"}`:         "Warehouse",
		`{"a":{"b":{},"b":[]}}`:                     "a.b",
		`{"a":[[],{},[{"b":1},{"c":1,"c":2}]]}`:     "a.c",
		`{"a":{"x":1},"b":{"x":1},"a":{}}`:          "a",
		`{"a":1,"a"`:                                "a",
		`{"a":1,`:                                   "",
		`[`:                                         "",
		`"a"`:                                       "",
	} {
		if got := spec.RepeatedKey(json.RawMessage(config)); got != want {
			t.Errorf("%s: %q is there twice, want %q", config, got, want)
		}
	}
}
