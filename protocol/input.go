package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
)

const (
	blockSize   = 1 << 20
	minRead     = 64 << 10  // what a pipe gives at most
	maxLineSize = 256 << 20 // the longest message read
)

var byteOrderMark = []byte("\xef\xbb\xbf")

// Input cuts a message stream into what a destination needs: long runs of
// RECORD lines, unparsed, and between them, in order, the messages that steer.
// Bytes are looked at for line ends and for the first member of each line; the
// rest of a record is left to whoever needs its values.
//
// Lines that are no message (blank, null, free text, unknown types) are passed
// over with a warning, a byte-order mark and carriage returns without one.
type Input struct {
	r       io.Reader
	log     *slog.Logger
	maxLine int

	block *block // being cut; nil before the first read and after the end
	pos   int    // start of the next line in block
	line  int64  // number of the line at pos, from 1
	eof   bool
	free  sync.Pool
	warns int
}

// Item is one step of the input; exactly one field is set.
type Item struct {
	Records *Records
	State   *State
	Status  *StatusMessage
}

// StatusMessage is a stream status that a source reports.
type StatusMessage struct {
	Stream StreamID
	Status StreamStatus
}

// Records is a run of whole lines, each a RECORD message. The bytes are valid
// until Release.
type Records struct {
	Data  []byte
	Line  int64 // number of the first line in the input, from 1
	block *block
}

// Release gives the bytes back. It must be called once.
func (r *Records) Release() {
	r.Data = nil
	r.block.release()
}

type block struct {
	buf  []byte // buf[:n] holds whole lines
	n    int
	refs atomic.Int32
	pool *sync.Pool
}

func (b *block) release() {
	if b.refs.Add(-1) == 0 && cap(b.buf) == blockSize {
		b.pool.Put(b)
	}
}

// NewInput returns an Input that reads r. Warnings go to log.
func NewInput(r io.Reader, log *slog.Logger) *Input {
	return &Input{r: r, log: log, maxLine: maxLineSize, line: 1}
}

// Next returns the next step, or io.EOF at the end of the input. A last line
// without a line end counts when it is a whole message; half of one is an
// error, as its writer died.
func (in *Input) Next() (Item, error) {
	for {
		if in.block == nil || in.pos == in.block.n {
			if err := in.fill(); err != nil {
				return Item{}, err
			}
		}
		if run := in.recordRun(); run != nil {
			return Item{Records: run}, nil
		}
		if in.pos == in.block.n {
			continue
		}
		line, number := in.nextLine(), in.line-1
		item, ok, err := in.steering(line, number)
		if err != nil {
			return Item{}, err
		}
		if ok {
			return item, nil
		}
	}
}

// recordRun takes the records that stand at the current position.
func (in *Input) recordRun() *Records {
	start, first := in.pos, in.line
	data := in.block.buf[:in.block.n]
	for in.pos < len(data) && isRecord(data[in.pos:]) {
		end := bytes.IndexByte(data[in.pos:], '\n') + 1
		in.pos += end
		in.line++
	}
	if in.pos == start {
		return nil
	}
	in.block.refs.Add(1)
	return &Records{Data: data[start:in.pos], Line: first, block: in.block}
}

func (in *Input) nextLine() []byte {
	data := in.block.buf[in.pos:in.block.n]
	end := bytes.IndexByte(data, '\n') + 1
	in.pos += end
	in.line++
	return bytes.TrimSpace(data[:end])
}

// isRecord tells whether a line begins as the writers of RECORD messages
// begin it; other orders of members are found by recordLine.
func isRecord(line []byte) bool {
	return bytes.HasPrefix(line, []byte(`{"type":"RECORD",`)) || bytes.HasPrefix(line, []byte(`{"type": "RECORD",`))
}

// incoming is a message as far as a destination reads it. Explicit nulls are
// common and mean absent.
type incoming struct {
	Type   string          `json:"type"`
	Record json.RawMessage `json:"record"`
	State  json.RawMessage `json:"state"`
	Trace  *struct {
		Type         string `json:"type"`
		StreamStatus *struct {
			Descriptor descriptor   `json:"stream_descriptor"`
			Status     StreamStatus `json:"status"`
		} `json:"stream_status"`
	} `json:"trace"`
}

// steering reads one line that is not a record in its usual form. Not ok means
// there is nothing in it for a destination.
func (in *Input) steering(line []byte, number int64) (item Item, ok bool, err error) {
	if len(line) == 0 || bytes.Equal(line, []byte("null")) {
		return Item{}, false, nil
	}
	var m incoming
	if line[0] != '{' {
		in.warn("passing over a line that is no message", number, line)
		return Item{}, false, nil
	}
	if err := json.Unmarshal(line, &m); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) && looksLikeMessage(line) {
			return Item{}, false, &Error{Kind: SystemError, Message: fmt.Sprintf(
				"Line %d of the input is a broken message: %v. The source was cut off or wrote two messages into each other; nothing after the last acknowledged state is lost by running the sync again.", number, err), Err: err}
		}
		in.warn("passing over a line that is no message", number, line)
		return Item{}, false, nil
	}
	switch m.Type {
	case "RECORD":
		owned := append(append(make([]byte, 0, len(line)+1), line...), '\n')
		b := &block{buf: owned, n: len(owned), pool: &in.free}
		b.refs.Store(1)
		return Item{Records: &Records{Data: owned, Line: number, block: b}}, true, nil
	case "STATE":
		s, err := ParseState(bytes.Clone(m.State))
		if err != nil {
			return Item{}, false, &Error{Kind: SystemError, Message: fmt.Sprintf("Line %d of the input: %v.", number, err), Err: err}
		}
		return Item{State: &s}, true, nil
	case "TRACE":
		if m.Trace != nil && m.Trace.Type == "STREAM_STATUS" && m.Trace.StreamStatus != nil {
			st := m.Trace.StreamStatus
			return Item{Status: &StatusMessage{Stream: st.Descriptor.id(), Status: st.Status}}, true, nil
		}
	case "LOG", "CONTROL", "SPEC", "CATALOG", "CONNECTION_STATUS", "DESTINATION_CATALOG":
	default:
		in.warn("passing over a message of unknown type", number, line)
	}
	return Item{}, false, nil
}

// looksLikeMessage tells a message cut short from free text in braces.
func looksLikeMessage(line []byte) bool {
	return bytes.Contains(line[:min(len(line), 200)], []byte(`"type"`))
}

func (in *Input) warn(what string, number int64, line []byte) {
	const most = 20
	in.warns++
	switch {
	case in.warns < most:
		in.log.Warn(what, "line", number, "text", string(line[:min(len(line), 120)]))
	case in.warns == most:
		in.log.Warn("passing over more such lines without telling", "line", number)
	}
}

// fill reads until there is at least one more whole line. It goes on in the
// current block while that has room, so that a slow pipe does not cost a block
// for every read, and a line split between blocks is copied once.
func (in *Input) fill() error {
	if in.block == nil {
		in.block = in.newBlock(0)
	}
	b := in.block
	searched := b.n
	for !in.eof {
		if cap(b.buf)-len(b.buf) < minRead {
			b = in.turn()
			searched = len(b.buf)
		}
		n, err := in.r.Read(b.buf[len(b.buf):cap(b.buf)])
		b.buf = b.buf[:len(b.buf)+n]
		if err == io.EOF {
			in.eof = true
		} else if err != nil {
			return fmt.Errorf("reading the input: %w", err)
		}
		if in.line == 1 && in.pos == 0 && b.n == 0 && bytes.HasPrefix(b.buf, byteOrderMark) {
			in.pos, b.n, searched = len(byteOrderMark), len(byteOrderMark), len(byteOrderMark)
		}
		if in.eof && len(b.buf) > b.n && b.buf[len(b.buf)-1] != '\n' {
			b.buf = append(b.buf, '\n')
		}
		if end := bytes.LastIndexByte(b.buf[searched:], '\n'); end >= 0 {
			b.n = searched + end + 1
			return nil
		}
		searched = len(b.buf)
		if len(b.buf)-b.n > in.maxLine {
			return &Error{Kind: SystemError, Message: fmt.Sprintf(
				"Line %d of the input is longer than %d MiB, the longest message this destination reads.", in.line, in.maxLine>>20)}
		}
	}
	in.block = nil
	b.release()
	return io.EOF
}

// turn begins a new block with the part of a line that the old one ends with.
func (in *Input) turn() *block {
	old := in.block
	rest := old.buf[old.n:]
	b := in.newBlock(len(rest))
	b.buf = append(b.buf, rest...)
	old.release()
	in.block, in.pos = b, 0
	return b
}

func (in *Input) newBlock(rest int) *block {
	b, _ := in.free.Get().(*block)
	if size := max(blockSize, 2*rest); b == nil || cap(b.buf) < size {
		b = &block{buf: make([]byte, 0, size), pool: &in.free}
	}
	b.buf, b.n = b.buf[:0], 0
	b.refs.Store(1)
	return b
}
