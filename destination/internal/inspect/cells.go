package inspect

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/iceberg-go"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
)

// Row is one row of a table. Its values are what JSON can hold: strings,
// booleans, json.Number, nil, []any, and Row for structs. Times are RFC 3339,
// in UTC where the column has a zone.
type Row []Cell

// Cell is a named value.
type Cell struct {
	Name  string
	Value any
}

// MarshalJSON writes an object with the columns in the table's order.
func (r Row) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false) // text stays as it is; whoever wants it escaped does so
	b.WriteByte('{')
	for i, c := range r {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := out.Encode(c.Name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := out.Encode(c.Value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// A cellReader shows the values of a table's column in the rows of a file,
// which may have it under another name, as a narrower type, or not at all.
type cellReader struct {
	column  iceberg.NestedField
	at      int          // among the columns or fields of the file, -1 if it has none
	fields  []cellReader // of a struct; key and value of a map
	element *cellReader  // of a list; the entry of a map
}

// hasAll reports whether a file has all values of columns that are not null. It has not
// if a column that it lacks has a default.
func hasAll(r *parquetfile.Reader, columns []iceberg.NestedField) (bool, error) {
	schema, err := r.Schema()
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(cellReaders(columns, schema.Fields(), byFieldID), cellReader.defaults), nil
}

// defaults reports whether a value that the file lacks is not null.
func (c cellReader) defaults() bool {
	return c.at < 0 && c.column.InitialDefault != nil || slices.ContainsFunc(c.fields, cellReader.defaults) || c.element != nil && c.element.defaults()
}

// A finder finds a column among those of a file, -1 being none. i is its place in the
// table.
type finder func(in []arrow.Field, column iceberg.NestedField, i int) int

func byFieldID(in []arrow.Field, column iceberg.NestedField, _ int) int {
	return parquetfile.IndexByID(in, column.ID)
}

func byName(in []arrow.Field, column iceberg.NestedField, _ int) int {
	return slices.IndexFunc(in, func(f arrow.Field) bool { return f.Name == column.Name })
}

func byPosition(_ []arrow.Field, _ iceberg.NestedField, i int) int { return i }

func cellReaders(columns []iceberg.NestedField, in []arrow.Field, find finder) []cellReader {
	found := make([]cellReader, len(columns))
	for i, column := range columns {
		at := find(in, column, i)
		if at < 0 {
			found[i] = cellReader{column: column, at: -1}
			continue
		}
		found[i] = newCellReader(column, in[at].Type, find)
		found[i].at = at
	}
	return found
}

func newCellReader(column iceberg.NestedField, in arrow.DataType, find finder) cellReader {
	c := cellReader{column: column}
	switch t := column.Type.(type) {
	case *iceberg.StructType:
		if in, ok := in.(*arrow.StructType); ok {
			c.fields = cellReaders(t.FieldList, in.Fields(), find)
		}
	case *iceberg.ListType:
		if in, ok := in.(arrow.ListLikeType); ok {
			element := newCellReader(t.ElementField(), in.Elem(), find)
			c.element = &element
		}
	case *iceberg.MapType:
		if in, ok := in.(*arrow.MapType); ok {
			entry := cellReader{fields: cellReaders([]iceberg.NestedField{t.KeyField(), t.ValueField()}, in.Elem().(*arrow.StructType).Fields(), byPosition)}
			c.element = &entry
		}
	}
	return c
}

func rowOf(columns []cellReader, in []arrow.Array, i int) Row {
	row := make(Row, len(columns))
	for n, c := range columns {
		row[n] = Cell{Name: c.column.Name, Value: c.in(in, i)}
	}
	return row
}

// in is the value in a row of the columns of a file.
func (c cellReader) in(columns []arrow.Array, i int) any {
	if c.at < 0 {
		return nil
	}
	return c.value(columns[c.at], i)
}

func (c cellReader) value(a arrow.Array, i int) any {
	if a.IsNull(i) {
		return nil
	}
	switch a := a.(type) {
	case *array.String:
		return a.Value(i)
	case *array.LargeString:
		return a.Value(i)
	case *array.Boolean:
		return a.Value(i)
	case *array.Timestamp:
		t := a.Value(i).ToTime(a.DataType().(*arrow.TimestampType).Unit)
		if a.DataType().(*arrow.TimestampType).TimeZone == "" {
			return t.Format("2006-01-02T15:04:05.999999999")
		}
		return t.UTC().Format(time.RFC3339Nano)
	case *array.Struct:
		fields := make([]arrow.Array, a.NumField())
		for f := range fields {
			fields[f] = a.Field(f)
		}
		return rowOf(c.fields, fields, i)
	case array.ListLike:
		start, end := a.ValueOffsets(i)
		values := make([]any, 0, end-start)
		for j := start; j < end; j++ {
			values = append(values, c.element.value(a.ListValues(), int(j)))
		}
		return values
	}
	text := a.ValueStr(i)
	if f, ok := a.(*array.Float32); ok && c.column.Type.Equals(iceberg.PrimitiveTypes.Float64) {
		text = strconv.FormatFloat(float64(f.Value(i)), 'g', -1, 64)
	}
	// Numbers as they are, the rest (dates, times, binary) as strings. What is
	// not a JSON number, such as NaN, is a string too.
	if arrow.IsInteger(a.DataType().ID()) || arrow.IsFloating(a.DataType().ID()) || arrow.IsDecimal(a.DataType().ID()) {
		if number := json.Number(text); json.Valid([]byte(text)) {
			return number
		}
	}
	return text
}
