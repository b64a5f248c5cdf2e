package syncer

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// The example of the package documentation is true.
func TestTheExampleOfTheDocumentation(t *testing.T) {
	wantPlan := func(when string, plan *commitPlan, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, describe(plan)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	s := newScript(nil)
	s.play(t, "a2", "A")
	wantPlan("due at A", s.takeCovered(), "commit a rows=2 state=true", "echo STREAM a written=2")
	s.play(t, "b1", "a1", "B")
	wantPlan("due at A, then at B", s.takeCovered(), "commit b rows=1 state=true", "echo STREAM b written=1")

	s = newScript(nil)
	s.play(t, "a2", "A", "b1", "a1", "B")
	wantPlan("due only at B", s.takeCovered(), "commit b rows=1 state=true", "echo STREAM b written=1")

	for name, tt := range map[string]struct {
		status protocol.StreamStatus
		rows   string
	}{
		"complete":     {protocol.Complete, "commit a rows=3 state=true"},
		"not complete": {protocol.Incomplete, "commit a rows=2 state=true"},
	} {
		s := newScript(nil)
		s.play(t, "a2", "A", "b1", "a1", "B")
		s.addStatus(protocol.StatusMessage{Stream: protocol.StreamID{Name: "a"}, Status: tt.status})
		plan, _ := s.takeFinal(StateHint, inputEnded)
		wantPlan("never due, and a is "+name, plan, tt.rows, "commit b rows=1 state=true", "echo STREAM a written=2", "echo STREAM b written=1")
	}
}
