package lake

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/iceberg-go/table"

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

// keyFields are the columns that decide which of two rows of a key stays: field
// ids, noField where there is none.
type keyFields struct {
	key             []int
	cursor, deleted int
}

const noField = -1

func keyFieldsOf(d tabledef.Definition) keyFields {
	ids := map[string]int{}
	for _, w := range d.Plan.Wanted.Properties {
		ids[w.Name] = d.Columns.IDs[w.ID]
	}
	k := keyFields{cursor: noField, deleted: noField}
	for _, property := range d.Plan.Key {
		k.key = append(k.key, ids[property])
	}
	if d.Plan.Cursor != "" {
		k.cursor = ids[d.Plan.Cursor]
	}
	if d.Plan.Deleted != "" {
		k.deleted = ids[d.Plan.Deleted]
	}
	return k
}
