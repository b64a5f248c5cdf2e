package syncer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// heldStates keeps the messages of pending states, to echo them byte for byte: in
// memory, and above a limit in a temporary file. States of a stream in overwrite
// mode wait until the end of the input, so there may be many. It may be used from
// several goroutines.
type heldStates struct {
	limit int64 // bytes in memory

	mu       sync.Mutex
	inMemory int64
	inFile   int   // number of states
	size     int64 // of the file
	file     *os.File
}

// A heldState is one of them, or its place in the file.
type heldState struct {
	protocol.State
	offset, size int64 // of its message in the file; size 0: it is in memory
}

// hold adds a state.
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
			// A file without a name goes away with the process, however it ends.
			err = os.Remove(file.Name())
		}
		if err != nil {
			return heldState{}, scratchError(err)
		}
		h.file = file
	}
	held := heldState{State: protocol.State{Type: s.Type, Stream: s.Stream}, offset: h.size, size: int64(len(message))}
	if _, err := h.file.WriteAt(message, held.offset); err != nil {
		return heldState{}, scratchError(err)
	}
	h.size += held.size
	h.inFile++
	return held, nil
}

// load returns a state as it came.
func (h *heldStates) load(of heldState) (protocol.State, error) {
	if of.size == 0 {
		return of.State, nil
	}
	message := make([]byte, of.size)
	if _, err := io.ReadFull(io.NewSectionReader(h.file, of.offset, of.size), message); err != nil {
		return protocol.State{}, fmt.Errorf("reading a held state: %w", err)
	}
	return protocol.ParseStateMessage(message)
}

// release drops a state.
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
		"States that wait for their commit do not fit into memory and cannot be written to %s: %v. Free space there, set TMPDIR to another directory, or raise memory_mebibytes.", os.TempDir(), err)}
}
