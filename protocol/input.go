package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
)

// Input cuts a message stream into what a destination needs: long runs of
// RECORD lines, unparsed, and between them, in order, the messages that steer.
// Bytes are looked at for line ends and for each line's "type"; the rest of a
// record is left to whoever needs its values.
//
// What has arrived is handed on at once: a STATE does not wait for the block it
// stands in to be full. Next blocks as long as the reader does; a destination
// that must be able to stop calls it in a goroutine of its own.
//
// Foreign lines (null, free text, objects of unknown type) are passed over with
// a warning; blank lines, carriage returns and a byte-order mark without one. A
// line that is recognisably a broken message is an error, for a record may have
// been in it. So is an input that has lines and no message among them.
//
// An Input is for one goroutine. The Records it returns may go to others.
type Input struct {
	r       io.Reader
	log     *slog.Logger
	maxLine int
	warns   int

	block *block // being cut; nil before the first read and after the end
	pos   int    // start of the next line in block
	line  int64  // number of the line at pos, from 1
	err   error  // what the reader ended with
	free  sync.Pool

	messages bool   // one has come
	foreign  []byte // the beginning of the first line that is none; nil: there was none
}

// Item is one step of the input; exactly one field is set.
type Item struct {
	Records *Records
	State   *State
	Status  *StatusMessage
	Failure *SourceFailure
	Log     *SourceLog
}

// SourceFailure is a TRACE ERROR: the source says that it, or one of its
// streams, has failed.
type SourceFailure struct {
	Stream  *StreamID // nil: the message names none
	Message string    // in the source's own words
}

// SourceLog is a LOG message of the level ERROR or FATAL.
type SourceLog struct {
	Level, Message string
}

// StatusMessage is a stream status that a source reports.
type StatusMessage struct {
	Stream StreamID
	Status StreamStatus
}

// Records is a run of whole lines, each a RECORD message, ending with a line
// feed. White space around a message and the order of its members are the
// writer's; a message may still be broken further on. The bytes are valid until
// Release and must not be changed. Kept, they hold a block of 1 MiB (or, if
// longer, of the long line in it).
type Records struct {
	Data  []byte
	Line  int64 // number of the first line in the input, from 1
	Count int64 // of lines
	block *block
}

// Release gives the bytes back. It must be called once, from any goroutine.
func (r *Records) Release() {
	r.block.release()
	r.Data, r.block = nil, nil
}

// NewInput returns an Input that reads r. Warnings go to log.
func NewInput(r io.Reader, log *slog.Logger) *Input {
	return &Input{r: r, log: log, maxLine: maxLineSize, line: 1}
}

// Next returns the next step, or io.EOF at the end of the input. A last line
// without a line end counts when it is a whole message; half of one is an
// error, as its writer died. So is a line longer than 256 MiB. After an error
// every further call returns it.
func (in *Input) Next() (Item, error) {
	for {
		if in.block == nil || in.pos == in.block.n {
			if err := in.fill(); err != nil {
				return Item{}, err
			}
		}
		if in.line == 1 && bytes.HasPrefix(in.block.buf[in.pos:in.block.n], []byte(byteOrderMark)) {
			in.pos += len(byteOrderMark)
		}
		if run := in.recordRun(); run != nil {
			return Item{Records: run}, nil
		}
		line := in.nextLine()
		item, ok, err := in.control(bytes.Trim(line, " \t\r\n"), in.line-1)
		switch {
		case err != nil:
			return Item{}, in.end(err)
		case ok && item.Records != nil:
			item.Records = in.records(line, in.line-1, 1)
			return item, nil
		case ok:
			return item, nil
		}
	}
}

// recordRun takes the records that stand at the current position.
func (in *Input) recordRun() *Records {
	start, first := in.pos, in.line
	data := in.block.buf[:in.block.n]
	for in.pos < len(data) {
		line := data[in.pos:]
		end := bytes.IndexByte(line, '\n') + 1 // there is one: data ends with it
		if !startsAsRecord(line) && string(messageType(line[:end])) != "RECORD" {
			break
		}
		in.pos += end
		in.line++
	}
	if in.pos == start {
		return nil
	}
	in.messages = true
	return in.records(data[start:in.pos], first, in.line-first)
}

func (in *Input) records(data []byte, line, count int64) *Records {
	in.block.refs.Add(1)
	run := &Records{Data: data[:len(data):len(data)], Line: line, Count: count, block: in.block}
	if in.block.grown() {
		in.move()
	}
	return run
}

// nextLine takes the line at the current position, with its line end.
func (in *Input) nextLine() []byte {
	data := in.block.buf[in.pos:in.block.n]
	line := data[:bytes.IndexByte(data, '\n')+1]
	in.pos += len(line)
	in.line++
	return line
}

// startsAsRecord tells whether a line begins as nearly all writers of RECORD
// messages begin it: those of compact JSON and those of Python's json.dumps.
// The others cost a scan by messageType.
func startsAsRecord(line []byte) bool {
	return bytes.HasPrefix(line, []byte(`{"type":"RECORD",`)) || bytes.HasPrefix(line, []byte(`{"type": "RECORD",`))
}

// incoming is a message as far as a destination reads it. Explicit nulls are
// common and mean absent.
type incoming struct {
	Type  string          `json:"type"`
	Trace json.RawMessage `json:"trace"`
	Log   json.RawMessage `json:"log"`
}

type incomingTrace struct {
	Type         string `json:"type"`
	StreamStatus *struct {
		Descriptor descriptor   `json:"stream_descriptor"`
		Status     StreamStatus `json:"status"`
	} `json:"stream_status"`
	Error *struct {
		Message    string      `json:"message"`
		Descriptor *descriptor `json:"stream_descriptor"`
	} `json:"error"`
}

// control reads one line that recordRun did not take. Not ok means there is
// nothing in it for a destination. An item with Records stands for the line
// itself.
func (in *Input) control(line []byte, number int64) (item Item, ok bool, err error) {
	if len(line) == 0 {
		return Item{}, false, nil
	}
	if line[0] != '{' {
		return Item{}, false, in.foreignLine(line, number)
	}
	var m incoming
	if err := json.Unmarshal(line, &m); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) && beginsAsMessage(line) {
			return Item{}, false, brokenMessage(SystemError, number, err)
		}
		return Item{}, false, in.foreignLine(line, number)
	}
	switch m.Type {
	case "RECORD": // its "type" was written with escapes
		item.Records = &Records{}
	case "STATE":
		s, err := ParseStateMessage(line)
		if err != nil {
			return Item{}, false, &Error{Kind: SystemError, Message: fmt.Sprintf(
				"Line %d of the input is no usable STATE message: %v. The source that wrote it must be fixed.", number, err)}
		}
		item.State = &s
	case "TRACE":
		item = in.trace(m.Trace, number)
	case "LOG":
		var l logLine
		if json.Unmarshal(m.Log, &l) == nil && (l.Level == "ERROR" || l.Level == "FATAL") {
			item.Log = &SourceLog{Level: l.Level, Message: l.Message}
		}
	case "CONTROL", "SPEC", "CATALOG", "CONNECTION_STATUS", "DESTINATION_CATALOG":
	default:
		in.pass("passing over a message of unknown type", number, line)
		return Item{}, false, nil
	}
	in.messages = true
	return item, item != Item{}, nil
}

// trace reads a TRACE; one that is not for a destination gives an empty item.
func (in *Input) trace(raw json.RawMessage, number int64) Item {
	var t incomingTrace
	switch err := json.Unmarshal(raw, &t); {
	case err != nil, t.Type == "STREAM_STATUS" && (t.StreamStatus == nil || t.StreamStatus.Descriptor.Name == ""):
		in.warn("passing over a TRACE that cannot be read", number)
	case t.Type == "STREAM_STATUS":
		return Item{Status: &StatusMessage{Stream: t.StreamStatus.Descriptor.id(), Status: t.StreamStatus.Status}}
	case t.Type == "ERROR":
		f := &SourceFailure{Message: "it did not say why"}
		if t.Error != nil && t.Error.Message != "" {
			f.Message = t.Error.Message
		}
		if t.Error != nil && t.Error.Descriptor != nil && t.Error.Descriptor.Name != "" {
			id := t.Error.Descriptor.id()
			f.Stream = &id
		}
		return Item{Failure: f}
	}
	return Item{}
}

// foreignLine passes over a line that is no message, unless it ends with one that
// must not be lost: another writer has written in front of it.
func (in *Input) foreignLine(line []byte, number int64) error {
	rest := line[1:]
	for range 10 { // braces of the other text
		at := bytes.IndexByte(rest, '{')
		if at < 0 {
			break
		}
		var m incoming
		if err := json.Unmarshal(rest[at:], &m); err == nil && (m.Type == "RECORD" || m.Type == "STATE") {
			return &Error{Kind: SystemError, Message: fmt.Sprintf(
				"Line %d of the input has other text in front of a %s message, which would be lost. The source must write each message on a line of its own, and all else to standard error.", number, m.Type)}
		}
		rest = rest[at+1:]
	}
	in.pass("passing over a line that is no message", number, line)
	return nil
}

// pass passes over a line that is no message.
func (in *Input) pass(why string, number int64, line []byte) {
	if in.foreign == nil {
		in.foreign = bytes.Clone(line[:min(len(line), 120)])
	}
	in.warn(why, number)
}

// over is the end of the input: io.EOF, unless what came cannot have been what
// the source wrote.
func (in *Input) over() error {
	if in.messages || in.foreign == nil {
		return io.EOF
	}
	if what := encodingOf(in.foreign); what != "" {
		return &Error{Kind: ConfigError, Message: fmt.Sprintf("The input is %s, not the source's messages in UTF-8. "+
			"What stands between the two programs must pass bytes on as they are; Windows PowerShell before 7.4 does not: run the pipe in cmd, or in a newer PowerShell.", what)}
	}
	return &Error{Kind: SystemError, Message: "The input holds no message of the Airbyte protocol. " +
		"Run the command before the pipe by itself to see what it says: it must be the read of a source."}
}

// encodingOf names what the beginning of text that is not JSON is encoded in; ""
// when it looks like UTF-8.
func encodingOf(text []byte) string {
	switch {
	case bytes.HasPrefix(text, []byte{0x1f, 0x8b}):
		return "compressed with gzip"
	case bytes.HasPrefix(text, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return "compressed with zstd"
	case bytes.HasPrefix(text, []byte{0xff, 0xfe}), bytes.HasPrefix(text, []byte("{\x00")):
		return "encoded in UTF-16 (little-endian)"
	case bytes.HasPrefix(text, []byte{0xfe, 0xff}), bytes.HasPrefix(text, []byte("\x00{")):
		return "encoded in UTF-16 (big-endian)"
	case bytes.IndexByte(text, 0) >= 0:
		return "binary, or encoded in UTF-16 or UTF-32"
	}
	return ""
}

func brokenMessage(kind Kind, line int64, err error) error {
	return &Error{Kind: kind, Message: fmt.Sprintf(
		"Line %d of the input is a broken message: %v. The source was cut off, or two writers wrote into each other. Run the sync again: it continues from the last acknowledged state.", line, err)}
}

// warn tells of a line by its number: whose secrets are in it nobody here knows.
func (in *Input) warn(what string, number int64) {
	const most = 20
	in.warns++
	switch {
	case in.warns < most:
		in.log.Warn(what, "line", number)
	case in.warns == most:
		in.log.Warn("passing over more such lines without telling", "line", number)
	}
}
