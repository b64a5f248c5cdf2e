package cat

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

func (s *Suite) testBasicRead(t *testing.T, test BasicReadTest) {
	catalog := s.catalog(t, test.Catalog, "")
	t.Run("test_read", func(t *testing.T) {
		run := s.read(t, test.Config, catalog)
		expected := s.expected(t, test.Expect.Path)
		for _, stream := range catalog.Streams {
			t.Run(stream.Stream.Name, func(t *testing.T) {
				r := readStream{T: t, stream: stream, schema: object(t, stream.Stream.JSONSchema), run: run}
				for _, raw := range run.Records(stream.ID()) {
					r.raw = append(r.raw, raw)
					r.records = append(r.records, object(t, raw))
				}
				r.check(test, s.Config.Strictness == "high", expected[stream.Stream.Name])
				r.wantEveryField(s.Valueless)
			})
			delete(expected, stream.Stream.Name)
		}
		for name := range expected {
			t.Errorf("%s has records of %s, which the catalog has not", test.Expect.Path, name)
		}
	})
	if enabled(test.TraceOnFailure, true) {
		t.Run("test_airbyte_trace_message_on_failure", func(t *testing.T) {
			for name, stream := range map[string]protocol.ConfiguredStream{
				"unknown stream":    {Stream: protocol.Stream{Name: "__AIRBYTE__stream_that_does_not_exist"}, SyncMode: protocol.FullRefresh},
				"unknown sync mode": {Stream: catalog.Streams[0].Stream, SyncMode: "INVALID_SYNC_MODE"},
			} {
				bad := protocol.ConfiguredCatalog{Streams: []protocol.ConfiguredStream{stream}}
				run := s.Speak(t, "read", "--config", s.path(test.Config), "--catalog", protocoltest.File(t, bad))
				if errors := run.Errors(); run.Code == 0 || len(errors) == 0 || errors[0].Message == "" {
					t.Errorf("%s: exit code %d, errors %v", name, run.Code, errors)
				}
			}
		})
	}
}

// expected reads records by stream.
func (s *Suite) expected(t *testing.T, path string) map[string][]map[string]any {
	expected := map[string][]map[string]any{}
	if path == "" {
		return expected
	}
	for line := range bytes.Lines(s.file(t, path)) {
		var record struct {
			Stream string
			Data   json.RawMessage
		}
		if err := json.Unmarshal(line, &record); err != nil {
			t.Fatalf("%s: %v: %s", path, err, line)
		}
		expected[record.Stream] = append(expected[record.Stream], object(t, record.Data))
	}
	return expected
}

// readStream is what a read has given of one stream.
type readStream struct {
	*testing.T
	stream  protocol.ConfiguredStream
	schema  map[string]any
	run     *protocoltest.Run
	raw     []json.RawMessage
	records []map[string]any
}

func (r *readStream) check(test BasicReadTest, high bool, expected []map[string]any) {
	mayBeEmpty := slices.ContainsFunc(test.Empty, func(e Exempt) bool { return e.Name == r.stream.Stream.Name })
	if len(r.records) == 0 && !mayBeEmpty {
		r.Error("there are no records, and the stream is not among the empty_streams")
	}
	if enabled(test.ValidateSchema, true) {
		schema := compile(r, r.schema)
		for _, raw := range r.raw {
			validate(r, schema, raw)
		}
	}
	if enabled(test.FailOnExtra, true) {
		for _, record := range r.records {
			for _, path := range undeclared(r.schema, record, "") {
				r.Errorf("the schema does not declare %s", path)
			}
		}
	}
	if enabled(test.ValidateKeyTypes, true) {
		wantSimpleKeys(r, r.stream.Key(), r.schema)
	}
	if enabled(test.ValidateStates, true) {
		r.wantStates()
	}
	if enabled(test.ValidateStatuses, false) {
		r.wantStatuses()
	}
	if test.Expect.Path != "" {
		if high && len(expected) == 0 && !mayBeEmpty {
			r.Errorf("%s has no records of the stream", test.Expect.Path)
		}
		r.wantRecords(expected, test.Expect.ExactOrder)
	}
}

// undeclared lists the paths of a record that its schema does not have.
func undeclared(schema map[string]any, value any, path string) (paths []string) {
	switch v := value.(type) {
	case map[string]any:
		properties, declared := schema["properties"].(map[string]any)
		for name, member := range v {
			property, known := properties[name].(map[string]any)
			if declared && !known {
				paths = append(paths, path+"."+name)
				continue
			}
			paths = append(paths, undeclared(property, member, path+"."+name)...)
		}
	case []any:
		items, _ := schema["items"].(map[string]any)
		for _, item := range v {
			paths = append(paths, undeclared(items, item, path+"[]")...)
		}
	}
	return paths
}

// wantStates: at least one state, none of the legacy kind, whose sourceStats
// add up to the records.
func (r *readStream) wantStates() {
	count, states := 0.0, 0
	for _, s := range r.run.States() {
		if s.Type == protocol.LegacyState {
			r.Errorf("a legacy state: %s", s.Raw)
		}
		if s.Type != protocol.StreamState || s.Stream != r.stream.ID() {
			continue
		}
		states++
		var stats struct {
			Source *struct {
				RecordCount float64 `json:"recordCount"`
			} `json:"sourceStats"`
		}
		if err := json.Unmarshal(s.Raw, &stats); err != nil || stats.Source == nil {
			r.Errorf("a state without sourceStats (%v): %s", err, s.Raw)
			continue
		}
		count += stats.Source.RecordCount
	}
	if states == 0 || count != float64(len(r.records)) {
		r.Errorf("%d states count %v records, there are %d", states, count, len(r.records))
	}
}

// wantStatuses: STARTED, RUNNING as often as wanted, COMPLETE.
func (r *readStream) wantStatuses() {
	got := slices.Compact(r.run.Statuses(r.stream.ID()))
	wantEqual(r, "statuses", []protocol.StreamStatus{protocol.Started, protocol.Running, protocol.Complete}, got)
}

// wantEveryField: each declared field has a value somewhere.
func (r *readStream) wantEveryField(valueless []Exempt) {
	if len(r.records) == 0 {
		return
	}
	walk(r.schema, "", func(path string, _ map[string]any) {
		exempt := slices.ContainsFunc(valueless, func(e Exempt) bool { return e.Name == path })
		if !exempt && !slices.ContainsFunc(r.records, func(record map[string]any) bool { return has(record, "", path) }) {
			r.Errorf("no record has a value of %s", path)
		}
	})
}

// has reports whether there is a value at the path, written as walk writes it.
func has(value any, at, path string) bool {
	if at == path {
		return value != nil
	}
	switch v := value.(type) {
	case map[string]any:
		for name, member := range v {
			if has(member, at+"."+name, path) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(item any) bool { return has(item, at+"[]", path) })
	}
	return false
}

// wantRecords: the expected records are there, found by their keys; with order,
// one after the other.
func (r *readStream) wantRecords(expected []map[string]any, order bool) {
	position := map[string]int{}
	for i, record := range r.records {
		key := keyOf(r, r.stream, record)
		if _, again := position[key]; again {
			r.Errorf("two records have the key %s", key)
		}
		position[key] = i
	}
	last := -1
	for _, want := range expected {
		key := keyOf(r, r.stream, want)
		i, ok := position[key]
		if !ok {
			r.Errorf("there is no record with the key %s among %v", key, slices.Sorted(maps.Keys(position)))
			continue
		}
		if diff := cmp.Diff(want, r.records[i]); diff != "" {
			r.Errorf("record %s (-want +got):\n%s", key, diff)
		}
		if order && i < last {
			r.Errorf("record %s comes too early", key)
		}
		last = i
	}
}

// content is a record without some of its fields, as text.
func content(t testing.TB, record map[string]any, without []Exempt) string {
	t.Helper()
	rest := maps.Clone(record)
	for _, f := range without {
		delete(rest, f.Name)
	}
	text, err := json.Marshal(rest)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
