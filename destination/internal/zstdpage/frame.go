package zstdpage

import (
	"encoding/binary"
	"errors"
	"math/bits"

	"github.com/klauspost/compress/huff0"
)

const (
	maxBlock      = 128 << 10 // bytes that a block may stand for
	minMatch      = 3
	minHuffman    = 64 // literals; for fewer, the table is longer than what it saves
	rawBlock      = 0
	repeatedBlock = 1
	compressed    = 2
)

// appendHeader begins a frame that stands for size bytes.
func appendHeader(dst []byte, size int) []byte {
	dst = append(dst, 0x28, 0xb5, 0x2f, 0xfd, 2<<6|1<<5) // the size takes four bytes, and is also the window
	return binary.LittleEndian.AppendUint32(dst, uint32(size))
}

// beginBlock leaves room for the header of a block.
func beginBlock(dst []byte) (_ []byte, at int) { return append(dst, 0, 0, 0), len(dst) }

// endBlock fills in the header of the block that begins at a place.
func endBlock(dst []byte, at, kind, size int) {
	header := uint32(size)<<3 | uint32(kind)<<1
	dst[at], dst[at+1], dst[at+2] = byte(header), byte(header>>8), byte(header>>16)
}

// endFrame marks the block that begins at a place as the last one.
func endFrame(dst []byte, at int) { dst[at] |= 1 }

// appendLiteralBlocks appends blocks without matches. It returns where the last one
// begins.
func (e *Encoder) appendLiteralBlocks(dst, literals []byte) (_ []byte, last int) {
	for {
		part := literals[:min(len(literals), maxBlock)]
		literals = literals[len(part):]
		dst, last = beginBlock(dst)
		table, err := e.huffman(part)
		switch {
		case err == nil && len(table)+6 < len(part):
			dst = append(appendHuffman(dst, table, len(part)), 0) // sequences
			endBlock(dst, last, compressed, len(dst)-last-3)
		case errors.Is(err, huff0.ErrUseRLE):
			dst = append(dst, part[0])
			endBlock(dst, last, repeatedBlock, len(part))
		default:
			dst = append(dst, part...)
			endBlock(dst, last, rawBlock, len(part))
		}
		if len(literals) == 0 {
			return dst, last
		}
	}
}

// huffman codes literals by their frequency, in four streams. It refuses those that do
// not become shorter.
func (e *Encoder) huffman(literals []byte) ([]byte, error) {
	if len(literals) < minHuffman {
		return nil, huff0.ErrIncompressible
	}
	out, _, err := huff0.Compress4X(literals, &e.huff)
	return out, err
}

// appendHuffman appends a section of literals that are coded by their frequency.
func appendHuffman(dst, coded []byte, size int) []byte {
	n, c := uint64(size), uint64(len(coded))
	switch most := max(size, len(coded)); {
	case most < 1<<10:
		header := 2 | 1<<2 | n<<4 | c<<14
		dst = append(dst, byte(header), byte(header>>8), byte(header>>16))
	case most < 1<<14:
		dst = binary.LittleEndian.AppendUint32(dst, uint32(2|2<<2|n<<4|c<<18))
	default:
		header := 2 | 3<<2 | n<<4 | c<<22
		dst = append(binary.LittleEndian.AppendUint32(dst, uint32(header)), byte(header>>32))
	}
	return append(dst, coded...)
}

// appendLiterals appends a section of literals, coded if that makes them shorter.
func (e *Encoder) appendLiterals(dst, literals []byte) []byte {
	n := len(literals)
	coded, err := e.huffman(literals)
	if err == nil && len(coded)+2 < n {
		return appendHuffman(dst, coded, n)
	}
	kind, content := 0, literals
	if errors.Is(err, huff0.ErrUseRLE) {
		kind, content = 1, literals[:1]
	}
	switch {
	case n < 1<<5:
		dst = append(dst, byte(kind|n<<3))
	case n < 1<<12:
		dst = binary.LittleEndian.AppendUint16(dst, uint16(kind|1<<2|n<<4))
	default:
		header := kind | 3<<2 | n<<4
		dst = append(dst, byte(header), byte(header>>8), byte(header>>16))
	}
	return append(dst, content...)
}

// A sequence is literals and a match. An offset of 0 is that of the sequence before.
type sequence struct{ literals, match, offset int }

// appendSequences appends a section of equal sequences.
func appendSequences(dst []byte, s sequence, count int) []byte {
	switch {
	case count < 128:
		dst = append(dst, byte(count))
	case count < 0x7f00:
		dst = append(dst, byte(count>>8)+128, byte(count))
	default:
		dst = append(dst, 255, byte(count-0x7f00), byte((count-0x7f00)>>8))
	}
	literals, match := literalCodes.find(s.literals), matchCodes.find(s.match)
	offset := code{} // offset value 1, which stands for the last one
	if s.offset > 0 {
		value := uint64(s.offset + 3) // the first three stand for offsets used before
		offset.symbol = byte(bits.Len64(value) - 1)
		offset.bits, offset.extra = uint(offset.symbol), value-1<<offset.symbol
	}
	const oneSymbol = 1 // mode of a table
	dst = append(dst, oneSymbol<<6|oneSymbol<<4|oneSymbol<<2, literals.symbol, offset.symbol, match.symbol)
	extra := literals.extra | match.extra<<literals.bits | offset.extra<<(literals.bits+match.bits)
	width := literals.bits + match.bits + offset.bits
	var held uint64
	var n uint
	if width > 0 {
		for range count {
			held |= extra << n
			n += width
			for n >= 8 {
				dst = append(dst, byte(held))
				held >>= 8
				n -= 8
			}
		}
	}
	return append(dst, byte(held|1<<n))
}

// A code stands for a length: a symbol and extra bits.
type code struct {
	symbol byte
	bits   uint
	extra  uint64
}

// codes are the lengths that symbols begin at, and the bits that each has besides.
type codes struct {
	first []int
	bits  []uint
}

func (c codes) find(length int) code {
	s := len(c.first) - 1
	for c.first[s] > length {
		s--
	}
	return code{symbol: byte(s), bits: c.bits[s], extra: uint64(length - c.first[s])}
}

var (
	literalCodes = newCodes(0, 16, []uint{1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16})
	matchCodes   = newCodes(minMatch, 32, []uint{1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16})
)

// newCodes are single lengths from first on, and then one range for each number of
// bits.
func newCodes(first, single int, ranges []uint) codes {
	c := codes{}
	for range single {
		c.first, c.bits = append(c.first, first), append(c.bits, 0)
		first++
	}
	for _, n := range ranges {
		c.first, c.bits = append(c.first, first), append(c.bits, n)
		first += 1 << n
	}
	return c
}
