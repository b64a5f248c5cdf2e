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

// Upkeep says how a table is kept in shape.
type Upkeep struct {
	ExpireAfter   time.Duration // snapshots older than this go
	KeepSnapshots int           // this many of the newest stay, whatever their age
	// Thorough does all there is to do. Without it only that is done which pays
	// when it is asked for after every write.
	Thorough bool
	// AllOrphans removes also those files under the table's location that other
	// programs may have made.
	AllOrphans bool
	// DryRun changes nothing, and tells what would be expired and removed.
	DryRun bool
}

// Maintained is what upkeep did to a table.
type Maintained struct {
	CompactedFiles   int      `json:"compacted_files"`   // data files that were rewritten
	IntoFiles        int      `json:"into_files"`        // what they became
	FoldedDeletes    int      `json:"folded_deletes"`    // delete files that went with that
	ExpiredSnapshots int      `json:"expired_snapshots"` //
	RemovedFiles     int      `json:"removed_files"`     // that only those snapshots named
	RemovedOrphans   int      `json:"removed_orphans"`   // files that nothing named
	Removed          []string `json:"removed,omitempty"` // those files
	Left             []string `json:"left,omitempty"`    // what was not done, and why

	LookedForOrphans bool `json:"-"` // which after a write is done once a day
}

func (m *Maintained) leave(format string, args ...any) {
	m.Left = append(m.Left, fmt.Sprintf(format, args...))
}

// ErrNotOurs is the error of [Attach] on a table that another program keeps.
var ErrNotOurs = errors.New("the table was not written by this program")

// Attach opens a table that is there for upkeep alone.
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

// upkeep is what is done to a table besides writing it.
type upkeep struct{ *Table }

// Maintain compacts small files, expires old snapshots and removes orphans, as
// far as the time until ctx's deadline goes; what is not done by then is left
// to the next time. Every step leaves the table right wherever it is cut off,
// and beside any other writer. A step that fails does not keep the next from
// being tried.
func (t *Table) Maintain(ctx context.Context, u Upkeep) (Maintained, error) {
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
