package columns

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Names says how names of streams and properties become names of tables and
// columns.
type Names string

const (
	Lowercase Names = "lowercase" // [a-z0-9_]; the default
	Preserve  Names = "preserve"  // as they are, save what some engine cannot take
)

// MaxName is the longest name in bytes that every engine takes; Redshift is
// the strictest.
const MaxName = 127

// metadataColumns are the columns that the Iceberg specification and Spark
// keep for themselves.
var metadataColumns = []string{
	"_file", "_pos", "_deleted", "_spec_id", "_partition", "_row_id", "_last_updated_sequence_number",
	"_change_type", "_change_ordinal", "_commit_snapshot_id",
}

// Other returns the other choice.
func (n Names) Other() Names {
	if n == Preserve {
		return Lowercase
	}
	return Preserve
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
	return Suffixed(legal, name)
}

// columns returns the names of new columns for properties of one object, in the
// same order, and adds them to taken. Names that differ only in case count as
// the same, as they do for most engines; of those that would be the same, the
// property that needs no change keeps its name and the others get a suffix made
// from their own, as do those whose name is taken. So a name does not depend on
// the order of the properties.
func (n Names) columns(properties []string, topLevel bool, taken map[string]bool) []string {
	names := make([]string, len(properties))
	group := map[string]int{}
	for i, p := range properties {
		names[i] = n.column(p)
		group[foldCase(names[i])]++
	}
	var changed []int
	for i, p := range properties {
		key := foldCase(names[i])
		switch {
		case !usable(names[i]), topLevel && reserved(key), group[key] > 1 && p != key, taken[key]:
			changed = append(changed, i)
		default:
			taken[key] = true
		}
	}
	slices.SortFunc(changed, func(a, b int) int { return strings.Compare(properties[a], properties[b]) })
	for _, i := range changed {
		names[i] = unique(names[i], properties[i], taken)
	}
	return names
}

// column returns the name that a property asks for.
func (n Names) column(property string) string {
	return n.legal(property, func(r rune) bool { return r == ' ' || unicode.IsPrint(r) && !strings.ContainsRune(".\"`", r) })
}

// unique returns a name with a suffix made from the property's own that no
// other column has, and takes it.
func unique(name, property string, taken map[string]bool) string {
	for {
		suffixed := Suffixed(name, property)
		if key := foldCase(suffixed); !taken[key] {
			taken[key] = true
			return suffixed
		}
		property += "\x00" // somebody named a property after the suffix
	}
}

// foldCase returns what names that differ only in case have in common.
func foldCase(name string) string { return strings.ToLower(name) }

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

// usable reports whether a name is short enough and says anything at all.
func usable(name string) bool {
	return len(name) <= MaxName && strings.Trim(name, "_- ") != ""
}

// Suffixed makes a legal name unique to the original.
func Suffixed(legal, original string) string {
	sum := sha256.Sum256([]byte(original))
	suffix := "_" + hex.EncodeToString(sum[:4])
	if cut := MaxName - len(suffix); len(legal) > cut {
		for !utf8.RuneStart(legal[cut]) {
			cut--
		}
		legal = legal[:cut]
	}
	return legal + suffix
}
