package readers

import (
	"iter"
	"strings"
	"unicode"

	"github.com/apache/iceberg-go"
)

// A column is a column of a table, or what is in one: a field of an object, the
// elements of a list, the keys and values of a map.
type column struct {
	path     string // "a.b.element"
	name     string // "" of what is no field
	typ      iceberg.Type
	required bool
	objects  int  // how many objects it is in
	twin     bool // another field of its level has its name in another case
}

// walk yields all columns, each before what is in it.
func walk(schema *iceberg.Schema) iter.Seq[column] {
	return func(yield func(column) bool) { walkFields("", schema.Fields(), 0, yield) }
}

func walkFields(prefix string, fields []iceberg.NestedField, objects int, yield func(column) bool) bool {
	level := map[string]int{}
	for _, f := range fields {
		level[strings.ToLower(f.Name)]++
	}
	for _, f := range fields {
		c := column{path: prefix + f.Name, name: f.Name, typ: f.Type, required: f.Required, objects: objects, twin: level[strings.ToLower(f.Name)] > 1}
		if !yield(c) || !walkInto(c, yield) {
			return false
		}
	}
	return true
}

// walkInto yields what is in a column.
func walkInto(c column, yield func(column) bool) bool {
	part := func(name string, t iceberg.Type) bool {
		p := column{path: c.path + "." + name, typ: t, objects: c.objects}
		return yield(p) && walkInto(p, yield)
	}
	switch t := c.typ.(type) {
	case *iceberg.StructType:
		return walkFields(c.path+".", t.Fields(), c.objects+1, yield)
	case *iceberg.ListType:
		return part("element", t.Element)
	case *iceberg.MapType:
		return part("key", t.KeyType) && part("value", t.ValueType)
	}
	return true
}

func isTime(c column) bool {
	_, is := c.typ.(iceberg.TimeType)
	return is
}

func isUUID(c column) bool {
	_, is := c.typ.(iceberg.UUIDType)
	return is
}

func isFixed(c column) bool {
	_, is := c.typ.(iceberg.FixedType)
	return is
}

func isNanoseconds(c column) bool {
	switch c.typ.(type) {
	case iceberg.TimestampNsType, iceberg.TimestampTzNsType:
		return true
	}
	return false
}

func isListOfLists(c column) bool {
	list, is := c.typ.(*iceberg.ListType)
	if !is {
		return false
	}
	_, is = list.Element.(*iceberg.ListType)
	return is
}

// isDeep reports whether the column is the first object on its way that is in 15
// others.
func isDeep(c column) bool {
	_, object := c.typ.(*iceberg.StructType)
	return object && c.objects == 15
}

func isRequiredInObject(c column) bool { return c.required && c.objects > 0 }

func isCaseTwin(c column) bool { return c.twin }

func isSpecialInObject(c column) bool {
	return c.objects > 0 && strings.ContainsFunc(c.name, func(r rune) bool {
		return r != '_' && r != '.' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
}
