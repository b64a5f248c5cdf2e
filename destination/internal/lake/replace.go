package lake

import (
	"context"
	"encoding/json"

	"github.com/apache/iceberg-go/table"
)

// Replace swaps all rows of the table for the staged ones, in one transaction:
// readers see the old rows until they see the new ones. With nothing staged it
// empties the table. What it says of failures is what Commit says.
func (t *Table) Replace(ctx context.Context, staged []*Staged, state json.RawMessage) error {
	files := stagedFiles(staged)
	u := newUpsert(t, files) // rows of one key can be staged here too
	return t.transact(ctx, files, state, func(ctx context.Context, base *table.Table) (*change, error) {
		c := &change{operation: table.OpOverwrite}
		set, err := t.live(base, u.manifests)
		if err != nil {
			return c, err
		}
		for _, f := range set.files {
			c.drop(f.data, f.manifest)
		}
		for _, d := range set.deletes {
			c.drop(d.data, d.manifest)
		}
		return c, u.apply(ctx, c, base, nil)
	})
}
