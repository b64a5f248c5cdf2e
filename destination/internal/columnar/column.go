package columnar

import (
	"bytes"
	"math"
	"slices"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/scalar"
)

// A column holds values by row number. A row that does not mention it costs
// nothing: the rows in between become null when the column is next touched or
// the batch is full, and a column that no row mentions shares its memory with
// all such columns. The buffers are Arrow's.
type column struct {
	kind  kind
	rows  int // filled so far
	nulls int
	valid []byte // bitmap; rows beyond its end are valid

	words   []int64 // 8-byte values; a decimal is two, the low one first
	offsets []int32 // ends of strings and lists, after a leading 0; or dates
	data    []byte  // string bytes; or booleans, as bits

	object  *object // of a struct: its members by name
	fields  []*column
	element *column // of a list, with rows of its own
	path    string  // names of the properties, joined by dots
	cursor  bool    // its values order the versions of a row
}

func newColumn(f *field, parent *column) *column {
	c := &column{kind: f.kind, path: f.name}
	if parent != nil && parent.path != "" {
		c.path = parent.path
		if f.name != "" {
			c.path += "." + f.name
		}
	}
	switch f.kind {
	case kindDouble:
		if f.key {
			c.kind = kindKeyDouble
		}
	case kindStruct:
		c.members(f.fields)
	case kindList:
		c.element = newColumn(f.element, c)
	}
	c.clear()
	return c
}

func (c *column) members(fields []field) {
	c.object = newObject()
	for i := range fields {
		member := newColumn(&fields[i], c)
		c.fields = append(c.fields, member)
		c.object.add(fields[i].name, member)
	}
}

func (c *column) hasEnds() bool {
	return c.kind == kindString || c.kind == kindJSON || c.kind == kindList
}

// wordsPerRow is 0 for kinds that are not kept in words.
func (c *column) wordsPerRow() int {
	switch c.kind {
	case kindLong, kindDouble, kindKeyDouble, kindTimestamp, kindTimestampTZ:
		return 1
	case kindDecimal:
		return 2
	}
	return 0
}

// null adds a null row; the column must be filled up to it.
func (c *column) null() { c.pad(c.rows + 1) }

// pad fills the column up to row with nulls.
func (c *column) pad(row int) {
	count := row - c.rows
	if count <= 0 {
		return
	}
	c.extend(count)
	for n := (row + 7) / 8; len(c.valid) < n; {
		c.valid = append(c.valid, 0xff)
	}
	for r := c.rows; r < row; r++ {
		c.valid[r>>3] &^= 1 << (r & 7)
	}
	c.rows = row
	c.nulls += count
}

// padEmpty fills a list column up to row with empty lists.
func (c *column) padEmpty(row int) {
	c.extend(row - c.rows)
	c.rows = row
}

// extend adds values that mean nothing.
func (c *column) extend(count int) {
	switch {
	case c.kind == kindBoolean:
		c.data = growZero(c.data, (c.rows+count+7)/8-len(c.data))
	case c.kind == kindDate:
		c.offsets = growZero(c.offsets, count)
	case c.hasEnds():
		end := c.offsets[c.rows]
		c.offsets = slices.Grow(c.offsets, count)
		for range count {
			c.offsets = append(c.offsets, end)
		}
	default:
		c.words = growZero(c.words, count*c.wordsPerRow())
	}
}

func growZero[T byte | int32 | int64](s []T, count int) []T {
	n := len(s)
	s = slices.Grow(s, count)[:n+count]
	clear(s[n:])
	return s
}

func (c *column) isNull(row int) bool {
	return row>>3 < len(c.valid) && c.valid[row>>3]&(1<<(row&7)) == 0
}

// truncate forgets what is held from row on, however far it got.
func (c *column) truncate(row int) {
	for r := row; r < c.rows; r++ {
		if c.isNull(r) {
			c.valid[r>>3] |= 1 << (r & 7)
			c.nulls--
		}
	}
	c.rows = min(c.rows, row)
	switch {
	case c.kind == kindBoolean:
		c.data = c.data[:(c.rows+7)/8]
		if c.rows&7 != 0 {
			c.data[c.rows>>3] &= 1<<(c.rows&7) - 1
		}
	case c.kind == kindDate:
		c.offsets = c.offsets[:c.rows]
	case c.hasEnds():
		c.offsets = c.offsets[:c.rows+1]
		end := int(c.offsets[c.rows])
		if c.kind == kindList {
			c.element.truncate(end)
		} else {
			c.data = c.data[:end]
		}
	default:
		c.words = c.words[:c.rows*c.wordsPerRow()]
	}
	for _, f := range c.fields {
		f.truncate(c.rows)
	}
}

// The add functions add a row; the column must be filled up to it.

func (c *column) addWord(v int64) {
	c.words = append(c.words, v)
	c.rows++
}

func (c *column) addDecimal(low, high int64) {
	c.words = append(c.words, low, high)
	c.rows++
}

func (c *column) addDate(v int32) {
	c.offsets = append(c.offsets, v)
	c.rows++
}

// addEnd ends a string or a list at the given place.
func (c *column) addEnd(end int) {
	c.offsets = append(c.offsets, int32(end))
	c.rows++
}

// addEndOfRange adds the value that is nearest to one, given as text, beyond what
// the column can hold.
func (c *column) addEndOfRange(text []byte) {
	isTime := c.kind == kindDate || c.kind == kindTimestamp || c.kind == kindTimestampTZ
	low := text[0] == '-' || isTime && (text[0] == '0' || bytes.HasSuffix(text, []byte(" BC")))
	first, last := int64(scalar.FirstMicro), int64(scalar.EndMicro-1)
	switch c.kind {
	case kindLong:
		first, last = math.MinInt64, math.MaxInt64
	case kindDouble:
		first, last = int64(math.Float64bits(-math.MaxFloat64)), int64(math.Float64bits(math.MaxFloat64))
	case kindDecimal:
		c.addDecimal(scalar.Words(scalar.EndDecimalHigh, scalar.EndDecimalLow-1, low))
		return
	case kindDate:
		const day = scalar.SecondsPerDay * 1_000_000
		first, last = scalar.FirstMicro/day, scalar.EndMicro/day-1
	}
	if !low {
		first = last
	}
	if c.kind == kindDate {
		c.addDate(int32(first))
		return
	}
	c.addWord(first)
}

// addTruth adds the simplest value that is not null, given the time.
func (c *column) addTruth(micros int64) {
	switch c.kind {
	case kindBoolean:
		c.addBoolean(true)
	case kindDate:
		c.addDate(int32(micros / (scalar.SecondsPerDay * 1_000_000)))
	case kindTimestamp, kindTimestampTZ:
		c.addWord(micros)
	case kindLong:
		c.addWord(1)
	case kindDouble:
		c.addWord(int64(math.Float64bits(1)))
	case kindDecimal:
		c.addDecimal(int64(scalar.Pow10[decimalScale]), 0)
	case kindStruct:
		c.rows++
	case kindList:
		c.addEnd(int(c.offsets[c.rows]))
	case kindString, kindJSON:
		c.addEnd(len(c.data))
	}
}

func (c *column) addBoolean(v bool) {
	if c.rows&7 == 0 {
		c.data = append(c.data, 0)
	}
	if v {
		c.data[c.rows>>3] |= 1 << (c.rows & 7)
	}
	c.rows++
}

// bytes returns the size of what the column will be when filled up to rows.
func (c *column) bytes(rows int) int {
	if c.rows == 0 {
		return 0
	}
	n := len(c.data) + rows*8*c.wordsPerRow()
	if c.nulls > 0 {
		n += rows / 8
	}
	if c.hasEnds() || c.kind == kindDate {
		n += rows * 4
	}
	for _, f := range c.fields {
		n += f.bytes(rows)
	}
	if c.element != nil {
		n += c.element.bytes(int(c.offsets[c.rows]))
	}
	return n
}

// capacity returns the size of the buffers.
func (c *column) capacity() int {
	n := cap(c.valid) + cap(c.words)*8 + cap(c.offsets)*4 + cap(c.data)
	for _, f := range c.fields {
		n += f.capacity()
	}
	if c.element != nil {
		n += c.element.capacity()
	}
	return n
}

// clear forgets all rows. Memory that the rows just forgotten were far from
// needing is given back, so that one huge record is not paid for forever.
func (c *column) clear() {
	c.rows, c.nulls = 0, 0
	c.valid = emptied(c.valid)
	c.words = emptied(c.words)
	c.offsets = emptied(c.offsets)
	c.data = emptied(c.data)
	if c.hasEnds() {
		c.offsets = append(c.offsets, 0)
	}
	for _, f := range c.fields {
		f.clear()
	}
	if c.element != nil {
		c.element.clear()
	}
}

func emptied[T any](s []T) []T {
	const spare = 1 << 16
	if cap(s) > spare && cap(s)/4 > len(s) {
		return nil
	}
	return s[:0]
}

// array returns the column as Arrow data over its own memory, filled up to
// rows with nulls. zeros gives a buffer of that many zero bytes.
func (c *column) array(t arrow.DataType, rows int, zeros func(int) []byte) arrow.ArrayData {
	buffers := []*memory.Buffer{nil}
	if c.rows == 0 && rows > 0 {
		buffers[0] = memory.NewBufferBytes(zeros((rows + 7) / 8))
		c.nullBuffers(&buffers, rows, zeros)
		return array.NewData(t, rows, buffers, c.children(t, rows, 0, zeros), rows, 0)
	}
	c.pad(rows)
	if c.nulls > 0 {
		for n := (rows + 7) / 8; len(c.valid) < n; {
			c.valid = append(c.valid, 0xff)
		}
		buffers[0] = memory.NewBufferBytes(c.valid)
	}
	elements := 0
	switch {
	case c.kind == kindBoolean:
		buffers = append(buffers, memory.NewBufferBytes(c.data))
	case c.kind == kindDate:
		buffers = append(buffers, memory.NewBufferBytes(bytesOf(c.offsets)))
	case c.kind == kindList:
		elements = int(c.offsets[rows])
		buffers = append(buffers, memory.NewBufferBytes(bytesOf(c.offsets)))
	case c.hasEnds():
		buffers = append(buffers, memory.NewBufferBytes(bytesOf(c.offsets)), memory.NewBufferBytes(c.data))
	case c.kind != kindStruct:
		buffers = append(buffers, memory.NewBufferBytes(bytesOf(c.words)))
	}
	return array.NewData(t, rows, buffers, c.children(t, rows, elements, zeros), c.nulls, 0)
}

func (c *column) nullBuffers(buffers *[]*memory.Buffer, rows int, zeros func(int) []byte) {
	switch {
	case c.kind == kindStruct:
	case c.kind == kindString || c.kind == kindJSON:
		*buffers = append(*buffers, memory.NewBufferBytes(zeros(rows*4+4)), memory.NewBufferBytes(nil))
	default:
		*buffers = append(*buffers, memory.NewBufferBytes(zeros(max(rows*4+4, rows*8*c.wordsPerRow()))))
	}
}

func (c *column) children(t arrow.DataType, rows, elements int, zeros func(int) []byte) []arrow.ArrayData {
	switch t := t.(type) {
	case *arrow.StructType:
		children := make([]arrow.ArrayData, len(c.fields))
		for i, f := range c.fields {
			children[i] = f.array(t.Field(i).Type, rows, zeros)
		}
		return children
	case *arrow.ListType:
		return []arrow.ArrayData{c.element.array(t.Elem(), elements, zeros)}
	}
	return nil
}

func bytesOf[T int32 | int64](s []T) []byte {
	var one T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(one)))
}
