package syncer

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/checkpoint"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// After any crash, a source that continues from the printed states loses no row.
func TestContinueFrom(t *testing.T) {
	const (
		streamA = `{"type":"STREAM","stream":{"stream_descriptor":{"name":"a"},"stream_state":{"n":1}}}`
		streamB = `{"type":"STREAM","stream":{"stream_descriptor":{"name":"b"},"stream_state":{"n":2}}}`
		global1 = `{"type":"GLOBAL","global":{"shared_state":{"lsn":1},"stream_states":[{"stream_descriptor":{"name":"a"}},{"stream_descriptor":{"name":"b"}}]}}`
		global2 = `{"type":"GLOBAL","global":{"shared_state":{"lsn":2},"stream_states":[{"stream_descriptor":{"name":"a"}},{"stream_descriptor":{"name":"b"}}]}}`
		bare    = `{"type":"GLOBAL","global":{"shared_state":{"lsn":3},"stream_states":[]}}`
		legacy  = `{"data":{"a":1}}`
	)
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	at := func(number int64, state string) *CommittedState {
		s := &CommittedState{Checkpoint: checkpoint.Checkpoint{Number: number, Committed: noon, State: json.RawMessage(state)}}
		if err := s.parse(t.Context(), map[string]*CommittedState{}); err != nil {
			t.Fatal(err)
		}
		return s
	}
	// named adds the streams of a state, each with the number of the last one that had it, and the number of the first one
	// whose rows the table has.
	named := func(since int64, s *CommittedState, streams ...any) *CommittedState {
		s.Lacks, s.Streams = checkpoint.Checkpoint{Number: -1}.LacksOfNext(since), checkpoint.Streams{}
		for i := 0; i < len(streams); i += 2 {
			s.Streams.Set(protocol.StreamID{Name: streams[i].(string)}, int64(streams[i+1].(int)))
		}
		return s
	}
	of := func(number int64, state string, streams ...string) *CommittedState {
		var pairs []any
		for _, name := range streams {
			pairs = append(pairs, name, int(number))
		}
		return named(1, at(number, state), pairs...)
	}
	turnedBack := at(8, global2)
	turnedBack.Committed = noon.Add(-time.Hour)
	unnumbered := at(0, global1)
	unnumbered.Committed = noon.Add(-time.Hour)
	afterRollback := named(1, at(6, global2), "a", 6, "b", 2)
	afterRollback.Lacks, afterRollback.Committed = []checkpoint.Numbers{{3, 5}}, noon.Add(-time.Hour)
	next := named(4, at(5, legacy), "a", 5, "b", 5, "c", 5)
	next.From = noon
	for name, tt := range map[string]struct {
		copies  []*CommittedState // of a, b, c
		missing string            // streams whose tables are not there
		want    []string
	}{
		"nothing":                               {[]*CommittedState{nil, nil, nil}, "", nil},
		"each stream has its own":               {[]*CommittedState{at(1, streamA), at(2, streamB), nil}, "", []string{streamA, streamB}},
		"all tables have the same":              {[]*CommittedState{at(1, global1), at(1, global1), at(1, global1)}, "", []string{global1}},
		"a crash between the tables":            {[]*CommittedState{at(8, global2), at(7, global1), at(8, global2)}, "", []string{global1}},
		"and the clock was turned back":         {[]*CommittedState{turnedBack, at(7, global1), turnedBack}, "", []string{global1}},
		"of equal numbers the earlier":          {[]*CommittedState{at(0, global2), unnumbered, at(0, global2)}, "", []string{global1}},
		"a crash before a table had any":        {[]*CommittedState{at(1, global1), at(1, global1), nil}, "", nil},
		"a stream that was added":               {[]*CommittedState{at(1, global1), at(1, global1), nil}, "c", []string{global1}},
		"a table that was dropped":              {[]*CommittedState{at(1, global1), nil, at(1, global1)}, "b", nil},
		"LEGACY says nothing of what was added": {[]*CommittedState{at(1, legacy), at(1, legacy), nil}, "c", nil},
		"LEGACY":                                {[]*CommittedState{at(1, legacy), at(1, legacy), at(1, legacy)}, "", []string{legacy}},
		"no list of streams, all tables":        {[]*CommittedState{at(3, bare), at(3, bare), at(3, bare)}, "", []string{bare}},
		"the source changed the kind": {
			[]*CommittedState{at(4, streamA), at(3, bare), at(3, bare)}, "", []string{streamA},
		},

		// States that name their streams.
		"all tables have the same, named":                   {[]*CommittedState{of(1, legacy, "a", "b", "c"), of(1, legacy, "a", "b", "c"), of(1, legacy, "a", "b", "c")}, "", []string{legacy}},
		"LEGACY, a stream that was added":                   {[]*CommittedState{of(1, legacy, "a", "b"), of(1, legacy, "a", "b"), nil}, "c", []string{legacy}},
		"LEGACY, and a failed sync made its table":          {[]*CommittedState{of(1, legacy, "a", "b"), of(1, legacy, "a", "b"), nil}, "", []string{legacy}},
		"GLOBAL, a failed sync made its table":              {[]*CommittedState{of(1, bare, "a", "b"), of(1, bare, "a", "b"), nil}, "", []string{bare}},
		"a stream that was added has states of its own":     {[]*CommittedState{of(1, bare, "a", "b"), of(1, bare, "a", "b"), at(9, streamB)}, "", []string{bare}},
		"GLOBAL names a stream that it was not synced with": {[]*CommittedState{nil, of(1, global1, "b", "c"), of(1, global1, "b", "c")}, "a", nil},
		"a table was dropped, and GLOBAL names none":        {[]*CommittedState{of(1, bare, "a", "b", "c"), nil, of(1, bare, "a", "b", "c")}, "b", nil},
		"a table was reset":                                 {[]*CommittedState{of(1, bare, "a", "b", "c"), nil, of(1, bare, "a", "b", "c")}, "", nil},
		"a crash in the first commit of an added stream, which has its rows": {
			[]*CommittedState{of(1, global1, "a", "b"), of(1, global1, "a", "b"), of(2, global2, "a", "b", "c")}, "", []string{global1},
		},
		"and which has not": {[]*CommittedState{of(2, global2, "a", "b", "c"), of(2, global2, "a", "b", "c"), nil}, "", nil},
		"a stream that was removed and added again": {
			[]*CommittedState{named(1, at(5, global2), "a", 5, "b", 5, "c", 2), named(1, at(5, global2), "a", 5, "b", 5, "c", 2), of(2, global1, "a", "b", "c")}, "", []string{global2},
		},
		"and whose table was dropped meanwhile": {
			[]*CommittedState{named(1, at(5, global2), "a", 5, "b", 5, "c", 2), named(1, at(5, global2), "a", 5, "b", 5, "c", 2), nil}, "c", nil,
		},
		"and whose table was rolled back meanwhile": {
			[]*CommittedState{named(1, at(5, global2), "a", 5, "b", 5, "c", 2), named(1, at(5, global2), "a", 5, "b", 5, "c", 2), of(1, global1, "a", "b", "c")}, "", []string{global1},
		},
		"a crash after a table was reset": {
			[]*CommittedState{of(1, global1, "a", "b", "c"), named(2, at(2, global2), "a", 2, "b", 2, "c", 2), of(1, global1, "a", "b", "c")}, "", nil,
		},
		"a crash in the first commit after an update of the program": {
			[]*CommittedState{named(0, at(8, global2), "a", 8, "b", 8, "c", 8), at(7, global1), at(7, global1)}, "", []string{global1},
		},
		// The first is of a sync that continued from state 2, after a rollback; the others are of one that did from state 5.
		"two states of one source that know nothing of each other": {
			[]*CommittedState{afterRollback, named(1, at(6, legacy), "a", 5, "b", 6, "c", 6), named(1, at(6, legacy), "a", 5, "b", 6, "c", 6)}, "", []string{global2},
		},
		// What c has is of before the others began anew. It was given state 4 before it got the next one.
		"a crash in the first commit of a stream that was added again": {
			[]*CommittedState{named(4, at(4, global1), "a", 4, "b", 4, "c", 1), next, next}, "", []string{global1},
		},
		"and which has that state": {
			[]*CommittedState{next, next, named(4, at(4, global1), "a", 4, "b", 4, "c", 1)}, "", []string{global1},
		},
		"and a stream was added before": {[]*CommittedState{of(8, global2, "a", "b"), of(8, global2, "a", "b"), nil}, "", []string{global2}},
	} {
		t.Run(name, func(t *testing.T) {
			var ids []protocol.StreamID
			var exists []bool
			for _, name := range []string{"a", "b", "c"} {
				ids = append(ids, protocol.StreamID{Name: name})
				exists = append(exists, name != tt.missing)
			}
			var got []string
			for _, s := range continueFrom(ids, tt.copies, exists) {
				got = append(got, string(s.State))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("states (-want +got):\n%s", diff)
			}
		})
	}
}
