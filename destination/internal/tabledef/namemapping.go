package tabledef

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// extendNameMapping adds the columns that a schema has and the table's name mapping has not, as the specification asks
// of whoever changes the schema: files without field ids that are added later would be read without these columns. A name
// that the mapping has stays with its column, because files that are there have the values of that column under it. It
// returns nil if the table has no mapping or there is nothing to add.
// Source: https://iceberg.apache.org/spec/#column-projection.
func extendNameMapping(meta table.Metadata, schema *iceberg.Schema) (iceberg.Properties, error) {
	mapping := meta.NameMapping()
	if mapping == nil {
		return nil, nil
	}
	const root = -1                       // what the library takes for the parent of columns
	mapped := map[int][]string{root: nil} // the names within each field
	var note func(parent int, fields []iceberg.MappedField)
	note = func(parent int, fields []iceberg.MappedField) {
		for _, f := range fields {
			mapped[parent] = append(mapped[parent], f.Names...)
			if f.FieldID != nil {
				mapped[*f.FieldID] = nil
				note(*f.FieldID, f.Fields)
			}
		}
	}
	note(root, mapping)
	missing := map[int][]iceberg.NestedField{} // by the field that contains them
	var look func(parent int, fields []iceberg.NestedField)
	look = func(parent int, fields []iceberg.NestedField) {
		for _, f := range fields {
			if _, ok := mapped[f.ID]; ok {
				if nested, ok := f.Type.(iceberg.NestedType); ok {
					look(f.ID, nested.Fields())
				}
			} else if !slices.Contains(mapped[parent], f.Name) {
				missing[parent] = append(missing[parent], f)
			}
		}
	}
	look(root, schema.Fields())
	if len(missing) == 0 {
		return nil, nil
	}
	extended, err := iceberg.UpdateNameMapping(mapping, nil, missing)
	if err != nil {
		return nil, fmt.Errorf("adding columns to %s: %w", table.DefaultNameMappingKey, err)
	}
	text, err := json.Marshal(extended)
	return iceberg.Properties{table.DefaultNameMappingKey: string(text)}, err
}
