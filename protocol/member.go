package protocol

import "bytes"

// messageType returns the value of a line's first top-level member "type", or
// nil when the line is not an object that has one as a string. It looks no
// further than it must, checks nothing that it passes over, and allocates
// nothing. A name or value written with escapes is not recognised.
func messageType(line []byte) []byte {
	i := skipSpace(line, 0)
	if i == len(line) || line[i] != '{' {
		return nil
	}
	for {
		name, next, ok := stringAt(line, skipSpace(line, i+1))
		if !ok {
			return nil
		}
		i = skipSpace(line, next)
		if i == len(line) || line[i] != ':' {
			return nil
		}
		i = skipSpace(line, i+1)
		if string(name) == "type" {
			value, _, _ := stringAt(line, i)
			return value
		}
		next, _ = skipValue(line, i)
		i = skipSpace(line, next)
		if i == len(line) || line[i] != ',' {
			return nil
		}
	}
}

// beginsAsMessage tells a message that is broken further on from free text in
// braces: its first member is one of a message.
func beginsAsMessage(line []byte) bool {
	name, _, ok := stringAt(line, skipSpace(line, 1))
	if !ok {
		return false
	}
	switch string(name) {
	case "type", "record", "state", "trace", "log", "control", "spec", "catalog", "connectionStatus", "destination_catalog":
		return true
	}
	return false
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
}

// stringAt returns the JSON string at b[i], without its quotes and with its
// escapes, and where what follows it begins.
func stringAt(b []byte, i int) (s []byte, next int, ok bool) {
	if i >= len(b) || b[i] != '"' {
		return nil, i, false
	}
	start := i + 1
	for i = start; ; i++ {
		q := bytes.IndexByte(b[i:], '"')
		if q < 0 {
			return nil, len(b), false
		}
		i += q
		escapes := 0
		for b[i-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return b[start:i], i + 1, true
		}
	}
}

// skipValue returns where the JSON value at b[i] ends; not ok when b ends before.
func skipValue(b []byte, i int) (end int, ok bool) {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			if _, i, ok = stringAt(b, i); !ok || depth == 0 {
				return i, ok
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i, true
			}
			if depth--; depth == 0 {
				return i + 1, true
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i, true
			}
		}
		i++
	}
	return i, false
}
