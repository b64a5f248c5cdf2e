package lake

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Upkeep says how a table is maintained.
type Upkeep struct {
	ExpireAfter   time.Duration // snapshots superseded longer ago than this expire
	KeepSnapshots int           // this many of the newest stay, whatever their age
	// Thorough does everything at once. Otherwise only what is worth doing after
	// every write is done.
	Thorough bool
	// AllOrphans also removes files under the table's location that other
	// programs may have made.
	AllOrphans bool
	// DryRun changes nothing and reports what would be expired and removed.
	DryRun bool
}

// Maintained says what maintenance did to a table.
type Maintained struct {
	CompactedFiles   int      `json:"compacted_files"` // data files that were rewritten
	IntoFiles        int      `json:"into_files"`      // data files that replaced them
	FoldedDeletes    int      `json:"folded_deletes"`  // delete files that the rewritten files need no more
	ExpiredSnapshots int      `json:"expired_snapshots"`
	RemovedFiles     int      `json:"removed_files"`     // files that only expired snapshots named
	RemovedOrphans   int      `json:"removed_orphans"`   // files that nothing named
	Removed          []string `json:"removed,omitempty"` // the paths of both
	Left             []string `json:"left,omitempty"`    // what was not done, and why

	LookedForOrphans bool `json:"-"` // after a write, once a day
}

func (m *Maintained) leave(format string, args ...any) {
	m.Left = append(m.Left, fmt.Sprintf(format, args...))
}

// ErrNotOurs is the error of [Attach] for a table that this program never wrote.
var ErrNotOurs = errors.New("the table was not written by this program")

// Attach opens an existing table for maintenance only.
func Attach(ctx context.Context, cat catalog.Catalog, id table.Identifier, o Options) (*Table, error) {
	namespace, name := strings.Join(catalog.NamespaceFromIdent(id), "."), catalog.TableNameFromIdent(id)
	t := newTable(cat, &columnar.Plan{
		Stream: protocol.StreamID{Namespace: namespace, Name: name}, Location: columnar.Location{Namespace: namespace, Table: name},
	}, o)
	loaded, err := cat.LoadTable(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("opening table %s: %w", t, err)
	}
	if !hasOurCommits(loaded) {
		return nil, fmt.Errorf("opening table %s: %w", t, ErrNotOurs)
	}
	return t, t.use(ctx, loaded)
}

// hasOurCommits reports whether this program has committed to a table.
func hasOurCommits(t *table.Table) bool {
	if t.Properties()[stateKey] != "" {
		return true
	}
	for _, s := range t.Metadata().Snapshots() {
		if s.Summary != nil && s.Summary.Properties[tokenKey] != "" {
			return true
		}
	}
	return false
}

// upkeep has the steps of maintenance.
type upkeep struct{ *Table }

// Maintain compacts small files, expires old snapshots and removes orphans. At
// ctx's deadline it stops; the rest is left to the next time. Each step leaves the
// table correct, wherever it is interrupted and whatever other writers do in the
// meantime. If a step fails, the next one is tried all the same.
func Maintain(ctx context.Context, t *Table, u Upkeep) (Maintained, error) {
	var did Maintained
	base, err := t.cat.LoadTable(ctx, t.id)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		did.leave("the time limit was reached before maintenance began")
		return did, nil
	}
	if err != nil {
		return did, t.Explain(fmt.Errorf("loading table %s: %w", t, err))
	}
	var errs []error
	for _, step := range []struct {
		doing string
		do    func(context.Context, *table.Table, Upkeep, *Maintained) error
	}{
		{"compacting", upkeep{t}.compact},
		{"expiring snapshots of", upkeep{t}.expire},
		{"removing orphans of", upkeep{t}.removeOrphans},
	} {
		err := step.do(ctx, base, u, &did)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			did.leave("the time limit was reached while %s the table", step.doing)
			return did, errors.Join(errs...)
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			errs = append(errs, t.Explain(fmt.Errorf("%s table %s: %w", step.doing, t, err)))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return did, errors.Join(errs...)
}

// gcEnabled reports whether files that nothing needs may be removed. The table's
// owner can forbid it.
func gcEnabled(meta table.Metadata) bool {
	return meta.Properties().GetBool(table.GCEnabledKey, table.GCEnabledDefault)
}
