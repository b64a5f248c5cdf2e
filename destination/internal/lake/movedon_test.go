package lake_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// expiring is a catalog whose table others change just after it was loaded, once.
type expiring struct {
	lake.Catalog
	keepsBranches bool
	others        func()
}

func (c *expiring) KeepsBranches() bool { return c.keepsBranches }

func (c *expiring) LoadTable(ctx context.Context, id table.Identifier) (*table.Table, error) {
	loaded, err := c.Catalog.LoadTable(ctx, id)
	if others := c.others; others != nil {
		c.others = nil
		others()
	}
	return loaded, err
}

// expiringFiles are files whose table others change when so many more have been opened.
type expiringFiles struct {
	iceio.LocalFS
	mu     sync.Mutex
	left   int
	others func()
}

func (f *expiringFiles) Open(name string) (iceio.File, error) {
	f.mu.Lock()
	if f.left--; f.left == -1 {
		f.others()
	}
	f.mu.Unlock()
	return f.LocalFS.Open(name)
}

// movedOn are changes of a table that read files of the snapshot that they are made from. The table has a row of
// generation 12, and a refresh to 13 may be under way.
var movedOn = map[string]struct {
	o          lake.Options
	refreshing bool
	atOnce     bool // the catalog keeps no branches
	do         func(*testing.T, *lake.Table, *columnar.Plan, lake.Options, map[string]any) error
	want       []string // values of v
}{
	"append": {do: func(t *testing.T, tbl *lake.Table, _ *columnar.Plan, o lake.Options, row map[string]any) error {
		p := laketest.Keyed("s")
		p.Dedup, p.Key = false, nil
		appending := openTable(t, tbl.Catalog(), p, o)
		_, err := appending.Commit(t.Context(), []*lake.Staged{laketest.Stage(t, appending, 0, row)}, nil)
		return err
	}, want: []string{"mine", "old", "stays", "theirs", "theirs"}},
	"copy_on_write": {o: lake.Options{Upsert: lake.CopyOnWrite}, do: upsertRow, want: []string{"mine", "stays", "theirs", "theirs"}},
	"merge_on_read": {o: lake.Options{Upsert: lake.MergeOnRead}, do: upsertRow, want: []string{"mine", "stays", "theirs", "theirs"}},
	"spilled keys":  {o: lake.Options{Memory: memoryForKeys(0)}, do: upsertRow, want: []string{"mine", "stays", "theirs", "theirs"}},
	"replace": {do: func(t *testing.T, tbl *lake.Table, _ *columnar.Plan, _ lake.Options, row map[string]any) error {
		_, err := tbl.Replace(t.Context(), []*lake.Staged{laketest.Stage(t, tbl, 0, row)}, nil)
		return err
	}, want: []string{"mine"}},
	"the beginning of a refresh": {do: func(t *testing.T, tbl *lake.Table, _ *columnar.Plan, _ lake.Options, _ map[string]any) error {
		begun, err := tbl.Begin(t.Context(), &lake.Generation{ID: 13, Minimum: 13})
		if err == nil && !begun.Refreshing {
			t.Error("no refresh was begun")
		}
		return err
	}, want: []string{"old", "stays", "theirs", "theirs"}},
	"the end of a refresh": {refreshing: true, do: func(t *testing.T, tbl *lake.Table, _ *columnar.Plan, _ lake.Options, _ map[string]any) error {
		_, err := tbl.Finish(t.Context(), nil, nil)
		return err
	}, want: []string{"new", "stays", "theirs", "theirs"}},
	"the end of a refresh at once": {refreshing: true, atOnce: true, do: func(t *testing.T, tbl *lake.Table, _ *columnar.Plan, _ lake.Options, row map[string]any) error {
		_, err := tbl.Finish(t.Context(), []*lake.Staged{laketest.Stage(t, tbl, 0, row)}, nil)
		return err
	}, want: []string{"mine", "stays", "theirs", "theirs"}},
	"giving a refresh up": {refreshing: true, do: func(t *testing.T, tbl *lake.Table, p *columnar.Plan, o lake.Options, _ map[string]any) error {
		_, err := openTable(t, tbl.Catalog(), p, o).Begin(t.Context(), nil)
		return err
	}, want: []string{"new", "old", "stays", "theirs", "theirs"}},
}

func upsertRow(t *testing.T, tbl *lake.Table, _ *columnar.Plan, _ lake.Options, row map[string]any) error {
	older := of(13, laketest.Version{Key: 8, Cursor: 1, V: "older"}.Row())
	_, err := tbl.Commit(t.Context(), []*lake.Staged{laketest.Stage(t, tbl, 0, row, older)}, nil)
	return err
}

// Maintenance of others, a forget or Spark's expire_snapshots may remove the snapshot that a commit is being made from.
// Then it is made from the next one. If nobody has committed, a file is missing, and the user reads what to do.
func TestACommitWhoseSnapshotIsRemovedIsMadeAgain(t *testing.T) {
	for name, tc := range movedOn {
		for _, lost := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", a file is lost"}[lost], func(t *testing.T) {
				t.Parallel()
				opens := name == "append" || name == "giving a refresh up" // the table first
				for at := -1; at < 0 || !opens; at += testsize.Of(5, 1) {  // -1: others come before any file is opened
					p := laketest.Keyed("s")
					cat := &expiring{Catalog: laketest.OpenCatalog(t, t.TempDir()), keepsBranches: !tc.atOnce}
					tbl := openTable(t, cat, p, tc.o)
					laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, of(12, laketest.Version{Key: 1, Cursor: 1, V: "old"}.Row()), of(12, laketest.Version{Key: 7, Cursor: 1, V: "goes"}.Row())))
					laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, of(13, laketest.Version{Key: 8, Cursor: 2, V: "stays"}.Row())))
					laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, of(12, laketest.Version{Key: 6, Cursor: 1, V: "goes"}.Row())))
					if tc.refreshing {
						tbl = refreshing(t, tbl, p, tc.o, &lake.Generation{ID: 13, Minimum: 13})
						if !tc.atOnce {
							laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, of(13, laketest.Version{Key: 2, Cursor: 1, V: "new"}.Row())))
						}
					}
					others := openTable(t, cat.Catalog, p, lake.Options{Upsert: lake.CopyOnWrite, ReaderTime: time.Nanosecond})
					overtake := func() {
						laketest.Commit(t, others, "", laketest.Stage(t, others, 0, of(13, laketest.Version{Key: 6, Cursor: 2, V: "theirs"}.Row()), of(13, laketest.Version{Key: 7, Cursor: 2, V: "theirs"}.Row())))
						if did := laketest.Maintain(t, others, laketest.Everything); did.RemovedFiles == 0 {
							t.Error("no file was removed")
						}
					}
					if lost {
						overtake = func() {
							for _, uri := range laketest.Named(t, laketest.Load(t, others)) {
								if err := os.Remove(laketest.PathOf(t, uri)); err != nil {
									t.Error(err)
								}
							}
						}
					}
					files := &expiringFiles{left: at, others: overtake}
					switch {
					case opens:
						cat.others = func() { cat.others = overtake }
					case at < 0:
						cat.others = overtake
					default:
						tbl.Storage().Files = files
					}
					err := tc.do(t, tbl, p, tc.o, of(13, laketest.Version{Key: 1, Cursor: 2, V: "mine"}.Row()))
					if at >= 0 && files.left >= 0 {
						break // fewer files are opened
					}
					if lost {
						var perr *protocol.Error
						if !errors.As(err, &perr) || perr.Kind != protocol.ConfigError || perr.Stream == nil || !strings.HasPrefix(perr.Message, "A file of table ns.s is missing") {
							t.Errorf("at %d: error %v", at, err)
						}
						continue
					}
					if err != nil {
						t.Fatalf("at %d: %v", at, err)
					}
					if got := valuesOf(t, tbl, "v"); !slices.Equal(got, tc.want) {
						t.Errorf("at %d: rows %q, want %q", at, got, tc.want)
					}
					laketest.ExpectFiles(t, tbl, false)
				}
			})
		}
	}
}
