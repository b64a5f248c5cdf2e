package columnar

import (
	"bytes"
	"encoding/binary"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/jsonscan"
)

// An object knows the members that an object of JSON may have, and which one
// followed which the last time: the names of a source's records come in the
// same order again and again, seldom in that of its schema. A name that comes
// as expected costs one comparison.
type object struct {
	start   member // its next is the first member
	byName  map[string]*member
	unknown int    // names remembered that are not in the schema
	dropped member // stands for those that are not remembered
}

// A member is a name in an object and what becomes of its value.
type member struct {
	key    []byte         // the comma before it, the quoted name and the colon, with white space, as last written
	name   int            // where the name begins in the key
	start  [keyWords]word // the first bytes of the key
	next   *member
	column *column // nil: the value is dropped, or means something, as part says
	part   part

	leftOut bool // a value of it, other than null, was dropped

	deleted *column // of the part that says that the record deletes, if it has one
}

// What is remembered of names that are not in the schema, per object.
const (
	maxUnknown     = 1000
	maxUnknownName = 256
)

func newObject() *object { return &object{byName: map[string]*member{}} }

func (o *object) add(name string, c *column) *member {
	m := &member{column: c}
	o.byName[name] = m
	return m
}

// keyWords is how many words most keys fit in.
const keyWords = 4

// A word is eight bytes of text, of which those in mask count.
type word struct{ text, mask uint64 }

// isNamedAt reports whether the quoted name of m is at b[i], and returns the place
// after the colon.
func (m *member) isNamedAt(b []byte, i int) (next int, ok bool) {
	if m == nil {
		return 0, false
	}
	name := m.key[m.name:]
	return i + len(name), len(b)-i >= len(name) && string(b[i:i+len(name)]) == string(name)
}

// first finds the first member of the object whose bracket is before b[i], and
// the place of its value; a nil member is the end of the object.
func (d *Decoder) first(o *object, i int) (*member, int) {
	if next, ok := o.start.next.isNamedAt(d.text, i); ok {
		return o.start.next, next
	}
	if i = jsonscan.Space(d.text, i); d.text[i] == '}' {
		return nil, i + 1
	}
	return d.learn(o, &o.start, i, i)
}

// next finds the member after last, whose value ended before b[i]. It compares words with
// the expected one, which costs less than a call for most keys.
func (d *Decoder) next(o *object, last *member, i int) (*member, int) {
	const size = 8 * keyWords
	b, m := d.text, last.next
	if m == nil || len(b)-i < size {
		return d.nextUnexpected(o, last, i)
	}
	t, k, n := b[i:i+size:i+size], &m.start, len(m.key)
	differ := (binary.LittleEndian.Uint64(t)^k[0].text)&k[0].mask | (binary.LittleEndian.Uint64(t[8:])^k[1].text)&k[1].mask
	if n > 16 {
		differ |= (binary.LittleEndian.Uint64(t[16:])^k[2].text)&k[2].mask | (binary.LittleEndian.Uint64(t[24:])^k[3].text)&k[3].mask
	}
	if differ == 0 && (n <= size || bytes.HasPrefix(b[i+size:], m.key[size:])) {
		return m, i + n
	}
	return d.nextUnexpected(o, last, i)
}

// nextUnexpected is next for the end of an object, and for members that are not as they
// were before.
func (d *Decoder) nextUnexpected(o *object, last *member, i int) (*member, int) {
	b := d.text
	if i = jsonscan.Space(b, i); b[i] != ',' {
		if b[i] == '}' {
			return nil, i + 1
		}
		return nil, -1
	}
	comma := i
	i = jsonscan.Space(b, i+1)
	if next, ok := last.next.isNamedAt(b, i); ok {
		return last.next, next
	}
	return d.learn(o, last, comma, i)
}

// learn reads a name at b[i] that was not expected after last, and expects it there
// from now on. Its comma is at b[comma], if it has one.
func (d *Decoder) learn(o *object, last *member, comma, i int) (*member, int) {
	b := d.text
	if b[i] != '"' {
		return nil, -1
	}
	start := i
	d.name, i, _ = jsonscan.AppendString(d.name[:0], b, i+1)
	if i < 0 {
		return nil, -1
	}
	if i = jsonscan.Space(b, i); b[i] != ':' {
		return nil, -1
	}
	if i++; b[i] == ' ' {
		i++
	}
	m := o.byName[string(d.name)]
	if m == nil {
		if o.unknown == maxUnknown || len(d.name) > maxUnknownName {
			return &o.dropped, i
		}
		o.unknown++
		m = o.add(string(d.name), nil)
	}
	m.writtenAs(b[comma:start], b[start:i])
	last.next = m
	return m, i
}

// writtenAs notes how a member is written. More white space than one writer in use puts
// after a comma is not expected again.
func (m *member) writtenAs(comma, name []byte) {
	if len(comma) == 0 || len(comma) > 2 {
		comma = []byte{','}
	}
	if bytes.HasPrefix(m.key, comma) && bytes.Equal(m.key[len(comma):], name) {
		return
	}
	m.key = append(append(m.key[:0], comma...), name...)
	m.name = len(comma)
	var key, mask [8 * keyWords]byte
	for i := range copy(key[:], m.key) {
		mask[i] = 0xff
	}
	for i := range m.start {
		m.start[i] = word{binary.LittleEndian.Uint64(key[8*i:]), binary.LittleEndian.Uint64(mask[8*i:])}
	}
}
