// Package rawjson splits JSON values without decoding them, many times faster than
// encoding/json. It is for valid text. From other text it yields what it finds, or
// nothing, but never panics.
package rawjson

import (
	"bytes"
	"iter"
)

// Members yields the members of an object in order: each name as written between
// its quotes, with its escapes, and each value. If the text is not an object, it
// yields nothing. It looks no further than the last member that was asked for.
func Members(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		i := space(object, 0)
		if i == len(object) || object[i] != '{' {
			return
		}
		for {
			i = space(object, i+1)
			if i == len(object) || object[i] != '"' {
				return
			}
			end := text(object, i)
			if end > len(object) {
				return
			}
			name := object[i+1 : end-1]
			i = space(object, end)
			if i == len(object) || object[i] != ':' {
				return
			}
			i = space(object, i+1)
			end = value(object, i)
			if end == i || !yield(name, object[i:end:end]) {
				return
			}
			i = space(object, end)
			if i == len(object) || object[i] != ',' {
				return
			}
		}
	}
}

// Elements yields the elements of an array in order. If the text is not an array, it
// yields nothing.
func Elements(array []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		i := space(array, 0)
		if i == len(array) || array[i] != '[' {
			return
		}
		for {
			i = space(array, i+1)
			end := value(array, i)
			if end == i || !yield(array[i:end:end]) {
				return
			}
			i = space(array, end)
			if i == len(array) || array[i] != ',' {
				return
			}
		}
	}
}

// Complete reports whether the value that text begins with has an end.
func Complete(text []byte) bool { return value(text, 0) > 0 }

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
}

// text returns where the string that begins at i ends. If it has no end, the result
// is more than len(b).
func text(b []byte, i int) int {
	for i++; ; {
		quote := bytes.IndexByte(b[i:], '"')
		if quote < 0 {
			return len(b) + 1
		}
		i += quote
		slashes := 0
		for b[i-1-slashes] == '\\' {
			slashes++
		}
		i++
		if slashes%2 == 0 {
			return i
		}
	}
}

// structural marks the bytes that value must look at.
var structural = [256]bool{'"': true, '{': true, '}': true, '[': true, ']': true, ',': true, ' ': true, '\t': true, '\r': true, '\n': true}

// value returns where the value that begins at i ends, or i if it has no end.
func value(b []byte, i int) int {
	begin, depth := i, 0
	for i < len(b) {
		c := b[i]
		if !structural[c] {
			i++
			continue
		}
		switch c {
		case '"':
			if i = text(b, i); i > len(b) {
				return begin
			}
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		default:
			if depth == 0 {
				return i
			}
		}
		i++
	}
	if depth > 0 {
		return begin
	}
	return i
}
