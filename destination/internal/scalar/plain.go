package scalar

import (
	"encoding/binary"
	"math/bits"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columns"
)

// The functions here read the usual form of a JSON number, at a place in a text that ends
// with a line feed. They give up on any other form, and leave it to those in number.go.

// Pow10 are powers of ten that are exact as doubles.
var Pow10 = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9,
	1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17,
}

// leadingDigits returns the number that the digits at the beginning of a word of text make,
// and how many bits of text they are. It has no branches: how long numbers are can seldom
// be foreseen.
func leadingDigits(text uint64) (value uint64, width int) {
	const zeros, beyond = 0x3030303030303030, 0x7676767676767676
	text ^= zeros
	width = bits.TrailingZeros64((text|(text+beyond))&highBits) &^ 7
	text <<= 64 - width // zeros come first
	text = text*10 + text>>8
	const pairs = 0x000000ff000000ff
	return (text&pairs*(100+1_000_000<<32) + text>>16&pairs*(1+10_000<<32)) >> 32, width
}

// appendDigits appends the digits from b[i] on to those of m; end is where they end.
func appendDigits(m uint64, b []byte, i int) (appended uint64, end int) {
	for len(b)-i >= 8 {
		value, width := leadingDigits(binary.LittleEndian.Uint64(b[i:]))
		m = m*powers[width/8&15] + value
		if i += width / 8; width < 64 {
			return m, i
		}
	}
	for b[i]-'0' <= 9 {
		m = m*10 + uint64(b[i]-'0')
		i++
	}
	return m, i
}

// powers are those of ten.
var powers = [16]uint64{1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000}

// PlainInteger reads the usual form of an integer; end is -1 for any other.
func PlainInteger(b []byte, i int) (v int64, end int) {
	if len(b)-i < 24 {
		return plainInteger(b, i)
	}
	t := b[i : i+24 : i+24]
	text, sign := binary.LittleEndian.Uint64(t), int64(0)
	if t[0] == '-' {
		text, sign = binary.LittleEndian.Uint64(t[1:]), 1
	}
	m, width := leadingDigits(text)
	if width == 64 { // eight digits or more
		text = binary.LittleEndian.Uint64(t[8:])
		if sign != 0 {
			text = binary.LittleEndian.Uint64(t[9:])
		}
		var low uint64
		low, width = leadingDigits(text)
		if m < 10_000_000 || width == 64 {
			return plainInteger(b, i)
		}
		m = m*powers[width/8&15] + low
		end = i + 8
	} else if width == 0 || width > 8 && byte(text) == '0' {
		return 0, -1
	} else {
		end = i
	}
	if after := byte(text >> width); after == '.' || after|0x20 == 'e' {
		return 0, -1
	}
	return (int64(m) ^ -sign) + sign, end + int(sign) + width/8
}

// plainInteger is PlainInteger for the end of the text and for many digits.
func plainInteger(b []byte, i int) (v int64, end int) {
	start := i
	if b[i] == '-' {
		start++
	}
	m, end := appendDigits(0, b, start)
	count := end - start
	if uint(count-1) >= 18 || b[start] == '0' && count > 1 || b[end] == '.' || b[end]|0x20 == 'e' {
		return 0, -1
	}
	if start > i {
		return -int64(m), end
	}
	return int64(m), end
}

// plainMantissa reads the usual form of a number, ±mantissa / 10^fraction with
// at most 18 digits; end is -1 for any other.
func plainMantissa(b []byte, i int) (mantissa uint64, fraction int, end int) {
	if b[i] == '-' {
		i++
	}
	if len(b)-i >= 24 { // most numbers have less than eight digits before the point, and after it
		text := binary.LittleEndian.Uint64(b[i:])
		whole, width := leadingDigits(text)
		if next := binary.LittleEndian.Uint64(b[i+width/8+1:]); uint(width-8) < 56 && byte(text>>width) == '.' && (width == 8 || b[i] != '0') {
			part, partWidth := leadingDigits(next)
			if after := byte(next >> partWidth); uint(partWidth-8) < 56 && after|0x20 != 'e' {
				fraction = partWidth / 8
				return whole*powers[fraction&15] + part, fraction, i + width/8 + 1 + fraction
			}
		}
	}
	mantissa, end = appendDigits(0, b, i)
	count := end - i
	if count == 0 || b[i] == '0' && count > 1 {
		return 0, 0, -1
	}
	if b[end] == '.' {
		end++
		first := end
		mantissa, end = appendDigits(mantissa, b, end)
		if fraction = end - first; fraction == 0 {
			return 0, 0, -1
		}
	}
	if count+fraction > 18 || b[end]|0x20 == 'e' {
		return 0, 0, -1
	}
	return mantissa, fraction, end
}

// PlainDouble is exact: mantissa and power of ten are doubles without an
// error, hence their quotient is the nearest one.
func PlainDouble(b []byte, i int) (v float64, end int) {
	mantissa, fraction, end := plainMantissa(b, i)
	if end < 0 || mantissa >= 1<<53 {
		return 0, -1
	}
	v = float64(mantissa)
	if fraction > 0 {
		v /= Pow10[fraction]
	}
	if b[i] == '-' {
		v = -v // also of zero
	}
	return v, end
}

// PlainDecimal gives the words of a decimal(38,9).
func PlainDecimal(b []byte, i int) (low, high int64, end int) {
	mantissa, fraction, end := plainMantissa(b, i)
	if end < 0 || fraction > columns.Scale {
		return 0, 0, -1
	}
	h, l := bits.Mul64(mantissa, uint64(Pow10[columns.Scale-fraction]))
	low, high = Words(h, l, b[i] == '-')
	return low, high, end
}
