package columnchunk

import (
	"bytes"
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

const (
	// maxStatistics is the length above which the least or the greatest text is cut.
	maxStatistics = 4096
	// cutStatistics is the length that it is cut to.
	cutStatistics = 64
)

// statistics are the least and the greatest value of a chunk. NaN is neither.
type statistics struct {
	any                           bool
	leastInteger, mostInteger     int64
	leastFloat, mostFloat         float64
	leastDecimal, mostDecimal     decimal
	leastText, mostText           []byte // parts of the column
	leastBeginning, mostBeginning uint64 // of these
	hasFalse, hasTrue             bool
}

// decimal is a number of 128 bits.
type decimal struct {
	high int64
	low  uint64
}

func (d decimal) less(e decimal) bool { return d.high < e.high || d.high == e.high && d.low < e.low }

func lookNumbers[T int32 | int64 | float32 | float64](s *statistics, values []T) {
	for len(values) > 0 && values[0] != values[0] { // NaN
		values = values[1:]
	}
	if len(values) == 0 {
		return
	}
	least, most := values[0], values[0]
	for _, v := range values {
		// With NaN both are false.
		if v < least {
			least = v
		}
		if v > most {
			most = v
		}
	}
	if !s.any {
		s.leastInteger, s.mostInteger = math.MaxInt64, math.MinInt64
		s.leastFloat, s.mostFloat = math.Inf(1), math.Inf(-1)
		s.any = true
	}
	s.leastInteger, s.mostInteger = min(s.leastInteger, int64(least)), max(s.mostInteger, int64(most))
	s.leastFloat, s.mostFloat = min(s.leastFloat, float64(least)), max(s.mostFloat, float64(most))
}

func (s *statistics) lookDecimal(d decimal) {
	if !s.any || d.less(s.leastDecimal) {
		s.leastDecimal = d
	}
	if !s.any || s.mostDecimal.less(d) {
		s.mostDecimal = d
	}
	s.any = true
}

func (s *statistics) lookBooleans(hasFalse, hasTrue bool) {
	s.hasFalse, s.hasTrue, s.any = s.hasFalse || hasFalse, s.hasTrue || hasTrue, true
}

// lookText compares texts by their first eight bytes, and by all if these are equal.
func (s *statistics) lookText(text []byte) {
	b := beginning(text)
	if !s.any {
		s.leastText, s.mostText, s.leastBeginning, s.mostBeginning, s.any = text, text, b, b, true
		return
	}
	if b < s.leastBeginning || b == s.leastBeginning && bytes.Compare(text, s.leastText) < 0 {
		s.leastText, s.leastBeginning = text, b
	}
	if b > s.mostBeginning || b == s.mostBeginning && bytes.Compare(text, s.mostText) > 0 {
		s.mostText, s.mostBeginning = text, b
	}
}

func beginning(text []byte) uint64 {
	if len(text) >= 8 {
		return binary.BigEndian.Uint64(text)
	}
	var b uint64
	for i, c := range text {
		b |= uint64(c) << (56 - 8*i)
	}
	return b
}

// encoded returns the statistics of a column as Parquet has them.
func (s *statistics) encoded(v values, column *schema.Column, nulls int) metadata.EncodedStatistics {
	e := metadata.EncodedStatistics{Signed: column.SortOrder() == schema.SortSIGNED}
	e.SetNullCount(int64(nulls))
	if !s.any {
		return e
	}
	var least, most []byte
	switch v.(type) {
	case numbers[int32]:
		least = binary.LittleEndian.AppendUint32(nil, uint32(s.leastInteger))
		most = binary.LittleEndian.AppendUint32(nil, uint32(s.mostInteger))
	case numbers[int64]:
		least = binary.LittleEndian.AppendUint64(nil, uint64(s.leastInteger))
		most = binary.LittleEndian.AppendUint64(nil, uint64(s.mostInteger))
	case numbers[float32]:
		low, high := s.zeros()
		least = binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(low)))
		most = binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(high)))
	case numbers[float64]:
		low, high := s.zeros()
		least = binary.LittleEndian.AppendUint64(nil, math.Float64bits(low))
		most = binary.LittleEndian.AppendUint64(nil, math.Float64bits(high))
	case decimals:
		least, most = s.leastDecimal.bytes(), s.mostDecimal.bytes()
	case booleans:
		least, most = []byte{boolByte(!s.hasFalse)}, []byte{boolByte(s.hasTrue)}
	case texts:
		least, most = lowerBound(s.leastText), upperBound(s.mostText)
	}
	// Both or neither: the library takes the one that is missing for an empty text, and a
	// chunk with neither for one without values. The bounds of the file would leave out
	// what is in this chunk alone.
	return *e.SetMin(append([]byte{}, least...)).SetMax(append([]byte{}, most...))
}

// lowerBound returns a text, or a shorter one that is less.
func lowerBound(text []byte) []byte {
	if len(text) <= maxStatistics {
		return text
	}
	return text[:cutLength(text)]
}

// upperBound returns a text, or a shorter one that is greater, if there is any.
func upperBound(text []byte) []byte {
	if len(text) <= maxStatistics {
		return text
	}
	cut := text[:cutLength(text)]
	if !utf8.Valid(cut) { // of a binary
		for i := len(cut) - 1; i >= 0; i-- {
			if cut[i] < 0xff {
				return append(bytes.Clone(cut[:i]), cut[i]+1)
			}
		}
		return text
	}
	for len(cut) > 0 {
		last, size := utf8.DecodeLastRune(cut)
		cut = cut[:len(cut)-size]
		switch next := last + 1; {
		case next == surrogates:
			return utf8.AppendRune(bytes.Clone(cut), afterSurrogates)
		case next <= utf8.MaxRune:
			return utf8.AppendRune(bytes.Clone(cut), next)
		}
	}
	return text
}

// Between these there is no character.
const surrogates, afterSurrogates = 0xd800, 0xe000

// cutLength is where a long text is cut: not within a character.
func cutLength(text []byte) int {
	for n := cutStatistics; n > cutStatistics-utf8.UTFMax; n-- {
		if utf8.RuneStart(text[n]) {
			return n
		}
	}
	return cutStatistics
}

// zeros returns the least and greatest number where a zero stands for both zeros.
func (s *statistics) zeros() (low, high float64) {
	low, high = s.leastFloat, s.mostFloat
	if low == 0 {
		low = math.Copysign(0, -1)
	}
	if high == 0 {
		high = 0
	}
	return low, high
}

func (d decimal) bytes() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(d.high)), d.low)
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
