package syncer

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A state that does not fit into memory comes back from the file as it came, with everything in its message.
func TestHeldStatesComeBackAsTheyCame(t *testing.T) {
	held := &heldStates{limit: 1000}
	for round := range 3 {
		var states []heldState
		message := func(n int) string {
			return fmt.Sprintf(`{"x": %d, "type":"STATE", "state" : {"type":"STREAM","stream":{"stream_descriptor":{"name":"s"},"stream_state":{"n":%d}}} }`, n, n)
		}
		for n := range 100 {
			s, err := protocol.ParseStateMessage([]byte(message(n)))
			if err != nil {
				t.Fatal(err)
			}
			h, err := held.hold(s)
			if err != nil {
				t.Fatal(err)
			}
			if h.Type != protocol.StreamState || h.Stream.Name != "s" {
				t.Errorf("the address of state %d is %s %s", n, h.Type, h.Stream)
			}
			states = append(states, h)
		}
		if held.inMemory > held.limit || held.inFile < 80 {
			t.Errorf("round %d: %d bytes are in memory, %d states in the file", round, held.inMemory, held.inFile)
		}
		for n, h := range states {
			s, err := held.load(h)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(s.Message()); got != message(n) {
				t.Errorf("state %d is %s", n, got)
			}
			if err := held.release(h); err != nil {
				t.Fatal(err)
			}
		}
		if info, err := held.file.Stat(); err != nil || info.Size() != 0 || held.inMemory != 0 {
			t.Errorf("round %d: nothing waits, and %d bytes are in the file, %d in memory, %v", round, info.Size(), held.inMemory, err)
		}
	}
	if err := held.close(); err != nil {
		t.Error(err)
	}
}

func TestStatesThatCannotBeHeld(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "none"))
	held := &heldStates{}
	_, err := held.hold(protocol.NewStreamState(protocol.StreamID{Name: "s"}, nil))
	if err == nil || !strings.Contains(err.Error(), "/none: ") || !strings.Contains(err.Error(), "TMPDIR") {
		t.Errorf("error %v", err)
	}
}
