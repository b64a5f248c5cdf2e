package lake

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// OrphansKey is the table property with the time of the last search for orphans. After a write
// there is one a day.
const OrphansKey = "airbyte.orphans-removed"

// checkIdentity guards against commits to another table of the same name, to one that
// has lost rows which the next state covers (restart.go), and to one that has lost
// columns: staged files carry field ids, and of an id that the table does not have
// readers see nothing.
func (c *fileCommit) checkIdentity(base *table.Table) error {
	t := c.t
	if base.Metadata().TableUUID() != t.uuid {
		return t.errorf(protocol.TransientError, nil, "Table %s was dropped and created again by another program during this sync. Start the sync again.", t)
	}
	if base.Properties()[restartKey] != t.opened.Properties()[restartKey] {
		return t.errorf(protocol.TransientError, nil, "Table %s was reset or rolled back during this sync, so nothing more was committed. Start again from the table's own state, which the state command prints. In an orchestrator, refresh the stream first.", t)
	}
	if len(c.files) == 0 || base.Schema().ID == t.schema.ID {
		return nil
	}
	for _, id := range slices.Sorted(maps.Values(t.columns.IDs)) {
		if _, there := base.Schema().FindFieldByID(id); !there {
			name, _ := t.schema.FindColumnName(id)
			return t.errorf(protocol.TransientError, nil, "Column %s of table %s was dropped by another program during this sync. Start the sync again. To keep the column dropped, remove its property from the catalog first.", name, t)
		}
	}
	return nil
}

// checkBranch guards against the loss of a branch whose rows have states that were
// echoed: neither a new branch nor the main one may go on without those rows.
func (c *fileCommit) checkBranch(base *table.Table) error {
	if c.needs == "" || base.SnapshotByName(c.needs) != nil {
		return nil
	}
	return c.t.errorf(protocol.TransientError, nil, "Branch %s of table %s, which held the rows of a refresh, was removed by another program. This sync left the main branch, which readers see, as it is. Start again from the table's own state, which the state command prints.", c.needs, c.t)
}

// checkStagedFiles guards against files that another process has removed as
// orphans, as it may when they are older than a day. A snapshot that names a
// missing file cannot be read. It comes last, because an attempt can take long.
func (c *fileCommit) checkStagedFiles() error {
	t := c.t
	if time.Since(t.since) < filenames.OrphanAge {
		return nil
	}
	for _, f := range c.files {
		opened, err := t.storage.Files.Open(f.data.FilePath())
		if errors.Is(err, fs.ErrNotExist) {
			return t.errorf(protocol.TransientError, err, "A file of table %s that this sync wrote more than a day ago and had not committed was removed as an orphan. Start the sync again, and do not run maintenance of the table beside it.", t)
		}
		if err != nil {
			return fmt.Errorf("looking for a staged file: %w", err)
		}
		if err := opened.Close(); err != nil {
			return fmt.Errorf("looking for a staged file: %w", err)
		}
	}
	return nil
}
