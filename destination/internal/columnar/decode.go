package columnar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/jsonscan"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/scalar"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Decoder turns RECORD lines into rows. It is for one goroutine; its zero
// value is ready.
type Decoder struct {
	text   []byte // whole lines, each ended by a line feed
	line   int    // where the current one begins
	reason string // why it was refused, when not for its grammar
	err    error  // the same, when it concerns more than the line

	message, record, meta *object
	head                  head
	dates                 scalar.Dates
	changes               []change // of the current record
	deletes               bool     // the current record deletes its key
	arrived               int64    // when the lines did, in microseconds
	name                  []byte   // of the member being learned
	scratch               []byte   // a string being coerced
	ended                 []byte   // the lines, when the last one had no end

	route             func(namespace, name []byte) (*Batch, error)
	batch             *Batch // of the stream whose records are being decoded
	stream, namespace []byte // of that stream
	escaped           [2][]byte
	namespaceIsLate   bool // the last record told its namespace after its data

	inOrder bool // decode each line in its turn, whatever its stream
	later   postponed
}

// Decode parses whole RECORD lines and adds a row for each to the batch of its
// stream. seq numbers this run of lines in the input: the order of a row is
// seq<<32 | row in run. Rows of a stream are in the order of their lines. route
// gives the batch of a stream; it is called several times for one. A nil batch
// means that the stream is not in the catalog.
//
// The names of an envelope and of its record may come in any order. Names that
// the schema does not declare are dropped, and of equal names the last counts,
// as for encoding/json, which also agrees on what is JSON; only deeper nesting
// than 1000 is refused.
//
// On an error, which names the line, the rows before that line are complete.
func (d *Decoder) Decode(lines []byte, firstLine int64, seq uint64, route func(namespace, name []byte) (*Batch, error)) error {
	if d.message == nil {
		d.init()
	}
	if n := len(lines); n > 0 && lines[n-1] != '\n' {
		d.ended = append(append(d.ended[:0], lines...), '\n')
		lines = d.ended
	}
	d.text, d.route = lines, route
	d.arrived = time.Now().UnixMicro()
	var err error
	if !d.decodeStreams(seq) {
		d.later.takeBack()
		d.batch, d.reason, d.err = nil, "", nil
		err = d.decodeInOrder(firstLine, seq)
	}
	d.later.end()
	d.text, d.route, d.batch, d.reason, d.err = nil, nil, nil, "", nil
	d.scratch, d.ended = emptied(d.scratch[:0]), emptied(d.ended[:0])
	return err
}

func (d *Decoder) init() {
	d.message, d.record, d.meta = newObject(), newObject(), newObject()
	d.meta.add("changes", nil).part = changesPart
	d.message.add("type", nil).part = typePart
	d.message.add("record", nil).part = recordPart
	for name, p := range map[string]part{
		"stream": streamPart, "namespace": namespacePart, "emitted_at": emittedAtPart, "data": dataPart, "meta": metaPart,
	} {
		d.record.add(name, nil).part = p
	}
}

// fail refuses the line for a reason other than its grammar.
func (d *Decoder) fail(reason string) int {
	d.reason = reason
	return -1
}

func (d *Decoder) full() int {
	return d.fail("a batch with it would hold more than 2 GiB in one column")
}

// failure says why the current line was refused and takes back what has been
// parsed of it. What is wrong with its grammar is told by encoding/json: the
// hot path keeps no account of it.
func (d *Decoder) failure(line int64) error {
	if d.batch != nil {
		d.batch.discardRow()
	}
	if known := (*protocol.Error)(nil); errors.As(d.err, &known) { // whose message is all that people read
		named := *known
		named.Message += fmt.Sprintf(" The record is line %d of the input.", line)
		return &named
	}
	if d.err != nil {
		return fmt.Errorf("line %d of the input: %w", line, d.err)
	}
	e := &protocol.Error{Kind: protocol.SystemError}
	if end := jsonscan.Skip(d.text, d.line); end > 0 && d.text[jsonscan.Space(d.text, end)] == '\n' {
		e.Message = fmt.Sprintf("Line %d of the input is not a valid RECORD message: %s. The source that wrote it must be fixed.", line, d.reason)
		return e
	}
	text := d.text[d.line:]
	text = text[:bytes.IndexByte(text, '\n')]
	what := "it is not JSON"
	var syntax *json.SyntaxError
	if errors.As(json.Unmarshal(text, new(json.RawMessage)), &syntax) {
		what = fmt.Sprintf("%v at byte %d", syntax, syntax.Offset)
	}
	e.Message = fmt.Sprintf("Line %d of the input is a broken RECORD message: %s. "+
		"If the source was cut off there, run the sync again: it continues from the last acknowledged state. Otherwise the source does not write valid JSON, and must be fixed.", line, what)
	return e
}
