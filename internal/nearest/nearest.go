// Package nearest finds the name that a mistyped one was meant to be.
package nearest

import (
	"fmt"
	"strings"
)

// Name returns the one of the names that is most like a mistyped one, "" if none is
// much like it. Of names that are equally like it, it is the first.
func Name(typed string, names []string) string {
	best, least := "", min(1+len(typed)/4, max(0, len(typed)-1)) // more changes make another word of it
	for _, name := range names {
		if n := distance(strings.ToLower(typed), strings.ToLower(name)); n < least || n == least && best == "" {
			best, least = name, n
		}
	}
	return best
}

// DidYouMean names the one of several names that a mistyped one was probably meant to
// be: it returns " Did you mean …?", or "" if none is near.
func DidYouMean(typed string, names []string) string {
	near := Name(typed, names)
	if near == "" {
		return ""
	}
	return fmt.Sprintf(" Did you mean %q?", near)
}

// distance is how many bytes to insert, remove, replace or swap with their neighbour
// make one text of the other.
func distance(a, b string) int {
	var before, last []int // the rows of the table for a[:i-2] and a[:i-1]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replaced := last[j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			row[j] = min(last[j]+1, row[j-1]+1, replaced)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
