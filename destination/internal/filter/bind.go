package filter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/apache/iceberg-go"

	"github.com/ingest-connectors/whoop-iceberg/internal/nearest"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Bound is a filter of a table: it knows the columns, and has the values as their types.
type Bound struct{ conditions []boundCondition }

type boundCondition struct {
	condition
	path  []iceberg.NestedField // the column, with what it is in, from the outside in
	value value
}

func (c boundCondition) field() iceberg.NestedField { return c.path[len(c.path)-1] }

// Bind finds the columns of a filter in the schema of a table and reads the values. Its
// error is a config_error that names the column, and the nearest one there is.
func (f *Filter) Bind(schema *iceberg.Schema) (*Bound, error) {
	b := &Bound{}
	for _, c := range f.conditions {
		bound, err := bind(c, schema)
		if err != nil {
			return nil, err
		}
		b.conditions = append(b.conditions, bound)
	}
	return b, nil
}

func bind(c condition, schema *iceberg.Schema) (boundCondition, error) {
	bound := boundCondition{condition: c}
	fields := schema.Fields()
	for i, name := range c.column {
		at := slices.IndexFunc(fields, func(f iceberg.NestedField) bool { return f.Name == name })
		if at < 0 {
			return bound, UnknownColumn(c.name(), schema)
		}
		bound.path = append(bound.path, fields[at])
		fields = nil
		if object, ok := bound.path[i].Type.(*iceberg.StructType); ok {
			fields = object.FieldList
		}
	}
	if c.isUnary() {
		return bound, nil
	}
	var err error
	if bound.value, err = readValue(bound.field().Type, c); err != nil {
		return bound, err
	}
	if _, boolean := bound.field().Type.(iceberg.BooleanType); boolean && c.operator != equal && c.operator != notEqual {
		return bound, protocol.ConfigError.Errorf(nil, "Column %s is a boolean. Compare it with = or !=, not with %s.", c.name(), c.operator)
	}
	return bound, nil
}

// UnknownColumn is a config_error for a column that a table does not have. It names the
// nearest one there is.
func UnknownColumn(column string, schema *iceberg.Schema) error {
	var names []string
	var list func(fields []iceberg.NestedField, in string)
	list = func(fields []iceberg.NestedField, in string) {
		for _, f := range fields {
			names = append(names, in+f.Name)
			if object, ok := f.Type.(*iceberg.StructType); ok {
				list(object.FieldList, in+f.Name+".")
			}
		}
	}
	list(schema.Fields(), "")
	like := nearest.Name(column, names)
	if of := slices.IndexFunc(names, func(name string) bool { return strings.HasSuffix(name, "."+column) }); of >= 0 {
		like = names[of] // of an object that was left out
	}
	if like != "" {
		return protocol.ConfigError.Errorf(nil, "The table has no column %q. Did you mean %s?", column, like)
	}
	const most = 30
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("%d more", len(names)-most))
	}
	return protocol.ConfigError.Errorf(nil, "The table has no column %q. It has %s.", column, strings.Join(names, ", "))
}

// FieldIDs are the ids of the columns that are compared, for readers that read no others.
func (b *Bound) FieldIDs() []int {
	var ids []int
	for _, c := range b.conditions {
		if id := c.field().ID; !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Expression returns a filter of Iceberg's library for planning a scan: its PlanFiles leaves
// out files without rows that b matches. It is true of every such row, and maybe of others,
// because the library cannot express all conditions, such as those on columns of objects.
// It cannot select rows: reading a scan that has it ends with an error, because go.mod
// replaces the functions that this would need. A [Matcher] selects rows.
func (b *Bound) Expression() iceberg.BooleanExpression {
	var all iceberg.BooleanExpression = iceberg.AlwaysTrue{}
	for _, c := range b.conditions {
		if e := c.expression(); e != nil {
			all = iceberg.NewAnd(all, e)
		}
	}
	return all
}

func (c boundCondition) expression() iceberg.BooleanExpression {
	if _, simple := c.field().Type.(iceberg.PrimitiveType); !simple || len(c.path) > 1 || strings.Contains(c.name(), ".") {
		return nil
	}
	of := iceberg.Reference(c.name())
	switch c.operator {
	case isNull:
		return iceberg.IsNull(of)
	case isNotNull:
		return iceberg.NotNull(of)
	}
	return iceberg.LiteralPredicate(map[operator]iceberg.Operation{
		equal: iceberg.OpEQ, notEqual: iceberg.OpNEQ, less: iceberg.OpLT, lessOrEqual: iceberg.OpLTEQ, greater: iceberg.OpGT, greaterOrEqual: iceberg.OpGTEQ,
	}[c.operator], of, c.value.literal)
}
