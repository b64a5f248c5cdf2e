package lake

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/zeebo/xxh3"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rowsort"
)

// keyBlock says of consecutive rows what decides which of two rows of a key
// wins: 33 bytes a row, and the text of its cursor when that is not a number.
//
// Keys are compared by 128-bit hashes only. That two of 10 billion keys have
// the same one is a matter of 1 in 10^18. They are seeded, so that nobody can
// choose two such keys.
type keyBlock struct {
	rows    []int64 // of the file; nil: consecutive ones
	hashes  []xxh3.Uint128
	orders  []uint64 // arrival
	cursors []uint64 // ordered as the values are, or a place in texts
	texts   []byte   // cursors that are compared as bytes: length, bytes
	flags   []rowFlag
}

type rowFlag uint8

const (
	nullCursor rowFlag = 1 << iota // older than any other
	textCursor                     // compared as bytes
	tombstone                      // deletes its key
	loser                          // another staged row of its key wins, or it is a tombstone
	beaten                         // a row of the table wins; only as long as one attempt to commit
)

// erases tells whether the row is a tombstone without a cursor, which deletes
// all that arrived before it.
func (f rowFlag) erases() bool { return f&(nullCursor|tombstone) == nullCursor|tombstone }

// keyColumns finds keys, cursors and tombstones in record batches of one
// schema.
type keyColumns struct {
	keys    []int // columns of the key
	cursor  int   // -1: there is none
	deleted int   // -1: there is none
}

func newKeyColumns(f keyFields, s *arrow.Schema) (*keyColumns, error) {
	k := &keyColumns{cursor: -1, deleted: -1}
	find := func(id int) (int, error) {
		i := parquetfile.IndexByID(s.Fields(), id)
		if i < 0 {
			return -1, fmt.Errorf("the rows have no column with id %d", id)
		}
		return i, nil
	}
	for _, id := range f.key {
		i, err := find(id)
		if err != nil {
			return nil, err
		}
		k.keys = append(k.keys, i)
	}
	var err error
	if f.cursor != noField {
		if k.cursor, err = find(f.cursor); err != nil {
			return nil, err
		}
	}
	if f.deleted != noField {
		if k.deleted, err = find(f.deleted); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// block indexes the rows of rec. order may be nil.
func (k *keyColumns) block(rec arrow.RecordBatch, order []uint64) (*keyBlock, error) {
	rows := int(rec.NumRows())
	b := &keyBlock{
		hashes:  make([]xxh3.Uint128, rows),
		orders:  append([]uint64(nil), order...), // the caller's is used again
		cursors: make([]uint64, 0, rows),
		flags:   make([]rowFlag, 0, rows),
	}
	keys := make([]arrow.Array, len(k.keys))
	for i, column := range k.keys {
		keys[i] = rec.Column(column)
	}
	if err := hashKeys(keys, b.hashes); err != nil {
		return nil, err
	}
	var cursors arrow.Array
	if k.cursor >= 0 {
		cursors = rec.Column(k.cursor)
	}
	if err := b.appendCursors(cursors, upTo(rows)); err != nil {
		return nil, err
	}
	if k.deleted >= 0 {
		deleted := rec.Column(k.deleted)
		for i := range b.flags {
			if deleted.IsValid(i) {
				b.flags[i] |= tombstone
			}
		}
	}
	for i, order := range b.orders {
		if order&columnar.Deletes != 0 { // where there is no column for it, too
			b.flags[i] |= tombstone
			b.orders[i] = order &^ columnar.Deletes
		}
	}
	return b, nil
}

// appendCursors adds the cursors of some rows of a column, nil being a column
// of nulls.
func (b *keyBlock) appendCursors(a arrow.Array, rows iter.Seq[int]) error {
	var number func(int) uint64
	var text func(int) []byte
	if a != nil {
		var err error
		if number, text, err = cursorOf(a); err != nil {
			return err
		}
	}
	for i := range rows {
		var cursor uint64
		var flags rowFlag
		switch {
		case a == nil || a.IsNull(i):
			flags = nullCursor
		case number != nil:
			cursor = number(i)
		default:
			cursor, flags = uint64(len(b.texts)), textCursor
			v := text(i)
			b.texts = binary.AppendUvarint(b.texts, uint64(len(v)))
			b.texts = append(b.texts, v...)
		}
		b.cursors = append(b.cursors, cursor)
		b.flags = append(b.flags, flags)
	}
	return nil
}

func upTo(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

// cursorOf returns how to read a cursor column: as numbers that order as the
// values do, or as bytes that do.
func cursorOf(a arrow.Array) (number func(int) uint64, text func(int) []byte, err error) {
	signed := func(v int64) uint64 { return uint64(v) ^ 1<<63 }
	switch a := a.(type) {
	case *array.Int32:
		return func(i int) uint64 { return signed(int64(a.Value(i))) }, nil, nil
	case *array.Int64:
		return func(i int) uint64 { return signed(a.Value(i)) }, nil, nil
	case *array.Date32:
		return func(i int) uint64 { return signed(int64(a.Value(i))) }, nil, nil
	case *array.Timestamp:
		return func(i int) uint64 { return signed(int64(a.Value(i))) }, nil, nil
	case *array.Float32:
		return func(i int) uint64 { return rowsort.OrderedFloat(float64(a.Value(i))) }, nil, nil
	case *array.Float64:
		return func(i int) uint64 { return rowsort.OrderedFloat(a.Value(i)) }, nil, nil
	case *array.Boolean:
		return func(i int) uint64 {
			if a.Value(i) {
				return 1
			}
			return 0
		}, nil, nil
	case *array.Decimal128:
		return nil, func(i int) []byte {
			v := a.Value(i)
			var b [16]byte
			binary.BigEndian.PutUint64(b[:8], signed(v.HighBits()))
			binary.BigEndian.PutUint64(b[8:], v.LowBits())
			return b[:]
		}, nil
	case *array.String:
		return nil, func(i int) []byte { return []byte(a.Value(i)) }, nil
	case *array.LargeString:
		return nil, func(i int) []byte { return []byte(a.Value(i)) }, nil
	}
	return nil, nil, fmt.Errorf("a cursor cannot be of type %s", a.DataType())
}

// text is the cursor of a row whose cursors are text.
func (b *keyBlock) text(row int) []byte {
	at := b.texts[b.cursors[row]:]
	n, size := binary.Uvarint(at)
	return at[size : size+int(n)]
}

// memory is how many bytes the block keeps, and those that a commit adds: for
// the place of each row in a key table, and one row of the table with its key.
func (b *keyBlock) memory() int64 {
	const blocked, placed, found = 33, 18, 21
	return int64(len(b.hashes))*(blocked+placed+found) + int64(cap(b.texts))
}

// candidate returns what decides whether a row wins.
func (b *keyBlock) candidate(row int) candidate {
	c := candidate{cursor: b.cursors[row], flags: b.flags[row]}
	if b.orders != nil {
		c.order = b.orders[row]
	}
	if c.flags&textCursor != 0 {
		c.text = b.text(row)
	}
	return c
}

// candidate is what decides whether a row wins its key.
type candidate struct {
	order  uint64
	cursor uint64
	text   []byte // a cursor that is text
	flags  rowFlag
}

// loses reports whether the row loses against the winner so far. erased is the
// arrival of the last tombstone without a cursor of their key, 0 if there is
// none. Such tombstones must have been compared before all other rows.
func (c *candidate) loses(winner *candidate, erased uint64) bool {
	return c.order < erased ||
		!winner.flags.erases() && cmp.Or(compareCursors(c, winner), cmp.Compare(c.order, winner.order)) < 0
}

// compareCursors orders two rows by their cursors.
func compareCursors(a, b *candidate) int {
	aNull, bNull := a.flags&nullCursor != 0, b.flags&nullCursor != 0
	switch {
	case aNull && bNull:
		return 0
	case aNull:
		return -1
	case bNull:
		return 1
	case a.flags&b.flags&textCursor != 0:
		return bytes.Compare(a.text, b.text)
	}
	return cmp.Compare(a.cursor, b.cursor)
}

// keySeed makes the hashes of keys differ from process to process. They are
// never kept beyond one.
var keySeed = rand.Uint64()

// hashKeys hashes the key of every row. Keys that are equal as values have
// equal hashes whatever the width their type had when they were written.
func hashKeys(columns []arrow.Array, hashes []xxh3.Uint128) error {
	parts := make([]func([]byte, int) []byte, len(columns))
	for i, a := range columns {
		if parts[i] = keyPart(a); parts[i] == nil {
			return fmt.Errorf("a primary key cannot be of type %s", a.DataType())
		}
	}
	var key []byte
	for row := range hashes {
		key = key[:0]
		for _, part := range parts {
			key = part(key, row)
		}
		hashes[row] = xxh3.Hash128Seed(key, keySeed)
	}
	return nil
}

// keyPart returns the function that appends a column's value of a row, such
// that no two lists of values give the same bytes.
func keyPart(a arrow.Array) func([]byte, int) []byte {
	var value func([]byte, int) []byte
	switch a := a.(type) {
	case *array.Int32:
		value = func(b []byte, i int) []byte { return binary.LittleEndian.AppendUint64(b, uint64(a.Value(i))) }
	case *array.Int64:
		value = func(b []byte, i int) []byte { return binary.LittleEndian.AppendUint64(b, uint64(a.Value(i))) }
	case *array.Date32:
		value = func(b []byte, i int) []byte { return binary.LittleEndian.AppendUint64(b, uint64(a.Value(i))) }
	case *array.Timestamp:
		value = func(b []byte, i int) []byte { return binary.LittleEndian.AppendUint64(b, uint64(a.Value(i))) }
	case *array.Float32:
		value = func(b []byte, i int) []byte {
			return binary.LittleEndian.AppendUint64(b, math.Float64bits(float64(a.Value(i))+0)) // -0 is 0
		}
	case *array.Float64:
		value = func(b []byte, i int) []byte {
			return binary.LittleEndian.AppendUint64(b, math.Float64bits(a.Value(i)+0))
		}
	case *array.Boolean:
		value = func(b []byte, i int) []byte {
			if a.Value(i) {
				return append(b, 1)
			}
			return append(b, 0)
		}
	case *array.Decimal128:
		value = func(b []byte, i int) []byte {
			v := a.Value(i)
			b = binary.LittleEndian.AppendUint64(b, v.LowBits())
			return binary.LittleEndian.AppendUint64(b, uint64(v.HighBits()))
		}
	case *array.String:
		value = func(b []byte, i int) []byte {
			v := a.Value(i)
			return append(binary.AppendUvarint(b, uint64(len(v))), v...)
		}
	case *array.LargeString:
		value = func(b []byte, i int) []byte {
			v := a.Value(i)
			return append(binary.AppendUvarint(b, uint64(len(v))), v...)
		}
	default:
		return nil
	}
	return func(b []byte, i int) []byte {
		if a.IsNull(i) {
			return append(b, 0)
		}
		return value(append(b, 1), i)
	}
}
