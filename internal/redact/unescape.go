package redact

import (
	"html"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// unescaped is a text without its escapes, and the origin of each of its bytes.
type unescaped struct {
	text     string
	from, to []int // byte i comes from this part of the original; nil: from itself
}

// span returns the part of the original that bytes of the text come from.
func (u unescaped) span(start, end int) span {
	if u.from == nil {
		return span{start, end}
	}
	return span{u.from[start], u.to[end-1]}
}

// An escape is a way to write bytes as others. Decode reads the escape at the start of
// text; n is its length, or 0 if there is none.
type escape struct {
	begins string // any of these bytes
	decode func(text string) (plain string, n int)
}

var escapes = []escape{
	{`\`, decodeBackslash},
	{"%+", decodePercent},
	{"&", decodeEntity},
}

// undo removes one layer of escapes of a kind. It returns false if there are none.
func (u unescaped) undo(e escape) (unescaped, bool) {
	first := strings.IndexAny(u.text, e.begins)
	if first < 0 {
		return u, false
	}
	inner := unescaped{from: make([]int, 0, len(u.text)), to: make([]int, 0, len(u.text))}
	var b strings.Builder
	b.Grow(len(u.text))
	found := false
	for i := 0; i < len(u.text); {
		plain, n := u.text[i:i+1], 1
		if i >= first && strings.IndexByte(e.begins, u.text[i]) >= 0 {
			if p, length := e.decode(u.text[i:]); length > 0 {
				plain, n, found = p, length, true
			}
		}
		b.WriteString(plain)
		s := u.span(i, i+n)
		for range len(plain) {
			inner.from, inner.to = append(inner.from, s.start), append(inner.to, s.end)
		}
		i += n
	}
	inner.text = b.String()
	return inner, found
}

// decodeBackslash reads an escape of JSON, or of Go, which has some more.
func decodeBackslash(text string) (string, int) {
	if len(text) < 2 {
		return "", 0
	}
	switch c := text[1]; c {
	case '"', '\'', '\\', '/', '`':
		return text[1:2], 2
	case 'a', 'b', 'f', 'n', 'r', 't', 'v':
		return string("\a\b\f\n\r\t\v"[strings.IndexByte("abfnrtv", c)]), 2
	case 'x':
		if n, ok := hexadecimal(text[2:], 2); ok {
			return string([]byte{byte(n)}), 4
		}
	case 'U':
		if n, ok := hexadecimal(text[2:], 8); ok {
			return string(rune(n)), 10
		}
	case 'u':
		n, ok := hexadecimal(text[2:], 4)
		if !ok {
			return "", 0
		}
		if utf16.IsSurrogate(rune(n)) && strings.HasPrefix(text[6:], `\u`) {
			if low, ok := hexadecimal(text[8:], 4); ok {
				if r := utf16.DecodeRune(rune(n), rune(low)); r != utf8.RuneError {
					return string(r), 12
				}
			}
		}
		return string(rune(n)), 6
	}
	return "", 0
}

// decodePercent reads an escape of a URL.
func decodePercent(text string) (string, int) {
	if text[0] == '+' {
		return " ", 1
	}
	if n, ok := hexadecimal(text[1:], 2); ok {
		return string([]byte{byte(n)}), 3
	}
	return "", 0
}

// decodeEntity reads a character reference of HTML.
func decodeEntity(text string) (string, int) {
	const longest = 12
	end := strings.IndexByte(text[:min(len(text), longest)], ';')
	if end < 0 {
		return "", 0
	}
	if plain := html.UnescapeString(text[:end+1]); plain != text[:end+1] {
		return plain, end + 1
	}
	return "", 0
}

// hexadecimal reads a number of so many digits at the start of a text.
func hexadecimal(text string, digits int) (uint32, bool) {
	if len(text) < digits {
		return 0, false
	}
	n, err := strconv.ParseUint(text[:digits], 16, 32)
	return uint32(n), err == nil
}
