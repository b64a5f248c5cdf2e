package parquetfile

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/schema"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// IndexByID finds the field with a field id, -1 being none.
func IndexByID(fields []arrow.Field, id int) int {
	return slices.IndexFunc(fields, func(f arrow.Field) bool {
		text, ok := f.Metadata.GetValue("PARQUET:field_id")
		return ok && text == strconv.Itoa(id)
	})
}

// nameColumns gives field ids to the columns of a file that has none, as files have that
// were written for no table and added to one. The table's name mapping says which column
// a name means. A table without one has its columns' own names.
func nameColumns(file *metadata.FileMetaData, of table.Metadata) error {
	elements := file.FileMetaData.Schema
	for _, e := range elements {
		if e.IsSetFieldID() && e.GetFieldID() >= 0 {
			return nil
		}
	}
	mapping := of.NameMapping()
	if mapping == nil {
		mapping = of.CurrentSchema().NameMapping()
	}
	at := 0 // among the elements, which are the nodes in the order in which they are visited
	var visit func(node schema.Node, found *iceberg.MappedField, within []iceberg.MappedField)
	visit = func(node schema.Node, found *iceberg.MappedField, within []iceberg.MappedField) {
		if found != nil && found.FieldID != nil {
			id := int32(*found.FieldID)
			elements[at].FieldID, within = &id, found.Fields
		}
		at++
		group, ok := node.(*schema.GroupNode)
		for i := 0; ok && i < group.NumFields(); i++ {
			child := group.Field(i)
			if name := mappedName(group, child, i); name != "" {
				visit(child, mappedField(within, name), nil)
			} else {
				visit(child, nil, within)
			}
		}
	}
	visit(file.Schema.Root(), nil, mapping)
	root, err := schema.FromParquet(elements)
	if err != nil {
		return fmt.Errorf("naming its columns: %w", err)
	}
	file.Schema = schema.NewSchema(root.(*schema.GroupNode))
	return nil
}

// mappedName is the name that a mapping has for child number i of a group. It has none
// for the group that repeats what a list or a map contains.
func mappedName(group *schema.GroupNode, child schema.Node, i int) string {
	list, dictionary := schema.ConvertedTypes.List, schema.ConvertedTypes.Map
	repeats, ok := child.(*schema.GroupNode)
	switch {
	case group.ConvertedType() == dictionary, group.ConvertedType() == list && ok && repeats.NumFields() == 1:
		return ""
	case group.ConvertedType() == list: // of the old form, without such a group
		return "element"
	case group.Parent() != nil && group.Parent().ConvertedType() == list && group.RepetitionType() == parquet.Repetitions.Repeated && group.NumFields() == 1:
		return "element"
	case group.Parent() != nil && group.Parent().ConvertedType() == dictionary:
		return [...]string{"key", "value"}[min(i, 1)]
	}
	return child.Name()
}

func mappedField(fields []iceberg.MappedField, name string) *iceberg.MappedField {
	i := slices.IndexFunc(fields, func(f iceberg.MappedField) bool { return slices.Contains(f.Names, name) })
	if i < 0 {
		return nil
	}
	return &fields[i]
}
