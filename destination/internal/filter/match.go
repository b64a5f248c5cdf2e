package filter

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/iceberg-go"
)

// Matcher is a filter of the rows of a file, or of batches with the same columns.
type Matcher struct{ conditions []matchCondition }

type matchCondition struct {
	boundCondition
	at []int // of the column and what it is in; nil: the file does not have it
}

// In finds the columns of the filter among those of a file: by field id, or by name where
// a file has no ids. A column that the file does not have is null in all its rows.
func (b *Bound) In(schema *arrow.Schema) (*Matcher, error) {
	m := &Matcher{}
	for _, c := range b.conditions {
		found := matchCondition{boundCondition: c}
		fields := schema.Fields()
		for i, column := range c.path {
			at := indexOf(fields, column)
			if at < 0 {
				if column.InitialDefault != nil {
					return nil, fmt.Errorf("filtering by column %s: a file does not have it, and its default is not null", c.name())
				}
				found.at = nil
				break
			}
			found.at = append(found.at, at)
			if i == len(c.path)-1 {
				if !c.isUnary() && !c.value.comparesWith(fields[at].Type) {
					return nil, fmt.Errorf("filtering by column %s, which is %s: a file has it as %s", c.name(), column.Type, fields[at].Type)
				}
				break
			}
			object, ok := fields[at].Type.(*arrow.StructType)
			if !ok {
				return nil, fmt.Errorf("filtering by column %s: a file has %s as %s", c.name(), column.Name, fields[at].Type)
			}
			fields = object.Fields()
		}
		m.conditions = append(m.conditions, found)
	}
	return m, nil
}

func indexOf(fields []arrow.Field, column iceberg.NestedField) int {
	return slices.IndexFunc(fields, func(f arrow.Field) bool {
		if id, ok := f.Metadata.GetValue("PARQUET:field_id"); ok {
			return id == strconv.Itoa(column.ID)
		}
		return f.Name == column.Name
	})
}

// Matches reports whether a row is one that the filter means. Its batch must have the
// columns that In was told of.
func (m *Matcher) Matches(batch arrow.RecordBatch, row int) bool {
	for i := range m.conditions {
		if !m.conditions[i].holds(batch, row) {
			return false
		}
	}
	return true
}

func (c *matchCondition) holds(batch arrow.RecordBatch, row int) bool {
	null := c.at == nil
	var a arrow.Array
	for i, at := range c.at {
		if i == 0 {
			a = batch.Column(at)
		} else {
			a = a.(*array.Struct).Field(at)
		}
		if null = a.IsNull(row); null {
			break
		}
	}
	switch {
	case c.operator == isNull:
		return null
	case null:
		return false
	case c.operator == isNotNull:
		return true
	}
	order, ordered := c.value.compare(a, row)
	switch c.operator {
	case equal:
		return ordered && order == 0
	case notEqual:
		return !ordered || order != 0
	case less:
		return ordered && order < 0
	case lessOrEqual:
		return ordered && order <= 0
	case greater:
		return ordered && order > 0
	}
	return ordered && order >= 0
}

// comparesWith reports whether compare takes arrays of a type: the column's own, or one
// that it had before it was made wider.
func (v value) comparesWith(t arrow.DataType) bool {
	in := func(ids ...arrow.Type) bool { return slices.Contains(ids, t.ID()) }
	switch v.kind {
	case integers:
		return in(arrow.INT32, arrow.INT64)
	case doubles:
		return in(arrow.FLOAT32, arrow.FLOAT64)
	case decimals:
		d, ok := t.(arrow.DecimalType)
		scale := v.literal.(iceberg.TypedLiteral[iceberg.Decimal]).Value().Scale
		return ok && in(arrow.DECIMAL128) && int(d.GetScale()) == scale
	case texts:
		return in(arrow.STRING, arrow.LARGE_STRING)
	case booleans:
		return in(arrow.BOOL)
	case days:
		return in(arrow.DATE32)
	}
	return in(arrow.TIMESTAMP)
}

// compare orders the value in a row, which is not null, and the one of the filter. NaN has
// no order.
func (v value) compare(a arrow.Array, row int) (order int, ordered bool) {
	switch a := a.(type) {
	case *array.Int32:
		return cmp.Compare(int64(a.Value(row)), v.integer), true
	case *array.Int64:
		return cmp.Compare(a.Value(row), v.integer), true
	case *array.Float32:
		f := float64(a.Value(row))
		return cmp.Compare(f, v.double), !math.IsNaN(f)
	case *array.Float64:
		f := a.Value(row)
		return cmp.Compare(f, v.double), !math.IsNaN(f)
	case *array.Decimal128:
		return a.Value(row).BigInt().Cmp(v.decimal), true
	case *array.String:
		return cmp.Compare(a.Value(row), v.text), true
	case *array.LargeString:
		return cmp.Compare(a.Value(row), v.text), true
	case *array.Boolean:
		n := int64(0)
		if a.Value(row) {
			n = 1
		}
		return cmp.Compare(n, v.integer), true
	case *array.Date32:
		return cmp.Compare(int64(a.Value(row)), v.integer), true
	case *array.Timestamp:
		return compareTimes(int64(a.Value(row)), a.DataType().(*arrow.TimestampType).Unit, v.integer), true
	}
	return 0, false
}

// compareTimes orders a time in units of its own and microseconds.
func compareTimes(at int64, unit arrow.TimeUnit, micros int64) int {
	switch unit {
	case arrow.Second:
		return cmp.Or(cmp.Compare(at, floorDiv(micros, 1_000_000)), cmp.Compare(0, micros-floorDiv(micros, 1_000_000)*1_000_000))
	case arrow.Millisecond:
		return cmp.Or(cmp.Compare(at, floorDiv(micros, 1000)), cmp.Compare(0, micros-floorDiv(micros, 1000)*1000))
	case arrow.Nanosecond:
		return cmp.Or(cmp.Compare(floorDiv(at, 1000), micros), cmp.Compare(at-floorDiv(at, 1000)*1000, 0))
	}
	return cmp.Compare(at, micros)
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
