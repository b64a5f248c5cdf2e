package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"
	"golang.org/x/sync/errgroup"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/checkpoint"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// newDeafWriter makes a writer of two streams, a and b, whose catalog takes no commit.
func newDeafWriter(t *testing.T) *writer {
	t.Helper()
	config, err := parseConfig(fmt.Appendf(nil, `{"warehouse":"file://%s"}`, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	configured, err := protocol.ParseConfiguredCatalog([]byte(`{"streams":[
		{"stream":{"name":"a","json_schema":{"properties":{"id":{"type":"integer"}}}},"sync_mode":"incremental","destination_sync_mode":"append"},
		{"stream":{"name":"b","json_schema":{"properties":{"id":{"type":"integer"}}}},"sync_mode":"incremental","destination_sync_mode":"append"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	streams, err := planLanes(configured, config)
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalogs.Open(t.Context(), config.Catalog, config.Warehouse)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cat.Close() })
	if err := streams.open(t.Context(), cat, config, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	cat.Catalog = faultyCatalog{cat.Catalog, &faults{kind: breaksDown}}
	states, err := checkpoint.NewFiles(t.Context(), config.Warehouse)
	if err != nil {
		t.Fatal(err)
	}
	return &writer{config: config, held: &heldStates{}, states: states, lanes: streams, out: protocol.NewEmitter(io.Discard), group: &errgroup.Group{}}
}

// oneState is a commit of a state of each stream.
func (w *writer) oneState() *commit {
	c := &commit{}
	for _, l := range w.lanes.all {
		c.lanes = append(c.lanes, &laneCommit{lane: l, state: stateMark{state: heldState{State: protocol.State{Raw: json.RawMessage(`{}`)}}, segment: 1}})
	}
	return c
}

// Tables commit at once, and what goes wrong with each of them is told.
func TestEveryTableThatFailsInACommitIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // there are attempts for five minutes
		w := newDeafWriter(t)
		err := w.commit(t.Context(), w.oneState())
		for _, l := range w.lanes.all {
			name := l.id.Name
			if err == nil || !strings.Contains(err.Error(), "committing stream "+name+": Table airbyte."+name) || !strings.Contains(err.Error(), "loading table airbyte."+name) {
				t.Errorf("stream %s is not named: %v", l.id, err)
			}
		}
	})
}

// The state of the next commit covers the rows of this one, too. That the run ends with the error comes too late
// to keep it back.
func TestNoCommitComesAfterOneThatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newDeafWriter(t)
		if err := w.start(t.Context(), w.oneState()); err != nil {
			t.Fatal(err)
		}
		if err := w.start(t.Context(), w.oneState()); err == nil {
			t.Error("another commit was begun")
		}
		if w.number != 1 {
			t.Errorf("%d commits were made", w.number)
		}
		if err := w.group.Wait(); err == nil {
			t.Error("the first commit has not failed")
		}
	})
}

// refusing keeps snapshots waiting, and then fails as a disk does.
type refusing struct {
	catalog.Catalog
	after <-chan struct{}
}

func (c refusing) CommitTable(ctx context.Context, id table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	if !slices.ContainsFunc(updates, func(u table.Update) bool { return u.Action() == table.UpdateAddSnapshot }) {
		return c.Catalog.CommitTable(ctx, id, reqs, updates)
	}
	<-c.after
	return nil, "", &fs.PathError{Op: "write", Path: "metadata", Err: syscall.EIO}
}

// When a commit fails, the next one may have its files already, and is not made.
func TestFilesOfACommitThatIsNotMadeAreRemoved(t *testing.T) {
	l := newStruckLake(t, workload{mode: protocol.AppendDedup})
	synctest.Test(t, func(t *testing.T) {
		failing := make(chan struct{})
		d := newDestination()
		d.openCatalog = func(ctx context.Context, c Config) (*catalogs.Catalog, error) {
			cat, err := catalogs.Open(ctx, c.Catalog, c.Warehouse)
			if err == nil {
				cat.Catalog = refusing{cat.Catalog, failing}
			}
			return cat, err
		}
		input, feed := io.Pipe()
		code := protocol.Go(func() error {
			if code := d.run(t.Context(), protocol.Env{
				Args: []string{"write", "--config", l.config, "--catalog", l.catalog}, Stdin: input, Stdout: io.Discard, Stderr: io.Discard,
			}); code == 0 {
				return errors.New("exit code 0")
			}
			return nil
		})
		for n := range 2 {
			if _, err := feed.Write(l.input(n*fedEvery, (n+1)*fedEvery, "")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second) // until nothing more happens
		}
		data := func() []string {
			found, err := filepath.Glob(filepath.Join(l.dir, "whoop.db", "items", "data", "*"))
			if err != nil {
				t.Fatal(err)
			}
			return found
		}
		if files := data(); len(files) < 2 {
			t.Errorf("the commits have the files %v", files)
		}
		close(failing)
		if err := errors.Join(feed.Close(), <-code); err != nil {
			t.Error(err)
		}
		if files := data(); len(files) > 0 {
			t.Errorf("%v are left", files)
		}
	})
}
