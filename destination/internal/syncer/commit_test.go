package syncer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/checkpoint"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columns"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// lostCatalog is one that cannot be reached.
type lostCatalog struct{ catalog.Catalog }

// halfLostCatalog is one in which the tables of some streams cannot be committed.
type halfLostCatalog struct {
	catalog.Catalog
	lost string // names of the tables
}

func (c halfLostCatalog) CommitTable(ctx context.Context, id table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	if strings.Contains(c.lost, catalog.TableNameFromIdent(id)) {
		return nil, "", fmt.Errorf("%w: %w", storage.ErrNotCommitted, errLost)
	}
	return c.Catalog.CommitTable(ctx, id, reqs, updates)
}

var errLost = errors.New("connection lost")

func (lostCatalog) LoadTable(context.Context, table.Identifier) (*table.Table, error) {
	return nil, errLost
}

func (lostCatalog) CommitTable(context.Context, table.Identifier, []table.Requirement, []table.Update) (table.Metadata, string, error) {
	return nil, "", errLost
}

// plannedStreams plans streams that append.
func plannedStreams(t *testing.T, names ...string) Streams {
	return plannedOverwriting(t, "", names...)
}

// plannedOverwriting plans streams that append, but for one.
func plannedOverwriting(t *testing.T, overwritten string, names ...string) Streams {
	t.Helper()
	var described []string
	for _, name := range names {
		modes := `"sync_mode":"incremental","destination_sync_mode":"append"`
		if name == overwritten {
			modes = `"sync_mode":"full_refresh","destination_sync_mode":"overwrite"`
		}
		described = append(described, fmt.Sprintf(`{"stream":{"name":%q,"json_schema":{"properties":{"id":{"type":"integer"}}}},%s}`, name, modes))
	}
	configured, err := protocol.ParseConfiguredCatalog([]byte(`{"streams":[` + strings.Join(described, ",") + `]}`))
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
	return streams
}

// unmakingCatalog is one in which no table can be made.
type unmakingCatalog struct{ catalog.Catalog }

func (unmakingCatalog) CreateNamespace(context.Context, table.Identifier, iceberg.Properties) error {
	return errLost
}

// Tables are opened in any order, and not at all once one could not be: the error is
// still that one's.
func TestTheErrorOfATableThatCannotBeOpenedIsReported(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // the last goroutine that was started runs first
	files, err := storage.Open(t.Context(), storage.Default(), "file://"+t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalogs.Open(t.Context(), catalogs.Default(), files)
	if err != nil {
		t.Fatal(err)
	}
	defer cat.Close()
	cat.Backend = unmakingCatalog{cat.Backend}
	for range 20 {
		if err := plannedStreams(t, "a", "b", "c", "d", "e").Open(t.Context(), cat, 512, slog.New(slog.DiscardHandler)); !errors.Is(err, errLost) {
			t.Fatalf("error %v", err)
		}
	}
}

// newTestRun makes a run of two streams, a and b, without workers, and returns its output. wrap replaces the catalog once
// the tables are open.
func newTestRun(t *testing.T, wrap func(catalog.Catalog) catalog.Catalog) (*run, *bytes.Buffer) {
	t.Helper()
	streams := plannedStreams(t, "a", "b")
	files, err := storage.Open(t.Context(), storage.Default(), "file://"+t.TempDir(), "")
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
	cat.Backend = wrap(cat.Backend)
	var out bytes.Buffer
	messages := &stateMessages{limit: 1 << 20}
	return &run{
		config:        Config{Commit: CommitLimits{MaxRows: 1, MaxMebibytes: 1, MaxSeconds: 300}, Completion: StateHint},
		streams:       streams,
		checkpoints:   newCheckpoints(streams, messages),
		stateMessages: messages,
		stateFiles:    checkpoint.NewFiles(files),
		firstBad:      newFirstBad(),
		longMessages:  newLongMessages(),
		relayed:       map[string]struct{}{},
		unknown:       map[protocol.StreamID]struct{}{},
		out:           protocol.NewEmitter(&out, protocol.EmitterOptions{}),
		log:           slog.New(slog.DiscardHandler),
		group:         &errgroup.Group{},
	}, &out
}

// newLostRun makes a run whose catalog cannot be reached any more.
func newLostRun(t *testing.T) *run {
	t.Helper()
	r, _ := newTestRun(t, func(c catalog.Catalog) catalog.Catalog { return lostCatalog{c} })
	return r
}

// sameCatalog leaves the catalog as it is.
func sameCatalog(c catalog.Catalog) catalog.Catalog { return c }

// oneState is a plan that commits a state of each stream.
func (r *run) oneState() *commitPlan {
	plan := &commitPlan{}
	for _, stream := range r.streams.all {
		plan.tables = append(plan.tables, &tableCommit{stream: stream, state: pendingState{message: stateMessage{State: protocol.State{Raw: json.RawMessage(`{}`)}}, stream: stream, segment: 1}})
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
		closed := func() error { return nil }
		if err := r.startCommit(t.Context(), r.oneState(), closed); err != nil {
			t.Fatal(err)
		}
		if err := r.startCommit(t.Context(), r.oneState(), closed); err == nil {
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

const (
	globalState = `{"type":"STATE","state":{"type":"GLOBAL","global":{"stream_states":[{"stream_descriptor":{"name":"a"}},{"stream_descriptor":{"name":"b"}}]}}}`
	legacyState = `{"type":"STATE","state":{"data":{"n":1}}}`
)

// A state is echoed when all tables that it covers are committed, whatever happens to the others.
func TestAStateIsEchoedWhenAllItsTablesAreCommitted(t *testing.T) {
	ofA, ofB := streamState("a", 1), streamState("b", 1)
	for _, tt := range []struct {
		name, lost string
		states     []string
		want       []string
	}{
		{"GLOBAL, none lost", "", []string{globalState}, []string{withRows(globalState, 2)}},
		{"GLOBAL, the first table lost", "a", []string{globalState}, nil},
		{"GLOBAL, the last table lost", "b", []string{globalState}, nil},
		{"STREAM, the first table lost", "a", []string{ofA, ofB}, []string{withRows(ofB, 1)}},
		{"STREAM, the last table lost", "b", []string{ofA, ofB}, []string{withRows(ofA, 1)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, out := newTestRun(t, func(c catalog.Catalog) catalog.Catalog { return halfLostCatalog{c, tt.lost} })
			jobs := r.dispatchLines(t, append([]string{goodRecord("a"), goodRecord("b")}, tt.states...)...)
			ctx, stop := context.WithCancel(t.Context())
			w := r.addWorker()
			r.spawn(func() error { return w.run(ctx, jobs) })
			err := r.commitFinal(t.Context(), inputEnded)
			stop()
			if lost := err != nil && strings.Contains(err.Error(), "committing stream "+tt.lost+": "); (err != nil || tt.lost != "") && !lost {
				t.Errorf("error %v", err)
			}
			if err := r.group.Wait(); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(tt.want, echoed(out)); diff != "" {
				t.Errorf("echoed (-want +got):\n%s", diff)
			}
		})
	}
}

// Rows that come after a state of all streams, and that nothing proves complete, do not keep it from being committed
// and echoed. A source that is not told would send all rows again.
func TestAStateOfAllStreamsIsCommittedAndEchoedAtTheEnd(t *testing.T) {
	const failure = `{"type":"TRACE","trace":{"type":"ERROR","emitted_at":1,"error":{"message":"it died","failure_type":"system_error"}}}`
	const incomplete = `{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1,"stream_status":{"stream_descriptor":{"name":"b"},"status":"INCOMPLETE"}}}`
	for _, tt := range []struct {
		name, state, last, lost string
		interrupted             bool
		want                    []string
	}{
		{"GLOBAL, the source failed", globalState, failure, "", false, []string{withRows(globalState, 2)}},
		{"GLOBAL, a stream is INCOMPLETE", globalState, incomplete, "", false, []string{withRows(globalState, 2)}},
		{"GLOBAL, interrupted", globalState, goodRecord("b"), "", true, []string{withRows(globalState, 2)}},
		{"GLOBAL, the first table lost", globalState, failure, "a", false, nil},
		{"GLOBAL, the last table lost", globalState, failure, "b", false, nil},
		{"LEGACY, the source failed", legacyState, failure, "", false, []string{withRows(legacyState, 2)}},
		{"LEGACY, a stream is INCOMPLETE", legacyState, incomplete, "", false, []string{withRows(legacyState, 2)}},
		{"LEGACY, interrupted", legacyState, goodRecord("b"), "", true, []string{withRows(legacyState, 2)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, out := newTestRun(t, func(c catalog.Catalog) catalog.Catalog { return halfLostCatalog{c, tt.lost} })
			jobs := r.dispatchLines(t, goodRecord("a"), goodRecord("b"), tt.state, goodRecord("b"), tt.last)
			r.startWorker(t.Context(), jobs)
			stop, signal := context.WithCancel(t.Context())
			defer signal()
			if tt.interrupted {
				signal()
			}
			if err := r.commitAtEOF(stop, t.Context()); err == nil {
				t.Error("the run has not failed")
			}
			close(jobs)
			if err := errors.Join(r.group.Wait(), r.workers.discardFiles()); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(tt.want, echoed(out)); diff != "" {
				t.Errorf("echoed (-want +got):\n%s", diff)
			}
			for _, s := range r.streams.all {
				if rows := len(laketest.Rows(t, laketest.Load(t, s.Table))); rows != 1 && s.ID.Name != tt.lost {
					t.Errorf("table %s has %d rows, the state covers one", s.ID, rows)
				}
			}
		})
	}
}

// brokenPipe is an output that nobody reads.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// That a table failed is no reason to keep quiet about a state that cannot be echoed.
func TestErrorsOfTablesAndOfEchoesAreReported(t *testing.T) {
	r, _ := newTestRun(t, func(c catalog.Catalog) catalog.Catalog { return halfLostCatalog{c, "a"} })
	r.out = protocol.NewEmitter(brokenPipe{}, protocol.EmitterOptions{})
	plan := r.oneState()
	b := plan.tables[1]
	for range 3 {
		plan.echoes = append(plan.echoes, echo{message: b.state.message, streams: []*Stream{b.stream}})
	}
	err := r.commitTables(t.Context(), plan)
	if !errors.Is(err, errLost) || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error %v", err)
	}
	if n := strings.Count(fmt.Sprint(err), io.ErrClosedPipe.Error()); n != 1 {
		t.Errorf("what is wrong with the output is reported %d times: %v", n, err)
	}
}
