package lake

import (
	"context"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
)

// RewriteFiles commits added, whose rows the table had in other files. stage says
// which files they replace in the table as it is. It may leave out some, whose
// files it then names as superseded.
func (t *Table) RewriteFiles(ctx context.Context, added []iceberg.DataFile, stage func(context.Context, *table.Table) (*snapshots.Change, error)) (Committed, error) {
	c := &fileCommit{t: t, branch: t.Branch()}
	for _, data := range added {
		c.files = append(c.files, &stagedFile{data: data})
	}
	return c.commitWithRetry(ctx, stage)
}
