package syncer

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"
	"golang.org/x/sync/errgroup"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/checkpoint"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columns"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// lostCatalog is one that cannot be reached.
type lostCatalog struct{ catalog.Catalog }

var errLost = errors.New("connection lost")

func (lostCatalog) LoadTable(context.Context, table.Identifier) (*table.Table, error) {
	return nil, errLost
}

func (lostCatalog) CommitTable(context.Context, table.Identifier, []table.Requirement, []table.Update) (table.Metadata, string, error) {
	return nil, "", errLost
}

// newLostRun makes a run of two streams, a and b, whose catalog cannot be reached any more.
func newLostRun(t *testing.T) *run {
	t.Helper()
	configured, err := protocol.ParseConfiguredCatalog([]byte(`{"streams":[
		{"stream":{"name":"a","json_schema":{"properties":{"id":{"type":"integer"}}}},"sync_mode":"incremental","destination_sync_mode":"append"},
		{"stream":{"name":"b","json_schema":{"properties":{"id":{"type":"integer"}}}},"sync_mode":"incremental","destination_sync_mode":"append"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	streams, err := PlanStreams(configured,
		func(s protocol.ConfiguredStream) (*columnar.Plan, error) {
			return columnar.NewPlan(s, columnar.Options{Namespace: "airbyte", Names: columns.Lowercase, Nested: columnar.Struct, Numbers: columnar.Double})
		},
		func(protocol.StreamID) lake.Options { return lake.Options{} })
	if err != nil {
		t.Fatal(err)
	}
	files, err := storage.Open(t.Context(), storage.Default(), "file://"+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalogs.Open(t.Context(), catalogs.Default(), files)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cat.Close() })
	if err := streams.Open(t.Context(), cat, 512, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	cat.Backend = lostCatalog{cat.Backend}
	return &run{stateMessages: &stateMessages{}, stateFiles: checkpoint.NewFiles(files), streams: streams, out: protocol.NewEmitter(io.Discard), group: &errgroup.Group{}}
}

// oneState is a plan that commits a state of each stream.
func (r *run) oneState() *commitPlan {
	plan := &commitPlan{}
	for _, stream := range r.streams.all {
		plan.tables = append(plan.tables, &tableCommit{stream: stream, state: pendingState{message: stateMessage{State: protocol.State{Raw: json.RawMessage(`{}`)}}, segment: 1}})
	}
	return plan
}

// Tables commit at once, and the error names each one that fails.
func TestEveryTableThatFailsInACommitIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // there are attempts for five minutes
		r := newLostRun(t)
		err := r.commitTables(t.Context(), r.oneState())
		for _, stream := range r.streams.all {
			name := stream.ID.Name
			if err == nil || !strings.Contains(err.Error(), "committing stream "+name+": Table airbyte."+name) || !strings.Contains(err.Error(), "loading table airbyte."+name) {
				t.Errorf("stream %s is not named: %v", stream.ID, err)
			}
		}
	})
}

// The state of the next commit covers the rows of this one, too. The run ends with the error, but too late to prevent
// the next commit.
func TestNoCommitComesAfterOneThatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLostRun(t)
		if err := r.startCommit(t.Context(), r.oneState()); err != nil {
			t.Fatal(err)
		}
		if err := r.startCommit(t.Context(), r.oneState()); err == nil {
			t.Error("another commit was started")
		}
		if r.commitNumber != 1 {
			t.Errorf("%d commits were made", r.commitNumber)
		}
		if err := r.group.Wait(); err == nil {
			t.Error("the first commit has not failed")
		}
	})
}
