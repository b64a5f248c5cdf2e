package report

import (
	"cmp"
	"context"
	"slices"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
)

const (
	// changesColumn is where a table says which values were changed on their way into it.
	changesColumn = "_airbyte_meta.changes"
	// readChanges is in how many rows of a table they are read.
	readChanges = 200_000
	// shownChanges is how many kinds of changes are shown, and countedChanges how many
	// are told apart.
	shownChanges, countedChanges = 30, 10_000
)

// Changes are the values of a table that were changed on their way into it.
type Changes struct {
	Read  int64    // rows that were looked at
	Rows  int64    // of those, rows with changed values
	All   bool     // these are all rows
	Kinds []Change // the most frequent first
	Other int64    // changes of other kinds
}

// A Change counts the values of a column that were changed for one reason.
type Change struct {
	Reason, Change, Field string
	Count                 int64
}

// changesOf reads the changes in the rows of the last commits, nil if the table has no
// column for them.
func changesOf(ctx context.Context, tbl *table.Table) (*Changes, error) {
	columns, err := inspect.ParseColumns(changesColumn, tbl.Schema())
	if err != nil {
		return nil, nil // a table of another program
	}
	found := &Changes{All: true}
	counts := map[Change]int64{}
	for row, err := range inspect.Select(ctx, tbl, inspect.Selection{Columns: columns, Limit: readChanges + 1, LastFirst: true}) {
		if err != nil {
			return nil, err
		}
		if found.Read == readChanges {
			found.All = false
			break
		}
		found.Read++
		list, _ := row[0].Value.([]any)
		if len(list) > 0 {
			found.Rows++
		}
		for _, entry := range list {
			c := changeOf(entry)
			if _, known := counts[c]; !known && len(counts) == countedChanges {
				found.Other++
				continue
			}
			counts[c]++
		}
	}
	for c, n := range counts {
		c.Count = n
		found.Kinds = append(found.Kinds, c)
	}
	slices.SortFunc(found.Kinds, func(a, b Change) int {
		return cmp.Or(-cmp.Compare(a.Count, b.Count), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Field, b.Field), cmp.Compare(a.Change, b.Change))
	})
	for _, c := range found.Kinds[min(len(found.Kinds), shownChanges):] {
		found.Other += c.Count
	}
	found.Kinds = found.Kinds[:min(len(found.Kinds), shownChanges)]
	return found, nil
}

// changeOf is an entry of the list, without what is not text in it.
func changeOf(entry any) (c Change) {
	object, _ := entry.(inspect.Row)
	for _, cell := range object {
		text, _ := cell.Value.(string)
		switch cell.Name {
		case "reason":
			c.Reason = text
		case "change":
			c.Change = text
		case "field":
			c.Field = text
		}
	}
	return c
}
