package maintenance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
)

// Options say how a table is maintained.
type Options struct {
	ExpireAfter   time.Duration // snapshots superseded longer ago than this expire
	KeepSnapshots int           // this many of the newest stay, whatever their age
	// Thorough does everything at once. Otherwise only what is worth doing after
	// every write is done.
	Thorough bool
	// AllOrphans also removes files under the table's location that other
	// programs may have made.
	AllOrphans bool
	// Neighbours may be shared with other tables of the catalog that are maintained
	// in the same run; nil: they are not.
	Neighbours *Neighbours
	// DryRun changes nothing and reports what would be compacted, expired and removed.
	DryRun bool
}

// A Report says what maintenance did to a table, or in a dry run would do. How many files
// compacted ones become is an estimate then.
type Report struct {
	CompactedFiles   int      `json:"compacted_files"` // data files that were rewritten
	IntoFiles        int      `json:"into_files"`      // data files that replaced them
	FoldedDeletes    int      `json:"folded_deletes"`  // delete files that the rewritten files need no more
	ExpiredSnapshots int      `json:"expired_snapshots"`
	RemovedFiles     int      `json:"removed_files"`     // files that only expired snapshots named
	RemovedOrphans   int      `json:"removed_orphans"`   // files that nothing named
	Removed          []string `json:"removed,omitempty"` // the paths of both
	NotDone          []string `json:"left,omitempty"`    // what was not done, and why

	CompactedBytes   int64 `json:"-"` // of the data files that were rewritten
	LookedForOrphans bool  `json:"-"` // after a write, once a day
}

func (r *Report) addNotDone(format string, args ...any) {
	r.NotDone = append(r.NotDone, fmt.Sprintf(format, args...))
}

// maintenance is one run of Maintain.
type maintenance struct {
	Options
	table   *lake.Table
	opened  *table.Table // as it was when it was opened
	storage *snapshots.Storage
	decoded map[string]float64 // the most memory that the rows of a file take, as far as it is known
	did     Report
}

func newMaintenance(t *lake.Table, o Options) *maintenance {
	if o.Neighbours == nil {
		o.Neighbours = &Neighbours{}
	}
	return &maintenance{Options: o, table: t, opened: t.Opened(), storage: t.Storage(), decoded: map[string]float64{}}
}

// Maintain compacts small files, expires old snapshots and removes orphans. At
// ctx's deadline it stops; the rest is left to the next time. Each step leaves the
// table correct, wherever it is interrupted and whatever other writers do in the
// meantime. If a step fails, the next one is tried all the same.
func Maintain(ctx context.Context, t *lake.Table, o Options) (Report, error) {
	m := newMaintenance(t, o)
	base, err := m.load(ctx)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		m.did.addNotDone("the time limit was reached before maintenance began")
		return m.did, nil
	}
	if err != nil {
		return m.did, t.Explain(err)
	}
	if !o.DryRun {
		m.storage.HintVersion(base.MetadataLocation()) // another writer may have been slow to write its own
	}
	var errs []error
	for _, step := range []struct {
		doing string
		do    func(context.Context, *table.Table) error
	}{
		{"compacting", m.compact},
		{"expiring snapshots of", m.expire},
		{"removing orphans of", m.removeOrphans},
	} {
		err := step.do(ctx, base)
		for lake.MovedOn(ctx, t.Catalog(), base, err) {
			var now *table.Table
			if now, err = m.load(ctx); err != nil {
				break
			}
			base = now
			err = step.do(ctx, base)
		}
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			m.did.addNotDone("the time limit was reached while %s the table", step.doing)
			return m.did, errors.Join(errs...)
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			errs = append(errs, t.Explain(fmt.Errorf("%s table %s: %w", step.doing, t, err)))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return m.did, errors.Join(errs...)
}

// load loads the table as it is now.
func (m *maintenance) load(ctx context.Context) (*table.Table, error) {
	loaded, err := m.table.Catalog().LoadTable(ctx, m.opened.Identifier())
	if err != nil {
		return nil, fmt.Errorf("loading table %s: %w", m.table, err)
	}
	return loaded, nil
}

// remove removes files, unless it is a dry run, and returns how many it removed or
// would have removed.
func (m *maintenance) remove(ctx context.Context, files []string) (int, error) {
	var err error
	if m.DryRun {
		err = ctx.Err()
	} else {
		files, err = storage.RemoveAll(ctx, m.storage.Files, files)
	}
	m.did.Removed = append(m.did.Removed, files...)
	return len(files), err
}

// gcEnabled reports whether files that nothing needs may be removed. The table's
// owner can forbid it.
func gcEnabled(meta table.Metadata) bool {
	return meta.Properties().GetBool(table.GCEnabledKey, table.GCEnabledDefault)
}
