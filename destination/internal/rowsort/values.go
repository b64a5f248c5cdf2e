package rowsort

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/iceberg-go"
)

// literals reads an array's values as Iceberg's, nil being null.
func literals(a arrow.Array) (func(int) iceberg.Literal, error) {
	var value func(int) iceberg.Literal
	switch a := a.(type) {
	case *array.Boolean:
		value = func(i int) iceberg.Literal { return iceberg.BoolLiteral(a.Value(i)) }
	case *array.Int32:
		value = func(i int) iceberg.Literal { return iceberg.Int32Literal(a.Value(i)) }
	case *array.Int64:
		value = func(i int) iceberg.Literal { return iceberg.Int64Literal(a.Value(i)) }
	case *array.Float32:
		value = func(i int) iceberg.Literal { return iceberg.Float32Literal(a.Value(i)) }
	case *array.Float64:
		value = func(i int) iceberg.Literal { return iceberg.Float64Literal(a.Value(i)) }
	case *array.Date32:
		value = func(i int) iceberg.Literal { return iceberg.DateLiteral(a.Value(i)) }
	case *array.Time64:
		value = func(i int) iceberg.Literal { return iceberg.TimeLiteral(a.Value(i)) }
	case *array.Timestamp:
		switch a.DataType().(*arrow.TimestampType).Unit {
		case arrow.Millisecond:
			value = func(i int) iceberg.Literal { return iceberg.TimestampLiteral(a.Value(i) * 1000) }
		case arrow.Microsecond:
			value = func(i int) iceberg.Literal { return iceberg.TimestampLiteral(a.Value(i)) }
		case arrow.Nanosecond:
			value = func(i int) iceberg.Literal { return iceberg.TimestampNsLiteral(a.Value(i)) }
		}
	case *array.Decimal128:
		scale := int(a.DataType().(*arrow.Decimal128Type).Scale)
		value = func(i int) iceberg.Literal { return iceberg.DecimalLiteral{Val: a.Value(i), Scale: scale} }
	case *array.String:
		value = func(i int) iceberg.Literal { return iceberg.StringLiteral(a.Value(i)) }
	case *array.LargeString:
		value = func(i int) iceberg.Literal { return iceberg.StringLiteral(a.Value(i)) }
	case *array.Binary:
		value = func(i int) iceberg.Literal { return iceberg.BinaryLiteral(a.Value(i)) }
	case *array.LargeBinary:
		value = func(i int) iceberg.Literal { return iceberg.BinaryLiteral(a.Value(i)) }
	case *array.FixedSizeBinary:
		value = func(i int) iceberg.Literal { return iceberg.FixedLiteral(a.Value(i)) }
	case array.ExtensionArray:
		if a.ExtensionType().ExtensionName() == "arrow.uuid" {
			storage := a.Storage().(*array.FixedSizeBinary)
			value = func(i int) iceberg.Literal { return iceberg.UUIDLiteral(storage.Value(i)) }
		}
	}
	if value == nil {
		return nil, fmt.Errorf("rows cannot be divided or ordered by values of type %s", a.DataType())
	}
	return func(i int) iceberg.Literal {
		if a.IsNull(i) {
			return nil
		}
		return value(i)
	}, nil
}

// appendOrdered appends bytes that have the order of the values of one type. The
// bytes of no value are the beginning of another's.
func appendOrdered(b []byte, v iceberg.Literal) ([]byte, error) {
	number := func(v int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(v)^1<<63) }
	switch v := v.(type) {
	case iceberg.BoolLiteral:
		if v {
			return append(b, 1), nil
		}
		return append(b, 0), nil
	case iceberg.Int32Literal:
		return binary.BigEndian.AppendUint32(b, uint32(v)^1<<31), nil
	case iceberg.Int64Literal:
		return number(int64(v)), nil
	case iceberg.Float32Literal:
		return binary.BigEndian.AppendUint64(b, OrderedFloat(float64(v))), nil
	case iceberg.Float64Literal:
		return binary.BigEndian.AppendUint64(b, OrderedFloat(float64(v))), nil
	case iceberg.DateLiteral:
		return binary.BigEndian.AppendUint32(b, uint32(v)^1<<31), nil
	case iceberg.TimeLiteral:
		return number(int64(v)), nil
	case iceberg.TimestampLiteral:
		return number(int64(v)), nil
	case iceberg.TimestampNsLiteral:
		return number(int64(v)), nil
	case iceberg.DecimalLiteral: // of one scale
		b = binary.BigEndian.AppendUint64(b, uint64(v.Val.HighBits())^1<<63)
		return binary.BigEndian.AppendUint64(b, v.Val.LowBits()), nil
	case iceberg.StringLiteral:
		return appendTerminated(b, string(v)), nil
	case iceberg.BinaryLiteral:
		return appendTerminated(b, string(v)), nil
	case iceberg.FixedLiteral:
		return append(b, v...), nil
	case iceberg.UUIDLiteral:
		return append(b, v[:]...), nil
	}
	return nil, fmt.Errorf("values of type %s have no order", v.Type())
}

// appendTerminated appends text and an end that is lower than any continuation: two
// zeros. A zero in the text is followed by 0xff.
func appendTerminated(b []byte, text string) []byte {
	for i := range len(text) {
		if b = append(b, text[i]); text[i] == 0 {
			b = append(b, 0xff)
		}
	}
	return append(b, 0, 0)
}

// OrderedFloat maps floats to integers of the same order.
func OrderedFloat(f float64) uint64 {
	bits := math.Float64bits(f + 0) // -0 is 0
	if bits>>63 == 1 {
		return ^bits
	}
	return bits | 1<<63
}
