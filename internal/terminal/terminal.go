// Package terminal makes text from tables safe to print: a value must not look like
// something else at a terminal.
package terminal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// deceives reports whether a character can make text look like something else: it
// moves the cursor, changes colours, ends the line, or turns the direction of text.
func deceives(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp)
}

// Text returns text as it is, or quoted as in Go if it could deceive.
func Text(text string) string {
	if strings.ContainsFunc(text, deceives) {
		return strconv.Quote(text)
	}
	return text
}

// JSON returns a value as JSON on one line, with characters escaped that could
// deceive.
func JSON(value any) (string, error) {
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false)
	if err := out.Encode(value); err != nil {
		return "", err
	}
	var text strings.Builder
	for _, r := range strings.TrimSuffix(b.String(), "\n") {
		if deceives(r) { // none needs two units of UTF-16
			fmt.Fprintf(&text, `\u%04x`, r)
			continue
		}
		text.WriteRune(r)
	}
	return text.String(), nil
}

// OneLine returns text without what could end the line or control a terminal.
func OneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}
