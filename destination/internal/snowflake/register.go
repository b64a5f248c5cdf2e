package snowflake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/apache/iceberg-go/table"
	"golang.org/x/sync/errgroup"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// maxMoves is how often Snowflake is moved to the metadata file that the table has by
// then, before other writers are taken to be faster.
const maxMoves = 5

// maxReported is of how many tables a sync says in the end why Snowflake does not show
// them.
const maxReported = 5

// askAgainAfter is how long a Snowflake that did not answer is left alone.
const askAgainAfter = 5 * time.Minute

// registrar follows registered tables.
type registrar struct {
	config *registerConfig
	lake   Lake
	log    *slog.Logger
	tables []*refreshedTable

	mu     sync.Mutex
	client *client
	role   string // of the session; "" before the login
	lost   error  // Snowflake did not answer, or did not let the user in
	lostAt time.Time
}

// refreshedTable is a table on its way into Snowflake.
type refreshedTable struct {
	table  *lake.Table
	name   tableName
	shown  *version // what Snowflake shows; nil: it is not known
	taken  error    // another table has its name
	failed bool     // until Finish it is not tried again
}

// A version is what readers of a table can tell apart.
type version struct {
	snapshot int64
	schema   int
}

func versionOf(t *table.Table) version {
	return version{t.CurrentSnapshot().SnapshotID, t.Schema().ID}
}

func (c *registerConfig) newRefresher(l Lake, tables []*lake.Table, log *slog.Logger) Refresher {
	r := &registrar{config: c, lake: l, log: log}
	taken := map[tableName]string{}
	for _, t := range tables {
		f := &refreshedTable{table: t, name: c.nameOf(sourceOf(t.Opened().Identifier()))}
		if other, ok := taken[f.name]; ok {
			f.taken = nameTaken(t.String(), other, f.name)
		} else {
			taken[f.name] = t.String()
		}
		r.tables = append(r.tables, f)
	}
	return r
}

// nameTaken is the error of a table that has the name of another in Snowflake.
func nameTaken(t, other string, n tableName) error {
	return protocol.ConfigError.Errorf(nil, `Tables %s and %s would both be %s in Snowflake. Leave the configuration's "snowflake.schema" out, or set "snowflake.identifier_case" to "preserve".`, other, t, n)
}

// Committed implements [Refresher].
func (r *registrar) Committed(ctx context.Context, tables []*lake.Table) {
	var changed []*refreshedTable
	for _, f := range r.tables {
		if slices.Contains(tables, f.table) && f.taken == nil && !f.failed {
			changed = append(changed, f)
		}
	}
	r.each(ctx, changed, func(f *refreshedTable) error {
		err := r.move(ctx, f)
		f.failed = err != nil && r.pausedBecause() == nil
		return err
	}, func(err error) {
		r.log.Warn("Snowflake does not show what was committed, and is asked again later: " + messageOf(err))
	})
}

// Finish implements [Refresher].
func (r *registrar) Finish(ctx context.Context) error {
	var failed []error
	if err := r.pausedBecause(); err != nil {
		failed = append(failed, err)
	}
	r.each(ctx, r.tables, func(f *refreshedTable) error {
		if f.taken != nil {
			return f.taken
		}
		if err := r.move(ctx, f); err != nil {
			return err
		}
		return r.reportDrift(ctx, f)
	}, func(err error) { failed = append(failed, err) })
	return outcome(ctx, failed, r.config.Required, r.log)
}

// outcome reports what Snowflake does not show in the end: it is an error if the
// configuration says so. A sync that is told to stop by then leaves it to the next.
func outcome(ctx context.Context, failed []error, required bool, log *slog.Logger) error {
	select {
	case <-ctx.Done():
		if required {
			return context.Cause(ctx)
		}
		return nil
	default:
	}
	if len(failed) == 0 {
		return nil
	}
	more := ""
	if n := len(failed) - maxReported; n > 0 {
		failed, more = failed[:maxReported], fmt.Sprintf(" It is the same or similar with %d more tables.", n)
	}
	err := protocol.JoinErrors(failed...)
	message := "Snowflake does not show all that is committed. The rows and states are safe; the next sync tries again. " + messageOf(err) + more
	if !required {
		log.Warn(message)
		return nil
	}
	e := &protocol.Error{Kind: protocol.TransientError, Message: message, Err: err}
	if known := (*protocol.Error)(nil); errors.As(err, &known) {
		e.Kind = known.Kind
	}
	return e
}

// Close implements [Refresher].
func (r *registrar) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client != nil {
		r.client.close()
	}
}

// each does something for tables, some at once, and says what failed, one after
// another. If Snowflake cannot be reached, it says so once.
func (r *registrar) each(ctx context.Context, tables []*refreshedTable, do func(*refreshedTable) error, failed func(error)) {
	var one sync.Mutex
	fail := func(err error) {
		one.Lock()
		defer one.Unlock()
		if err != nil && ctx.Err() == nil {
			failed(err)
		}
	}
	if len(tables) == 0 || r.pausedBecause() != nil {
		return
	}
	if err := r.connect(ctx); err != nil {
		fail(err)
		return
	}
	var group errgroup.Group
	group.SetLimit(maxSessions)
	for _, f := range tables {
		group.Go(goroutine.Recovered(func() error {
			if ctx.Err() == nil && r.pausedBecause() == nil {
				fail(do(f))
			}
			return nil
		}))
	}
	fail(group.Wait()) // of a panic
}

// pausedBecause returns the error for which Snowflake is not asked now; nil: it may be.
func (r *registrar) pausedBecause() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.lostAt) >= askAgainAfter {
		r.lost = nil
	}
	return r.lost
}

// connect logs in, once.
func (r *registrar) connect(ctx context.Context) (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.role != "" {
		return nil
	}
	if r.client == nil {
		if r.client, err = r.config.open(); err != nil {
			return err
		}
	}
	if r.role, err = r.client.login(ctx); err != nil {
		r.lost, r.lostAt = err, time.Now()
	}
	return err
}

// move makes Snowflake show a table as it is in its catalog, and pins what it shows.
// After the last of several writers has moved it, Snowflake shows the newest
// snapshot: each of them looks at the catalog again after it has moved Snowflake.
func (r *registrar) move(ctx context.Context, f *refreshedTable) error {
	began := time.Now()
	at, known := "", false
	for range maxMoves {
		loaded, err := load(ctx, f.table)
		if err != nil {
			return err
		}
		if loaded.CurrentSnapshot() == nil || f.shown != nil && *f.shown == versionOf(loaded) {
			return nil
		}
		if !known {
			if at, err = r.location(ctx, f.name); err != nil {
				return r.explain(err, f)
			}
			known = true
		}
		moved := !sameFile(at, loaded.MetadataLocation())
		if moved {
			if at, err = r.point(ctx, f, loaded, at); err != nil {
				return err
			}
		}
		if !sameFile(at, loaded.MetadataLocation()) {
			continue // another writer has moved one of the two
		}
		shown := versionOf(loaded)
		if err := pin(ctx, f.table, shown.snapshot); err != nil {
			return err
		}
		f.shown = &shown
		if moved {
			r.log.Info("Snowflake shows what was committed", "table", f.table.String(), "name", f.name.String(), "snapshot", shown.snapshot,
				"took", time.Since(began).Round(time.Millisecond).String())
		}
	}
	return protocol.TransientError.Errorf(nil, "Snowflake has table %s at %s, and the table is somewhere else each time: other writers are faster, or Snowflake reads another catalog. Run check.", f.name, at)
}

// point moves Snowflake to the metadata file of a table, and returns where it is then.
// at is where it was, "" if it does not have the table.
func (r *registrar) point(ctx context.Context, f *refreshedTable, loaded *table.Table, at string) (string, error) {
	path, err := r.config.path(r.lake, loaded)
	if err != nil {
		return "", err
	}
	statement := r.config.refresh(f.name, path)
	switch {
	case at == "":
		statement = r.config.create(f.name, sourceOf(loaded.Identifier()), path)
	case !isMetadataOf(at, loaded):
		return "", otherTable(f.name, at, loaded)
	}
	if err = r.client.exec(ctx, statement); err != nil {
		return "", errors.Join(r.explain(err, f), r.pinStale(ctx, f, loaded, at))
	}
	now, err := r.location(ctx, f.name)
	return now, r.explain(err, f)
}

// path is the metadata file of a table as Snowflake wants to be told of it.
func (c *registerConfig) path(lake Lake, t *table.Table) (string, error) {
	base := c.volumeBase(lake)
	if c.CatalogSource == objectStore && !below(t.MetadataLocation(), base) {
		return "", protocol.ConfigError.Errorf(nil, "Table %s is at %s, which is not below the external volume at %s, so Snowflake cannot read it.", sourceOf(t.Identifier()), t.Location(), base)
	}
	return relative(t.MetadataLocation(), base), nil
}

// otherTable is the error of a name that another table has in Snowflake.
func otherTable(n tableName, at string, loaded *table.Table) error {
	return protocol.ConfigError.Errorf(nil, `Snowflake's table %s is another one: its metadata file is %s, and table %s is at %s. Drop it in Snowflake, or give the configuration another "snowflake.schema".`,
		n, at, sourceOf(loaded.Identifier()), loaded.Location())
}

// pinStale pins the snapshot that Snowflake goes on to show, which it was moved to by
// a process that ended before it could pin it.
func (r *registrar) pinStale(ctx context.Context, f *refreshedTable, loaded *table.Table, at string) error {
	if at == "" {
		return nil
	}
	stale, err := table.NewFromLocation(ctx, loaded.Identifier(), at, loaded.FS, nil)
	if err != nil || stale.CurrentSnapshot() == nil {
		return err
	}
	return pin(ctx, f.table, stale.CurrentSnapshot().SnapshotID)
}

// explain finds the remedy for a statement that failed. If there was no answer to it,
// there will be none to others.
func (r *registrar) explain(err error, f *refreshedTable) error {
	explained := r.config.explain(err, f.name, r.role)
	if hasNoAnswer(err) {
		r.mu.Lock()
		r.lost, r.lostAt = explained, time.Now()
		r.mu.Unlock()
	}
	return explained
}

func (r *registrar) location(ctx context.Context, n tableName) (string, error) {
	return r.client.location(ctx, n)
}

// location returns the metadata file at which Snowflake stands, "" if it does not have
// the table.
func (c *client) location(ctx context.Context, n tableName) (string, error) {
	text, err := c.value(ctx, n.information())
	switch {
	case isMissing(err):
		return "", nil
	case err != nil:
		return "", err
	}
	var information struct{ MetadataLocation, Status string }
	if err := json.Unmarshal([]byte(text), &information); err != nil {
		return "", protocol.ConfigError.Errorf(err, "What Snowflake says of table %s cannot be read: %s.", n, text)
	}
	if information.MetadataLocation == "" {
		return "", protocol.ConfigError.Errorf(nil, "Snowflake does not say at which metadata file of table %s it stands: %s.", n, text)
	}
	return information.MetadataLocation, nil
}

// isMetadataOf reports whether a metadata file is one of a table's.
func isMetadataOf(location string, t *table.Table) bool {
	return below(location, tabledef.PathsOf(t.Location(), t.Metadata()).Metadata)
}

func sameFile(a, b string) bool { return below(a, b) && below(b, a) }
