package columnchunk

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

// mostStatistics is the length from which the least or the greatest text is not written.
const mostStatistics = 4096

// statistics are the least and the greatest value of a chunk. NaN is neither.
type statistics struct {
	any                          bool
	leastInteger, mostInteger    int64
	leastFloat, mostFloat        float64
	leastDecimal, mostDecimal    decimal
	leastText, mostText          []byte // parts of the column
	leastBeginning, mostBegining uint64 // of these
	hasFalse, hasTrue            bool
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
		s.leastText, s.mostText, s.leastBeginning, s.mostBegining, s.any = text, text, b, b, true
		return
	}
	if b < s.leastBeginning || b == s.leastBeginning && bytes.Compare(text, s.leastText) < 0 {
		s.leastText, s.leastBeginning = text, b
	}
	if b > s.mostBegining || b == s.mostBegining && bytes.Compare(text, s.mostText) > 0 {
		s.mostText, s.mostBegining = text, b
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
		least, most = bytes.Clone(s.leastText), bytes.Clone(s.mostText)
	}
	if len(least) <= mostStatistics {
		e.SetMin(append([]byte{}, least...))
	}
	if len(most) <= mostStatistics {
		e.SetMax(append([]byte{}, most...))
	}
	return e
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
