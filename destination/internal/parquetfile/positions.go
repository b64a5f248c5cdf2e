package parquetfile

import (
	"iter"
	"math/bits"
)

// Positions is a set of rows of one data file.
type Positions []uint64

// NewPositions is an empty set for a file with so many rows.
func NewPositions(rows int64) Positions { return make(Positions, (rows+63)/64) }

// Add adds a row.
func (p Positions) Add(row int64) { p[row/64] |= 1 << (row % 64) }

// Has reports whether a row is in the set, which may be nil.
func (p Positions) Has(row int64) bool { return p != nil && p[row/64]&(1<<(row%64)) != 0 }

// Count is the number of rows in the set.
func (p Positions) Count() int64 {
	n := 0
	for _, word := range p {
		n += bits.OnesCount64(word)
	}
	return int64(n)
}

// All yields the rows in ascending order.
func (p Positions) All() iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for i, word := range p {
			for ; word != 0; word &= word - 1 {
				if !yield(int64(i)*64 + int64(bits.TrailingZeros64(word))) {
					return
				}
			}
		}
	}
}
