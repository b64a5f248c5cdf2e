package cat

import (
	"slices"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

func (s *Suite) testFullRefresh(t *testing.T, test FullRefreshTest) {
	t.Run("test_sequential_reads", func(t *testing.T) {
		catalog := s.catalog(t, test.Catalog, protocol.FullRefresh)
		first, second := s.read(t, test.Config, catalog), s.read(t, test.Config, catalog)
		if before, after := emitted(first, slices.Max), emitted(second, slices.Min); after < before {
			t.Errorf("the second read emitted a record at %d, the first one at %d", after, before)
		}
		for _, stream := range catalog.Streams {
			again := map[string]bool{}
			for _, raw := range second.Records(stream.ID()) {
				again[content(t, object(t, raw), test.Ignored[stream.Stream.Name])] = true
			}
			for _, raw := range first.Records(stream.ID()) {
				if record := content(t, object(t, raw), test.Ignored[stream.Stream.Name]); !again[record] {
					t.Errorf("stream %s: the second read has not: %s", stream.ID(), record)
				}
			}
		}
	})
}

// emitted is the first or last emitted_at of a run.
func emitted(run *protocoltest.Run, pick func([]int64) int64) int64 {
	var at []int64
	for _, m := range run.Messages {
		if m.Record != nil {
			at = append(at, m.Record.EmittedAt)
		}
	}
	return pick(append(at[:len(at):len(at)], at...))
}

func (s *Suite) testIncremental(t *testing.T, test IncrementalTest) {
	catalog := s.catalog(t, test.Catalog, protocol.Incremental)
	first := s.read(t, test.Config, catalog)
	t.Run("test_two_sequential_reads", func(t *testing.T) {
		states := latest(first.States())
		if len(states) != len(catalog.Streams) {
			t.Fatalf("%d streams have a state, there are %d", len(states), len(catalog.Streams))
		}
		second := s.read(t, test.Config, catalog, states...)
		for _, stream := range catalog.Streams {
			if len(first.Records(stream.ID())) == 0 {
				t.Errorf("stream %s: the first read has no records", stream.ID())
			}
			// Airbyte's test wants a difference; nothing has changed, so there
			// is nothing to read.
			if records := second.Records(stream.ID()); len(records) > 0 {
				t.Errorf("stream %s: the second read has %d records, the first %s", stream.ID(), len(records), records[0])
			}
		}
		wantEqual(t, "streams with a state", len(catalog.Streams), len(latest(second.States())))
	})
	t.Run("test_read_sequential_slices", func(t *testing.T) {
		s.resume(t, test, catalog, first)
	})
	t.Run("test_state_with_abnormally_large_values", func(t *testing.T) {
		future, err := protocol.ParseStates(s.file(t, test.Future.Path))
		if err != nil {
			t.Fatal(err)
		}
		for _, stream := range catalog.Streams {
			if !slices.ContainsFunc(future, func(s protocol.State) bool { return s.Stream == stream.ID() }) {
				t.Errorf("%s has no state of stream %s", test.Future.Path, stream.ID())
			}
		}
		for _, m := range test.Future.Missing {
			if slices.ContainsFunc(catalog.Streams, func(s protocol.ConfiguredStream) bool { return s.Stream.Name == m.Name }) {
				t.Errorf("stream %s is incremental and among the missing_streams", m.Name)
			}
		}
		run := s.read(t, test.Config, catalog, future...)
		for _, stream := range catalog.Streams {
			if records := run.Records(stream.ID()); len(records) > 0 {
				t.Errorf("stream %s: %d records, the first %s", stream.ID(), len(records), records[0])
			}
		}
		wantEqual(t, "streams with a state", len(catalog.Streams), len(latest(run.States())))
	})
}

// resume reads on from each checkpoint of a read: what came before it and what
// comes now are all there is.
func (s *Suite) resume(t *testing.T, test IncrementalTest, catalog protocol.ConfiguredCatalog, whole *protocoltest.Run) {
	var states []protocol.State
	before := map[protocol.StreamID]map[string]bool{}
	for _, stream := range catalog.Streams {
		before[stream.ID()] = map[string]bool{}
	}
	for _, m := range whole.Messages {
		if m.Record != nil {
			before[m.Record.ID()][string(m.Record.Data)] = true
		}
		if m.Type != "STATE" {
			continue
		}
		state, err := protocol.ParseState(m.State)
		if err != nil {
			t.Fatal(err)
		}
		states = latest(append(states, state))
		run := s.read(t, test.Config, catalog, states...)
		for _, stream := range catalog.Streams {
			covered := slices.ContainsFunc(states, func(s protocol.State) bool { return s.Stream == stream.ID() })
			resumed := map[string]bool{}
			for _, raw := range run.Records(stream.ID()) {
				resumed[string(raw)] = true
			}
			for _, raw := range whole.Records(stream.ID()) {
				if !resumed[string(raw)] && !(covered && before[stream.ID()][string(raw)]) {
					t.Errorf("resumed after message %d, stream %s is without %s", m.Line, stream.ID(), raw)
				}
			}
		}
	}
	if len(states) == 0 {
		t.Error("there is no checkpoint")
	}
}

// latest keeps the last state of each stream.
func latest(states []protocol.State) []protocol.State {
	var kept []protocol.State
	for i, s := range states {
		if !slices.ContainsFunc(states[i+1:], func(later protocol.State) bool { return later.Stream == s.Stream }) {
			kept = append(kept, s)
		}
	}
	return kept
}
