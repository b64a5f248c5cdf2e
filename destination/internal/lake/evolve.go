package lake

import (
	"context"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rowkeys"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
)

// evolve brings a table to its definition: its columns, then its partition spec,
// sort order and properties. A table that is nobody's becomes the stream's.
func (t *Table) evolve(ctx context.Context, loaded *table.Table) (*table.Table, error) {
	for {
		x := &transaction{t: t, base: loaded, propose: func(_ context.Context, base *table.Table, _ *retry) (proposal, error) {
			def, change, err := tabledef.Evolve(t.plan, t.opts.Settings, base)
			if err == nil {
				t.columns, t.keys = def.Columns, keyFieldsOf(def)
			}
			return proposal{requirements: change.Requirements, updates: change.Updates}, err
		}}
		if err := x.run(ctx); err != nil {
			return nil, err
		}
		if x.after == nil {
			return x.base, nil
		}
		loaded = nil // what it is now
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
