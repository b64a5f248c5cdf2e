package columnchunk

import (
	"encoding/binary"
	"math/bits"
)

// wordsFor is the number of words that hold so many bits.
func wordsFor(n int) int { return (n + 63) / 64 }

// bitsAt returns the 64 bits from a place on; those beyond the end are 0.
func bitsAt(words []uint64, at int) uint64 {
	i, shift := at/64, at%64
	if i >= len(words) {
		return 0
	}
	bits := words[i] >> shift
	if shift > 0 && i+1 < len(words) {
		bits |= words[i+1] << (64 - shift)
	}
	return bits
}

// loadBits returns the 64 bits from a place in an Arrow bitmap on; those beyond its end
// are 0.
func loadBits(bitmap []byte, at int) uint64 {
	from, shift := bitmap[min(at/8, len(bitmap)):], at%8
	if len(from) >= 9 {
		bits := binary.LittleEndian.Uint64(from) >> shift
		return bits | uint64(from[8])<<(64-shift) // by 64 is to 0
	}
	var bits uint64
	for i, b := range from {
		if i < 8 {
			bits |= uint64(b) << (8 * i)
		}
	}
	return bits >> shift
}

// firstBits has as many low bits.
func firstBits(n int) uint64 {
	if n >= 64 {
		return ^uint64(0)
	}
	return 1<<n - 1
}

// eachRun visits the runs of positions from a to b that are present. nil means all.
func eachRun(present []uint64, a, b int, visit func(from, to int)) {
	if present == nil {
		if a < b {
			visit(a, b)
		}
		return
	}
	from := -1 // of the run that has begun; -1: none
	for at := a; at < b; {
		n := min(64, b-at)
		word := bitsAt(present, at) & firstBits(n)
		for i := 0; i < n; {
			if from < 0 {
				if i += bits.TrailingZeros64(word >> i); i < n {
					from = at + i
				}
				continue
			}
			if i += bits.TrailingZeros64(^(word >> i)); i < n {
				visit(from, at+i)
				from = -1
			}
			i = min(i, n)
		}
		at += n
	}
	if from >= 0 {
		visit(from, b)
	}
}

// countBits counts the positions from a to b that are present. nil means all.
func countBits(present []uint64, a, b int) (n int) {
	if present == nil {
		return b - a
	}
	for ; a < b; a += 64 {
		n += bits.OnesCount64(bitsAt(present, a) & firstBits(b-a))
	}
	return n
}

// A bitAppender appends bits to bytes.
type bitAppender struct {
	dst  []byte
	held uint64
	n    int
}

// add appends up to 32 bits.
func (w *bitAppender) add(bits uint64, n int) {
	w.held |= bits << w.n
	if w.n += n; w.n >= 32 {
		w.dst = binary.LittleEndian.AppendUint32(w.dst, uint32(w.held))
		w.held >>= 32
		w.n -= 32
	}
}

// end fills up the last byte.
func (w *bitAppender) end() []byte {
	for ; w.n > 0; w.n -= 8 {
		w.dst = append(w.dst, byte(w.held))
		w.held >>= 8
	}
	return w.dst
}
