package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rollback"
	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A tableVerb is a verb that changes a table, and what it leaves of the one of the workload.
type tableVerb struct {
	name string
	do   func(context.Context, *tableChange) error
	// done are the rows and the position of the state afterwards.
	rows     []string
	position int
}

var tableVerbs = []tableVerb{
	{name: "reset", do: reset, rows: []string{}, position: -1},
	{name: "forget", rows: []string{"0/0"}, position: 4, do: func(ctx context.Context, c *tableChange) error { return forget(ctx, c, "version >= 1", false) }},
	{name: "forget --now", rows: []string{"0/0"}, position: 4, do: func(ctx context.Context, c *tableChange) error { return forget(ctx, c, "version >= 1", true) }},
	{name: "rollback", rows: []string{"0/0"}, position: 1, do: func(ctx context.Context, c *tableChange) error {
		loaded, err := c.load(ctx)
		if err != nil {
			return err
		}
		ancestors := rollback.Ancestors(loaded)
		return rollBack(ctx, c, strconv.FormatInt(ancestors[len(ancestors)-1].SnapshotID, 10))
	}},
}

// change runs a verb on the table of the lake, with faults.
func (l *testLake) change(f *faults, v tableVerb) (said string, err error) {
	l.t.Helper()
	d := newDestination()
	if f != nil {
		d = faultyDestination(f)
		defer faultsByWarehouse.Delete(l.dir)
	}
	synctest.Test(l.t, func(t *testing.T) {
		time.Sleep(30 * 24 * time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		defer time.AfterFunc(time.Hour, cancel).Stop()
		var out bytes.Buffer
		ended := make(chan struct{})
		go func() { // what hangs for good is left behind, as when the process is killed
			defer close(ended)
			err = goroutine.Recovered(func() error {
				cat, err := d.openCatalog(ctx, l.read)
				if err != nil {
					return err
				}
				defer cat.Close()
				return v.do(ctx, &tableChange{config: l.read, cat: cat, id: table.Identifier{"whoop", "items"}, out: &out, warnings: &out})
			})()
		}()
		select {
		case <-ended:
		case <-time.After(2 * time.Hour):
			f.release()
			<-ended
			err = errors.Join(errors.New("it hung"), err)
			f = nil
		}
		if f != nil {
			f.release()
			time.Sleep(time.Hour)
		}
		synctest.Wait()
		said = out.String()
	})
	return said, err
}

// Whichever call fails while a verb changes a table, and however: the table is as it was or as it should be, and the
// verb can be run again.
func TestAnyCallOfATableVerbMayFail(t *testing.T) {
	for n, v := range tableVerbs {
		for _, w := range []workload{
			{name: "append", mode: protocol.Append, base: 4},
			{name: "append_dedup, merge on read", mode: protocol.AppendDedup, upsert: "merge_on_read", base: 4},
		} {
			t.Run(v.name+", "+w.name, func(t *testing.T) {
				t.Parallel()
				l := newTestLake(t, w)
				before := l.observe()
				whole := &faults{at: math.MaxInt}
				if said, err := l.change(whole, v); err != nil {
					t.Fatalf("without a fault: %v\n%s", err, said)
				}
				l.wantChanged(v)
				var all []faultAt
				for n, name := range whole.calls {
					for _, kind := range faultsOf(name, n) {
						if kind == panics && (name == "Open" || name == "Read" || name == "ReadFile") {
							kind = failsBefore // the library reads manifests in goroutines of its own, which nobody can recover
						}
						all = append(all, faultAt{kind, n})
					}
				}
				t.Logf("%d calls, %d faults", len(whole.calls), len(all))
				step := max(1, len(all)/testsize.Of(6, len(all)))
				for i := step * (n + 1) / (len(tableVerbs) + 1); i < len(all); i += step {
					f := all[i]
					t.Run(fmt.Sprintf("%s %d %s", whole.calls[f.at], f.at, f.kind), func(t *testing.T) {
						l.t = t
						l.copy(l.dir, l.saved)
						said, err := l.change(&faults{kind: f.kind, at: f.at}, v)
						t.Logf("%v\n%s", err, said)
						switch after := l.observe(); {
						case err == nil:
							l.wantChanged(v)
						case !cmp.Equal(after.main, before.main) || after.position != before.position:
							l.wantChanged(v)
						case strings.Contains(said, " was ") || strings.Contains(said, ": deleted "):
							t.Errorf("the table is as it was, and the verb said: %s", said)
						}
						// What the first run wrote and did not commit may be another writer's.
						if said, err := l.change(nil, v); err != nil && !strings.Contains(err.Error(), "because a sync that is running may need it") {
							t.Fatalf("again: %v\n%s", err, said)
						}
						l.wantChanged(v)
					})
				}
			})
		}
	}
}

var leftByDrop = regexp.MustCompile(`: ([0-9]+) files?\b`)

// Whichever call fails while a table is dropped: a reader sees all of its rows or none, and the table can be dropped
// again, after which nothing of it is left.
func TestAnyCallOfADropMayFail(t *testing.T) {
	v := tableVerb{name: "drop", do: func(ctx context.Context, c *tableChange) error {
		err := drop(ctx, c, false)
		if errors.Is(err, catalog.ErrNoSuchTable) { // it was dropped before
			return nil
		}
		return err
	}}
	w := workload{mode: protocol.AppendDedup, upsert: "merge_on_read", base: 4}
	l := newTestLake(t, w)
	before := l.observe()
	wantGone := func(most int) {
		l.t.Helper()
		left := []string{}
		if got := l.observe(); got.main != nil {
			l.t.Errorf("the table is there, with %v", got.main)
		}
		err := filepath.WalkDir(filepath.Join(l.dir, "whoop.db"), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				left = append(left, path)
			}
			return err
		})
		if err != nil || len(left) > most {
			l.t.Errorf("%v; left are %q", err, left)
		}
	}
	whole := &faults{at: math.MaxInt}
	if said, err := l.change(whole, v); err != nil || !strings.Contains(said, ": was dropped, with ") || !strings.Contains(said, ": 1 file that other programs ") {
		t.Fatalf("without a fault: %v\n%s", err, said)
	}
	wantGone(1)
	var all []faultAt
	for n, name := range whole.calls {
		for _, kind := range faultsOf(name, n) {
			all = append(all, faultAt{kind, n})
		}
	}
	step := max(1, len(all)/testsize.Of(25, len(all)))
	for i := step / 2; i < len(all); i += step {
		f := all[i]
		t.Run(fmt.Sprintf("%s %d %s", whole.calls[f.at], f.at, f.kind), func(t *testing.T) {
			l.t = t
			l.copy(l.dir, l.saved)
			said, err := l.change(&faults{kind: f.kind, at: f.at}, v)
			t.Logf("%v\n%s", err, said)
			cat, err := l.read.openExisting(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_, err = cat.LoadTable(t.Context(), table.Identifier{"whoop", "items"})
			if closeErr := cat.Close(); closeErr != nil {
				t.Fatal(closeErr)
			}
			if !errors.Is(err, fs.ErrNotExist) { // the last of the files is gone, and the table not yet
				if got := l.observe(); len(got.main) > 0 && !cmp.Equal(got.main, before.main) {
					t.Errorf("a reader sees %v", got.main)
				}
			}
			if said, err = l.change(nil, v); err != nil {
				t.Fatalf("again: %v\n%s", err, said)
			}
			most := 1
			if call := whole.calls[f.at]; call == "Write" || call == "Close" {
				// A whole metadata file that nobody could commit is not told from one that another catalog knows.
				if n, err := strconv.Atoi(leftByDrop.FindStringSubmatch(said + ": 1 file")[1]); err == nil {
					most = n
				}
			}
			wantGone(most)
		})
	}
}

// Whichever call fails while a table is renamed: it has one of the two names, and all of its rows.
func TestAnyCallOfARenameMayFail(t *testing.T) {
	l := newTestLake(t, workload{mode: protocol.Append, base: 2})
	exists := func(ctx context.Context, c *tableChange, id table.Identifier) bool {
		l.t.Helper()
		there, err := c.cat.CheckTableExists(ctx, id)
		if err != nil {
			l.t.Error(err)
		}
		return there
	}
	to := table.Identifier{"other", "renamed"}
	v := tableVerb{do: func(ctx context.Context, c *tableChange) error {
		c.args = []string{"other.renamed"}
		return rename(ctx, c)
	}}
	looks := tableVerb{do: func(ctx context.Context, c *tableChange) error {
		old, renamed := exists(ctx, c, c.id), exists(ctx, c, to)
		if old == renamed {
			return fmt.Errorf("the old name exists: %v, the new one: %v", old, renamed)
		}
		if old {
			if err := v.do(ctx, c); err != nil {
				return err
			}
		}
		loaded, err := c.cat.LoadTable(ctx, to)
		if err != nil {
			return err
		}
		if info, err := inspect.Describe(ctx, loaded); err != nil || info.Rows != int64(l.base) {
			return fmt.Errorf("%d rows, %w", info.Rows, err)
		}
		return nil
	}}
	whole := &faults{at: math.MaxInt}
	if said, err := l.change(whole, v); err != nil {
		t.Fatalf("without a fault: %v\n%s", err, said)
	}
	for n, name := range whole.calls {
		for _, kind := range faultsOf(name, n) {
			t.Run(fmt.Sprintf("%s %d %s", name, n, kind), func(t *testing.T) {
				l.t = t
				l.copy(l.dir, l.saved)
				said, err := l.change(&faults{kind: kind, at: n}, v)
				t.Logf("%v\n%s", err, said)
				if said, err := l.change(nil, looks); err != nil {
					t.Errorf("%v\n%s", err, said)
				}
			})
		}
	}
}

func (l *testLake) wantChanged(v tableVerb) {
	l.t.Helper()
	got := l.observe()
	slices.Sort(got.main)
	if diff := cmp.Diff(v.rows, got.main); diff != "" {
		l.t.Errorf("rows after %s (-want +got):\n%s", v.name, diff)
	}
	if got.position != v.position {
		l.t.Errorf("after %s the state is %d, want %d", v.name, got.position, v.position)
	}
}
