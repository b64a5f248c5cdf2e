package columnar

import "bytes"

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
	key    []byte // the quoted name and the colon, as last written
	next   *member
	column *column // nil: the value is dropped, or means something, as part says
	part   part

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

// isAt reports whether m is the member that begins at b[i].
func (m *member) isAt(b []byte, i int) bool {
	return m != nil && len(b)-i >= len(m.key) && len(m.key) > 0 && string(b[i:i+len(m.key)]) == string(m.key)
}

// first finds the first member of the object whose bracket is before b[i], and
// the place of its value; a nil member is the end of the object.
func (d *Decoder) first(o *object, i int) (*member, int) {
	if m := o.start.next; m.isAt(d.text, i) {
		return m, i + len(m.key)
	}
	if i = space(d.text, i); d.text[i] == '}' {
		return nil, i + 1
	}
	return d.learn(o, &o.start, i)
}

// next finds the member after last, whose value ended before b[i].
func (d *Decoder) next(o *object, last *member, i int) (*member, int) {
	b := d.text
	if b[i] <= ' ' {
		i = space(b, i)
	}
	if b[i] != ',' {
		if b[i] == '}' {
			return nil, i + 1
		}
		return nil, -1
	}
	if i++; b[i] <= ' ' {
		i = space(b, i)
	}
	if m := last.next; m.isAt(b, i) {
		return m, i + len(m.key)
	}
	return d.learn(o, last, i)
}

// learn reads a name that was not expected after last, and expects it there
// from now on.
func (d *Decoder) learn(o *object, last *member, i int) (*member, int) {
	b := d.text
	if b[i] != '"' {
		return nil, -1
	}
	start := i
	d.name, i, _ = appendString(d.name[:0], b, i+1)
	if i < 0 {
		return nil, -1
	}
	if i = space(b, i); b[i] != ':' {
		return nil, -1
	}
	i++
	m := o.byName[string(d.name)]
	if m == nil {
		if o.unknown == maxUnknown || len(d.name) > maxUnknownName {
			return &o.dropped, i
		}
		o.unknown++
		m = o.add(string(d.name), nil)
	}
	if written := b[start:i]; !bytes.Equal(m.key, written) {
		m.key = append(m.key[:0], written...)
	}
	last.next = m
	return m, i
}
