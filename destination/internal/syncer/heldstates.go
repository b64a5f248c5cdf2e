package syncer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// heldStates keeps the states that wait for their commit, each to be echoed byte
// for byte: in memory, or, once they take more than a limit, in a file. Those of
// a stream that replaces its table wait until the end of the input. It may be
// used from several goroutines.
type heldStates struct {
	limit int64 // bytes in memory

	mu       sync.Mutex
	inMemory int64
	inFile   int   // states
	size     int64 // of the file
	file     *os.File
}

// A heldState is one of them. Of one in the file only the address is in memory.
type heldState struct {
	protocol.State
	at, size int64 // of its message in the file; a size of 0: it is in memory
}

// hold takes a state.
func (h *heldStates) hold(s protocol.State) (heldState, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Streams = nil
	message := s.Message()
	if h.inMemory+int64(len(message)) <= h.limit {
		h.inMemory += int64(len(message))
		return heldState{State: s}, nil
	}
	if h.file == nil {
		file, err := os.CreateTemp("", "states-*")
		if err == nil {
			// Without a name it goes with the process, however that ends.
			err = os.Remove(file.Name())
		}
		if err != nil {
			return heldState{}, scratchError(err)
		}
		h.file = file
	}
	held := heldState{State: protocol.State{Type: s.Type, Stream: s.Stream}, at: h.size, size: int64(len(message))}
	if _, err := h.file.WriteAt(message, held.at); err != nil {
		return heldState{}, scratchError(err)
	}
	h.size += held.size
	h.inFile++
	return held, nil
}

// whole returns a state as it came.
func (h *heldStates) whole(of heldState) (protocol.State, error) {
	if of.size == 0 {
		return of.State, nil
	}
	message := make([]byte, of.size)
	if _, err := io.ReadFull(io.NewSectionReader(h.file, of.at, of.size), message); err != nil {
		return protocol.State{}, fmt.Errorf("reading a state that waits for its commit: %w", err)
	}
	return protocol.ParseStateMessage(message)
}

// release forgets a state.
func (h *heldStates) release(of heldState) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if of.size == 0 {
		h.inMemory -= int64(len(of.Message()))
		return nil
	}
	if h.inFile--; h.inFile > 0 {
		return nil
	}
	h.size = 0
	if err := h.file.Truncate(0); err != nil {
		return scratchError(err)
	}
	return nil
}

func (h *heldStates) close() error {
	if h.file == nil {
		return nil
	}
	return h.file.Close()
}

func scratchError(err error) error {
	kind := protocol.SystemError
	if errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) {
		kind = protocol.ConfigError
	}
	return &protocol.Error{Kind: kind, Err: err, Message: fmt.Sprintf(
		"States that wait for their commit do not fit into the memory and cannot be put aside in %s: %v. Make room there, name another directory with TMPDIR, or raise memory_mebibytes.", os.TempDir(), err)}
}
