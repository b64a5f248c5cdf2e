package columnchunk

import (
	"encoding/binary"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

const decimalWidth = 16 // bytes of a decimal in Parquet

// values are those of a leaf, in their encoding and with their statistics. Positions are
// those in the array.
type values interface {
	// size is about how many bytes the values of some positions take in the encoding.
	size(from, to int) int
	// append appends the values of the positions that are present. It returns how
	// many bytes each takes; 0 if they differ.
	append(dst []byte, from, to int) (_ []byte, width int)
	// look adds the values of some positions to the statistics.
	look(s *statistics, from, to int)
}

func valuesOf(a arrow.Array) values {
	data := a.Data()
	buffer := func(i int) []byte {
		if b := data.Buffers()[i]; b != nil {
			return b.Bytes()
		}
		return nil
	}
	switch a := a.(type) {
	case *array.Boolean:
		return booleans{buffer(1), data.Offset()}
	case *array.Int32, *array.Date32:
		return numbers[int32]{arrow.Int32Traits.CastFromBytes(buffer(1))[data.Offset():], 4, buffer(1)[data.Offset()*4:]}
	case *array.Int64, *array.Timestamp:
		return numbers[int64]{arrow.Int64Traits.CastFromBytes(buffer(1))[data.Offset():], 8, buffer(1)[data.Offset()*8:]}
	case *array.Float32:
		return numbers[float32]{arrow.Float32Traits.CastFromBytes(buffer(1))[data.Offset():], 4, buffer(1)[data.Offset()*4:]}
	case *array.Float64:
		return numbers[float64]{arrow.Float64Traits.CastFromBytes(buffer(1))[data.Offset():], 8, buffer(1)[data.Offset()*8:]}
	case *array.Decimal128:
		return decimals(buffer(1)[data.Offset()*decimalWidth:])
	case *array.String, *array.Binary:
		offsets := arrow.Int32Traits.CastFromBytes(buffer(1))
		if len(offsets) > 0 {
			offsets = offsets[data.Offset():]
		}
		return texts{offsets, buffer(2)}
	default:
		panic(fmt.Sprintf("columnchunk: %s is not supported", a.DataType()))
	}
}

// numbers are integers, times and floating-point numbers.
type numbers[T int32 | int64 | float32 | float64] struct {
	values []T
	width  int
	bytes  []byte // the same
}

func (v numbers[T]) size(from, to int) int { return (to - from) * v.width }

func (v numbers[T]) append(dst []byte, from, to int) ([]byte, int) {
	return append(dst, v.bytes[from*v.width:to*v.width]...), v.width
}

// fixed are the bytes of all values, and the size of each.
func (v numbers[T]) fixed() ([]byte, int) { return v.bytes, v.width }

func (v numbers[T]) look(s *statistics, from, to int) {
	lookNumbers(s, v.values[from:to])
}

// decimals are 16 bytes each, the low ones first.
type decimals []byte

func (v decimals) size(from, to int) int { return (to - from) * decimalWidth }

func (v decimals) append(dst []byte, from, to int) ([]byte, int) {
	for d := v[from*decimalWidth : to*decimalWidth]; len(d) > 0; d = d[decimalWidth:] {
		dst = binary.BigEndian.AppendUint64(dst, binary.LittleEndian.Uint64(d[8:]))
		dst = binary.BigEndian.AppendUint64(dst, binary.LittleEndian.Uint64(d))
	}
	return dst, decimalWidth
}

func (v decimals) look(s *statistics, from, to int) {
	for i := from; i < to; i++ {
		d := v[i*decimalWidth:]
		s.lookDecimal(decimal{int64(binary.LittleEndian.Uint64(d[8:])), binary.LittleEndian.Uint64(d)})
	}
}

// booleans are bits.
type booleans struct {
	bits   []byte
	offset int
}

func (v booleans) size(from, to int) int { return (to - from + 7) / 8 }

// append begins a new byte, so values that nulls divide need pack.
func (v booleans) append(dst []byte, from, to int) ([]byte, int) {
	w := bitAppender{dst: dst}
	v.pack(&w, from, to)
	return w.end(), 0
}

func (v booleans) pack(w *bitAppender, from, to int) {
	for ; from < to; from += 32 {
		n := min(32, to-from)
		w.add(loadBits(v.bits, v.offset+from)&firstBits(n), n)
	}
}

func (v booleans) look(s *statistics, from, to int) {
	for ; from < to; from += 56 {
		n := min(56, to-from)
		word := loadBits(v.bits, v.offset+from) & firstBits(n)
		s.lookBooleans(word != firstBits(n), word != 0)
	}
}

// texts are strings and binaries.
type texts struct {
	offsets []int32
	bytes   []byte
}

func (v texts) size(from, to int) int {
	if from == to {
		return 0
	}
	return int(v.offsets[to]-v.offsets[from]) + 4*(to-from)
}

func (v texts) append(dst []byte, from, to int) ([]byte, int) {
	if from == to {
		return dst, 0
	}
	n := len(dst)
	dst = grow(dst, v.size(from, to))
	ends := v.offsets[from : to+1]
	start, length := ends[0], ends[1]-ends[0]
	equal := true
	for _, end := range ends[1:] {
		size := end - start
		equal = equal && size == length
		binary.LittleEndian.PutUint32(dst[n:], uint32(size))
		n += 4
		n += copy(dst[n:], v.bytes[start:end])
		start = end
	}
	if !equal {
		return dst, 0
	}
	return dst, int(length) + 4
}

func (v texts) look(s *statistics, from, to int) {
	for i := from; i < to; i++ {
		s.lookText(v.bytes[v.offsets[i]:v.offsets[i+1]])
	}
}

// grow makes s longer; the new bytes may be anything.
func grow(s []byte, n int) []byte {
	if cap(s)-len(s) < n {
		longer := make([]byte, len(s), max(len(s)+n, 2*cap(s)))
		copy(longer, s)
		s = longer
	}
	return s[:len(s)+n]
}
