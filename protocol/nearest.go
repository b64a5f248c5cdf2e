package protocol

import (
	"fmt"
	"strings"
)

// DidYouMean names the one of several names that a wrong one was probably meant to be:
// it returns " Did you mean …?", or "" if none is near.
func DidYouMean(given string, names []string) string {
	if near := nearest(given, names); near != "" {
		return fmt.Sprintf(" Did you mean %q?", near)
	}
	return ""
}

// nearest returns the name from which given differs least, with at most a third of its
// letters wrong; else the first one that given begins; else "".
func nearest(given string, names []string) string {
	best, least := "", len(given)/3+1
	for _, name := range names {
		if d := distance(strings.ToLower(given), strings.ToLower(name)); d < least {
			best, least = name, d
		}
	}
	for _, name := range names {
		if best == "" && len(given) > 2 && strings.HasPrefix(strings.ToLower(name), strings.ToLower(given)) {
			best = name
		}
	}
	return best
}

// distance is how many bytes to insert, remove or replace, and how many neighbours to
// swap, to turn a into b.
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	twoBack, before, row := rows[0], rows[1], rows[2]
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		twoBack, before, row = before, row, twoBack
		row[0] = i + 1
		for j := range len(b) {
			replaced := before[j]
			if a[i] != b[j] {
				replaced++
			}
			row[j+1] = min(replaced, before[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], twoBack[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
