package syncer

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Whoever interrupts a run reads that it was interrupted, and not of each stream that it was in the middle of.
func TestPeopleReadOfStreamsOnlyInARunThatIsNotInterrupted(t *testing.T) {
	id := protocol.StreamID{Name: "sleep"}
	for end, want := range map[inputEnd]string{
		inputEnded:   "error: Stream sleep was not received completely: the source failed. What its states cover is kept. Run the sync again when the cause is gone.\n",
		stoppedAtEnd: "",
		stoppedEarly: "",
	} {
		var messages, stderr bytes.Buffer
		r := &run{out: protocol.NewEmitter(&messages, protocol.EmitterOptions{Stderr: terminal.NewScreen(&stderr, false, nil)})}
		d := streamEnd{proof: proof{failure: "The run was interrupted."}}.unproven(id, "the source failed: The run was interrupted")
		err := r.reportStreams([]streamDecision{{stream: &Stream{ID: id}, decision: d}}, end)
		if !errors.Is(err, protocol.ErrStreamsFailed) || stderr.String() != want {
			t.Errorf("%d: %v, %q", end, err, &stderr)
		}
		if !bytes.Contains(messages.Bytes(), []byte("Stream sleep was not received completely: the source failed: The run was interrupted.")) {
			t.Errorf("%d: programs read %s", end, &messages)
		}
	}
}

// The next sync continues from the last state, for all its streams. What came after it comes again, so it is kept of
// no stream unless all are complete.
func TestRowsAfterAStateOfAllStreamsAreKeptOfAllOrOfNone(t *testing.T) {
	type of struct{ overwrite, atEnd, refreshing, sharedBefore bool } // stream a
	for _, tt := range []struct {
		name  string
		of    of
		steps []string
		want  []string // when a is complete, and b is not
		all   []string // when both are
	}{
		{
			"GLOBAL",
			of{},
			[]string{"a1", "b1", "G", "a2"},
			[]string{"commit a rows=1 state=true", "commit b rows=1 state=true", "echo GLOBAL  written=2"},
			[]string{"commit a rows=3 state=true", "commit b rows=1 state=true", "echo GLOBAL  written=2"},
		},
		{
			"LEGACY",
			of{},
			[]string{"a1", "b1", "L", "a2"},
			[]string{"commit a rows=1 state=true", "commit b rows=1 state=true", "echo LEGACY  written=2"},
			[]string{"commit a rows=3 state=true", "commit b rows=1 state=true", "echo LEGACY  written=2"},
		},
		{
			"STREAM",
			of{},
			[]string{"a1", "A", "b1", "B", "a2"},
			[]string{"commit a rows=3 state=true", "commit b rows=1 state=true", "echo STREAM a written=1", "echo STREAM b written=1"},
			[]string{"commit a rows=3 state=true", "commit b rows=1 state=true", "echo STREAM a written=1", "echo STREAM b written=1"},
		},
		{
			"no state, STREAM before",
			of{},
			[]string{"a1", "b1"},
			[]string{"commit a rows=1 state=false"},
			[]string{"commit a rows=1 state=false", "commit b rows=1 state=false"},
		},
		{
			"no state, GLOBAL before",
			of{sharedBefore: true},
			[]string{"a1", "b1"},
			nil,
			[]string{"commit a rows=1 state=false", "commit b rows=1 state=false"},
		},
		{
			"an overwrite is replaced again",
			of{overwrite: true},
			[]string{"a1", "b1", "G", "a2"},
			[]string{"replace a rows=3 state=true", "commit b rows=1 state=true", "echo GLOBAL  written=2"},
			[]string{"replace a rows=3 state=true", "commit b rows=1 state=true", "echo GLOBAL  written=2"},
		},
		{
			"a refresh goes on",
			of{refreshing: true},
			[]string{"a1", "b1", "G", "a2"},
			[]string{"commit a rows=1 state=true", "commit b rows=1 state=true", "echo GLOBAL  written=2"},
			[]string{"finish a rows=3 state=true", "commit b rows=1 state=true", "echo GLOBAL  written=2"},
		},
		{
			"a refresh without a row after the state is finished",
			of{refreshing: true},
			[]string{"a1", "b1", "G", "b2"},
			[]string{"finish a rows=1 state=true", "commit b rows=1 state=true", "echo GLOBAL  written=2"},
			[]string{"finish a rows=1 state=true", "commit b rows=3 state=true", "echo GLOBAL  written=2"},
		},
		{
			"a refresh at the end begins again",
			of{refreshing: true, atEnd: true},
			[]string{"a1", "b1", "G", "a2"},
			nil,
			[]string{"finish a rows=3 state=true", "commit b rows=1 state=true", "echo GLOBAL  written=2"},
		},
	} {
		for last, want := range map[protocol.StreamStatus][]string{protocol.Incomplete: tt.want, protocol.Complete: tt.all} {
			s := newScript(nil)
			a := s.streams.all[0]
			if a.begun.AtEnd, a.begun.Refreshing = tt.of.atEnd, tt.of.refreshing; tt.of.overwrite {
				a.configured.DestinationSyncMode = protocol.Overwrite
			}
			s.sharedBefore = tt.of.sharedBefore
			s.play(t, tt.steps...)
			s.addStatus(protocol.StatusMessage{Stream: a.ID, Status: protocol.Complete})
			s.addStatus(protocol.StatusMessage{Stream: protocol.StreamID{Name: "b"}, Status: last})
			plan, _ := s.takeFinal(StateHint, inputEnded)
			if diff := cmp.Diff(want, describe(plan)); diff != "" {
				t.Errorf("%s, b is %s (-want +got):\n%s", tt.name, last, diff)
			}
		}
	}
}
