package filter

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/iceberg-go"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/scalar"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A value is what a column is compared with. Which field is set is what its kind says.
type value struct {
	kind    kind
	integer int64 // also days and microseconds; 0 or 1 of a boolean
	double  float64
	decimal *big.Int // times 10 to the power of the column's scale
	text    string
	literal iceberg.Literal
}

// A kind is how values are compared.
type kind int

const (
	integers kind = iota
	doubles
	decimals
	texts
	booleans
	days
	micros // since 1970, as days are
)

var decimalForm = regexp.MustCompile(`^([+-]?)([0-9]{1,40})(?:\.([0-9]{1,40}))?$`)

// readValue reads the value of a condition as one of a column's type.
func readValue(of iceberg.Type, c condition) (v value, err error) {
	text := []byte(c.value)
	must := func(be string) (value, error) {
		return v, protocol.ConfigError.Errorf(nil, "Column %s cannot be compared with %q: the value must be %s.", c.name(), c.value, be)
	}
	switch of := of.(type) {
	case iceberg.StringType:
		v.kind, v.text, v.literal = texts, c.value, iceberg.NewLiteral(c.value)
	case iceberg.BooleanType:
		yes, err := strconv.ParseBool(strings.ToLower(c.value))
		if err != nil || len(c.value) < len("true") {
			return must("true or false")
		}
		v.kind, v.literal = booleans, iceberg.NewLiteral(yes)
		if yes {
			v.integer = 1
		}
	case iceberg.Int32Type, iceberg.Int64Type:
		n, fit := scalar.ParseLong(text)
		if fit != scalar.Fits {
			return must("an integer, as in 12")
		}
		v.kind, v.integer, v.literal = integers, n, iceberg.NewLiteral(n)
	case iceberg.Float32Type, iceberg.Float64Type:
		f, fit := scalar.ParseDouble(text)
		if !fit.Kept() {
			return must("a number, as in 1.5")
		}
		if _, single := of.(iceberg.Float32Type); single {
			f = float64(float32(f))
		}
		v.kind, v.double, v.literal = doubles, f, iceberg.NewLiteral(f)
	case iceberg.DecimalType:
		unscaled, ok := readDecimal(c.value, of.Scale())
		if !ok {
			return must("a number with up to " + strconv.Itoa(of.Scale()) + " digits after the point")
		}
		v.kind, v.decimal = decimals, unscaled
		v.literal = iceberg.NewLiteral(iceberg.Decimal{Val: decimal128.FromBigInt(unscaled), Scale: of.Scale()})
	case iceberg.DateType:
		day, fit := scalar.ParseDate(text)
		if fit != scalar.Fits {
			return must("a date, as in 2026-01-31")
		}
		v.kind, v.integer, v.literal = days, int64(day), iceberg.NewLiteral(iceberg.Date(day))
	case iceberg.TimestampTzType, iceberg.TimestampType, iceberg.TimestampTzNsType, iceberg.TimestampNsType:
		zoned := of == iceberg.PrimitiveTypes.TimestampTz || of == iceberg.PrimitiveTypes.TimestampTzNs
		at, fit := scalar.ParseTimestamp(text, zoned)
		switch {
		case fit != scalar.Fits && zoned:
			return must("a time, as in 2026-01-31 or 2026-01-31T08:30:00Z")
		case fit != scalar.Fits:
			return must("a time without a zone, as in 2026-01-31 or 2026-01-31T08:30:00")
		}
		v.kind, v.integer, v.literal = micros, at, iceberg.NewLiteral(iceberg.Timestamp(at))
	default:
		what := "of type " + of.String()
		switch of.(type) {
		case *iceberg.StructType:
			what = "an object; name one of its columns, as in " + c.name() + ".x"
		case *iceberg.ListType, *iceberg.MapType:
			what = "a list or a map"
		}
		return v, protocol.ConfigError.Errorf(nil, "Column %s cannot be compared: it is %s. It can only be tested with is null or is not null.", c.name(), what)
	}
	return v, nil
}

// readDecimal returns a decimal number times 10 to the power of scale.
func readDecimal(text string, scale int) (*big.Int, bool) {
	found := decimalForm.FindStringSubmatch(text)
	if found == nil {
		return nil, false
	}
	fraction := strings.TrimRight(found[3], "0")
	if len(fraction) > scale {
		return nil, false
	}
	digits := strings.TrimLeft(found[2]+fraction+strings.Repeat("0", scale-len(fraction)), "0")
	if digits == "" {
		return new(big.Int), true
	}
	if len(digits) > 38 {
		return nil, false
	}
	return new(big.Int).SetString(strings.TrimPrefix(found[1], "+")+digits, 10)
}
