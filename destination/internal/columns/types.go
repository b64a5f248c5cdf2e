package columns

import (
	"fmt"
	"strings"

	"github.com/apache/iceberg-go"
)

// A fit says how well a column suits what a property sends.
type fit int

const (
	unfit fit = iota
	able      // it holds the values, once it is widened
	exact     // it is of the wanted type, or both are of numbers
)

// fits compares a column with a wanted one.
func (ev *evolver) fits(have iceberg.Type, id int, want iceberg.Type, wantID int) fit {
	switch have := have.(type) {
	case *iceberg.StructType:
		if _, ok := want.(*iceberg.StructType); ok {
			return exact
		}
		return unfit
	case *iceberg.ListType:
		if want, ok := want.(*iceberg.ListType); ok {
			return ev.fits(have.Element, have.ElementID, want.Element, want.ElementID)
		}
		return unfit
	case iceberg.StringType:
		holds := ev.mapping.holds[id]
		if have.Equals(want) && (holds == holdsUnknown || holds == ev.contentOf(wantID)) {
			return exact
		}
		return unfit
	}
	switch {
	case have.Equals(want), isNumber(have) && isNumber(want):
		return exact
	case widens(have, want), widens(want, have):
		return able
	}
	return unfit
}

// contentOf is what a wanted column of strings is to hold.
func (ev *evolver) contentOf(wantID int) string {
	if ev.want.JSON[wantID] {
		return holdsJSON
	}
	return holdsText
}

// numbers is the type of columns that hold numbers exactly.
var numbers = iceberg.DecimalTypeOf(Precision, Scale)

// The decimals that hold numbers.
const (
	Precision = 38
	Scale     = 9
)

// isNumber reports whether a column holds what JSON Schema calls a number.
func isNumber(t iceberg.Type) bool {
	switch t.(type) {
	case iceberg.Float32Type, iceberg.Float64Type:
		return true
	}
	return t.Equals(numbers) || widens(t, numbers)
}

// widened is the type of a column that takes wanted values and keeps those it has.
func widened(have, want iceberg.Type) iceberg.Type {
	switch {
	case widens(have, want):
		return want
	case !have.Equals(want) && isNumber(have) && isNumber(want):
		if widens(have, iceberg.PrimitiveTypes.Float64) {
			return iceberg.PrimitiveTypes.Float64
		}
		if widens(have, numbers) {
			return numbers
		}
	}
	return have
}

// widens reports whether every value of one type is a value of the other and
// Iceberg lets a column change so.
func widens(from, to iceberg.Type) bool {
	switch from := from.(type) {
	case iceberg.Int32Type:
		return to.Equals(iceberg.PrimitiveTypes.Int64)
	case iceberg.Float32Type:
		return to.Equals(iceberg.PrimitiveTypes.Float64)
	case iceberg.DecimalType:
		to, ok := to.(iceberg.DecimalType)
		return ok && from.Scale() == to.Scale() && from.Precision() <= to.Precision()
	}
	return false
}

// describe names a type for people.
func describe(t iceberg.Type, holds string) string {
	switch t.(type) {
	case iceberg.StringType:
		if holds == holdsJSON {
			return "JSON text"
		}
	case *iceberg.StructType:
		return "objects"
	case *iceberg.ListType:
		return "lists"
	}
	return t.String()
}

// variantName is the n-th choice, from 1, of a name for a column that takes the
// values of another type.
func variantName(name string, t iceberg.Type, holds string, n int) string {
	suffix := "_" + t.Type()
	switch t := t.(type) {
	case iceberg.DecimalType:
		suffix = fmt.Sprintf("_decimal_%d_%d", t.Precision(), t.Scale())
	case iceberg.StringType:
		if holds == holdsJSON {
			suffix = "_json"
		}
	}
	if n > 1 {
		suffix += fmt.Sprintf("_%d", n)
	}
	return strings.ToValidUTF8(name[:min(len(name), MaxName-len(suffix))], "") + suffix
}
