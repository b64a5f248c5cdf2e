package syncer

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A state that does not fit into memory comes back from the file as it came, with everything in its message.
func TestStatesComeBackAsTheyCame(t *testing.T) {
	messages := &stateMessages{limit: 1000}
	for round := range 3 {
		var states []stateMessage
		message := func(n int) string {
			return fmt.Sprintf(`{"x": %d, "type":"STATE", "state" : {"type":"STREAM","stream":{"stream_descriptor":{"name":"s"},"stream_state":{"n":%d}}} }`, n, n)
		}
		for n := range 100 {
			s, err := protocol.ParseStateMessage([]byte(message(n)))
			if err != nil {
				t.Fatal(err)
			}
			h, err := messages.store(s)
			if err != nil {
				t.Fatal(err)
			}
			if h.Type != protocol.StreamState || h.Stream.Name != "s" {
				t.Errorf("the address of state %d is %s %s", n, h.Type, h.Stream)
			}
			states = append(states, h)
		}
		if messages.inMemory > messages.limit || messages.inFile < 80 {
			t.Errorf("round %d: %d bytes are in memory, %d states in the file", round, messages.inMemory, messages.inFile)
		}
		for n, h := range states {
			s, err := messages.load(h)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(s.Message()); got != message(n) {
				t.Errorf("state %d is %s", n, got)
			}
			if err := messages.drop(h); err != nil {
				t.Fatal(err)
			}
		}
		if info, err := messages.file.Stat(); err != nil || info.Size() != 0 || messages.inMemory != 0 {
			t.Errorf("round %d: nothing waits, and %d bytes are in the file, %d in memory, %v", round, info.Size(), messages.inMemory, err)
		}
	}
	if err := messages.close(); err != nil {
		t.Error(err)
	}
}

func TestStatesThatCannotBeStored(t *testing.T) {
	messages := &stateMessages{dir: filepath.Join(t.TempDir(), "none")}
	_, err := messages.store(protocol.NewStreamState(protocol.StreamID{Name: "s"}, nil))
	if err == nil || !strings.Contains(err.Error(), "/none: ") || !strings.Contains(err.Error(), `"scratch"`) {
		t.Errorf("error %v", err)
	}
}

// States that wait for their commit take a sixteenth of the memory; the others go to a file.
func TestPendingStatesTakeASixteenthOfTheMemory(t *testing.T) {
	for _, tt := range []struct {
		states int // of 8 KiB each
		inFile bool
	}{{7, false}, {9, true}} {
		r, _ := newTestRun(t, sameCatalog)
		config := r.config
		config.Memory, config.Scratch, config.Commit.MaxRows = 1, filepath.Join(t.TempDir(), "none"), 1000
		input := `{"type":"RECORD","record":{"stream":"a","emitted_at":1,"data":{"id":1}}}` + "\n" +
			strings.Repeat(fmt.Sprintf(`{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"a"},"stream_state":{"x":%q}}}}`+"\n", strings.Repeat("x", 8<<10)), tt.states)
		err := Run(t.Context(), config, r.streams, r.stateFiles, strings.NewReader(input), r.out)
		if (err != nil) != tt.inFile || err != nil && !strings.Contains(err.Error(), `"scratch"`) {
			t.Errorf("%d states: %v", tt.states, err)
		}
	}
}
