package columnar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

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
	changes               []change
	name, scratch, ended  []byte

	route           func(namespace, name []byte) (*Batch, error)
	batch           *Batch // of the last record's stream
	namespace       []byte
	stream          []byte
	namespaceIsLate bool // the last record told its namespace after its data
}

// A change is a value of the current record that could not be kept.
type change struct {
	column *column
	reason fit
}

// A part is a member of the message or the record object that means something.
type part uint8

const (
	otherPart part = iota
	typePart
	recordPart
	streamPart
	namespacePart
	emittedAtPart
	dataPart
	metaPart
	changesPart
)

// envelope is what a RECORD says besides its data.
type envelope struct {
	isRecord, hasStream, hasNamespace bool
	stream, namespace                 []byte
	emittedAt                         int64 // microseconds
	hasEmittedAt                      bool
	data, meta                        int    // where the values begin; 0: absent
	into                              *Batch // that the data has been parsed into
}

// Decode parses whole RECORD lines and adds a row for each to the batch of its
// stream. seq numbers this run of lines in the input: the order of a row is
// seq<<32 | row in run. route gives the batch of a stream; it is called when
// the stream of a line differs from the line before. A nil batch means that the
// stream is not in the catalog.
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
	d.text, d.route, d.batch, d.reason, d.err = lines, route, nil, "", nil
	for i, row := 0, uint64(0); i < len(lines); row++ {
		d.line = i
		if i = d.decodeLine(i, seq<<32|row); i < 0 {
			return d.failure(firstLine + int64(row))
		}
	}
	d.text, d.route = nil, nil
	return nil
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

// decodeLine parses one line and returns where the next one begins.
func (d *Decoder) decodeLine(i int, order uint64) int {
	b := d.text
	var e envelope
	if i = space(b, i); b[i] != '{' {
		return -1
	}
	m, i := d.first(d.message, i+1)
	for ; m != nil; m, i = d.next(d.message, m, i) {
		i = space(b, i)
		switch m.part {
		case typePart:
			start := i
			i = skip(b, i)
			e.isRecord = i >= 0 && string(b[start:i]) == `"RECORD"`
		case recordPart:
			i = d.recordObject(i, &e)
		default:
			i = skip(b, i)
		}
		if i < 0 {
			return -1
		}
	}
	if i < 0 {
		return -1
	}
	if i = space(b, i); b[i] != '\n' {
		return -1
	}
	if !d.finish(&e, order) {
		return -1
	}
	return i + 1
}

// recordObject parses the record. Its data goes straight to the columns when
// it is known which; else finish comes back to it.
func (d *Decoder) recordObject(i int, e *envelope) int {
	b := d.text
	if b[i] != '{' {
		return d.fail("its record is no object")
	}
	if e.into != nil { // a second record in the message
		e.into.undo()
	}
	*e = envelope{isRecord: e.isRecord}
	m, i := d.first(d.record, i+1)
	for ; m != nil; m, i = d.next(d.record, m, i) {
		i = space(b, i)
		switch m.part {
		case streamPart:
			e.stream, i = d.string(i)
			e.hasStream = true
		case namespacePart:
			e.hasNamespace = true
			if b[i] == 'n' {
				e.namespace, i = nil, literal(b, i, "null")
			} else {
				e.namespace, i = d.string(i)
			}
		case emittedAtPart:
			i = d.emittedAt(i, e)
		case dataPart:
			if e.into != nil {
				e.into.undo()
				e.into = nil
			}
			e.data = i
			if e.hasStream && (e.hasNamespace || !d.namespaceIsLate) {
				e.into, _ = d.batchOf(e) // finish tells what is wrong
			}
			if e.into != nil {
				i = d.data(e.into, i)
			} else {
				i = skip(b, i)
			}
		case metaPart:
			e.meta = i
			i = skip(b, i)
		default:
			i = skip(b, i)
		}
		if i < 0 {
			return -1
		}
	}
	return i
}

// string reads a string of the envelope, without a copy when it is plain.
func (d *Decoder) string(i int) ([]byte, int) {
	b := d.text
	if b[i] != '"' {
		return nil, d.fail("its stream or namespace is no string")
	}
	if end, high := plainRun(b, i+1); b[end] == '"' && high&highs == 0 {
		return b[i+1 : end], end + 1
	}
	return appendString(nil, b, i+1)
}

// emittedAt reads a time in milliseconds, or in seconds when it is so small
// that as milliseconds it would lie in the first years of the epoch.
func (d *Decoder) emittedAt(i int, e *envelope) int {
	b := d.text
	e.hasEmittedAt = false
	if b[i] == 'n' {
		return literal(b, i, "null")
	}
	const leastMillis = 1e11 // 1973
	if v, end := plainInteger(b, i); end > 0 && v >= leastMillis && v < endMicro/1000 {
		e.emittedAt, e.hasEmittedAt = v*1000, true
		return end
	}
	end := skipNumber(b, i)
	if end < 0 {
		return d.fail("its emitted_at is no number")
	}
	v, _ := parseDouble(b[i:end])
	if math.Abs(v) < leastMillis {
		v *= 1000
	}
	if v *= 1000; v >= firstMicro && v < endMicro {
		e.emittedAt, e.hasEmittedAt = int64(math.Round(v)), true
	}
	return end
}

// batchOf returns the batch of a record's stream.
func (d *Decoder) batchOf(e *envelope) (*Batch, error) {
	if d.batch != nil && string(d.stream) == string(e.stream) && string(d.namespace) == string(e.namespace) {
		return d.batch, nil
	}
	d.batch = nil
	batch, err := d.route(e.namespace, e.stream)
	if err != nil {
		return nil, err
	}
	if batch == nil {
		id := protocol.StreamID{Namespace: string(e.namespace), Name: string(e.stream)}
		return nil, &protocol.Error{Kind: protocol.SystemError, Stream: &id, Message: fmt.Sprintf(
			"The source sent a record of stream %q, which is not in the catalog.", id)}
	}
	d.batch = batch
	d.stream = append(d.stream[:0], e.stream...)
	d.namespace = append(d.namespace[:0], e.namespace...)
	return batch, nil
}

// data parses the record's own members into a row that is not yet counted.
func (d *Decoder) data(batch *Batch, i int) int {
	d.changes = d.changes[:0]
	if d.text[i] != '{' {
		return d.fail("its data is no object")
	}
	return d.object(batch.data.object, batch.rows, i+1)
}

// finish completes the row of a line.
func (d *Decoder) finish(e *envelope, order uint64) bool {
	switch {
	case !e.isRecord:
		d.fail("its type is not RECORD")
		return false
	case !e.hasStream:
		d.fail("it names no stream")
		return false
	case e.data == 0:
		d.fail("it has no data")
		return false
	}
	batch, err := d.batchOf(e)
	if e.into != nil && e.into != batch {
		e.into.undo()
	}
	if err != nil {
		d.err = err
		return false
	}
	d.namespaceIsLate = e.into != batch && e.hasNamespace
	if e.into != batch && d.data(batch, e.data) < 0 {
		return false
	}
	row := batch.rows
	for _, key := range batch.keys {
		if key.rows <= row || key.nulls > 0 {
			d.err = d.nullKey(batch)
			return false
		}
	}
	if e.meta > 0 && !d.sourceChanges(batch, e.meta) {
		return false
	}
	if len(d.changes) > 0 {
		batch.addChanges(d.changes)
	}
	if e.hasEmittedAt {
		batch.extracted.pad(row)
		batch.extracted.words = append(batch.extracted.words, e.emittedAt)
		batch.extracted.rows++
	}
	if batch.layout.plan.Dedup {
		batch.order = append(batch.order, order)
	}
	batch.rows++
	return true
}

// object parses the members of an object whose bracket is before i.
func (d *Decoder) object(o *object, row, i int) int {
	m, i := d.first(o, i)
	for ; m != nil; m, i = d.next(o, m, i) {
		if m.column != nil {
			i = d.value(m.column, row, i)
		} else {
			i = skip(d.text, i)
		}
		if i < 0 {
			return -1
		}
	}
	return i
}

// value parses a value into a row of a column.
func (d *Decoder) value(c *column, row, i int) int {
	b := d.text
	if c.rows != row {
		d.reach(c, row)
	}
	ch := b[i]
	if ch <= ' ' {
		i = space(b, i)
		ch = b[i]
	}
	switch c.kind {
	case kindLong:
		if v, end := plainInteger(b, i); end > 0 {
			c.words = append(c.words, v)
			c.rows++
			return end
		}
	case kindDouble:
		if v, end := plainNumber(b, i); end > 0 {
			c.words = append(c.words, int64(math.Float64bits(v)))
			c.rows++
			return end
		}
	case kindTimestampTZ:
		if v, end := plainTimestamp(b, i+1); end > 0 && ch == '"' {
			c.words = append(c.words, v)
			c.rows++
			return end
		}
	case kindBoolean:
		if ch == 't' || ch == 'f' {
			end := skipScalar(b, i)
			if end > 0 {
				c.setBoolean(ch == 't')
			}
			return end
		}
	case kindString:
		if ch == '"' {
			c.data, i = appendString(c.data, b, i+1)
			return d.endText(c, i)
		}
	case kindJSON:
		if ch != 'n' {
			return d.rawText(c, i)
		}
	case kindStruct:
		if ch == '{' {
			c.rows++
			return d.object(c.object, row, i+1)
		}
	case kindList:
		if ch == '[' {
			return d.list(c, i+1)
		}
	}
	return d.coerce(c, i)
}

// list parses the elements of a list whose bracket is before i.
func (d *Decoder) list(c *column, i int) int {
	b := d.text
	row := int(c.offsets[c.rows])
	if i = space(b, i); b[i] == ']' {
		i++
	} else {
		for {
			if i = d.value(c.element, row, i); i < 0 {
				return -1
			}
			row++
			i = space(b, i)
			if b[i] == ']' {
				i++
				break
			}
			if b[i] != ',' {
				return -1
			}
			i++
		}
	}
	if row > math.MaxInt32 {
		return d.full()
	}
	c.offsets = append(c.offsets, int32(row))
	c.rows++
	return i
}

// rawText keeps the JSON text of a value as it stands.
func (d *Decoder) rawText(c *column, i int) int {
	end := skip(d.text, i)
	if end < 0 {
		return -1
	}
	start := len(c.data)
	c.data = append(c.data, d.text[i:end]...)
	if !utf8.Valid(c.data[start:]) {
		c.data = replaceInvalid(c.data, start)
	}
	return d.endText(c, end)
}

// endText ends the row of a text column.
func (d *Decoder) endText(c *column, i int) int {
	if len(c.data) > math.MaxInt32 {
		return d.full()
	}
	c.offsets = append(c.offsets, int32(len(c.data)))
	c.rows++
	return i
}

// reach brings a column that is not filled up to row there. When it is filled
// further, the record has named it before, and this value takes the place of
// that one.
func (d *Decoder) reach(c *column, row int) {
	if c.rows < row {
		c.pad(row)
		return
	}
	c.truncate(row)
	d.changes = slices.DeleteFunc(d.changes, func(ch change) bool {
		for at := ch.column; at != nil; at = at.parent {
			if at == c {
				return true
			}
		}
		return false
	})
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
		d.batch.undo()
	}
	if d.err != nil {
		return fmt.Errorf("line %d of the input: %w", line, d.err)
	}
	text := d.text[d.line:]
	text = text[:bytes.IndexByte(text, '\n')]
	e := &protocol.Error{Kind: protocol.SystemError}
	var syntax *json.SyntaxError
	switch err := json.Unmarshal(text, new(json.RawMessage)); {
	case errors.As(err, &syntax):
		e.Message = fmt.Sprintf("Line %d of the input is a broken RECORD message: %v at byte %d.", line, err, syntax.Offset)
	case d.reason == "":
		d.reason = fmt.Sprintf("it nests deeper than %d levels", maxDepth)
		fallthrough
	default:
		e.Message = fmt.Sprintf("Line %d of the input is no usable RECORD message: %s.", line, d.reason)
	}
	return e
}
