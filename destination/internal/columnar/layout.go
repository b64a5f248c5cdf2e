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
	schema *arrow.Schema // of the batches, with PARQUET:field_id metadata on every field
}

// Bind gives the plan's fields their columns in a table: ids has the ids of
// those by the ids in p.Wanted. It is an error when one is missing or has another
// type, or when the table requires what records may leave out.
func (p *Plan) Bind(table *iceberg.Schema, ids map[int]int) (*Layout, error) {
	b := binder{ids: ids}
	fields, err := b.fields(p.fields, table.Fields(), "")
	if err != nil {
		return nil, fmt.Errorf("binding stream %s to its table: %w", p.Stream, err)
	}
	return &Layout{plan: p, fields: fields, schema: arrow.NewSchema(arrowFields(fields), nil)}, nil
}

type binder struct{ ids map[int]int }

// fields returns fields with the columns of one level.
func (b binder) fields(fields []field, columns []iceberg.NestedField, path string) ([]field, error) {
	at := make(map[int]int, len(columns))
	for i, c := range columns {
		at[c.ID] = i
	}
	bound := slices.Clone(fields)
	taken := make([]bool, len(columns))
	for i := range bound {
		f := &bound[i]
		c, ok := at[b.ids[f.id]]
		if !ok {
			return nil, fmt.Errorf("the table has no column for %s", path+f.name)
		}
		taken[c] = true
		if err := b.bind(f, columns[c], path+f.name); err != nil {
			return nil, err
		}
	}
	for i, c := range columns {
		if c.Required && !taken[i] {
			return nil, fmt.Errorf("the table requires column %s, which the stream does not have", path+c.Name)
		}
	}
	return bound, nil
}

func (b binder) bind(f *field, c iceberg.NestedField, path string) (err error) {
	if c.Required && !f.key {
		return fmt.Errorf("the table requires column %s, which records may leave out", path)
	}
	f.id, f.column = c.ID, c.Name
	switch t := c.Type.(type) {
	case *iceberg.StructType:
		if f.kind == kindStruct {
			f.fields, err = b.fields(f.fields, t.FieldList, path+".")
			return err
		}
	case *iceberg.ListType:
		if f.kind == kindList {
			element := *f.element
			f.element = &element
			return b.bind(&element, t.ElementField(), path+".element")
		}
	default:
		if f.kind == kindStruct || f.kind == kindList {
			break
		}
		for _, k := range f.kind.columnKinds() {
			if t.Equals(k.icebergType()) {
				f.kind = k
				return nil
			}
		}
	}
	return fmt.Errorf("column %s of the table is %s, the stream needs %s", path, c.Type, f.kind)
}

// columnKinds are the kinds of columns that values of a kind can be kept in: a number
// has the column that the table has for it.
func (k kind) columnKinds() []kind {
	if k == kindDouble || k == kindDecimal {
		return []kind{kindDouble, kindDecimal}
	}
	return []kind{k}
}

func (k kind) String() string {
	switch k {
	case kindStruct:
		return "a struct"
	case kindList:
		return "a list"
	}
	return k.icebergType().String()
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
