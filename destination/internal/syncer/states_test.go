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
		if err := s.parse(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s
	}
	turnedBack := at(8, global2)
	turnedBack.Committed = noon.Add(-time.Hour)
	unnumbered := at(0, global1)
	unnumbered.Committed = noon.Add(-time.Hour)
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
