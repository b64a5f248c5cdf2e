package rowkeys

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/zeebo/xxh3"
)

// keySeed makes hashes of keys differ from process to process. No hash outlives
// its process.
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

// hashTexts appends the hashes of keys that are one string each, nil being null. They are
// those that hashKeys makes of an array with the same values.
func hashTexts(values []parquet.ByteArray, hashes []xxh3.Uint128) []xxh3.Uint128 {
	var key []byte
	for _, v := range values {
		if v == nil {
			key = append(key[:0], 0)
		} else {
			key = appendText(append(key[:0], 1), v)
		}
		hashes = append(hashes, xxh3.Hash128Seed(key, keySeed))
	}
	return hashes
}

func appendText[T string | parquet.ByteArray](b []byte, v T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

// keyPart returns a function that appends the value of a row in one column. No
// two lists of values become the same bytes.
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
		micros := microsOf(a)
		value = func(b []byte, i int) []byte { return binary.LittleEndian.AppendUint64(b, uint64(micros(i))) }
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
		value = func(b []byte, i int) []byte { return appendText(b, a.Value(i)) }
	case *array.LargeString:
		value = func(b []byte, i int) []byte { return appendText(b, a.Value(i)) }
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
