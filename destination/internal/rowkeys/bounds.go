package rowkeys

import (
	"bytes"
	"cmp"
	"encoding/binary"

	"github.com/apache/iceberg-go"
)

// Bounds are those of the key columns of a data file, as manifests keep them; nil
// where there is none.
type Bounds struct{ low, high [][]byte }

// BoundsOf are the bounds of a data file.
func (c FileColumns) BoundsOf(d iceberg.DataFile) Bounds {
	var b Bounds
	low, high := d.LowerBoundValues(), d.UpperBoundValues()
	for _, f := range c.Key {
		b.low, b.high = append(b.low, low[f.ID]), append(b.high, high[f.ID])
	}
	return b
}

// MayShareKeys reports whether two files can hold rows of one key.
func (c FileColumns) MayShareKeys(a, b Bounds) bool {
	for i, f := range c.Key {
		if below(f.Type, a.high[i], b.low[i]) || below(f.Type, b.high[i], a.low[i]) {
			return false
		}
	}
	return true
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
