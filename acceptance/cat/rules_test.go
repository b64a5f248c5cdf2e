package cat

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

const schemaText = `{"type":"object","properties":{
	"id":{"type":"integer"},
	"score":{"type":["null","object"],"properties":{"total":{"type":"number"}}},
	"stages":{"type":"array","items":{"type":"object","properties":{"name":{"type":"string"}}}},
	"any":{"type":"object"}}}`

func TestUndeclaredFieldsAreFound(t *testing.T) {
	schema := object(t, []byte(schemaText))
	for record, want := range map[string][]string{
		`{"id":1,"score":{"total":1},"stages":[{"name":"x"}],"any":{"a":{"b":1}}}`: nil,
		`{"score":null,"stages":[]}`:        nil,
		`{"ID":1}`:                          {".ID"},
		`{"score":{"total":1,"max":2}}`:     {".score.max"},
		`{"stages":[{"name":"x"},{"n":1}]}`: {".stages[].n"},
	} {
		if diff := cmp.Diff(want, undeclared(schema, object(t, []byte(record)), "")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", record, diff)
		}
	}
}

func TestValuesAreFound(t *testing.T) {
	record := object(t, []byte(`{"id":0,"score":{"total":null},"stages":[{"name":null},{"name":""}]}`))
	for path, want := range map[string]bool{
		"": true, ".id": true, ".score": true, ".score.total": false, ".stages": true, ".stages[]": true, ".stages[].name": true, ".stages[].n": false, ".any": false,
	} {
		if got := has(record, "", path); got != want {
			t.Errorf("%q: %t", path, got)
		}
	}
}

func TestSupportedTypes(t *testing.T) {
	for schema, want := range map[string]bool{
		`{"type":["null","string"],"format":"date-time","airbyte_type":"timestamp_with_timezone"}`: true,
		`{"type":["null","object"]}`:                      true,
		`{"type":"string","format":"uuid"}`:               false,
		`{"type":"integer","airbyte_type":"big_integer"}`: false,
		`{"type":"null"}`:                                 false,
		`{}`:                                              false,
	} {
		if got := supported(object(t, []byte(schema))); got != want {
			t.Errorf("%s: %t", schema, got)
		}
	}
}

func TestLatestKeepsTheLastStateOfEachStream(t *testing.T) {
	state := func(name, at string) protocol.State {
		return protocol.State{Type: protocol.StreamState, Stream: protocol.StreamID{Name: name}, Raw: []byte(at)}
	}
	got := latest([]protocol.State{state("a", "1"), state("b", "2"), state("a", "3")})
	if diff := cmp.Diff([]protocol.State{state("b", "2"), state("a", "3")}, got, cmpopts.IgnoreUnexported(protocol.State{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
