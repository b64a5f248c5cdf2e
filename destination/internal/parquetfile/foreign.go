package parquetfile

import (
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/schema"
	"github.com/apache/iceberg-go"
)

// ForeignError is what a file of another program has that this one cannot take over.
type ForeignError struct{ Path, Has string }

func (e ForeignError) Error() string { return e.Path + " has " + e.Has }

// withoutArrowSchema has the columns read as Parquet describes them. Arrow's writers also
// store which Arrow types the values came from, such as dictionaries and large strings.
func withoutArrowSchema(in *file.Reader) {
	keys := &in.MetaData().FileMetaData.KeyValueMetadata
	for i, k := range *keys {
		if k.Key == "ARROW:schema" {
			*keys = slices.Delete(slices.Clone(*keys), i, i+1)
			return
		}
	}
}

// Known are the columns that the file's table has, and how Arrow has them. A file that was
// added to the table can have others.
func (r *Reader) Known() ([]int, *arrow.Schema, error) {
	all, err := r.Schema()
	if err != nil {
		return nil, nil, err
	}
	of := r.in.MetaData().Schema
	columns := slices.DeleteFunc(r.AllColumns(), func(c int) bool { return of.ColumnRoot(c).FieldID() < 0 })
	for _, c := range columns {
		if of.Column(c).SchemaNode().FieldID() < 0 {
			return nil, nil, ForeignError{r.path, fmt.Sprintf("a field %s, which the table does not have", of.Column(c).Path())}
		}
	}
	if err := r.CheckTimes(columns); err != nil {
		return nil, nil, err
	}
	fields := slices.DeleteFunc(all.Fields(), func(f arrow.Field) bool { return IndexByID([]arrow.Field{f}, -1) == 0 })
	meta := all.Metadata()
	return columns, arrow.NewSchema(fields, &meta), nil
}

// CheckTimes returns an error for columns of INT96. Such a timestamp can be of any year, and
// the library reads those before 1678 or after 2262 as others.
func (r *Reader) CheckTimes(columns []int) error {
	for _, c := range columns {
		if column := r.in.MetaData().Schema.Column(c); column.PhysicalType() == parquet.Types.Int96 {
			return ForeignError{r.path, fmt.Sprintf("timestamps of the old form INT96 in column %s", column.Path())}
		}
	}
	return nil
}

// CheckDefaults returns an error if the file lacks one of some columns and its rows have a
// default in it: [Reader.Columns] would take that for null.
func (r *Reader) CheckDefaults(fields []iceberg.NestedField) error {
	for _, f := range fields {
		if _, missing := r.Columns([]iceberg.NestedField{f}); missing && f.InitialDefault != nil {
			return ForeignError{r.path, fmt.Sprintf("no column %s, whose default is not null", f.Name)}
		}
	}
	return nil
}

// TimesOfOtherUnits lists the Parquet paths of the columns whose timestamps are in another
// unit than those of the table's schema. Their statistics are in that unit, too, and would be
// taken for bounds in the table's.
func (r *Reader) TimesOfOtherUnits(of *iceberg.Schema) []string {
	var paths []string
	columns := r.in.MetaData().Schema
	for c := range columns.NumColumns() {
		column := columns.Column(c)
		times, ok := column.LogicalType().(schema.TimestampLogicalType)
		if !ok {
			continue
		}
		unit := schema.TimeUnitMicros
		if f, known := of.FindFieldByID(int(column.SchemaNode().FieldID())); known {
			switch f.Type.(type) {
			case iceberg.TimestampNsType, iceberg.TimestampTzNsType:
				unit = schema.TimeUnitNanos
			}
		}
		if times.TimeUnit() != unit {
			paths = append(paths, column.Path())
		}
	}
	return paths
}
