package columnar

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName is the longest name in bytes that every engine takes; Redshift is
// the strictest.
const maxName = 127

// metadataColumns are the columns that the Iceberg specification and Spark
// keep for themselves.
var metadataColumns = []string{
	"_file", "_pos", "_deleted", "_spec_id", "_partition", "_row_id", "_last_updated_sequence_number",
	"_change_type", "_change_ordinal", "_commit_snapshot_id",
}

// Legal returns the name of a table or a namespace. It is never empty, and has
// no character with a meaning in a path or a catalog, nor one that a URL would
// escape: the name becomes part of the files' locations, which the library
// writes as URLs and other engines read as they stand.
func (n Names) Legal(name string) string {
	legal := n.legal(name, func(r rune) bool { return 'A' <= r && r <= 'Z' || r == '-' })
	if usable(legal) {
		return legal
	}
	return suffixed(legal, name)
}

// columns returns the names of the columns for the properties of one object,
// in the same order. Names that differ only in case count as the same, as they
// do for most engines; of those that would be the same, the property that
// needs no change keeps its name and the others get a suffix made from their
// own. So a column does not depend on the order of the properties, and never
// changes its meaning when a property is added.
func (n Names) columns(properties []string, topLevel bool) []string {
	legal := make([]string, len(properties))
	group := map[string]int{}
	for i, p := range properties {
		legal[i] = n.legal(p, func(r rune) bool { return r == ' ' || unicode.IsPrint(r) && !strings.ContainsRune(".\"`", r) })
		group[strings.ToLower(legal[i])]++
	}
	var changed []int
	taken := map[string]bool{}
	for i, p := range properties {
		key := strings.ToLower(legal[i])
		switch {
		case !usable(legal[i]), topLevel && reserved(key), group[key] > 1 && p != key:
			changed = append(changed, i)
		default:
			taken[key] = true
		}
	}
	slices.SortFunc(changed, func(a, b int) int { return strings.Compare(properties[a], properties[b]) })
	for _, i := range changed {
		stem, original := legal[i], properties[i]
		for legal[i] = suffixed(stem, original); taken[strings.ToLower(legal[i])]; legal[i] = suffixed(stem, original) {
			original += "\x00" // somebody named a property after the suffix
		}
		taken[strings.ToLower(legal[i])] = true
	}
	return legal
}

// legal replaces what may not be in a name; allowed is asked only when names
// are preserved.
func (n Names) legal(name string, allowed func(rune) bool) string {
	preserve := n == Preserve
	legal := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '_':
			return r
		case preserve && allowed(r):
			return r
		case !preserve && 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '_'
	}, name)
	if !preserve && legal != "" && legal[0] <= '9' {
		return "_" + legal // a leading digit would have to be quoted
	}
	return legal
}

func reserved(key string) bool {
	return strings.HasPrefix(key, "_airbyte_") || slices.Contains(metadataColumns, key)
}

// usable tells whether a name is short enough and says anything at all.
func usable(name string) bool {
	return len(name) <= maxName && strings.Trim(name, "_- ") != ""
}

// suffixed makes a legal name unique to the original.
func suffixed(legal, original string) string {
	sum := sha256.Sum256([]byte(original))
	suffix := "_" + hex.EncodeToString(sum[:4])
	if cut := maxName - len(suffix); len(legal) > cut {
		for !utf8.RuneStart(legal[cut]) {
			cut--
		}
		legal = legal[:cut]
	}
	return legal + suffix
}
