package syncer

import (
	"time"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
)

// changed lists the tables whose visible rows the plan's commits have changed.
func (p *commitPlan) changed() (tables []*lake.Table) {
	for _, t := range p.tables {
		if t.changed {
			tables = append(tables, t.stream.Table)
		}
	}
	return tables
}

// reportCommit says what the commit of a table did, or that it failed: in metrics, in the
// log, since a sync may take hours, and to people. records are those of the source that it
// made durable.
func (r *run) reportCommit(t *tableCommit, did lake.Committed, err error, records int64) {
	r.config.Metrics.Committed(t.stream.Measured(), did, err)
	if err != nil {
		return
	}
	r.log.Info("committed", "table", t.stream.Table.String(), "rows", did.Rows, "files", did.Files, "bytes", did.Bytes,
		"snapshot", did.SnapshotID, "attempts", did.Attempts, "took", did.Duration.Round(time.Millisecond).String())
	progress := r.out.Progress()
	progress.Add("committed", records)
	if did.SnapshotID == 0 {
		return
	}
	progress.Add("commits", 1)
	progress.Add("files", did.Files)
	progress.Print("%s: committed %s in %s, %s", t.stream.Table, terminal.Counted(records, "records"), terminal.Counted(did.Files, "files"), terminal.Size(did.Bytes))
}
