package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/ingest-connectors/whoop-iceberg/internal/rawjson"
)

// Input splits a message stream into long runs of RECORD lines, unparsed, and between
// them, in order, the control messages that a destination needs. It looks for line
// ends and for each line's "type", and leaves the rest of a record to whoever needs its
// values.
//
// Next returns what has arrived at once: a STATE does not wait until its block is full.
// Next blocks as long as the reader does, so a destination that must be able to stop
// calls it in a separate goroutine.
//
// Foreign lines (null, free text, objects of unknown type) are skipped with a warning;
// blank lines, carriage returns and a byte-order mark without one. A line that is
// recognisably a broken message is an error, because it may contain a record. So is an
// input that has lines but no message.
//
// An Input is for one goroutine. The Records it returns may go to others.
type Input struct {
	r       io.Reader
	log     *slog.Logger
	maxLine int
	warns   int

	block *block // the current one; nil before the first read and after the end
	pos   int    // start of the next line in block
	line  int64  // number of the line at pos, from 1
	err   error  // what the reader ended with
	free  sync.Pool

	messages bool   // there was at least one
	foreign  []byte // the beginning of the first line that is not a message; nil: none
}

// Item is one part of the input. Exactly one field is set.
type Item struct {
	Records *Records
	State   *State
	Status  *StatusMessage
	Failure *SourceFailure
	Log     *SourceLog
}

// SourceFailure is a TRACE ERROR: the source, or one of its streams, has failed.
type SourceFailure struct {
	Stream  *StreamID // nil: the message names none
	Message string    // in the source's own words
	ShownOn string    // for [Emitter.Relay]
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
// feed. White space and the order of members are as written. A message may still be
// broken further on. The bytes are valid until Release and must not be changed. Until
// then they hold a block of 1 MiB, or of a longer line's length.
type Records struct {
	Data  []byte
	Line  int64 // number of the first line in the input, from 1
	Count int64 // of lines
	block *block
}

// Release returns the bytes. It must be called once, from any goroutine.
func (r *Records) Release() {
	r.block.release()
	r.Data, r.block = nil, nil
}

// NewInput returns an Input that reads r. Warnings go to log.
func NewInput(r io.Reader, log *slog.Logger) *Input {
	return &Input{r: r, log: log, maxLine: maxLineSize, line: 1}
}

// Next returns the next item, or io.EOF at the end of the input. A last line without a
// line end counts if it is a complete message. If it is not, its writer died, and it is
// an error. So is a line longer than 256 MiB. After an error, every call returns it.
func (in *Input) Next() (Item, error) {
	for {
		if in.block == nil || in.pos == in.block.n {
			if err := in.fill(); err != nil {
				return Item{}, err
			}
		}
		if in.line == 1 && bytes.HasPrefix(in.block.buf[in.pos:in.block.n], []byte(rawjson.ByteOrderMark)) {
			in.pos += len(rawjson.ByteOrderMark)
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

// recordRun takes the records at the current position.
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

// startsAsRecord reports whether a line begins as nearly all writers begin RECORD
// messages: in compact JSON or as Python's json.dumps. Others cost a scan by messageType.
func startsAsRecord(line []byte) bool {
	return bytes.HasPrefix(line, []byte(`{"type":"RECORD",`)) || bytes.HasPrefix(line, []byte(`{"type": "RECORD",`))
}

// incoming is the part of a message that a destination reads. Explicit nulls are
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
		ShownOn    string      `json:"shown_on"`
	} `json:"error"`
}

// control reads a line that recordRun did not take. If ok is false, a destination does
// not need the line. An item with Records means that the line is a record.
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
				"Line %d of the input is not a valid STATE message: %v. The source that wrote it must be fixed.", number, err)}
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
		in.skip("skipping a message of unknown type", number, line)
		return Item{}, false, nil
	}
	in.messages = true
	return item, item != Item{}, nil
}

// trace reads a TRACE. If a destination does not need it, the item is empty.
func (in *Input) trace(raw json.RawMessage, number int64) Item {
	var t incomingTrace
	switch err := json.Unmarshal(raw, &t); {
	case err != nil, t.Type == "STREAM_STATUS" && (t.StreamStatus == nil || t.StreamStatus.Descriptor.Name == ""):
		in.warn("skipping a TRACE that cannot be read", number)
	case t.Type == "STREAM_STATUS":
		return Item{Status: &StatusMessage{Stream: t.StreamStatus.Descriptor.id(), Status: t.StreamStatus.Status}}
	case t.Type == "ERROR":
		f := &SourceFailure{Message: "it did not say why"}
		if t.Error != nil && t.Error.Message != "" {
			f.Message, f.ShownOn = t.Error.Message, t.Error.ShownOn
		}
		if t.Error != nil && t.Error.Descriptor != nil && t.Error.Descriptor.Name != "" {
			id := t.Error.Descriptor.id()
			f.Stream = &id
		}
		return Item{Failure: f}
	}
	return Item{}
}

// foreignLine skips a line that is not a message. If another writer wrote in front of a
// record or state, it is an error, because that would be lost.
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
	in.skip("skipping a line that is not a message", number, line)
	return nil
}

// skip skips a line that is not a message.
func (in *Input) skip(why string, number int64, line []byte) {
	if in.foreign == nil {
		in.foreign = bytes.Clone(line[:min(len(line), 120)])
	}
	in.warn(why, number)
}

// eof returns io.EOF, or an error if there were lines and none of them was a message.
func (in *Input) eof() error {
	if in.messages || in.foreign == nil {
		return io.EOF
	}
	if what := rawjson.Encoding(in.foreign); what != "" {
		return &Error{Kind: ConfigError, Message: fmt.Sprintf("The input is %s, not the source's messages in UTF-8. "+
			"Whatever connects the two programs must not change bytes. Windows PowerShell before 7.4 does: run the pipe in cmd, or in a newer PowerShell.", what)}
	}
	return &Error{Kind: SystemError, Message: "The input holds no message of the Airbyte protocol. " +
		"Run the command before the pipe by itself to see what it says: it must be the read of a source."}
}

func brokenMessage(kind Kind, line int64, err error) error {
	return &Error{Kind: kind, Message: fmt.Sprintf(
		"Line %d of the input is a broken message: %v. The source was cut off, or two writers wrote into each other. Run the sync again: it continues from the last acknowledged state.", line, err)}
}

// warn names a line by its number only, because it may contain secrets.
func (in *Input) warn(what string, number int64) {
	const limit = 20
	in.warns++
	switch {
	case in.warns < limit:
		in.log.Warn(what, "line", number)
	case in.warns == limit:
		in.log.Warn("skipping more such lines without warnings", "line", number)
	}
}
