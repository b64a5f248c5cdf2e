package columnar

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/iceberg-go"
)

// Layout is a plan bound to a table: its columns carry the table's field ids.
type Layout struct {
	plan   *Plan
	fields []field
	schema *arrow.Schema
}

// Arrow returns the schema of the batches, with PARQUET:field_id metadata on
// every field.
func (l *Layout) Arrow() *arrow.Schema { return l.schema }

// Bind finds the plan's columns in a table, by name at every level. It is an
// error when one is missing or has another type, or when the table requires
// what records may leave out; the table must have been evolved to p.Schema
// before.
func (p *Plan) Bind(table *iceberg.Schema) (*Layout, error) {
	fields, err := bind(p.fields, table.Fields(), "")
	if err != nil {
		return nil, fmt.Errorf("binding stream %s to its table: %w", p.Stream, err)
	}
	return &Layout{plan: p, fields: fields, schema: arrow.NewSchema(arrowFields(fields), nil)}, nil
}

// bind returns fields with the ids of the table's columns.
func bind(fields []field, columns []iceberg.NestedField, path string) ([]field, error) {
	bound := slices.Clone(fields)
	for i := range bound {
		f := &bound[i]
		at := slices.IndexFunc(columns, func(c iceberg.NestedField) bool { return c.Name == f.column })
		if at < 0 {
			return nil, fmt.Errorf("the table has no column %s", path+f.column)
		}
		if err := f.bindTo(columns[at], path+f.column); err != nil {
			return nil, err
		}
	}
	for _, c := range columns {
		if c.Required && !slices.ContainsFunc(bound, func(f field) bool { return f.column == c.Name }) {
			return nil, fmt.Errorf("the table requires column %s, which the stream does not have", path+c.Name)
		}
	}
	return bound, nil
}

func (f *field) bindTo(c iceberg.NestedField, path string) (err error) {
	if c.Required && !f.key {
		return fmt.Errorf("the table requires column %s, which records may leave out", path)
	}
	f.id = c.ID
	switch t := c.Type.(type) {
	case *iceberg.StructType:
		if f.kind == kindStruct {
			f.fields, err = bind(f.fields, t.FieldList, path+".")
			return err
		}
	case *iceberg.ListType:
		if f.kind == kindList {
			element := *f.element
			f.element = &element
			return element.bindTo(t.ElementField(), path+".element")
		}
	default:
		if f.kind != kindStruct && f.kind != kindList && t.Equals(f.icebergType(nil)) {
			return nil
		}
	}
	return fmt.Errorf("column %s of the table is %s, the stream needs %s", path, c.Type, f.typeName())
}

func (f *field) typeName() string {
	switch f.kind {
	case kindStruct:
		return "a struct"
	case kindList:
		return "a list"
	}
	return f.icebergType(nil).String()
}

func arrowFields(fields []field) []arrow.Field {
	list := make([]arrow.Field, len(fields))
	for i := range fields {
		list[i] = fields[i].arrowField()
	}
	return list
}

func (f *field) arrowField() arrow.Field {
	return arrow.Field{
		Name: f.column, Type: f.arrowType(), Nullable: !f.key,
		Metadata: arrow.NewMetadata([]string{"PARQUET:field_id"}, []string{strconv.Itoa(f.id)}),
	}
}

func (f *field) arrowType() arrow.DataType {
	switch f.kind {
	case kindBoolean:
		return arrow.FixedWidthTypes.Boolean
	case kindLong:
		return arrow.PrimitiveTypes.Int64
	case kindDouble:
		return arrow.PrimitiveTypes.Float64
	case kindDecimal:
		return &arrow.Decimal128Type{Precision: decimalPrecision, Scale: decimalScale}
	case kindDate:
		return arrow.FixedWidthTypes.Date32
	case kindTimestamp:
		return &arrow.TimestampType{Unit: arrow.Microsecond}
	case kindTimestampTZ:
		return &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	case kindStruct:
		return arrow.StructOf(arrowFields(f.fields)...)
	case kindList:
		return arrow.ListOfField(f.element.arrowField())
	case kindJSON, kindString:
		return arrow.BinaryTypes.String
	}
	panic(fmt.Sprintf("columnar: kind %d has no Arrow type", f.kind))
}
