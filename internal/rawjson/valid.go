package rawjson

import "unicode/utf8"

// deepest is how far values may be nested.
const deepest = 1000

// Valid reports whether text is one JSON value, as json.Valid does, in valid UTF-8
// and nested no deeper than a thousand levels.
func Valid(b []byte) bool {
	i, ok := valid(b, space(b, 0), 0)
	return ok && space(b, i) == len(b) && utf8.Valid(b)
}

// valid returns where the value that begins at i ends.
func valid(b []byte, i, depth int) (end int, ok bool) {
	if i >= len(b) || depth > deepest {
		return i, false
	}
	switch c := b[i]; {
	case c == '"':
		return validText(b, i)
	case c == '{':
		return validMembers(b, i, depth)
	case c == '[':
		return validElements(b, i, depth)
	case c == '-' || isDigit(c):
		return validNumber(b, i)
	case c == 't':
		return validWord(b, i, "true")
	case c == 'f':
		return validWord(b, i, "false")
	case c == 'n':
		return validWord(b, i, "null")
	}
	return i, false
}

func validMembers(b []byte, i, depth int) (end int, ok bool) {
	i = space(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1, true
	}
	for {
		if i >= len(b) || b[i] != '"' {
			return i, false
		}
		if i, ok = validText(b, i); !ok {
			return i, false
		}
		i = space(b, i)
		if i >= len(b) || b[i] != ':' {
			return i, false
		}
		if i, ok = valid(b, space(b, i+1), depth+1); !ok {
			return i, false
		}
		i = space(b, i)
		if i >= len(b) || b[i] != ',' {
			return i + 1, i < len(b) && b[i] == '}'
		}
		i = space(b, i+1)
	}
}

func validElements(b []byte, i, depth int) (end int, ok bool) {
	i = space(b, i+1)
	if i < len(b) && b[i] == ']' {
		return i + 1, true
	}
	for {
		if i, ok = valid(b, i, depth+1); !ok {
			return i, false
		}
		i = space(b, i)
		if i >= len(b) || b[i] != ',' {
			return i + 1, i < len(b) && b[i] == ']'
		}
		i = space(b, i+1)
	}
}

// plain marks the bytes that stand for themselves in a string.
var plain = func() (marked [256]bool) {
	for c := range marked {
		marked[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return marked
}()

func validText(b []byte, i int) (end int, ok bool) {
	for i++; i < len(b); i++ {
		if plain[b[i]] {
			continue
		}
		switch b[i] {
		case '"':
			return i + 1, true
		case '\\':
			i++
			if i >= len(b) {
				return i, false
			}
			switch b[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				for range 4 {
					if i++; i >= len(b) || !isHex(b[i]) {
						return i, false
					}
				}
			default:
				return i, false
			}
		default: // a control character
			return i, false
		}
	}
	return i, false
}

func validNumber(b []byte, i int) (end int, ok bool) {
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i, ok = digits(b, i); !ok {
		return i, false
	}
	if i < len(b) && b[i] == '.' {
		if i, ok = digits(b, i+1); !ok {
			return i, false
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return digits(b, i)
	}
	return i, true
}

// digits skips at least one.
func digits(b []byte, i int) (end int, ok bool) {
	for begin := i; ; i++ {
		if i >= len(b) || !isDigit(b[i]) {
			return i, i > begin
		}
	}
}

func validWord(b []byte, i int, word string) (end int, ok bool) {
	end = i + len(word)
	return end, end <= len(b) && string(b[i:end]) == word
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }
