package terminal

import (
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Cut returns text that takes up at most width columns, with "…" for what is left out.
func Cut(text string, width int) string {
	if TextWidth(text) <= width {
		return text
	}
	columns := 1 // of the "…"
	for i, r := range text {
		if columns += runeWidth(r); columns > width {
			if width < 1 {
				return ""
			}
			return text[:i] + "…"
		}
	}
	return ""
}

// TextWidth is how many columns of a terminal text takes up: two for a character of
// East Asian scripts or an emoji, none for an accent that combines with the character
// before it.
func TextWidth(text string) (columns int) {
	for _, r := range text {
		columns += runeWidth(r)
	}
	return columns
}

func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// Number returns a number with a comma between thousands.
func Number(n int64) string {
	sign, digits := "", strconv.FormatInt(n, 10)
	if n < 0 {
		sign, digits = digits[:1], digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// Size returns a number of bytes in the unit that leaves at most three digits before
// the point.
func Size(bytes int64) string {
	if bytes < 1024 {
		return strconv.FormatInt(bytes, 10) + " B"
	}
	value, units := float64(bytes)/1024, "KMGTP"
	for value >= 999.95 && len(units) > 1 {
		value, units = value/1024, units[1:]
	}
	decimals := 1
	if value >= 99.95 {
		decimals = 0
	}
	return strconv.FormatFloat(value, 'f', decimals, 64) + " " + units[:1] + "iB"
}

// Counted returns a number with what it counts. A plural that ends in s loses it for one.
func Counted(n int64, plural string) string {
	if n == 1 {
		plural = strings.TrimSuffix(plural, "s")
	}
	return Number(n) + " " + plural
}
