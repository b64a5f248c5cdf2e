package syncer

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// script plays steps such as "a3" (three records of stream a), "A" (a state of
// stream a), "G" (a GLOBAL state) and "L" (a LEGACY state).
type script struct {
	*checkpoints
}

// statesLimit is the memory for states of a script.
const statesLimit = 64 << 10

func newScript(modes map[string]protocol.DestinationSyncMode) script {
	return newScriptOf(modes, "a", "b")
}

func newScriptOf(modes map[string]protocol.DestinationSyncMode, names ...string) script {
	streams := Streams{byID: map[protocol.StreamID]*Stream{}}
	for _, name := range names {
		mode := modes[name]
		if mode == "" {
			mode = protocol.Append
		}
		stream := &Stream{ID: protocol.StreamID{Name: name}, configured: protocol.ConfiguredStream{DestinationSyncMode: mode}}
		streams.all = append(streams.all, stream)
		streams.byID[stream.ID] = stream
	}
	return script{newCheckpoints(streams, &stateMessages{limit: statesLimit})}
}

func (s script) play(t *testing.T, steps ...string) {
	t.Helper()
	for _, step := range steps {
		switch {
		case step == "G":
			if err := s.addState(protocol.State{Type: protocol.GlobalState, Raw: json.RawMessage(`{}`)}); err != nil {
				t.Fatal(err)
			}
		case step == "L":
			if err := s.addState(protocol.State{Type: protocol.LegacyState, Raw: json.RawMessage(`{}`)}); err != nil {
				t.Fatal(err)
			}
		case len(step) == 1:
			id := protocol.StreamID{Name: string(step[0] + 'a' - 'A')}
			if err := s.addState(protocol.State{Type: protocol.StreamState, Stream: id, Raw: json.RawMessage(`{}`)}); err != nil {
				t.Fatal(err)
			}
		default:
			rows := int64(step[1] - '0')
			segment := s.addRecords(&protocol.Records{Data: []byte("\n"), Count: rows})
			s.streams.byID[protocol.StreamID{Name: step[:1]}].unplanned.addRows(segment, rows)
		}
	}
}

func describe(plan *commitPlan) []string {
	var out []string
	for _, t := range plan.tables {
		verb := "commit"
		if t.replace {
			verb = "replace"
		}
		if t.finishRefresh {
			verb = "finish"
		}
		out = append(out, fmt.Sprintf("%s %s rows=%d state=%t", verb, t.stream.ID, t.rows, t.state.segment > 0))
	}
	for _, e := range plan.echoes {
		out = append(out, fmt.Sprintf("echo %s %s written=%d", e.message.Type, e.message.Stream, e.written))
	}
	return out
}

// When a record cannot be read, the state that ends its segment is not committed, nor
// are later ones.
func TestWhatComesAfterABadRecordIsNotCommitted(t *testing.T) {
	for name, tt := range map[string]struct {
		steps   []string
		segment int64 // that the bad record is in
		want    []string
	}{
		"states before and after": {[]string{"a1", "A", "a2", "A", "a4", "A"}, 2, []string{"commit a rows=1 state=true", "echo STREAM a written=1"}},
		"none before":             {[]string{"a1", "A", "a2"}, 1, nil},
		"after the last":          {[]string{"a1", "A", "b2"}, 2, []string{"commit a rows=1 state=true", "echo STREAM a written=1"}},
		"another stream's":        {[]string{"b1", "B", "a2", "A", "b4", "B"}, 3, []string{"commit a rows=2 state=true", "commit b rows=1 state=true", "echo STREAM b written=1", "echo STREAM a written=2"}},
		"a state for all":         {[]string{"a1", "b1", "G", "a2", "G"}, 2, []string{"commit a rows=1 state=true", "commit b rows=1 state=true", "echo GLOBAL  written=2"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(nil)
			s.play(t, tt.steps...)
			s.dropStatesFrom(tt.segment)
			plan, _ := s.takeFinal(StateHint, unreadable)
			if diff := cmp.Diff(tt.want, describe(plan)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	// What was committed before is not affected.
	s := newScript(nil)
	s.play(t, "a1", "A")
	s.takeCovered()
	s.play(t, "a2", "A")
	s.dropStatesFrom(2)
	if plan, _ := s.takeFinal(StateHint, unreadable); len(plan.tables) > 0 || len(plan.echoes) > 0 {
		t.Errorf("after the commit: %v", describe(plan))
	}
}

// A refresh is committed at its states, as any stream that appends. It is finished
// when it is complete.
func TestARefreshIsFinishedWhenItIsComplete(t *testing.T) {
	for name, tt := range map[string]struct {
		complete []string
		steps    []string
		atState  []string
		atEnd    []string
	}{
		"complete": {
			[]string{"a", "b"},
			[]string{"a2", "A", "b1", "B"},
			[]string{"commit a rows=2 state=true", "commit b rows=1 state=true", "echo STREAM a written=2", "echo STREAM b written=1"},
			[]string{"finish a rows=0 state=false", "commit b rows=0 state=false"},
		},
		"not complete": {
			[]string{"b"},
			[]string{"a2", "A"},
			[]string{"commit a rows=2 state=true", "echo STREAM a written=2"},
			[]string{"commit b rows=0 state=false"},
		},
		"under a GLOBAL state": {
			[]string{"b"},
			[]string{"a2", "b1", "G"},
			[]string{"commit a rows=2 state=true", "commit b rows=1 state=true", "echo GLOBAL  written=3"},
			[]string{"commit b rows=0 state=false"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(nil)
			s.streams.all[0].begun.Refreshing = true
			s.play(t, tt.steps...)
			if diff := cmp.Diff(tt.atState, describe(s.takeCovered())); diff != "" {
				t.Errorf("at the state (-want +got):\n%s", diff)
			}
			for _, name := range tt.complete {
				s.addStatus(protocol.StatusMessage{Stream: protocol.StreamID{Name: name}, Status: protocol.Complete})
			}
			plan, _ := s.takeFinal(StateHint, inputEnded)
			if diff := cmp.Diff(tt.atEnd, describe(plan)); diff != "" {
				t.Errorf("at the end (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOnlyStreamsAtAStateAreCommitted(t *testing.T) {
	for _, tt := range []struct {
		name  string
		modes map[string]protocol.DestinationSyncMode
		steps []string
		want  []string
	}{
		{"nothing", nil, nil, nil},
		{"records without a state stay", nil, []string{"a3"}, nil},
		{
			"every state is echoed with its own count", nil,
			[]string{"a3", "A", "a2", "A"},
			[]string{"commit a rows=5 state=true", "echo STREAM a written=3", "echo STREAM a written=2"},
		},
		{
			"a state without records is committed and echoed", nil,
			[]string{"A"},
			[]string{"commit a rows=0 state=true", "echo STREAM a written=0"},
		},
		{
			"a stream with rows after its state stays whole", nil,
			[]string{"b1", "B", "b1", "a2", "A"},
			[]string{"commit a rows=2 state=true", "echo STREAM a written=2"},
		},
		{
			"streams at their states go together, in the input's order", nil,
			[]string{"b1", "B", "a2", "A"},
			[]string{"commit a rows=2 state=true", "commit b rows=1 state=true", "echo STREAM b written=1", "echo STREAM a written=2"},
		},
		{
			"an overwrite waits for its end",
			map[string]protocol.DestinationSyncMode{"a": protocol.Overwrite},
			[]string{"a2", "A", "b1", "B"},
			[]string{"commit b rows=1 state=true", "echo STREAM b written=1"},
		},
		{
			"a GLOBAL state commits all streams", nil,
			[]string{"a2", "b1", "G"},
			[]string{"commit a rows=2 state=true", "commit b rows=1 state=true", "echo GLOBAL  written=3"},
		},
		{"a GLOBAL state with a row after it commits no stream", nil, []string{"a2", "b1", "G", "b1"}, nil},
		{"a LEGACY state with a row after it commits no stream", nil, []string{"a2", "L", "a1"}, nil},
		{"a GLOBAL state waits for an overwrite", map[string]protocol.DestinationSyncMode{"a": protocol.Overwrite}, []string{"a2", "b1", "G"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScript(tt.modes)
			s.play(t, tt.steps...)
			if diff := cmp.Diff(tt.want, describe(s.takeCovered())); diff != "" {
				t.Error(diff)
			}
			if got := describe(s.takeCovered()); got != nil {
				t.Errorf("a second call commits again: %q", got)
			}
		})
	}
}

// What a GLOBAL or LEGACY state covers is asked for when the input has ended, and once more when it is known whether
// a signal has ended it. Rows after the state must not part its streams between the two.
func TestAStateOfAllStreamsIsEchoedWhateverCameAfterIt(t *testing.T) {
	a, b := protocol.StreamID{Name: "a"}, protocol.StreamID{Name: "b"}
	commits := func(echoes ...string) []string {
		return append([]string{"commit a rows=1 state=true", "commit b rows=1 state=true"}, echoes...)
	}
	nothing := func(script) {}
	for _, tt := range []struct {
		name  string
		steps []string
		prove func(script)
		end   inputEnd
		want  []string
	}{
		{"GLOBAL, the source failed", []string{"a1", "b1", "G", "b2"}, func(s script) { s.proofs.addFailure(protocol.SourceFailure{Message: "it died"}) }, inputEnded, commits("echo GLOBAL  written=2")},
		{"GLOBAL, INCOMPLETE", []string{"a1", "b1", "G", "b2"}, func(s script) {
			s.addStatus(protocol.StatusMessage{Stream: a, Status: protocol.Complete})
			s.addStatus(protocol.StatusMessage{Stream: b, Status: protocol.Incomplete})
		}, inputEnded, commits("echo GLOBAL  written=2")},
		{"GLOBAL, interrupted", []string{"a1", "b1", "G", "b2"}, nothing, stoppedAtEnd, commits("echo GLOBAL  written=2")},
		{"two GLOBAL states keep their order and counts", []string{"a1", "G", "b1", "G", "a2"}, nothing, stoppedAtEnd, commits("echo GLOBAL  written=1", "echo GLOBAL  written=1")},
		{"LEGACY, interrupted", []string{"a1", "b1", "L", "a2"}, nothing, stoppedAtEnd, commits("echo LEGACY  written=2")},
		{"GLOBAL, a row of each after it", []string{"a1", "b1", "G", "a1", "b1"}, nothing, stoppedAtEnd, commits("echo GLOBAL  written=2")},
		{"GLOBAL, rows of one stream alone", []string{"a1", "G", "a1"}, nothing, stoppedAtEnd, []string{"commit a rows=1 state=true", "commit b rows=0 state=true", "echo GLOBAL  written=1"}},
		{"GLOBAL, the stream with the rows is complete", []string{"a1", "b1", "G", "b2"}, func(s script) {
			s.addStatus(protocol.StatusMessage{Stream: b, Status: protocol.Complete})
		}, inputEnded, commits("echo GLOBAL  written=2")},
		{"LEGACY, the stream with the rows is complete, interrupted", []string{"a1", "b1", "L", "b2"}, func(s script) {
			s.addStatus(protocol.StatusMessage{Stream: b, Status: protocol.Complete})
		}, stoppedAtEnd, commits("echo LEGACY  written=2")},
		{"GLOBAL, all streams are complete", []string{"a1", "b1", "G", "b2"}, func(s script) {
			s.addStatus(protocol.StatusMessage{Stream: a, Status: protocol.Complete})
			s.addStatus(protocol.StatusMessage{Stream: b, Status: protocol.Complete})
		}, inputEnded, []string{"commit a rows=1 state=true", "commit b rows=3 state=true", "echo GLOBAL  written=2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScript(nil)
			s.play(t, tt.steps...)
			tt.prove(s)
			if got := describe(s.takeCovered()); got != nil {
				t.Errorf("at first: %q", got)
			}
			plan, _ := s.takeFinal(StateHint, tt.end)
			if diff := cmp.Diff(tt.want, describe(plan)); diff != "" {
				t.Errorf("at last (-want +got):\n%s", diff)
			}
			if len(s.pending) > 0 {
				t.Errorf("%d states are pending", len(s.pending))
			}
		})
	}
}

func TestTheFinalCommitHasWhatIsProven(t *testing.T) {
	complete := func(s script, names ...string) {
		for _, n := range names {
			s.addStatus(protocol.StatusMessage{Stream: protocol.StreamID{Name: n}, Status: protocol.Complete})
		}
	}
	for _, tt := range []struct {
		name     string
		modes    map[string]protocol.DestinationSyncMode
		steps    []string
		complete []string
		end      inputEnd
		want     []string
		failures int
	}{
		{
			"rows after the last state go with COMPLETE", nil,
			[]string{"a3", "A", "a1"},
			[]string{"a", "b"},
			inputEnded,
			[]string{"commit a rows=4 state=true", "commit b rows=0 state=false", "echo STREAM a written=3"},
			0,
		},
		{
			"and stay without", nil,
			[]string{"a3", "A", "a1"},
			[]string{"b"},
			inputEnded,
			[]string{"commit a rows=3 state=true", "commit b rows=0 state=false", "echo STREAM a written=3"},
			1,
		},
		{
			"an interruption keeps what states cover", nil,
			[]string{"a3", "A", "a1", "b2"},
			nil, stoppedEarly,
			[]string{"commit a rows=3 state=true", "echo STREAM a written=3"},
			0,
		},
		{
			"an overwrite is swapped in and echoes what was held",
			map[string]protocol.DestinationSyncMode{"a": protocol.Overwrite},
			[]string{"a2", "A", "a1", "A"},
			[]string{"a", "b"},
			inputEnded,
			[]string{"replace a rows=3 state=true", "commit b rows=0 state=false", "echo STREAM a written=2", "echo STREAM a written=1"},
			0,
		},
		{
			"an empty overwrite empties",
			map[string]protocol.DestinationSyncMode{"a": protocol.Overwrite},
			nil,
			[]string{"a", "b"},
			inputEnded,
			[]string{"replace a rows=0 state=false", "commit b rows=0 state=false"},
			0,
		},
		{
			"an interruption after COMPLETE swaps an overwrite in",
			map[string]protocol.DestinationSyncMode{"a": protocol.Overwrite},
			[]string{"a2", "A", "b1"},
			[]string{"a"},
			stoppedEarly,
			[]string{"replace a rows=2 state=true", "echo STREAM a written=2"},
			0,
		},
		{
			"an unproven overwrite changes nothing",
			map[string]protocol.DestinationSyncMode{"a": protocol.Overwrite},
			[]string{"a2", "A", "b1", "B"},
			[]string{"b"},
			inputEnded,
			[]string{"commit b rows=1 state=true", "echo STREAM b written=1"},
			1,
		},
		{
			"a GLOBAL state is not echoed past an unproven overwrite",
			map[string]protocol.DestinationSyncMode{"a": protocol.Overwrite},
			[]string{"a2", "b1", "G"},
			[]string{"b"},
			inputEnded, nil, 1,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScript(tt.modes)
			s.play(t, tt.steps...)
			complete(s, tt.complete...)
			plan, decisions := s.takeFinal(StateHint, tt.end)
			if diff := cmp.Diff(tt.want, describe(plan)); diff != "" {
				t.Error(diff)
			}
			failures := 0
			for _, v := range decisions {
				if v.err != nil {
					failures++
				}
			}
			if failures != tt.failures {
				t.Errorf("%d streams failed, want %d", failures, tt.failures)
			}
		})
	}
}

// The time of a commit must not grow with the square of the number of states.
func TestRowsOfVeryManyStatesAreCounted(t *testing.T) {
	const states = 100_000
	s := newScript(nil)
	for range states {
		s.play(t, "a1", "A")
	}
	plan := s.takeCovered()
	if len(plan.echoes) != states || plan.tables[0].rows != states {
		t.Fatalf("%d echoes, %d rows", len(plan.echoes), plan.tables[0].rows)
	}
	for i, e := range plan.echoes {
		if e.written != 1 {
			t.Fatalf("echo %d: %d rows", i, e.written)
		}
	}
}

func TestRowsAreCountedFromTheLastCommit(t *testing.T) {
	s := newScript(nil)
	s.play(t, "a3", "A")
	s.takeCovered()
	s.play(t, "a2", "A")
	want := []string{"commit a rows=2 state=true", "echo STREAM a written=2"}
	if diff := cmp.Diff(want, describe(s.takeCovered())); diff != "" {
		t.Error(diff)
	}
}

func TestCommitIsDue(t *testing.T) {
	limits := CommitLimits{MaxRows: 10, MaxMebibytes: 1, MaxSeconds: 60}
	const tooManyStates = statesLimit/stateBytes + 1
	overwriting := func(play func(t *testing.T, s script)) func(t *testing.T, s script) {
		return func(t *testing.T, s script) {
			s.streams.all[1].configured.DestinationSyncMode = protocol.Overwrite // b
			play(t, s)
		}
	}
	for _, tt := range []struct {
		name string
		play func(t *testing.T, s script)
		want bool
	}{
		{"not for nothing, however long", func(t *testing.T, s script) { s.now = func() time.Time { return time.Unix(1e9, 0) } }, false},
		{"after the rows", func(t *testing.T, s script) { s.play(t, "a9", "a1", "A") }, true},
		{"not before", func(t *testing.T, s script) { s.play(t, "a9", "A") }, false},
		{"after the bytes", func(t *testing.T, s script) {
			s.addRecords(&protocol.Records{Data: make([]byte, 1<<20)})
			s.play(t, "A")
		}, true},
		{"not in the middle of a stream", func(t *testing.T, s script) { s.addRecords(&protocol.Records{Data: make([]byte, 1<<20)}) }, false},
		{"after the time, for a state alone too", func(t *testing.T, s script) {
			s.play(t, "A")
			s.now = func() time.Time { return time.Now().Add(time.Hour) }
		}, true},
		{"when a stream is complete and the input rests", func(t *testing.T, s script) {
			s.play(t, "a1", "A")
			s.addStatus(protocol.StatusMessage{Stream: s.streams.all[0].ID, Status: protocol.Complete})
			s.now = func() time.Time { return time.Now().Add(idleAfterComplete) }
		}, true},
		{"when a stream is complete and the input rests in the middle of another", func(t *testing.T, s script) {
			s.play(t, "a1", "A")
			s.addStatus(protocol.StatusMessage{Stream: s.streams.all[0].ID, Status: protocol.Complete})
			s.play(t, "b1")
			s.now = func() time.Time { return time.Now().Add(idleAfterComplete) }
		}, true},
		{"not in the middle of another where states cover all", func(t *testing.T, s script) {
			s.play(t, "a1", "G")
			s.addStatus(protocol.StatusMessage{Stream: s.streams.all[0].ID, Status: protocol.Complete})
			s.play(t, "b1")
			s.now = func() time.Time { return time.Now().Add(idleAfterComplete) }
		}, false},
		{"not when more has come", func(t *testing.T, s script) {
			s.play(t, "a1", "A")
			s.addStatus(protocol.StatusMessage{Stream: s.streams.all[0].ID, Status: protocol.Complete})
			s.now = func() time.Time { return time.Now().Add(idleAfterComplete) }
			s.play(t, "b1", "B")
		}, false},
		{"not when the input rests before a stream's end", func(t *testing.T, s script) {
			s.play(t, "a1", "A")
			s.addStatus(protocol.StatusMessage{Stream: s.streams.all[0].ID, Status: protocol.Running})
			s.now = func() time.Time { return time.Now().Add(idleAfterComplete) }
		}, false},
		{"once for a complete stream", func(t *testing.T, s script) {
			s.play(t, "a1", "A")
			s.addStatus(protocol.StatusMessage{Stream: s.streams.all[0].ID, Status: protocol.Complete})
			s.takeCovered()
			s.now = func() time.Time { return time.Now().Add(idleAfterComplete) }
		}, false},
		{"counts again from zero after a commit", func(t *testing.T, s script) { s.play(t, "a9", "a9", "A"); s.takeCovered() }, false},
		{"not for rows that a commit left", func(t *testing.T, s script) { s.play(t, "b9", "b9", "B", "b9", "b9", "a1", "A"); s.takeCovered() }, false},
		{"not for rows that a commit left, when another stream's state comes", func(t *testing.T, s script) {
			s.play(t, "b9", "b9", "B", "b9", "b9", "a1", "A")
			s.takeCovered()
			s.play(t, "a9", "A")
		}, false},
		{"for as many rows beside those", func(t *testing.T, s script) {
			s.play(t, "b9", "b9", "B", "b9", "b9", "a1", "A")
			s.takeCovered()
			s.play(t, "a9", "A", "a1", "A")
		}, true},
		{"for rows that a commit left, when a state covers them", func(t *testing.T, s script) {
			s.play(t, "b9", "B", "b1", "a9", "A")
			s.takeCovered()
			s.play(t, "B")
		}, true},
		{"not for rows that wait for a state of their stream", func(t *testing.T, s script) { s.play(t, "b9", "b5", "a1", "A"); s.takeCovered(); s.play(t, "a9", "A") }, false},
		{"when that state comes", func(t *testing.T, s script) { s.play(t, "b9", "b5", "a1", "A"); s.takeCovered(); s.play(t, "B") }, true},
		{"not before there are as many for each of two tables", func(t *testing.T, s script) { s.play(t, "a9", "b9", "A", "B") }, false},
		{"after as many for each of two tables", func(t *testing.T, s script) { s.play(t, "a9", "a9", "b2", "A", "B") }, true},
		{"tables that wait do not count", func(t *testing.T, s script) { s.play(t, "a9", "b9", "A") }, true},
		{"after as many bytes for each of two tables", func(t *testing.T, s script) {
			s.play(t, "a1", "b1", "A", "B")
			s.addRecords(&protocol.Records{Data: make([]byte, 1<<20)})
		}, false},
		{"more than eight tables count as eight", func(t *testing.T, s script) {
			*s.checkpoints = *newScriptOf(nil, "a", "b", "c", "d", "e", "f", "h", "i", "j").checkpoints
			s.play(t, "a9", "b9", "c9", "d9", "e9", "f9", "h9", "i9", "j8", "A", "B", "C", "D", "E", "F", "H", "I", "J")
		}, true},
		{"not for some states", func(t *testing.T, s script) { s.play(t, slices.Repeat([]string{"A"}, tooManyStates-1)...) }, false},
		{"after too many states", func(t *testing.T, s script) { s.play(t, slices.Repeat([]string{"A"}, tooManyStates)...) }, true},
		{"counts states again from zero after a commit", func(t *testing.T, s script) {
			s.play(t, slices.Repeat([]string{"A"}, tooManyStates)...)
			s.takeCovered()
			s.play(t, "A")
		}, false},
		{"not for states that wait for their stream's end", overwriting(func(t *testing.T, s script) {
			s.play(t, slices.Repeat([]string{"B"}, tooManyStates)...)
		}), false},
		{"not for states that wait for another stream's end", overwriting(func(t *testing.T, s script) {
			s.play(t, slices.Repeat([]string{"G"}, tooManyStates)...)
		}), false},
		{"tables whose rows are not covered do not count", func(t *testing.T, s script) { s.play(t, "b1", "B", "b1", "a9", "A") }, true},
		{"not for rows that wait for their stream's end", overwriting(func(t *testing.T, s script) {
			s.play(t, "b9", "b5", "a1", "A")
			s.takeCovered()
			s.play(t, "a9", "B")
		}), false},
		{"after the rows beside those", overwriting(func(t *testing.T, s script) {
			s.play(t, "b9", "b5", "a1", "A")
			s.takeCovered()
			s.play(t, "a9", "A", "a1", "A")
		}), true},
		{"not for rows that wait for another stream's end", overwriting(func(t *testing.T, s script) {
			s.play(t, "b1", "a9", "a5", "G")
			s.takeCovered()
			s.play(t, "a9", "G")
		}), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScript(nil)
			tt.play(t, s)
			if got := s.isDue(limits); got != tt.want {
				t.Errorf("due = %t", got)
			}
		})
	}
}

// Each commit is a snapshot and files, so states of one row each must not make one each, whatever another stream has
// pending.
func TestStatesOfOneStreamAreGatheredBesideAnother(t *testing.T) {
	limits := CommitLimits{MaxRows: 10, MaxMebibytes: 1, MaxSeconds: 3600}
	for _, before := range [][]string{nil, {"b9"}, {"b9", "B"}, {"b9", "b9"}, {"b9", "B", "b2"}, {"b9", "B", "b2", "B", "b2"}} {
		s := newScript(nil)
		s.play(t, before...)
		commits := 0
		for range 40 {
			s.play(t, "a1", "A")
			if s.limitReached(limits) {
				s.takeCovered()
				commits++
			}
		}
		if commits < 3 || commits > 5 {
			t.Errorf("after %v: %d commits of 40 rows, with a limit of %d", before, commits, limits.MaxRows)
		}
	}
}
