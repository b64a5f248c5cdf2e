package scalar

import (
	"math/bits"
	"strconv"
	"unsafe"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columns"
)

// A Fit says whether a value could be kept in its column. The texts are those
// of the protocol's AirbyteRecordMessageMetaChange.
type Fit string

const (
	Fits      Fit = ""
	WrongType Fit = "DESTINATION_SERIALIZATION_ERROR"   // another type, or text that cannot be read
	TooLarge  Fit = "DESTINATION_FIELD_SIZE_LIMITATION" // a type's range is exceeded

	// These are kept, though not quite as they are.
	Rounded    Fit = "rounded"    // a type's precision is exceeded
	Unreadable Fit = "unreadable" // some characters are none, and became U+FFFD
)

// Kept reports whether there is a value.
func (f Fit) Kept() bool { return f == Fits || f == Rounded }

// Nulled is the change of a value that is not kept at all.
const Nulled = "NULLED"

// Report is how the protocol says what was done, and why.
func (f Fit) Report() (change, reason string) {
	switch f {
	case Rounded:
		return "TRUNCATED", string(TooLarge)
	case Unreadable:
		return "TRUNCATED", string(WrongType)
	}
	return Nulled, string(f)
}

// The functions here read the text of a JSON number, be it from a number or
// from a string, and give its value exactly or say why not.

// ParseLong reads an integer. 1.0 and 1e3 are integers, 1.5 is none.
func ParseLong(text []byte) (int64, Fit) {
	n, ok := scanDecimal(text)
	if !ok {
		return 0, WrongType
	}
	high, low, f := n.scaled(0)
	switch {
	case f == inexact:
		return 0, WrongType
	case f != Fits || high != 0 || low > 1<<63 || low == 1<<63 && !n.negative:
		return 0, TooLarge
	case n.negative:
		return -int64(low), Fits // also of 1<<63
	}
	return int64(low), Fits
}

// ParseDouble reads a number as the nearest double.
func ParseDouble(text []byte) (float64, Fit) {
	if !IsNumber(text) {
		return 0, WrongType
	}
	v, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(text), len(text)), 64)
	if err != nil {
		return 0, TooLarge
	}
	return v, Fits
}

// RoundTrips reports whether the shortest number that reads as v is the one of
// the text. Of any two numbers that read as one double at most one is.
func RoundTrips(v float64, text []byte) bool {
	var buffer [32]byte
	given, ok := scanDecimal(text)
	shortest, _ := scanDecimal(strconv.AppendFloat(buffer[:0], v, 'g', -1, 64))
	return ok && given.equals(&shortest)
}

// ParseDecimal reads a number as the nearest decimal(38,9), of two the even one.
func ParseDecimal(text []byte) (low, high int64, f Fit) {
	n, ok := scanDecimal(text)
	if !ok {
		return 0, 0, WrongType
	}
	h, l, f := n.scaled(columns.Scale)
	if f == inexact {
		h, l = n.nearest(columns.Scale)
		f = Rounded
	}
	if f == TooLarge || h > EndDecimalHigh || h == EndDecimalHigh && l >= EndDecimalLow {
		return 0, 0, TooLarge
	}
	low, high = Words(h, l, n.negative)
	return low, high, f
}

// IsNumber reports whether a text that comes from a string is a JSON number.
func IsNumber(text []byte) bool {
	_, ok := scanDecimal(text)
	return ok
}

// decimalText is a number taken apart: ±0.digits × 10^point, where the digits
// stand in text between first and last, perhaps with a point among them.
type decimalText struct {
	text     []byte // from the first to the last digit that is not zero
	count    int    // of those digits
	exponent int    // of the last of them
	negative bool
}

const maxExponent = 1 << 20 // far beyond every type, far from overflow

// scanDecimal takes a number apart, strictly by the grammar of JSON.
func scanDecimal(text []byte) (n decimalText, ok bool) {
	i, end := 0, len(text)
	if i < end && text[i] == '-' {
		n.negative = true
		i++
	}
	first, last := -1, -1 // significant digits
	start, point := i, -1
	for ; i < end; i++ {
		c := text[i]
		if c == '.' && point < 0 && i > start {
			point = i
			continue
		}
		if c-'0' > 9 {
			break
		}
		if c != '0' {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	stop := i
	integers := stop - start
	if point >= 0 {
		integers = point - start
	} else {
		point = stop
	}
	if integers == 0 || integers > 1 && text[start] == '0' || point == stop-1 {
		return n, false
	}
	exponent := 0
	if i < end {
		if text[i]|0x20 != 'e' {
			return n, false
		}
		i++
		negative := false
		if i < end && (text[i] == '+' || text[i] == '-') {
			negative = text[i] == '-'
			i++
		}
		if i == end {
			return n, false
		}
		for ; i < end; i++ {
			if text[i]-'0' > 9 {
				return n, false
			}
			exponent = min(exponent*10+int(text[i]-'0'), maxExponent)
		}
		if negative {
			exponent = -exponent
		}
	}
	if first < 0 {
		return n, true // zero
	}
	n.text = text[first : last+1]
	n.count = len(n.text)
	if last < point {
		n.exponent = exponent + point - last - 1
	} else {
		n.exponent = exponent + point - last
		if first < point {
			n.count--
		}
	}
	return n, true
}

// equals reports whether two texts are of one number.
func (n *decimalText) equals(m *decimalText) bool {
	if n.count != m.count || n.count > 0 && (n.exponent != m.exponent || n.negative != m.negative) {
		return false
	}
	for i, j := 0, 0; i < len(n.text) && j < len(m.text); i, j = i+1, j+1 {
		if n.text[i] == '.' {
			i++
		}
		if m.text[j] == '.' {
			j++
		}
		if n.text[i] != m.text[j] {
			return false
		}
	}
	return true
}

const inexact Fit = "inexact"

// EndDecimalHigh and EndDecimalLow are 10^38, the first number of 39 digits.
const (
	EndDecimalHigh = 0x4b3b4ca85a86c47a
	EndDecimalLow  = 0x098a224000000000
)

// scaled returns the magnitude of n × 10^scale. It is inexact when that is no
// integer, TooLarge when it has more than 38 digits.
func (n *decimalText) scaled(scale int) (high, low uint64, f Fit) {
	shift := n.exponent + scale
	switch {
	case n.count == 0:
		return 0, 0, Fits
	case n.count+shift > columns.Precision:
		return 0, 0, TooLarge
	case shift < 0:
		return 0, 0, inexact
	}
	for _, c := range n.text {
		if c != '.' {
			high, low = times10(high, low, uint64(c-'0'))
		}
	}
	for range shift {
		high, low = times10(high, low, 0)
	}
	return high, low, Fits
}

// nearest returns the magnitude of n × 10^scale rounded half to even, for one
// that is inexact.
func (n *decimalText) nearest(scale int) (high, low uint64) {
	lost := -(n.exponent + scale) // digits
	kept := n.count - lost
	next, rest := byte('0'), false // the first digit lost, and whether others are not zero
	at := 0
	for _, c := range n.text {
		if c == '.' {
			continue
		}
		switch {
		case at < kept:
			high, low = times10(high, low, uint64(c-'0'))
		case at == kept:
			next = c
		default:
			rest = rest || c != '0'
		}
		at++
	}
	if kept < 0 {
		return 0, 0 // less than a tenth of the last digit
	}
	if next > '5' || next == '5' && (rest || low&1 == 1) {
		var carry uint64
		low, carry = bits.Add64(low, 1, 0)
		high += carry
	}
	return high, low
}

// times10 returns a 128-bit number × 10 + digit.
func times10(high, low, digit uint64) (uint64, uint64) {
	carry, product := bits.Mul64(low, 10)
	sum, c := bits.Add64(product, digit, 0)
	return high*10 + carry + c, sum
}

// Words gives a 128-bit number as Arrow keeps it, in two's complement.
func Words(high, low uint64, negative bool) (int64, int64) {
	if negative {
		var borrow uint64
		low, borrow = bits.Sub64(0, low, 0)
		high, _ = bits.Sub64(0, high, borrow)
	}
	return int64(low), int64(high)
}
