package columnar

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/jsonscan"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/scalar"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// coerce parses a value that does not have the usual form of its column:
//
//   - integers are kept exactly or not at all: 1.0 is one, 1.5 is none; of
//     doubles and decimals the nearest one is kept
//   - a string that is a number, true or false counts as what it says
//   - a string column keeps the JSON text of what is no string
//   - dates and timestamps are strings, never numbers
//
// What cannot be kept becomes null, with an entry in _airbyte_meta.changes. So
// has what was rounded to a decimal or to microseconds. A cursor beyond the range
// of its column becomes the end of that: as null, it would be older than all others.
func (d *Decoder) coerce(c *column, i int) int {
	b := d.text
	var text []byte
	isString := b[i] == '"'
	end := 0
	if isString {
		text, end = d.string(i, &d.scratch)
	} else if end = jsonscan.Skip(b, i); end > 0 {
		text = b[i:end]
	}
	if end < 0 {
		return -1
	}
	if b[i] == 'n' {
		c.null()
		return end
	}
	if c.kind == kindString {
		return d.rawText(c, i)
	}
	f := c.addText(text, isString)
	if f == scalar.TooLarge && c.cursor {
		c.addEndOfRange(text)
		f = scalar.Rounded
	}
	switch {
	case f == scalar.Rounded:
		d.recordChange(c, c.rows-1, f)
	case f != scalar.Fits:
		d.recordNextChange(c, f)
		c.null()
	}
	return end
}

// addText adds the value that a text stands for, if the column can hold it.
func (c *column) addText(text []byte, isString bool) scalar.Fit {
	f := scalar.WrongType
	switch c.kind {
	case kindBoolean:
		if yes := string(text) == "true"; yes || string(text) == "false" {
			c.addBoolean(yes)
			f = scalar.Fits
		}
	case kindLong:
		var v int64
		if v, f = scalar.ParseLong(text); f == scalar.Fits {
			c.addWord(v)
		}
	case kindDouble:
		var v float64
		if v, f = scalar.ParseDouble(text); f == scalar.Fits {
			c.addWord(int64(math.Float64bits(v)))
			if c.cursor && !scalar.RoundTrips(v, text) { // and may be equal to another one
				f = scalar.Rounded
			}
		}
	case kindKeyDouble:
		var v float64
		if v, f = scalar.ParseDouble(text); f == scalar.Fits && !scalar.RoundTrips(v, text) {
			f = scalar.TooLarge
		}
		if f == scalar.Fits {
			c.addWord(int64(math.Float64bits(v + 0))) // -0 is 0
		}
	case kindDecimal:
		var low, high int64
		if low, high, f = scalar.ParseDecimal(text); f.Kept() {
			c.addDecimal(low, high)
		}
	case kindDate:
		var v int32
		if isString {
			v, f = scalar.ParseDate(text)
		}
		if f == scalar.Fits {
			c.addDate(v)
		}
	case kindTimestamp, kindTimestampTZ:
		var v int64
		if isString {
			v, f = scalar.ParseTimestamp(text, c.kind == kindTimestampTZ)
		}
		if f.Kept() {
			c.addWord(v)
		}
	}
	return f
}

// recordNextChange notes that the next row of a column is not kept as it is.
func (d *Decoder) recordNextChange(c *column, f scalar.Fit) { d.recordChange(c, c.rows, f) }

// recordChange notes that a row of a column is not kept as it is. The first of a list's
// elements stands for all.
func (d *Decoder) recordChange(c *column, row int, f scalar.Fit) {
	if !slices.ContainsFunc(d.changes, func(ch change) bool { return ch.column == c && ch.reason == f }) {
		d.changes = append(d.changes, change{c, row, f})
	}
}

// sourceChanges keeps the changes that the source itself reports, with the
// record's meta at i.
func (d *Decoder) sourceChanges(batch *Batch, i int) bool {
	b := d.text
	if b[i] != '{' {
		return true
	}
	m, i := d.first(d.meta, i+1)
	for ; m != nil; m, i = d.next(d.meta, m, i) {
		if i = jsonscan.Space(b, i); m.part == changesPart && b[i] == '[' {
			if c := batch.changes; c.rows < batch.rows {
				c.padEmpty(batch.rows)
			}
			i = d.value(batch.changes, batch.rows, i)
		} else {
			i = jsonscan.Skip(b, i)
		}
		if i < 0 {
			return false
		}
	}
	return i > 0
}

// addChanges reports what could not be kept of the current row, after what the
// source has reported.
func (b *Batch) addChanges(changes []change) {
	c := b.changes
	if c.rows > b.rows {
		c.rows--
		c.offsets = c.offsets[:c.rows+1]
	} else {
		c.padEmpty(b.rows)
	}
	entry := c.element
	for _, ch := range changes {
		what, reason := ch.reason.Report()
		for i, text := range [...]string{ch.column.path, what, reason} {
			f := entry.fields[i]
			f.pad(entry.rows)
			f.data = append(f.data, text...)
			f.addEnd(len(f.data))
		}
		entry.rows++
	}
	c.addEnd(entry.rows)
}

// changesKey reports whether a value of the primary key is not kept as it is: two
// keys could become one.
func (d *Decoder) changesKey(batch *Batch) bool {
	return slices.ContainsFunc(d.changes, func(ch change) bool { return slices.Contains(batch.keys, ch.column) })
}

// unusableKey is the error of a record whose primary key cannot tell it from
// others.
func (d *Decoder) unusableKey(batch *Batch) error {
	plan := batch.layout.plan
	message := fmt.Sprintf("Stream %s: a record has no value in its primary key (%s), so it cannot be identified.",
		plan.Stream, strings.Join(plan.Key, ", "))
	for _, ch := range d.changes {
		if slices.Contains(batch.keys, ch.column) {
			message = fmt.Sprintf("Stream %s: a record's primary key %q has a value that does not fit the type of its column%s.", plan.Stream, ch.column.path, keyFault[ch.reason])
		}
	}
	return &protocol.Error{
		Kind: protocol.ConfigError, Stream: &plan.Stream,
		Message: message + " Choose another primary key, or the sync mode append.",
	}
}

// keyFault says in what way a key does not fit that could be kept otherwise.
var keyFault = map[scalar.Fit]string{
	scalar.Rounded:    ": it is finer than microseconds or nine decimal places, so two keys would become one",
	scalar.Unreadable: ": it has characters that are not valid Unicode, so two keys could become one",
}
