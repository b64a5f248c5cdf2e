package inspect

import (
	"encoding/csv"
	"errors"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/iceberg-go"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filter"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A Column is a column of a table, or of an object in it.
type Column struct {
	Name string                // of the cell
	path []iceberg.NestedField // the column, with what it is in, from the outside in
}

// AllColumns are the columns of a table.
func AllColumns(schema *iceberg.Schema) []Column {
	columns := make([]Column, schema.NumFields())
	for i, f := range schema.Fields() {
		columns[i] = Column{f.Name, []iceberg.NestedField{f}}
	}
	return columns
}

// ParseColumns reads a list of columns with commas between them. A column of an object
// is named with dots, as in score.state; a name with a comma is in double quotes. Its
// error is a config_error that says what is wrong, and the nearest column there is.
func ParseColumns(text string, schema *iceberg.Schema) ([]Column, error) {
	list := csv.NewReader(strings.NewReader(text))
	list.TrimLeadingSpace = true
	names, err := list.Read()
	if err != nil {
		return nil, protocol.ConfigError.Errorf(nil, "The columns %q cannot be read. Write them as in id,score.state; a name with a comma is in double quotes.", text)
	}
	var columns []Column
	for _, name := range names {
		name = strings.TrimSpace(name)
		if slices.ContainsFunc(columns, func(c Column) bool { return c.Name == name }) {
			return nil, protocol.ConfigError.Errorf(nil, "The columns %q name %s twice.", text, name)
		}
		c, err := ParseColumn(name, schema)
		if err != nil {
			return nil, err
		}
		columns = append(columns, c)
	}
	return columns, nil
}

// ParseColumn finds a column by its name, as [ParseColumns] does.
func ParseColumn(name string, schema *iceberg.Schema) (Column, error) {
	path, err := findColumn(schema.Fields(), name)
	if errors.Is(err, errNoColumn) {
		err = filter.UnknownColumn(name, schema)
	}
	return Column{name, path}, err
}

// Type is the type of the column's values.
func (c Column) Type() iceberg.Type { return c.path[len(c.path)-1].Type }

var errNoColumn = errors.New("no such column")

// findColumn finds a column by its name with dots. Names can have dots of their own: the
// longest name counts.
func findColumn(fields []iceberg.NestedField, name string) ([]iceberg.NestedField, error) {
	for end := len(name); end >= 0; end = strings.LastIndexByte(name[:end], '.') {
		at := slices.IndexFunc(fields, func(f iceberg.NestedField) bool { return f.Name == name[:end] })
		switch {
		case at < 0:
			continue
		case end == len(name):
			return fields[at : at+1], nil
		}
		object, ok := fields[at].Type.(*iceberg.StructType)
		if !ok {
			return nil, protocol.ConfigError.Errorf(nil, "Column %s has no columns in it, so %s cannot be shown. It is of type %s.", name[:end], name, Kind(fields[at].Type))
		}
		path, err := findColumn(object.FieldList, name[end+1:])
		if err == nil {
			path = append([]iceberg.NestedField{fields[at]}, path...)
		}
		return path, err
	}
	return nil, errNoColumn
}

// Kind is a type as a person says it.
func Kind(of iceberg.Type) string {
	switch of.(type) {
	case *iceberg.ListType:
		return "list"
	case *iceberg.MapType:
		return "map"
	case *iceberg.StructType:
		return "object"
	}
	return of.String()
}

// A columnReader shows the values of a Column in the rows of a file.
type columnReader struct {
	name  string
	depth int // how many objects the column is in
	outer cellReader
}

func (c Column) reader(in []arrow.Field, find finder) columnReader {
	outer := c.path[len(c.path)-1]
	for _, object := range slices.Backward(c.path[:len(c.path)-1]) {
		object.Type = &iceberg.StructType{FieldList: []iceberg.NestedField{outer}}
		outer = object
	}
	return columnReader{c.Name, len(c.path) - 1, cellReaders([]iceberg.NestedField{outer}, in, find)[0]}
}

func (c columnReader) value(columns []arrow.Array, i int) any {
	value := c.outer.in(columns, i)
	for range c.depth {
		object, ok := value.(Row)
		if !ok {
			return nil
		}
		value = object[0].Value
	}
	return value
}
