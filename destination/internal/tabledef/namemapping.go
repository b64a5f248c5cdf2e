package tabledef

import (
	"encoding/json"
	"fmt"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// extendNameMapping adds the columns that a schema has and the table's name mapping has not, as the specification asks
// of whoever changes the schema: files without field ids that are added later would be read without these columns. It
// returns nil if the table has no mapping or one with all columns.
// Source: https://iceberg.apache.org/spec/#column-projection.
func extendNameMapping(meta table.Metadata, schema *iceberg.Schema) (iceberg.Properties, error) {
	mapping := meta.NameMapping()
	if mapping == nil {
		return nil, nil
	}
	mapped := map[int]bool{}
	var note func(fields []iceberg.MappedField)
	note = func(fields []iceberg.MappedField) {
		for _, f := range fields {
			if f.FieldID != nil {
				mapped[*f.FieldID] = true
			}
			note(f.Fields)
		}
	}
	note(mapping)
	missing := map[int][]iceberg.NestedField{} // by the field that contains them; the library takes -1 for none
	var look func(parent int, fields []iceberg.NestedField)
	look = func(parent int, fields []iceberg.NestedField) {
		for _, f := range fields {
			if !mapped[f.ID] {
				missing[parent] = append(missing[parent], f)
			} else if nested, ok := f.Type.(iceberg.NestedType); ok {
				look(f.ID, nested.Fields())
			}
		}
	}
	look(-1, schema.Fields())
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
