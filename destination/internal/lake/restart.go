package lake

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/google/uuid"
)

// restartKey is the table property that changes whenever somebody takes rows away
// together with their state: by a reset or a rollback. The next state of a sync that is
// running would cover those rows, too. So what it commits after that is refused.
const restartKey = "airbyte.restart"

// restart returns the update that makes running syncs start again.
func restart() table.Update {
	return table.NewSetPropertiesUpdate(iceberg.Properties{restartKey: uuid.NewString()})
}

// Reset removes all rows of the table, its state and refreshes that are under way, in one
// transaction. Older snapshots keep the rows. A table without rows and state stays as it
// is. What it says of failures is what Commit says.
func (t *Table) Reset(ctx context.Context) (Committed, error) {
	return replace(ctx, t, nil, nil, withoutState, []table.Update{restart()})
}

// RollBack returns the updates that set the main branch back to an earlier snapshot, and the
// state that the table has then: that of the snapshot's rows, nil if they have none or
// nobody knows it any more.
func RollBack(ctx context.Context, base *table.Table, to *table.Snapshot) ([]table.Update, json.RawMessage, error) {
	updates := []table.Update{moveTo(base.Metadata(), table.MainBranch, to.SnapshotID), restart()}
	found, err := findState(ctx, base, table.MainBranch, to)
	switch {
	case err != nil && !errors.Is(err, ErrStateUnknown):
		return nil, nil, err
	case found.state == nil || found.old: // an old property may be the state of later rows
		return append(updates, setState(table.MainBranch, to, json.RawMessage(noState))), nil, nil
	}
	return append(updates, setState(table.MainBranch, to, found.state)), found.state, nil
}
