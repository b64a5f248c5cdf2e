package zstdpage

import (
	"encoding/binary"

	"github.com/klauspost/compress/huff0"
)

// MaxWidth is the largest size of a value.
const MaxWidth = 256

// An Encoder holds memory that pages use one after the other. Its zero value is ready.
type Encoder struct {
	huff     huff0.Scratch
	literals []byte
}

// blockBytes is about how many bytes of values are a block. What the block before left
// over must fit besides.
const blockBytes = maxBlock - 4*MaxWidth

// minBytes is the size from which values are compressed by what they share: a block must
// not be longer than the page.
const minBytes = 1 << 10

// Append appends a frame of a page. The page begins with some bytes of a prefix, and the
// rest is values of a width that divides it and is not above MaxWidth.
func (e *Encoder) Append(dst, page []byte, prefix, width int) []byte {
	if e.huff.Reuse != huff0.ReusePolicyNone {
		e.huff.Reuse = huff0.ReusePolicyNone
		e.huff.MaxDecodedSize = huff0.BlockSizeMax
	}
	w := frameWriter{Encoder: e, dst: appendHeader(dst, len(page)), page: page, base: prefix, width: width}
	if prefix > 0 {
		w.literalsUpTo(prefix)
	}
	count := (len(page) - prefix) / width
	if len(page)-prefix < minBytes {
		count = 0
	}
	for first := 0; first < count; {
		end := min(first+blockBytes/width, count)
		w.block(first, end)
		first = end
	}
	if w.done < len(page) || len(page) == 0 {
		w.literalsUpTo(len(page))
	}
	endFrame(w.dst, w.last)
	return w.dst
}

// A frameWriter makes one frame.
type frameWriter struct {
	*Encoder
	dst, page   []byte
	base, width int
	done        int  // bytes of the page that are in blocks
	last        int  // where the last block begins in dst
	hasOffset   bool // matches have the width as offset from now on
}

func (w *frameWriter) literalsUpTo(end int) {
	w.dst, w.last = w.appendLiteralBlocks(w.dst, w.page[w.done:end])
	w.done = end
}

// block appends the values from first to end. It may leave over some bytes at the end,
// which the next block begins with.
func (w *frameWriter) block(first, end int) {
	start, size := w.sharedBytes(max(first, 1), end)
	if end-max(first, 1) < 2 || size < minMatch {
		w.literalsUpTo(w.base + end*w.width)
		return
	}
	if size == w.width { // all values are equal
		size = w.base + end*w.width - w.done - w.width
		if size < minMatch {
			w.literalsUpTo(w.base + end*w.width)
			return
		}
		w.sequences(sequence{literals: w.width, match: size, offset: w.width}, 1)
		return
	}
	if start+size > w.width { // the shared bytes of the last value end in the next one
		end--
	}
	// Each sequence ends with the match of one value. The literals of the first one
	// begin after the match of the value before.
	value := max(first, 1)
	begin := func() int { return w.base + (value-1)*w.width + start + size }
	for begin() < w.done {
		value++
	}
	if value < end && (!w.hasOffset || begin() != w.done) {
		w.sequences(sequence{literals: begin() - w.done + w.width - size, match: size, offset: w.width}, 1)
		value++
	}
	if value < end {
		w.sequences(sequence{literals: w.width - size, match: size}, end-value)
	}
}

// sequences appends a block of equal sequences.
func (w *frameWriter) sequences(s sequence, count int) {
	size := s.literals + s.match
	from := w.page[w.done : w.done+count*size]
	w.literals = gather(w.literals[:0], from, s.literals, size)
	w.dst, w.last = beginBlock(w.dst)
	w.dst = w.appendLiterals(w.dst, w.literals)
	w.dst = appendSequences(w.dst, s, count)
	endBlock(w.dst, w.last, compressed, len(w.dst)-w.last-3)
	w.done += count * size
	w.hasOffset = true
}

// gather appends the first bytes, n of them, of every part of that size.
func gather(dst, from []byte, n, size int) []byte {
	if n <= 8 {
		for len(from) >= max(size, 8) {
			dst = binary.LittleEndian.AppendUint64(dst, binary.LittleEndian.Uint64(from))
			dst = dst[:len(dst)-8+n]
			from = from[size:]
		}
	}
	for len(from) > 0 {
		dst = append(dst, from[:n]...)
		from = from[size:]
	}
	return dst
}

// sharedBytes finds the longest run of bytes that each of the values from first to end
// shares with the value before. It may go on from the end of a value to the beginning of
// the next.
func (w *frameWriter) sharedBytes(first, end int) (start, size int) {
	var shared [MaxWidth]bool
	w.compare(shared[:w.width], first, end)
	run := 0
	for i := range 2 * w.width {
		if !shared[i%w.width] {
			run = 0
			continue
		}
		if run++; run > size && i-run+1 < w.width {
			start, size = i-run+1, run
		}
		if size == w.width {
			return 0, size
		}
	}
	return start, size
}

// compare says of each byte whether all values share it with the value before.
func (w *frameWriter) compare(shared []bool, first, end int) {
	width := w.width
	values := w.page[w.base+(first-1)*width : w.base+end*width]
	for at := 0; at < width; at += 8 {
		var differ uint64
		if at+8 > width {
			if at = width - 8; at < 0 {
				compareShort(shared, values)
				return
			}
		}
		before := binary.LittleEndian.Uint64(values[at:])
		for i := at + width; i+8 <= len(values); i += width {
			value := binary.LittleEndian.Uint64(values[i:])
			differ |= value ^ before
			before = value
		}
		for i := range 8 {
			shared[at+i] = byte(differ>>(8*i)) == 0
		}
	}
}

// compareShort is compare for values that are shorter than a word.
func compareShort(shared []bool, values []byte) {
	width := len(shared)
	for at := range shared {
		var differ byte
		for i := at + width; i < len(values); i += width {
			differ |= values[i] ^ values[i-width]
		}
		shared[at] = differ == 0
	}
}
