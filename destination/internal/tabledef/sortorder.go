package tabledef

import (
	"fmt"
	"slices"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// changeOrder changes the sort order, if the settings have another one.
func (d Definition) changeOrder(meta table.Metadata) ([]table.Update, error) {
	if d.SortBy == nil {
		return nil, nil
	}
	wanted, err := d.sortFields(meta.CurrentSchema())
	if err != nil {
		return nil, err
	}
	same := func(order table.SortOrder) bool {
		var fields []table.SortField
		for _, f := range order.Fields() {
			fields = append(fields, f)
		}
		return slices.EqualFunc(fields, wanted, table.SortField.Equals)
	}
	if same(meta.SortOrder()) {
		return nil, nil
	}
	last := table.UnsortedSortOrderID
	for _, order := range meta.SortOrders() {
		if same(order) {
			return []table.Update{table.NewSetDefaultSortOrderUpdate(order.OrderID())}, nil
		}
		last = max(last, order.OrderID())
	}
	order, err := newOrder(last+1, wanted)
	if err != nil {
		return nil, fmt.Errorf("ordering the rows of table %s: %w", d, err)
	}
	return []table.Update{table.NewAddSortOrderUpdate(&order), table.NewSetDefaultSortOrderUpdate(-1)}, nil
}

func newOrder(id int, fields []table.SortField) (table.SortOrder, error) {
	if len(fields) == 0 {
		return table.UnsortedSortOrder, nil
	}
	return table.NewSortOrder(id, fields)
}

// sortFields are the fields that the settings sort by, as columns of a schema.
func (d Definition) sortFields(schema *iceberg.Schema) ([]table.SortField, error) {
	var fields []table.SortField
	for _, by := range d.SortBy {
		f, err := d.column(schema, by.Column)
		if err != nil {
			return nil, err
		}
		direction, nulls := by.direction()
		fields = append(fields, table.SortField{SourceIDs: []int{f.ID}, Transform: iceberg.IdentityTransform{}, Direction: direction, NullOrder: nulls})
	}
	return fields, nil
}
