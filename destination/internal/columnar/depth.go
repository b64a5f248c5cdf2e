package columnar

import (
	"encoding/json"
	"fmt"
	"slices"
)

// maxLevels is how deep the objects and arrays of a schema may nest. A list is
// two levels of Parquet, and Arrow C++ reads no more than a hundred of those, nor
// does PyIceberg.
const maxLevels = 40

// checkDepth refuses properties whose columns would nest so deep that nobody
// could read them. It looks no deeper than that, so that nothing that follows a
// schema afterwards takes long.
func checkDepth(properties []property, o Options) error {
	for _, p := range properties {
		if nestsDeeper(p.schema, o, maxLevels) {
			return fmt.Errorf("the schema of property %q nests objects, arrays or alternatives more than %d levels deep, which other programs cannot read; "+
				"deselect the property, or declare its inner part in the catalog without properties and items, so that it is stored as JSON", p.name, maxLevels)
		}
	}
	return nil
}

// nestsDeeper reports whether the part of a schema that becomes columns nests deeper than
// so many levels.
func nestsDeeper(raw json.RawMessage, o Options, levels int) bool {
	s := parseSchema(raw)
	inner := s.options
	if o.Nested != JSON {
		for _, p := range s.properties {
			inner = append(inner, p.schema)
		}
	}
	var options []json.RawMessage
	switch {
	case json.Unmarshal(s.items, &options) == nil:
		inner = append(inner, options...)
	case len(s.items) > 0:
		inner = append(inner, s.items)
	}
	if levels == 0 {
		return len(inner) > 0
	}
	return slices.ContainsFunc(inner, func(raw json.RawMessage) bool { return nestsDeeper(raw, o, levels-1) })
}
