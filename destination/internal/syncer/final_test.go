package syncer

import (
	"bytes"
	"errors"
	"testing"

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
