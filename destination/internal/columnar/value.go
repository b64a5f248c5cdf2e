package columnar

import (
	"math"
	"slices"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/jsonscan"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/scalar"
)

// maxDepth is how deep the arrays and objects of a value that is kept as JSON
// text may nest. Python's json, and Jackson, with which Spark and Trino read
// JSON, give up at about that.
const maxDepth = 1000

// A change is a value of the current record that could not be kept as it is.
type change struct {
	column *column
	row    int // of the column
	reason scalar.Fit
}

// object parses the members of an object whose bracket is before i.
func (d *Decoder) object(o *object, row, i int) int {
	m, i := d.first(o, i)
	for ; m != nil; m, i = d.next(o, m, i) {
		switch {
		case m.column != nil:
			i = d.value(m.column, row, i)
		case m.part == deletedPart:
			i = d.deletion(m, row, i)
		default:
			m.leftOut = m.leftOut || d.text[jsonscan.Space(d.text, i)] != 'n'
			i = jsonscan.Skip(d.text, i)
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
		d.padTo(c, row)
	}
	ch := b[i]
	if ch <= ' ' {
		i = jsonscan.Space(b, i)
		ch = b[i]
	}
	switch c.kind {
	case kindLong:
		if v, end := scalar.PlainInteger(b, i); end > 0 {
			c.addWord(v)
			return end
		}
	case kindDouble:
		if v, end := scalar.PlainDouble(b, i); end > 0 {
			c.addWord(int64(math.Float64bits(v)))
			return end
		}
	case kindDecimal:
		if low, high, end := scalar.PlainDecimal(b, i); end > 0 {
			c.addDecimal(low, high)
			return end
		}
	case kindTimestamp, kindTimestampTZ:
		if v, end := d.dates.PlainTimestamp(b, i+1); end > 0 && ch == '"' {
			c.addWord(v)
			return end
		}
	case kindDate:
		if v, end := d.dates.PlainDate(b, i+1); end > 0 && ch == '"' {
			c.addDate(v)
			return end
		}
	case kindBoolean:
		if ch == 't' || ch == 'f' {
			end := jsonscan.SkipScalar(b, i)
			if end > 0 {
				c.addBoolean(ch == 't')
			}
			return end
		}
	case kindString:
		if ch == '"' {
			var replaced bool
			if c.data, i, replaced = jsonscan.AppendString(c.data, b, i+1); replaced {
				d.recordNextChange(c, scalar.Unreadable)
			}
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

// deletion parses the member that says that the record deletes its key: any
// value but null does, whatever its type, and whether there is a column for it or
// not. Readers of the column see a value where there was one.
func (d *Decoder) deletion(m *member, row, i int) int {
	i = jsonscan.Space(d.text, i)
	d.deletes = d.text[i] != 'n'
	c := m.deleted
	if c == nil {
		return jsonscan.Skip(d.text, i)
	}
	end := d.value(c, row, i)
	if end > 0 && d.deletes && c.isNull(row) {
		c.truncate(row)
		c.addTruth(d.arrived)
	}
	return end
}

// list parses the elements of a list whose bracket is before i.
func (d *Decoder) list(c *column, i int) int {
	b := d.text
	row := int(c.offsets[c.rows])
	if i = jsonscan.Space(b, i); b[i] == ']' {
		i++
	} else {
		for {
			if i = d.value(c.element, row, i); i < 0 {
				return -1
			}
			row++
			i = jsonscan.Space(b, i)
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
	c.addEnd(row)
	return i
}

// rawText keeps the JSON text of a value as it stands, unless nobody could read
// it.
func (d *Decoder) rawText(c *column, i int) int {
	end, depth := jsonscan.SkipNested(d.text, i)
	if end < 0 {
		return -1
	}
	if depth > maxDepth {
		d.recordNextChange(c, scalar.TooLarge)
		c.null()
		return end
	}
	start := len(c.data)
	c.data = append(c.data, d.text[i:end]...)
	if !jsonscan.ValidUTF8(c.data[start:]) {
		d.recordNextChange(c, scalar.Unreadable)
		c.data = jsonscan.ReplaceInvalid(c.data, start)
	}
	return d.endText(c, end)
}

// endText ends the row of a text column.
func (d *Decoder) endText(c *column, i int) int {
	if len(c.data) > math.MaxInt32 {
		return d.full()
	}
	c.addEnd(len(c.data))
	return i
}

// padTo brings a column that is not filled up to row there. When it is filled
// further, the record has named it before, and this value takes the place of
// that one.
func (d *Decoder) padTo(c *column, row int) {
	if c.rows < row {
		c.pad(row)
		return
	}
	c.truncate(row)
	d.changes = slices.DeleteFunc(d.changes, func(ch change) bool { return ch.row >= ch.column.rows })
}
