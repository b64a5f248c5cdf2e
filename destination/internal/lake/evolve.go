package lake

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rowkeys"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
)

// evolve brings a table to its definition: its columns, then its partition spec,
// sort order and properties. A table that is nobody's becomes the stream's.
func (t *Table) evolve(ctx context.Context, loaded *table.Table) (*table.Table, error) {
	retry := t.retry()
	for {
		def, change, err := tabledef.Evolve(t.plan, t.opts.Settings, loaded)
		if err != nil {
			return nil, err
		}
		t.columns, t.keys = def.Columns, keyFieldsOf(def)
		if len(change.Updates) == 0 {
			return loaded, nil
		}
		_, _, err = t.cat.CommitTable(ctx, t.id, change.Requirements, change.Updates)
		if err != nil && !errors.Is(err, table.ErrCommitFailed) {
			return nil, fmt.Errorf("changing the columns of table %s: %w", t, err)
		}
		if err != nil {
			switch more, waitErr := retry.again(ctx); {
			case waitErr != nil:
				return nil, waitErr
			case !more:
				return nil, fmt.Errorf("changing the columns of table %s: other programs have been changing it for %s: %w", t, t.persistence, err)
			}
		}
		// Another process may have changed the columns too: look again.
		if loaded, err = t.cat.LoadTable(ctx, t.id); err != nil {
			return nil, fmt.Errorf("loading table %s: %w", t, err)
		}
	}
}

// keyFieldsOf are the columns that decide which of two rows of a key stays.
func keyFieldsOf(d tabledef.Definition) rowkeys.Fields {
	ids := map[string]int{}
	for _, w := range d.Plan.Wanted.Properties {
		ids[w.Name] = d.Columns.IDs[w.ID]
	}
	k := rowkeys.Fields{Cursor: rowkeys.NoField, Deleted: rowkeys.NoField}
	for _, property := range d.Plan.Key {
		k.Key = append(k.Key, ids[property])
	}
	if d.Plan.Cursor != "" {
		k.Cursor = ids[d.Plan.Cursor]
	}
	if d.Plan.Deleted != "" {
		k.Deleted = ids[d.Plan.Deleted]
	}
	return k
}
