// Package rollback sets a table back to an earlier snapshot of its main branch, with the
// state of that snapshot's rows.
package rollback

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/scalar"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Ancestors are the current snapshot of a table and those before it, the newest first, as
// far as they have not expired.
func Ancestors(tbl *table.Table) []*table.Snapshot {
	var all []*table.Snapshot
	for s := tbl.CurrentSnapshot(); s != nil; {
		all = append(all, s)
		if s.ParentSnapshotID == nil {
			break
		}
		s = tbl.SnapshotByID(*s.ParentSnapshotID)
	}
	return all
}

// Find finds the snapshot that a user means: the one with this id, or the one that was
// current at this time. It must be the current one or an ancestor of it.
func Find(tbl *table.Table, to string) (*table.Snapshot, error) {
	ancestors := Ancestors(tbl)
	refuse := func(format string, args ...any) error {
		return &protocol.Error{Kind: protocol.ConfigError, Message: fmt.Sprintf(format, args...) + " " + choice(ancestors)}
	}
	name := strings.Join(tbl.Identifier(), ".")
	if id, err := strconv.ParseInt(to, 10, 64); err == nil {
		at := slices.IndexFunc(ancestors, func(s *table.Snapshot) bool { return s.SnapshotID == id })
		switch {
		case at >= 0:
			return ancestors[at], nil
		case tbl.SnapshotByID(id) != nil:
			return nil, refuse("Snapshot %d of table %s is not an ancestor of the current one: it is on another branch, or the table was rolled back since.", id, name)
		}
		return nil, refuse("Table %s has no snapshot %d: it has expired, or it is of another table.", name, id)
	}
	micros, fit := scalar.ParseTimestamp([]byte(to), true)
	if fit != scalar.Fits {
		return nil, refuse("--to is %q. It must be the id of a snapshot, or a time, as in 2026-01-31T08:30:00Z.", to)
	}
	at := slices.IndexFunc(ancestors, func(s *table.Snapshot) bool { return s.TimestampMs <= time.UnixMicro(micros).UnixMilli() })
	if at < 0 {
		return nil, refuse("Table %s has no snapshot from before %s any more.", name, time.UnixMicro(micros).UTC().Format(time.RFC3339))
	}
	return ancestors[at], nil
}

// shown is how many snapshots an error names.
const shown = 10

// choice says what there is.
func choice(ancestors []*table.Snapshot) string {
	if len(ancestors) == 0 {
		return "It has no snapshot."
	}
	var names []string
	for _, s := range ancestors[:min(len(ancestors), shown)] {
		names = append(names, Describe(s))
	}
	more := ""
	if n := len(ancestors) - shown; n > 0 {
		more = fmt.Sprintf(", and %d older ones", n)
	}
	return "There are " + strings.Join(names, ", ") + more + "."
}

// Describe names a snapshot with its time.
func Describe(s *table.Snapshot) string {
	return fmt.Sprintf("%d (%s)", s.SnapshotID, time.UnixMilli(s.TimestampMs).UTC().Format(time.RFC3339))
}

// Table makes an ancestor of the snapshot that t was opened at the current one again, in
// one commit. If another program commits in the meantime, nothing is changed: who asked
// for the rollback has not seen what that added.
func Table(ctx context.Context, t *lake.Table, to *table.Snapshot) error {
	seen := t.Opened().CurrentSnapshot()
	_, _, err := t.UpdateMetadata(ctx, func(base *table.Table) ([]table.Requirement, []table.Update, error) {
		ancestors := Ancestors(base)
		has := func(s *table.Snapshot) bool {
			return slices.ContainsFunc(ancestors, func(a *table.Snapshot) bool { return a.SnapshotID == s.SnapshotID })
		}
		switch now := base.CurrentSnapshot(); {
		case !has(seen) && has(to): // an earlier attempt was committed, whatever came then
			return nil, nil, nil
		case now == nil || now.SnapshotID != seen.SnapshotID:
			return nil, nil, protocol.TransientError.Errorf(nil, "Another program has committed to table %s in the meantime, and nothing was rolled back. End the syncs that write it. If their last rows should go, too, run rollback again.", t)
		}
		updates, _, err := lake.RollBack(ctx, base, to)
		return []table.Requirement{table.AssertRefSnapshotID(table.MainBranch, &seen.SnapshotID)}, updates, err
	})
	if err != nil {
		return t.Explain(fmt.Errorf("rolling table %s back: %w", t, err))
	}
	return nil
}
