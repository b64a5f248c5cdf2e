package columnar

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// RowMeta is what every row of a sync says about the sync; nil is null.
type RowMeta struct{ SyncID, GenerationID *int64 }

// Batch is the rows of one stream that are being collected, as columns. It is
// for one goroutine.
type Batch struct {
	layout *Layout
	data   *column // the record; its rows are never null
	keys   []*column
	rows   int
	order  []uint64 // only when the plan is Dedup
	run    inRun

	id                 rowID
	rawIDs, extracted  *column
	changes            *column          // of _airbyte_meta
	noted              int              // of their entries, counted in nulled and adjusted
	nulled, adjusted   map[string]int64 // rows by property; see Losses
	syncID, generation *constant
	zeros              []byte // for all columns of which all rows are null; no longer than was needed since Reset
}

// NewBatch returns an empty batch.
func NewBatch(l *Layout, m RowMeta) *Batch {
	properties := l.fields[:len(l.fields)-airbyteColumns]
	airbyte := l.fields[len(properties):]
	b := &Batch{
		layout:     l,
		data:       &column{kind: kindStruct},
		rawIDs:     newColumn(&airbyte[rawIDColumn], nil),
		extracted:  newColumn(&airbyte[extractedAtColumn], nil),
		changes:    newColumn(&airbyte[metaColumn].fields[1], nil),
		syncID:     &constant{value: m.SyncID},
		generation: &constant{value: m.GenerationID},
	}
	b.data.members(properties)
	for i, f := range properties {
		if f.key {
			b.keys = append(b.keys, b.data.fields[i])
		}
	}
	if l.plan.Dedup {
		if m := b.data.object.byName[l.plan.Cursor]; l.plan.Cursor != "" && m != nil && !slices.Contains(b.keys, m.column) {
			m.column.cursor = true
		}
		m := b.data.object.byName[deletedAt]
		if m == nil {
			m = b.data.object.add(deletedAt, nil)
		}
		m.part, m.deleted, m.column = deletedPart, m.column, nil
	}
	b.id.renew()
	return b
}

// Rows returns the number of rows held.
func (b *Batch) Rows() int { return b.rows }

// Bytes returns the size of what the column buffers hold.
func (b *Batch) Bytes() int {
	n := b.extracted.bytes(b.rows) + b.changes.bytes(b.rows) + len(b.order)*8 + b.rows*rowIDSize
	for _, c := range b.data.fields {
		n += c.bytes(b.rows)
	}
	return n
}

// Capacity returns the size of the column buffers, whether they hold anything or
// not.
func (b *Batch) Capacity() int {
	n := cap(b.order)*8 + cap(b.zeros) + cap(b.syncID.rows)*8 + cap(b.generation.rows)*8
	for _, c := range b.columns() {
		n += c.capacity()
	}
	return n
}

// Deletes is set in the order of a row that deletes its key.
const Deletes = 1 << 63

// Order returns the place of each row in the input, later rows having higher
// numbers but for [Deletes]. It is nil unless the plan is Dedup.
func (b *Batch) Order() []uint64 { return b.order }

// hasNullKey reports whether the row that is being parsed has a null in its key.
func (b *Batch) hasNullKey() bool {
	for _, key := range b.keys {
		if key.rows <= b.rows || key.nulls > 0 {
			return true
		}
	}
	return false
}

// addRow counts the row that has been parsed.
func (b *Batch) addRow(order uint64) {
	if b.layout.plan.Dedup {
		b.order = append(b.order, order)
	}
	b.rows++
}

// Record returns the rows as Arrow arrays over the batch's own memory, valid
// until Reset or the next row.
func (b *Batch) Record() arrow.RecordBatch {
	b.fillRawIDs()
	b.changes.padEmpty(b.rows)
	schema := b.layout.schema
	properties := len(b.data.fields)
	columns := make([]arrow.Array, properties+airbyteColumns)
	for i, c := range b.data.fields {
		columns[i] = array.MakeFromData(c.array(schema.Field(i).Type, b.rows, b.zero))
	}
	airbyte := columns[properties:]
	typeOf := func(i int) arrow.DataType { return schema.Field(properties + i).Type }
	airbyte[rawIDColumn] = array.MakeFromData(b.rawIDs.array(typeOf(rawIDColumn), b.rows, b.zero))
	airbyte[extractedAtColumn] = array.MakeFromData(b.extracted.array(typeOf(extractedAtColumn), b.rows, b.zero))
	meta := typeOf(metaColumn).(*arrow.StructType)
	airbyte[metaColumn] = array.MakeFromData(array.NewData(meta, b.rows, []*memory.Buffer{nil}, []arrow.ArrayData{
		b.syncID.array(b.rows, b.zero),
		b.changes.array(meta.Field(1).Type, b.rows, b.zero),
	}, 0, 0))
	airbyte[generationColumn] = array.MakeFromData(b.generation.array(b.rows, b.zero))
	return array.NewRecordBatch(schema, columns, int64(b.rows))
}

// zero returns that many zero bytes, which nobody writes to.
func (b *Batch) zero(n int) []byte {
	if n > cap(b.zeros) {
		b.zeros = make([]byte, n+n/4)[:n]
	}
	b.zeros = b.zeros[:max(n, len(b.zeros))]
	return b.zeros[:n]
}

// columns returns those that have memory of their own.
func (b *Batch) columns() [4]*column {
	return [...]*column{b.data, b.rawIDs, b.extracted, b.changes}
}

// Reset empties the batch; its memory serves its next rows.
func (b *Batch) Reset() {
	b.rows, b.noted = 0, 0
	b.order = b.order[:0]
	b.zeros = emptied(b.zeros)
	for _, c := range b.columns() {
		c.clear()
	}
	b.id.renew()
}

// discardRow forgets what has been parsed of a row that is not complete.
func (b *Batch) discardRow() { b.truncate(b.rows) }

// truncate forgets all rows but the first ones. Those of the last Record must be among these.
func (b *Batch) truncate(rows int) {
	b.rows = rows
	b.order = b.order[:min(rows, len(b.order))]
	for _, c := range b.data.fields {
		c.truncate(b.rows)
	}
	b.extracted.truncate(b.rows)
	b.changes.truncate(b.rows)
}

// A constant is a column whose rows are all the same.
type constant struct {
	value *int64
	rows  []int64
}

func (c *constant) array(rows int, zeros func(int) []byte) arrow.ArrayData {
	long := arrow.PrimitiveTypes.Int64
	if c.value == nil {
		return array.NewData(long, rows, []*memory.Buffer{
			memory.NewBufferBytes(zeros((rows + 7) / 8)), memory.NewBufferBytes(zeros(rows * 8)),
		}, nil, rows, 0)
	}
	c.rows = slices.Grow(c.rows, max(0, rows-len(c.rows)))
	for len(c.rows) < rows {
		c.rows = append(c.rows, *c.value)
	}
	return array.NewData(long, rows, []*memory.Buffer{nil, memory.NewBufferBytes(bytesOf(c.rows[:rows]))}, nil, 0, 0)
}

// A rowID makes the ids of a batch's rows: UUIDs of version 7, with the time
// the batch was begun, 42 random bits against other batches and processes, and
// the number of the row, so that they sort by arrival and compress well.
type rowID struct{ uuid [16]byte }

const (
	rowIDSize = 36
	maxRows   = math.MaxInt32 / rowIDSize // their ids fill a column
)

func (r *rowID) renew() {
	binary.BigEndian.PutUint64(r.uuid[:], uint64(time.Now().UnixMilli())<<16|7<<12|rand.Uint64N(1<<12))
	binary.BigEndian.PutUint64(r.uuid[8:], 2<<62|rand.Uint64N(1<<30)<<32)
}

// fillRawIDs makes the ids of the rows that have none.
func (b *Batch) fillRawIDs() {
	c := b.rawIDs
	var text [rowIDSize]byte
	u := b.id.uuid
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	c.data = slices.Grow(c.data, (b.rows-c.rows)*rowIDSize)
	c.offsets = slices.Grow(c.offsets, b.rows-c.rows)
	for row := c.rows; row < b.rows; row++ {
		binary.BigEndian.PutUint32(u[12:], uint32(row))
		if row == c.rows { // the rest is the same for all
			hex.Encode(text[0:], u[:4])
			hex.Encode(text[9:], u[4:6])
			hex.Encode(text[14:], u[6:8])
			hex.Encode(text[19:], u[8:10])
			hex.Encode(text[24:], u[10:12])
		}
		hex.Encode(text[28:], u[12:])
		c.data = append(c.data, text[:]...)
		c.offsets = append(c.offsets, int32(len(c.data)))
	}
	c.rows = b.rows
}
