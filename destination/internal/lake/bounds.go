package lake

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/apache/iceberg-go"
)

// keyRange is the bounds of the key columns of a data file, as manifests keep
// them; nil where there is none.
type keyRange struct{ low, high [][]byte }

func (f *keyFinder) rangeOf(d iceberg.DataFile) keyRange {
	var r keyRange
	low, high := d.LowerBoundValues(), d.UpperBoundValues()
	for _, id := range f.ids[:f.keys] {
		r.low, r.high = append(r.low, low[id]), append(r.high, high[id])
	}
	return r
}

// mayHold reports whether a data file can hold a staged key.
func (f *keyFinder) mayHold(d iceberg.DataFile) bool {
	r := f.rangeOf(d)
	return slices.ContainsFunc(f.staged, func(s keyRange) bool {
		for i, t := range f.types[:f.keys] {
			if below(t, r.high[i], s.low[i]) || below(t, s.high[i], r.low[i]) {
				return false
			}
		}
		return true
	})
}

// below reports whether bound a is certainly less than bound b. Strings may be
// cut, downwards if they are low and upwards if they are high, which changes
// nothing.
func below(t iceberg.Type, a, b []byte) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	switch t.(type) {
	case iceberg.Int32Type, iceberg.Int64Type, iceberg.DateType, iceberg.TimestampType, iceberg.TimestampTzType:
		x, okX := littleEndian(a)
		y, okY := littleEndian(b)
		return okX && okY && cmp.Less(x, y)
	case iceberg.StringType:
		return bytes.Compare(a, b) < 0
	case iceberg.DecimalType:
		return lessDecimal(a, b)
	}
	return false
}

// littleEndian decodes a bound of 4 or 8 bytes: a column that was widened has
// the shorter ones in its older files.
func littleEndian(b []byte) (int64, bool) {
	switch len(b) {
	case 4:
		return int64(int32(binary.LittleEndian.Uint32(b))), true
	case 8:
		return int64(binary.LittleEndian.Uint64(b)), true
	}
	return 0, false
}

// lessDecimal compares two's complements, big-endian, of any length.
func lessDecimal(a, b []byte) bool {
	n := max(len(a), len(b))
	extend := func(v []byte) []byte {
		fill := byte(0)
		if v[0]&0x80 != 0 {
			fill = 0xff
		}
		out := append(bytes.Repeat([]byte{fill}, n-len(v)), v...)
		out[0] ^= 0x80
		return out
	}
	return bytes.Compare(extend(a), extend(b)) < 0
}
