package columnar

import (
	"bytes"
	"fmt"
	"math"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/jsonscan"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/scalar"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

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
	deletedPart // of the data: see Decoder.deletion
)

// envelope is what a RECORD says besides its data.
type envelope struct {
	isRecord, hasStream, hasNamespace bool
	stream, namespace                 []byte
	emittedAt                         int64 // microseconds
	hasEmittedAt                      bool
	data, meta                        int    // where the values begin; 0: absent
	into                              *Batch // that the data has been parsed into
	namespaceIsLate                   bool   // it has a namespace, which comes after the data
}

// A head is how a line began, up to the first member of its record that differs from line
// to line. Nearly all lines of a stream begin alike: these bytes are compared, not parsed.
type head struct {
	text     []byte   // nil: none is expected
	envelope envelope // what it says
	next     *member  // whose value comes then

	stream, namespace []byte // memory of the envelope's
}

// maxHead is the size of a head that is remembered.
const maxHead = 1 << 10

// decodeLine parses one line and returns where the next one begins.
func (d *Decoder) decodeLine(i int, order uint64) int {
	b := d.text
	var e envelope
	var m *member
	if h := &d.head; len(h.text) > 0 && bytes.HasPrefix(b[i:], h.text) {
		e = h.envelope
		if i = d.recordMembers(h.next, i+len(h.text), &e); i < 0 {
			return -1
		}
		m, i = d.next(d.message, d.message.byName["record"], i)
	} else {
		if i = jsonscan.Space(b, i); b[i] != '{' {
			return d.fail("it is not an object")
		}
		m, i = d.first(d.message, i+1)
	}
	for ; m != nil; m, i = d.next(d.message, m, i) {
		i = jsonscan.Space(b, i)
		switch m.part {
		case typePart:
			if e.isRecord = false; b[i] != '"' {
				i = jsonscan.Skip(b, i)
				break
			}
			var text []byte
			text, i = d.string(i, &d.scratch)
			e.isRecord = string(text) == "RECORD"
		case recordPart:
			i = d.recordObject(i, &e)
		default:
			i = jsonscan.Skip(b, i)
		}
		if i < 0 {
			return -1
		}
	}
	if i < 0 {
		return -1
	}
	if i = jsonscan.Space(b, i); b[i] != '\n' {
		return -1
	}
	if !d.finish(&e, order) {
		return -1
	}
	return i + 1
}

// recordObject parses the record.
func (d *Decoder) recordObject(i int, e *envelope) int {
	if d.text[i] != '{' {
		return d.fail("its record is not an object")
	}
	again := e.data > 0 // a second record in the message
	if e.into != nil {
		e.into.discardRow()
	}
	*e = envelope{isRecord: e.isRecord}
	m, i := d.first(d.record, i+1)
	for m != nil && (m.part == streamPart || m.part == namespacePart) {
		if i = d.recordMember(m, i, e); i < 0 {
			return -1
		}
		m, i = d.next(d.record, m, i)
	}
	if i < 0 {
		return -1
	}
	if !d.isOfCurrent(e) {
		return d.recordMembers(m, i, e) // it is postponed, and another line of the current stream comes
	}
	d.head.text = d.head.text[:0]
	if text := d.text[d.line:i]; !again && len(text) <= maxHead {
		d.head.remember(text, e, m)
	}
	return d.recordMembers(m, i, e)
}

// isOfCurrent reports whether a line, as far as it is known, is of the stream whose records
// are being decoded.
func (d *Decoder) isOfCurrent(e *envelope) bool {
	return d.batch == nil || d.inOrder ||
		string(e.stream) == string(d.stream) && (!e.hasNamespace || string(e.namespace) == string(d.namespace))
}

func (h *head) remember(text []byte, e *envelope, next *member) {
	h.text = append(h.text, text...)
	h.stream, h.namespace = append(h.stream[:0], e.stream...), append(h.namespace[:0], e.namespace...)
	h.envelope, h.next = *e, next
	h.envelope.stream, h.envelope.namespace = h.stream, h.namespace
}

// recordMembers parses the members of the record from the value of m on.
func (d *Decoder) recordMembers(m *member, i int, e *envelope) int {
	for ; m != nil; m, i = d.next(d.record, m, i) {
		if i = d.recordMember(m, i, e); i < 0 {
			return -1
		}
	}
	return i
}

// recordMember parses the value of a member of the record. Its data goes straight to the
// columns when it is known which; else finish comes back to it.
func (d *Decoder) recordMember(m *member, i int, e *envelope) int {
	b := d.text
	i = jsonscan.Space(b, i)
	switch m.part {
	case streamPart:
		e.stream, i = d.string(i, &d.escaped[0])
		e.hasStream = true
	case namespacePart:
		e.hasNamespace = true
		if b[i] == 'n' {
			e.namespace, i = nil, jsonscan.Literal(b, i, "null")
		} else {
			e.namespace, i = d.string(i, &d.escaped[1])
		}
		e.namespaceIsLate = e.data > 0 && len(e.namespace) > 0
	case emittedAtPart:
		i = d.emittedAt(i, e)
	case dataPart:
		if e.into != nil {
			e.into.discardRow()
			e.into = nil
		}
		e.data = i
		if d.later.expected != nil {
			e.into = d.later.expected // finish compares it with what all of the line says
		} else if e.hasStream && (e.hasNamespace || !d.namespaceIsLate) {
			e.into, _ = d.batchOf(e) // finish tells what is wrong
			if d.later.batch != nil {
				return -1
			}
		}
		if e.into != nil {
			i = d.data(e.into, i)
		} else {
			i = jsonscan.Skip(b, i)
		}
	case metaPart:
		e.meta = i
		i = jsonscan.Skip(b, i)
	default:
		i = jsonscan.Skip(b, i)
	}
	return i
}

// string reads a string of the envelope. It is copied only when it has escapes
// or is no UTF-8.
func (d *Decoder) string(i int, escaped *[]byte) ([]byte, int) {
	b := d.text
	if b[i] != '"' {
		return nil, d.fail("its stream or namespace is not a string")
	}
	if end, plain := jsonscan.PlainString(b, i+1); plain {
		return b[i+1 : end], end + 1
	}
	*escaped, i, _ = jsonscan.AppendString((*escaped)[:0], b, i+1)
	return *escaped, i
}

// emittedAt reads a time in milliseconds, or in seconds when it is so small
// that as milliseconds it would lie in the first years of the epoch.
func (d *Decoder) emittedAt(i int, e *envelope) int {
	b := d.text
	e.hasEmittedAt = false
	if b[i] == 'n' {
		return jsonscan.Literal(b, i, "null")
	}
	const minMillis = 1e11 // 1973
	if v, end := scalar.PlainInteger(b, i); end > 0 && v >= minMillis && v < scalar.EndMicro/1000 {
		e.emittedAt, e.hasEmittedAt = v*1000, true
		return end
	}
	end := jsonscan.SkipNumber(b, i)
	if end < 0 {
		return d.fail("its emitted_at is not a number")
	}
	v, f := scalar.ParseDouble(b[i:end])
	if math.Abs(v) < minMillis {
		v *= 1000
	}
	if v *= 1000; f == scalar.Fits && v >= scalar.FirstMicro && v < scalar.EndMicro {
		e.emittedAt, e.hasEmittedAt = int64(math.Round(v)), true
	}
	return end
}

// batchOf returns the batch of a record's stream; nil when the line is postponed.
func (d *Decoder) batchOf(e *envelope) (*Batch, error) {
	if d.batch != nil && string(d.stream) == string(e.stream) && string(d.namespace) == string(e.namespace) {
		return d.batch, nil
	}
	batch, err := d.route(e.namespace, e.stream)
	if err != nil {
		return nil, err
	}
	if batch == nil {
		id := protocol.StreamID{Namespace: string(e.namespace), Name: string(e.stream)}
		return nil, &protocol.Error{Kind: protocol.SystemError, Stream: &id, Message: fmt.Sprintf(
			"The source sent a record of stream %q, which is not in the catalog.", id)}
	}
	d.later.meet(batch)
	if d.batch != nil && !d.inOrder {
		d.later.batch = batch
		return nil, nil
	}
	d.batch = batch
	d.stream = append(d.stream[:0], e.stream...)
	d.namespace = append(d.namespace[:0], e.namespace...)
	return batch, nil
}

// data parses the record's own members into a row that is not yet counted.
func (d *Decoder) data(batch *Batch, i int) int {
	d.changes, d.deletes = d.changes[:0], false
	if d.text[i] != '{' {
		return d.fail("its data is not an object")
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
		e.into.discardRow()
	}
	if err != nil {
		d.err = err
		return false
	}
	d.namespaceIsLate = e.namespaceIsLate
	if d.later.batch != nil {
		return false
	}
	if e.into != batch && d.data(batch, e.data) < 0 {
		return false
	}
	if batch.rows == maxRows {
		d.full()
		return false
	}
	if batch.hasNullKey() || len(d.changes) > 0 && d.changesKey(batch) {
		d.err = d.unusableKey(batch)
		return false
	}
	if e.meta > 0 && !d.sourceChanges(batch, e.meta) {
		return false
	}
	if len(d.changes) > 0 {
		batch.addChanges(d.changes)
	}
	if !e.hasEmittedAt {
		e.emittedAt = d.arrived
	}
	batch.extracted.pad(batch.rows)
	batch.extracted.addWord(e.emittedAt)
	if d.deletes {
		order |= Deletes
	}
	batch.addRow(order)
	return true
}
