// Package jsonscan reads the parts of JSON text in place: it passes values over and decodes
// strings.
//
// It reads strictly, one line after the other. Functions take the text and the place to read
// at and return the place after, or -1 when the text is no JSON. The text ends with a line
// feed, and no function passes one, so that none of them needs to look for the end of the
// text.
package jsonscan

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special marks (by their high bits) the bytes of a word that end a run of
// plain string bytes: the quote, the backslash and control characters. Only
// the lowest mark is exact.
func special(word uint64) uint64 {
	quote := word ^ '"'*ones
	escape := word ^ '\\'*ones
	return ((quote - ones) | (escape - ones) | (word - ' '*ones)) &^ word & highs
}

// Space passes white space.
func Space(b []byte, i int) int {
	for b[i] == ' ' || b[i] == '\t' || b[i] == '\r' {
		i++
	}
	return i
}

// Literal passes the rest of true, false or null.
func Literal(b []byte, i int, text string) int {
	if len(b)-i >= len(text) && string(b[i:i+len(text)]) == text {
		return i + len(text)
	}
	return -1
}

// plainRun passes the bytes of a string up to the quote, backslash or control
// character that ends them. high has a high bit set when one of the bytes had.
func plainRun(b []byte, i int) (end int, high uint64) {
	for i+8 <= len(b) {
		word := binary.LittleEndian.Uint64(b[i:])
		if m := special(word); m != 0 {
			n := bits.TrailingZeros64(m) >> 3
			return i + n, high | word&(1<<(uint(n)*8)-1)
		}
		high |= word
		i += 8
	}
	for b[i] >= ' ' && b[i] != '"' && b[i] != '\\' {
		high |= uint64(b[i])
		i++
	}
	return i, high
}

// PlainString finds the quote that ends the string whose first byte after the quote is
// b[i]. It is plain if its bytes are what it says: it has no escapes and is UTF-8.
func PlainString(b []byte, i int) (quote int, plain bool) {
	quote, high := plainRun(b, i)
	return quote, b[quote] == '"' && (high&highs == 0 || ValidUTF8(b[i:quote]))
}

// AppendString decodes the string whose first byte after the quote is b[i].
// What is no UTF-8, and half of a surrogate pair, becomes U+FFFD, as it does
// for encoding/json; replaced says that there was such.
func AppendString(dst, b []byte, i int) (_ []byte, next int, replaced bool) {
	start := len(dst)
	dst, i, high := appendShort(dst, b, i)
	for {
		if b[i] == '"' && high&highs == 0 {
			return dst, i + 1, replaced
		}
		end, h := plainRun(b, i)
		high |= h
		dst = append(dst, b[i:end]...)
		switch b[end] {
		case '"':
			if high&highs != 0 && !ValidUTF8(dst[start:]) {
				dst, replaced = ReplaceInvalid(dst, start), true
			}
			return dst, end + 1, replaced
		case '\\':
			half := false
			if dst, i, half = appendEscape(dst, b, end+1); i < 0 {
				return dst, -1, false
			}
			replaced = replaced || half
		default:
			return dst, -1, false
		}
	}
}

// appendShort appends the plain bytes of a string, as far as it can do so without a call.
// high has a high bit set when one of the bytes had.
func appendShort(dst, b []byte, i int) (_ []byte, next int, high uint64) {
	const maxShort = 48
	if len(b)-i < maxShort || cap(dst)-len(dst) < maxShort {
		return dst, i, 0
	}
	n := len(dst)
	from, to := b[i:i+maxShort], dst[n:n+maxShort]
	for len(from) >= 8 && len(to) >= 8 {
		word := binary.LittleEndian.Uint64(from)
		binary.LittleEndian.PutUint64(to, word)
		if m := special(word); m != 0 {
			count := bits.TrailingZeros64(m) >> 3
			high |= word & (1<<(uint(count)*8) - 1)
			n += maxShort - len(from) + count
			return dst[:n], i + maxShort - len(from) + count, high
		}
		high |= word
		from, to = from[8:], to[8:]
	}
	return dst[:n+maxShort], i + maxShort, high
}

// appendEscape decodes the escape sequence that goes on at i, and the second
// one of a surrogate pair; half says that it is one of a pair alone.
func appendEscape(dst, b []byte, i int) (_ []byte, next int, half bool) {
	switch c := b[i]; c {
	case '"', '\\', '/':
		return append(dst, c), i + 1, false
	case 'b':
		return append(dst, '\b'), i + 1, false
	case 'f':
		return append(dst, '\f'), i + 1, false
	case 'n':
		return append(dst, '\n'), i + 1, false
	case 'r':
		return append(dst, '\r'), i + 1, false
	case 't':
		return append(dst, '\t'), i + 1, false
	case 'u':
		r := hex4(b, i+1)
		if r < 0 {
			return dst, -1, false
		}
		i += 5
		if r >= 0xd800 && r < 0xdc00 && b[i] == '\\' && b[i+1] == 'u' {
			if low := hex4(b, i+2); low >= 0xdc00 && low < 0xe000 {
				r = 0x10000 + (r-0xd800)<<10 + low - 0xdc00
				i += 6
			}
		}
		return utf8.AppendRune(dst, r), i, utf16.IsSurrogate(r) // which AppendRune writes as U+FFFD
	}
	return dst, -1, false
}

// hex4 reads four hexadecimal digits; -1 when there are none.
func hex4(b []byte, i int) rune {
	var r rune
	for range 4 {
		c := b[i]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
		i++
	}
	return r
}

// ValidUTF8 is [utf8.Valid] for text that is mostly ASCII.
func ValidUTF8(text []byte) bool {
	for len(text) >= 8 {
		high := binary.LittleEndian.Uint64(text) & highs
		if high == 0 {
			text = text[8:]
			continue
		}
		text = text[bits.TrailingZeros64(high)>>3:]
		for len(text) > 0 && text[0] >= utf8.RuneSelf {
			r, size := utf8.DecodeRune(text)
			if r == utf8.RuneError && size == 1 {
				return false
			}
			text = text[size:]
		}
	}
	return utf8.Valid(text)
}

// ReplaceInvalid makes dst[start:] valid UTF-8.
func ReplaceInvalid(dst []byte, start int) []byte {
	text := string(dst[start:])
	dst = dst[:start]
	for _, r := range text {
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

// skipString passes the rest of a string.
func skipString(b []byte, i int) int {
	for {
		i, _ = plainRun(b, i)
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			switch b[i+1] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				i += 2
			case 'u':
				if hex4(b, i+2) < 0 {
					return -1
				}
				i += 6
			default:
				return -1
			}
		default:
			return -1
		}
	}
}

// SkipNumber passes a number.
func SkipNumber(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	start := i
	i = digits(b, i)
	if i == start || b[start] == '0' && i > start+1 {
		return -1
	}
	if b[i] == '.' {
		start = i + 1
		if i = digits(b, start); i == start {
			return -1
		}
	}
	if b[i]|0x20 == 'e' {
		i++
		if b[i] == '+' || b[i] == '-' {
			i++
		}
		start = i
		if i = digits(b, start); i == start {
			return -1
		}
	}
	return i
}

func digits(b []byte, i int) int {
	for b[i]-'0' <= 9 {
		i++
	}
	return i
}

// SkipScalar passes a string, a number or a literal.
func SkipScalar(b []byte, i int) int {
	switch b[i] {
	case '"':
		return skipString(b, i+1)
	case 't':
		return Literal(b, i, "true")
	case 'f':
		return Literal(b, i, "false")
	case 'n':
		return Literal(b, i, "null")
	}
	return SkipNumber(b, i)
}

// Skip passes any value.
func Skip(b []byte, i int) int {
	end, _ := SkipNested(b, i)
	return end
}

// SkipNested passes any value and returns how deep its arrays and objects nest. It does not
// recurse: nothing in the input can make the stack grow.
func SkipNested(b []byte, i int) (end, deepest int) {
	i = Space(b, i)
	if b[i] != '{' && b[i] != '[' {
		return SkipScalar(b, i), 0
	}
	var shallow [16]uint64
	open := nesting{objects: shallow[:]}
	for {
		switch c := b[i]; c {
		case '{', '[':
			open.push(c == '{')
			deepest = max(deepest, open.depth)
			i = Space(b, i+1)
			if b[i] == c+2 { // '{' and '}', '[' and ']' are two apart
				break
			}
			if c == '{' {
				i = skipKey(b, i)
			}
			if i < 0 {
				return -1, 0
			}
			continue
		default:
			if i = SkipScalar(b, i); i < 0 {
				return -1, 0
			}
		}
		for i = Space(b, i); b[i] == open.closer(); i = Space(b, i) {
			i++
			if open.depth--; open.depth == 0 {
				return i, deepest
			}
		}
		if b[i] != ',' {
			return -1, 0
		}
		i = Space(b, i+1)
		if open.closer() == '}' {
			i = skipKey(b, i)
		}
		if i < 0 {
			return -1, 0
		}
	}
}

// nesting is the arrays and objects that are open, a bit for each.
type nesting struct {
	objects []uint64
	depth   int
}

func (n *nesting) push(object bool) {
	at, bit := n.depth/64, uint64(1)<<(n.depth%64)
	if at == len(n.objects) {
		n.objects = append(n.objects, 0)
	}
	n.objects[at] &^= bit
	if object {
		n.objects[at] |= bit
	}
	n.depth++
}

// closer returns the bracket that ends the innermost.
func (n *nesting) closer() byte {
	last := n.depth - 1
	return ']' + byte(n.objects[last/64]>>(last%64)&1)*('}'-']')
}

// skipKey passes the name of a member, the colon and the space around it.
func skipKey(b []byte, i int) int {
	if b[i] != '"' {
		return -1
	}
	if i = skipString(b, i+1); i < 0 {
		return -1
	}
	if i = Space(b, i); b[i] != ':' {
		return -1
	}
	return Space(b, i+1)
}
