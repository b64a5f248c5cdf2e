package syncer

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/ingest-connectors/whoop-iceberg/internal/osfile"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// stateMessages stores the messages of pending states, to echo them byte for byte:
// in memory, and above a limit in a temporary file. States of a stream in overwrite
// mode are pending until the end of the input, so there may be many. It may be used
// from several goroutines.
type stateMessages struct {
	limit int64  // bytes in memory
	dir   string // of the file; "": the machine's temporary directory

	mu       sync.Mutex
	inMemory int64
	inFile   int   // number of states
	size     int64 // of the file
	file     *os.File
}

// A stateMessage is one of them, or its place in the file.
type stateMessage struct {
	protocol.State
	offset, size int64 // of its message in the file; size 0: it is in memory
}

// store stores the message of a state.
func (m *stateMessages) store(s protocol.State) (stateMessage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.Streams = nil
	raw := s.Message()
	if m.inMemory+int64(len(raw)) <= m.limit {
		m.inMemory += int64(len(raw))
		return stateMessage{State: s}, nil
	}
	if m.file == nil {
		file, err := osfile.CreateTemp(m.dir, "states-*")
		if err != nil {
			return stateMessage{}, m.scratchError(err)
		}
		m.file = file
	}
	message := stateMessage{State: protocol.State{Type: s.Type, Stream: s.Stream}, offset: m.size, size: int64(len(raw))}
	if _, err := m.file.WriteAt(raw, message.offset); err != nil {
		return stateMessage{}, m.scratchError(err)
	}
	m.size += message.size
	m.inFile++
	return message, nil
}

// load returns a state as it came.
func (m *stateMessages) load(of stateMessage) (protocol.State, error) {
	if of.size == 0 {
		return of.State, nil
	}
	message := make([]byte, of.size)
	if _, err := io.ReadFull(io.NewSectionReader(m.file, of.offset, of.size), message); err != nil {
		return protocol.State{}, fmt.Errorf("reading a pending state: %w", err)
	}
	return protocol.ParseStateMessage(message)
}

// drop drops a message.
func (m *stateMessages) drop(of stateMessage) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if of.size == 0 {
		m.inMemory -= int64(len(of.Message()))
		return nil
	}
	if m.inFile--; m.inFile > 0 {
		return nil
	}
	m.size = 0
	if err := m.file.Truncate(0); err != nil {
		return m.scratchError(err)
	}
	return nil
}

func (m *stateMessages) close() error {
	if m.file == nil {
		return nil
	}
	return m.file.Close()
}

func (m *stateMessages) scratchError(err error) error {
	kind := protocol.SystemError
	if errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) {
		kind = protocol.ConfigError
	}
	return &protocol.Error{Kind: kind, Err: err, Message: fmt.Sprintf(
		"States that wait for their commit do not fit into memory and cannot be written to %s: %v. Free space there, set \"scratch\" to another directory, or raise memory_mebibytes.", cmp.Or(m.dir, os.TempDir()), err)}
}
