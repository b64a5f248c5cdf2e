package rowkeys

import (
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rowsort"
)

// appendCursors adds the cursors of some rows of a column, nil being a column
// of nulls.
func (b *block) appendCursors(a arrow.Array, rows iter.Seq[int]) error {
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

// cursorOf returns how to read a cursor column: as numbers or as bytes, of the same
// order as the values.
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
		micros := microsOf(a)
		return func(i int) uint64 { return signed(micros(i)) }, nil, nil
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

// microsOf returns how to read a column of timestamps in microseconds, which other programs
// may have stored in other units.
func microsOf(a *array.Timestamp) func(int) int64 {
	switch a.DataType().(*arrow.TimestampType).Unit {
	case arrow.Millisecond:
		return func(i int) int64 { return int64(a.Value(i)) * 1000 }
	case arrow.Nanosecond:
		return func(i int) int64 { return a.Value(i).ToTime(arrow.Nanosecond).UnixMicro() }
	}
	return func(i int) int64 { return int64(a.Value(i)) }
}
