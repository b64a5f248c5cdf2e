package columnchunk

import (
	"encoding/binary"
	"math/bits"
)

// maxGroups is how many groups of eight levels are one run of bits: readers hold a run
// in memory, and parquet-java writes no longer ones.
const maxGroups = 63

// appendLevels appends the levels of the entries from a to b, after their size.
func appendLevels(dst []byte, l levels, highest, a, b int) []byte {
	if highest == 0 {
		return dst
	}
	size := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	if l.planes == nil {
		dst = appendRepeated(dst, uint32(l.same), b-a, bits.Len(uint(highest)))
	} else {
		dst = appendPlanes(dst, l.planes, a, b)
	}
	binary.LittleEndian.PutUint32(dst[size:], uint32(len(dst)-size-4))
	return dst
}

// appendRepeated appends a run of one value, which has the given width in bits.
func appendRepeated(dst []byte, value uint32, count, width int) []byte {
	dst = binary.AppendUvarint(dst, uint64(count)<<1)
	for ; width > 0; width -= 8 {
		dst = append(dst, byte(value))
		value >>= 8
	}
	return dst
}

// appendPlanes appends levels as runs: 64 that are the same, and more of them, as one
// value, others bit by bit.
func appendPlanes(dst []byte, planes [][]uint64, a, b int) []byte {
	var repeated struct {
		level uint32
		count int
	}
	header, groups := -1, 0 // of the run of bits that has begun; -1: none
	end := func() {
		if repeated.count > 0 {
			dst = appendRepeated(dst, repeated.level, repeated.count, len(planes))
			repeated.count = 0
		}
		header, groups = -1, 0
	}
	var words [4]uint64 // there are at most 15 levels
	for ; a < b; a += 64 {
		n := min(64, b-a)
		level, same := uint32(0), true
		for p, plane := range planes {
			words[p] = bitsAt(plane, a) & firstBits(n)
			if words[p] == firstBits(n) {
				level |= 1 << p
			} else if words[p] != 0 {
				same = false
			}
		}
		if same {
			if repeated.count == 0 || repeated.level != level {
				end()
			}
			repeated.level, repeated.count = level, repeated.count+n
			continue
		}
		if repeated.count > 0 {
			end()
		}
		for group := 0; group < n; group += 8 {
			if header < 0 || groups == maxGroups {
				header, groups = len(dst), 0
				dst = append(dst, 0)
			}
			groups++
			dst[header] = byte(groups<<1 | 1)
			var packed uint64
			for p := range planes {
				packed |= spread[len(planes)-1][byte(words[p]>>group)] << p
			}
			for range planes {
				dst = append(dst, byte(packed))
				packed >>= 8
			}
		}
	}
	end()
	return dst
}

// spread has, for each number of planes, the bits of a byte as far apart as the bits of
// one plane are.
var spread = func() (t [4][256]uint64) {
	for planes := range t {
		for b := range t[planes] {
			for i := range 8 {
				t[planes][b] |= uint64(b>>i&1) << (i * (planes + 1))
			}
		}
	}
	return t
}()

// appendIndices appends indices of a dictionary, of the given width in bits, as runs:
// where one repeats eight times or more as one value, others bit by bit.
func appendIndices(dst []byte, indices []uint32, width int) []byte {
	for len(indices) > 0 {
		run := 1
		for run < len(indices) && indices[run] == indices[0] {
			run++
		}
		if run >= 8 {
			dst = appendRepeated(dst, indices[0], run, width)
			indices = indices[run:]
			continue
		}
		n := bitsRun(indices)
		dst = append(dst, byte((n+7)/8<<1|1))
		w := bitAppender{dst: dst}
		for _, i := range indices[:n] {
			w.add(uint64(i), width)
		}
		for i := n; i%8 != 0; i++ {
			w.add(0, width)
		}
		dst = w.end()
		indices = indices[n:]
	}
	return dst
}

// bitsRun is how many indices come before some that repeat: whole groups of eight, if
// there are more.
func bitsRun(indices []uint32) int {
	most := min(len(indices), 8*maxGroups)
	for n := 8; n < most; n += 8 {
		run, rest := 1, indices[n:]
		for run < min(16, len(rest)) && rest[run] == rest[0] {
			run++
		}
		if run == 16 {
			return n
		}
	}
	return most
}
