package syncer

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/checkpoint"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A sharedSync is one with a row of each stream and then a state that covers all.
type sharedSync struct {
	streams string // names of one letter
	reset   string // the table that was reset before; "": none
	state   int    // 0: none comes
	fails   string // the table whose commits fail
	after   int    // this many
	want    int    // the state from which the source continues after it; 0: none
}

// A state counts from the first sync that has it in all tables until all of them have the next, whatever fails and
// whichever streams are added.
func TestWhichStateOfAllStreamsCounts(t *testing.T) {
	for name, syncs := range map[string][]sharedSync{
		"a crash": {{streams: "ab", state: 1, want: 1}, {streams: "ab", state: 2, fails: "b", want: 1}, {streams: "ab", state: 3, want: 3}},
		// The second one fails when the table has got state 1 back.
		"a crash, and one of the other table in the next sync": {
			{streams: "ab", state: 1, want: 1}, {streams: "ab", state: 2, fails: "b", want: 1}, {streams: "ab", state: 3, fails: "a", after: 1, want: 1}, {streams: "ab", state: 4, want: 4},
		},
		"a stream is added, and the sync fails before a state": {{streams: "ab", state: 1, want: 1}, {streams: "abc", want: 1}, {streams: "abc", state: 2, want: 2}},
		"a stream is added, and its first commit fails": {
			{streams: "ab", state: 1, want: 1}, {streams: "abc", state: 2, fails: "c", after: 1, want: 1}, {streams: "abc", state: 3, want: 3},
		},
		"a table is reset, and the next commit fails": {
			{streams: "ab", state: 1, want: 1}, {streams: "ab", reset: "a", state: 2, fails: "b", want: 0}, {streams: "ab", state: 3, want: 3},
		},
		"a stream is removed and added again": {
			{streams: "abc", state: 1, want: 1}, {streams: "ab", state: 2, want: 2}, {streams: "abc", want: 2}, {streams: "abc", state: 3, fails: "c", after: 1, want: 2},
		},
		"and its table was reset meanwhile": {
			{streams: "abc", state: 1, want: 1}, {streams: "ab", state: 2, want: 2}, {streams: "ab", reset: "c", state: 3, want: 3}, {streams: "abc", want: 0},
		},
	} {
		for kind, state := range map[string]string{
			"GLOBAL":                `{"type":"GLOBAL","global":{"shared_state":{"n":%d},"stream_states":[]}}`,
			"LEGACY, kept in files": `{"type":"LEGACY","data":{"n":%d,"x":"` + strings.Repeat("x", 1<<10) + `"}}`,
		} {
			t.Run(name+"/"+kind, func(t *testing.T) { playShared(t, syncs, func(n int) string { return fmt.Sprintf(state, n) }) })
		}
	}
}

func playShared(t *testing.T, syncs []sharedSync, state func(n int) string) {
	dir := t.TempDir()
	files, err := storage.Open(t.Context(), storage.Default(), "file://"+dir, "")
	if err != nil {
		t.Fatal(err)
	}
	cat := laketest.OpenCatalog(t, dir)
	failing := &failingTables{Catalog: cat.Backend}
	cat.Backend = failing
	for i, s := range syncs {
		streams := plannedStreams(t, strings.Split(s.streams, "")...)
		if s.reset != "" {
			of := plannedStreams(t, s.reset)
			if err := of.resolve(t.Context(), cat); err != nil {
				t.Fatal(err)
			}
			if _, err := laketest.OpenTable(t, cat, of.all[0].plan, lake.Options{}).Reset(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		var input []string
		for _, name := range strings.Split(s.streams, "") {
			input = append(input, goodRecord(name))
		}
		if s.state > 0 {
			input = append(input, `{"type":"STATE","state":`+state(s.state)+`}`)
		} else {
			input = append(input, `{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1,"stream_status":{"stream_descriptor":{"name":"a"},"status":"INCOMPLETE"}}}`)
		}
		var out bytes.Buffer
		emitter := protocol.NewEmitter(&out, protocol.EmitterOptions{})
		if err := streams.Open(t.Context(), cat, 512, emitter.Logger()); err != nil {
			t.Fatal(err)
		}
		failing.table, failing.after = s.fails, s.after
		config := Config{Commit: CommitLimits{MaxRows: 1000, MaxMebibytes: 1, MaxSeconds: 300}, Completion: StateHint, Memory: 512}
		err := Run(t.Context(), config, streams, checkpoint.NewFiles(files), strings.NewReader(strings.Join(input, "\n")+"\n"), emitter)
		if failing.table = ""; (err != nil) != (s.fails != "" || s.state == 0) {
			t.Errorf("sync %d: %v", i, err)
		}
		states, err := plannedStreams(t, strings.Split(s.streams, "")...).CommittedStates(t.Context(), cat)
		if err != nil {
			t.Fatal(err)
		}
		var got, want []string
		for _, s := range states {
			raw, err := s.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(raw))
		}
		if s.want > 0 {
			want = []string{state(s.want)}
		}
		if !slices.Equal(got, want) {
			t.Errorf("after sync %d: %.100q, want %.100q", i, got, want)
		}
	}
}

// branchless is a catalog that keeps no branches.
type branchless struct{ *catalogs.Catalog }

func (branchless) KeepsBranches() bool { return false }

// What a sync takes for the state that it continues from is what was printed before it, whatever becomes of older rows.
func TestTheStateBeforeASyncIsTheOneThatIsPrinted(t *testing.T) {
	const complete, incomplete = "COMPLETE", "INCOMPLETE"
	syncs := []struct {
		generation, minimum int // 0: the catalog has none
		status              string
		before              int // the state; 0: none
	}{
		{0, 0, complete, 0},
		{0, 0, incomplete, 1},
		{1, 0, complete, 2},
		{2, 2, incomplete, 0},
		{2, 2, complete, 4}, // which is of the branch; without one, nothing was kept
		{2, 2, complete, 5},
		{3, 3, incomplete, 0},
		{4, 0, complete, 7},
	}
	for _, keepsBranches := range []bool{true, false} {
		dir := t.TempDir()
		files, err := storage.Open(t.Context(), storage.Default(), "file://"+dir, "")
		if err != nil {
			t.Fatal(err)
		}
		opened := laketest.OpenCatalog(t, dir)
		var cat lake.Catalog = opened
		if !keepsBranches {
			cat = branchless{opened}
		}
		last := 0
		for i, s := range syncs {
			plan := func() Streams {
				streams := plannedStreams(t, "a")
				if configured := &streams.all[0].configured; s.generation > 0 {
					configured.GenerationID, configured.MinimumGenerationID = new(int64), new(int64)
					*configured.GenerationID, *configured.MinimumGenerationID = int64(s.generation), int64(s.minimum)
				}
				return streams
			}
			printed, err := plan().CommittedStates(t.Context(), cat)
			if err != nil {
				t.Fatal(err)
			}
			var want, got []byte
			for _, s := range printed {
				want = s.stored
			}
			streams := plan()
			var out bytes.Buffer
			emitter := protocol.NewEmitter(&out, protocol.EmitterOptions{})
			if err := streams.Open(t.Context(), cat, 512, emitter.Logger()); err != nil {
				t.Fatal(err)
			}
			before, err := streams.all[0].stateBefore(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if before != nil {
				got = before.stored
			}
			if !bytes.Equal(got, want) {
				t.Errorf("branches %t, sync %d: %s, and %s is printed", keepsBranches, i, got, want)
			}
			if number := s.before; keepsBranches && strings.Contains(string(got), fmt.Sprintf(`"n":%d}`, number)) != (number > 0) {
				t.Errorf("sync %d: %s, want state %d", i, got, number)
			}
			last++
			input := []string{
				goodRecord("a"), fmt.Sprintf(`{"type":"STATE","state":{"type":"LEGACY","data":{"n":%d}}}`, last),
				fmt.Sprintf(`{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1,"stream_status":{"stream_descriptor":{"name":"a"},"status":%q}}}`, s.status),
			}
			config := Config{Commit: CommitLimits{MaxRows: 1000, MaxMebibytes: 1, MaxSeconds: 300}, Completion: StateHint, Memory: 512}
			err = Run(t.Context(), config, streams, checkpoint.NewFiles(files), strings.NewReader(strings.Join(input, "\n")+"\n"), emitter)
			if (err != nil) != (s.status == incomplete) {
				t.Fatalf("sync %d: %v", i, err)
			}
		}
	}
}

// failingTables is a catalog in which commits of one table fail after some.
type failingTables struct {
	catalog.Catalog
	mu    sync.Mutex
	table string
	after int
}

func (c *failingTables) CommitTable(ctx context.Context, id table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	c.mu.Lock()
	fails := c.table == catalog.TableNameFromIdent(id)
	if fails && c.after > 0 {
		c.after--
		fails = false
	}
	c.mu.Unlock()
	if fails {
		return nil, "", fmt.Errorf("%w: %w", storage.ErrNotCommitted, errLost)
	}
	return c.Catalog.CommitTable(ctx, id, reqs, updates)
}
