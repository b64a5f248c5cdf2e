package syncer

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/iceberg-go/catalog"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/checkpoint"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rollback"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

var (
	histories = flag.Int("histories", testsize.Of(8, 200), "how many random histories TestASourceContinuesWhereItsTablesEnd makes")
	seed      = flag.Uint64("seed", 0, "the first of them")
)

// TestASourceContinuesWhereItsTablesEnd makes syncs of a source whose catalog gains and loses streams. Syncs fail in
// every way, tables are reset, dropped and rolled back. Each time, the committed states must be of no more rows than
// the tables have, so that none is lost, and of no fewer, so that none comes twice, but where that is allowed.
func TestASourceContinuesWhereItsTablesEnd(t *testing.T) {
	exact, none, excused := 0, 0, 0
	for i := range uint64(*histories) {
		kind := []string{"STREAM", "GLOBAL", "bare GLOBAL", "LEGACY"}[(*seed+i)%4]
		t.Run(fmt.Sprintf("%s %d", kind, *seed+i), func(t *testing.T) {
			h := newSourceHistory(t, kind, *seed+i)
			for range 8 {
				h.step()
				if t.Failed() {
					t.Fatalf("after:\n%s", strings.Join(h.log, "\n"))
				}
			}
			exact, none, excused = exact+h.exact, none+h.none, excused+h.inexact
		})
	}
	t.Logf("streams were compared %d times: %d times exact, %d times with more rows where that is allowed; %d times there was no state", exact+excused, exact, excused, none)
}

// sourceHistory is a source, and the tables that its syncs write.
type sourceHistory struct {
	*testing.T
	random               *rand.Rand
	kind                 string
	remembers            bool   // its states keep the position of a stream that is not in the catalog
	overwritten          string // the stream that it reads from its beginning each time; "": none
	files                *storage.Storage
	cat                  *catalogs.Catalog
	last                 positions // that were committed by the last sync
	failing              *failingTables
	names                []string        // the catalog
	orchestrator         positions       // of the states that came back last; nil: none have, or they are of no use any more
	excused              map[string]bool // a stream's table may have more rows than the next states say, until it is exact again
	restartsAll          map[string]bool // its table, or the states of the others, began again since it was read: when it is read, all begin again
	repeated             map[string]bool // it may have rows twice
	log                  []string
	exact, inexact, none int
}

// positions are the numbers of rows that a source has read of its streams.
type positions map[string]int

func newSourceHistory(t *testing.T, kind string, seed uint64) *sourceHistory {
	dir := t.TempDir()
	files, err := storage.Open(t.Context(), storage.Default(), "file://"+dir, "")
	if err != nil {
		t.Fatal(err)
	}
	h := &sourceHistory{
		T: t, random: rand.New(rand.NewPCG(seed, 0)), kind: kind, files: files, cat: laketest.OpenCatalog(t, dir), excused: map[string]bool{}, restartsAll: map[string]bool{}, repeated: map[string]bool{},
	}
	h.remembers = h.chance(50)
	if h.chance(30) {
		h.overwritten = "c"
	}
	h.failing = &failingTables{Catalog: h.cat.Backend}
	h.cat.Backend = h.failing
	return h
}

func (h *sourceHistory) chance(percent int) bool { return h.random.IntN(100) < percent }
func (h *sourceHistory) isShared() bool          { return h.kind != "STREAM" }
func (h *sourceHistory) note(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf(format, args...))
}

// excuse notes that streams may come again from before the end of their tables; of none: all of them.
func (h *sourceHistory) excuse(names ...string) {
	if names == nil {
		names = []string{"a", "b", "c", "d"}
	}
	for _, name := range names {
		h.excused[name], h.repeated[name] = true, true
	}
}

// step changes the catalog, perhaps a table, and makes a sync.
func (h *sourceHistory) step() {
	if h.names == nil || h.chance(50) {
		h.names = nil
		for _, name := range []string{"a", "b", "c", "d"} {
			if h.chance(65) {
				h.names = append(h.names, name)
			}
		}
		if h.names == nil {
			h.names = []string{"a"}
		}
	}
	h.note("catalog %v", h.names)
	if h.chance(25) {
		h.changeTable()
	}
	fromEchoed := h.orchestrator != nil && !h.anyRestartsAll() && h.chance(20)
	from := h.committed()
	found := from != nil
	if !maps.Equal(from, h.last) {
		h.partFrom(h.names)
	}
	if fromEchoed && (found || !h.isShared()) {
		if !maps.Equal(h.orchestrator, from) {
			h.excuse()
		}
		from = h.orchestrator
		h.note("the orchestrator's states: %v", from)
	}
	if h.isShared() && from == nil {
		h.excuse()
	}
	h.sync(from)
	h.last = h.committed()
	if h.isShared() && found && h.last == nil {
		h.Error("a failure took the state away")
	}
}

// partFrom notes that other streams are not of the state that the source continues from.
func (h *sourceHistory) partFrom(names []string) {
	for _, name := range []string{"a", "b", "c", "d"} {
		h.restartsAll[name] = h.isShared() && (h.restartsAll[name] || !slices.Contains(names, name))
	}
}

func (h *sourceHistory) anyRestartsAll() bool {
	return slices.ContainsFunc(slices.Collect(maps.Values(h.restartsAll)), func(restarts bool) bool { return restarts })
}

// changeTable resets a table, drops it or rolls it back.
func (h *sourceHistory) changeTable() {
	streams := plannedOverwriting(h.T, h.overwritten, "a", "b", "c", "d")
	s := streams.all[h.random.IntN(4)]
	_ = streams.resolve(h.Context(), h.cat)
	if _, err := h.cat.LoadTable(h.Context(), s.plan.Identifier()); err != nil {
		return
	}
	tbl := laketest.OpenTable(h.T, h.cat, s.plan, lake.Options{})
	ancestors := rollback.Ancestors(tbl.Opened())
	var err error
	switch what := h.random.IntN(3); {
	case what == 0:
		h.note("reset %s", s.ID)
		_, err = tbl.Reset(h.Context())
	case what == 1:
		h.note("drop %s", s.ID)
		err = h.cat.DropTable(h.Context(), s.plan.Identifier())
	case len(ancestors) == 0:
		return
	default:
		to := h.random.IntN(len(ancestors))
		h.note("roll %s back by %d", s.ID, to)
		err = rollback.Table(h.Context(), tbl, ancestors[to])
		h.excuse(s.ID.Name) // its rows after the snapshot's state, and what a compaction hides
	}
	if err != nil {
		h.Fatal(err)
	}
	if h.orchestrator = nil; h.isShared() {
		h.excuse()
		h.restartsAll[s.ID.Name] = true
	}
}

// committed compares the committed states with the tables, and returns the positions that they say.
func (h *sourceHistory) committed() positions {
	h.Helper()
	streams := plannedOverwriting(h.T, h.overwritten, h.names...)
	states, err := streams.CommittedStates(h.Context(), h.cat)
	if err != nil {
		h.Fatal(err)
	}
	var all positions
	for _, s := range states {
		raw, err := s.Read(h.Context())
		if err != nil {
			h.Fatal(err)
		}
		all = h.add(all, raw)
	}
	if all == nil {
		h.none++
	}
	h.note("committed %v", all)
	for _, s := range streams.all {
		if h.restartsAll[s.ID.Name] {
			h.excuse()
		}
		if _, known := all[s.ID.Name]; h.isShared() && !h.remembers && !known {
			h.excuse(s.ID.Name) // it was not in the catalog, and the source has forgotten it
		}
	}
	for _, s := range streams.all {
		h.compare(s, all[s.ID.Name])
	}
	if all != nil && !slices.ContainsFunc(h.names, func(name string) bool { return h.excused[name] }) {
		for _, name := range h.names {
			delete(h.restartsAll, name)
		}
	}
	return all
}

// compare compares a stream's table with the position that the committed state says.
func (h *sourceHistory) compare(s *Stream, position int) {
	h.Helper()
	name, times := s.ID.Name, h.rows(s)
	for id, n := range times {
		if n > 1 && (!h.repeated[name] || s.isOverwrite()) {
			h.Errorf("stream %s: row %d is there %d times", name, id, n)
		}
	}
	if s.isOverwrite() || !h.hasAll(s, times, position, "committed") {
		return
	}
	switch {
	case len(times) == position:
		h.exact++
		delete(h.excused, name)
	case !h.excused[name]:
		h.Errorf("stream %s: %d rows come again, the committed state is of %d", name, len(times)-position, position)
	default:
		h.inexact++
	}
}

// rows returns how often each row is in a stream's table.
func (h *sourceHistory) rows(s *Stream) map[int]int {
	times := map[int]int{}
	loaded, err := h.cat.LoadTable(h.Context(), s.plan.Identifier())
	if errors.Is(err, catalog.ErrNoSuchTable) || errors.Is(err, catalog.ErrNoSuchNamespace) {
		return times
	}
	if err != nil {
		h.Fatal(err)
	}
	for _, row := range laketest.Rows(h.T, loaded) {
		var of struct{ ID int }
		if err := json.Unmarshal([]byte(row), &of); err != nil {
			h.Fatal(err)
		}
		times[of.ID]++
	}
	return times
}

// hasAll checks that a table has all rows before a position.
func (h *sourceHistory) hasAll(s *Stream, times map[int]int, position int, state string) bool {
	h.Helper()
	for id := range position {
		if times[id] == 0 && !s.isOverwrite() {
			h.Errorf("stream %s: row %d is lost, the %s state is of %d rows", s.ID, id, state, position)
			return false
		}
	}
	return true
}

// add adds what a state says to positions.
func (h *sourceHistory) add(all positions, raw json.RawMessage) positions {
	type ofStream struct {
		Descriptor struct{ Name string } `json:"stream_descriptor"`
		State      struct{ N int }       `json:"stream_state"`
	}
	var state struct {
		Stream *ofStream
		Global struct {
			Shared positions   `json:"shared_state"`
			Of     []*ofStream `json:"stream_states"`
		}
		Data positions
	}
	if err := json.Unmarshal(raw, &state); err != nil {
		h.Fatal(err)
	}
	if all == nil {
		all = positions{}
	}
	maps.Copy(all, state.Global.Shared)
	maps.Copy(all, state.Data)
	for _, of := range append(state.Global.Of, state.Stream) {
		if of != nil {
			all[of.Descriptor.Name] = of.State.N
		}
	}
	return all
}

// message is the STATE message that says a position of a stream, or of all.
func (h *sourceHistory) message(all positions, name string) string {
	ofStream := func(name string) string {
		return fmt.Sprintf(`{"stream_descriptor":{"name":%q},"stream_state":{"n":%d}}`, name, all[name])
	}
	text, err := json.Marshal(all)
	if err != nil {
		h.Fatal(err)
	}
	var state string
	switch h.kind {
	case "STREAM":
		state = `{"type":"STREAM","stream":` + ofStream(name) + `}`
	case "GLOBAL":
		var of []string
		for _, name := range slices.Sorted(maps.Keys(all)) {
			of = append(of, ofStream(name))
		}
		state = `{"type":"GLOBAL","global":{"shared_state":{},"stream_states":[` + strings.Join(of, ",") + `]}}`
	case "bare GLOBAL":
		state = `{"type":"GLOBAL","global":{"shared_state":` + string(text) + `,"stream_states":[]}}`
	default:
		state = `{"type":"LEGACY","data":` + string(text) + `}`
	}
	return `{"type":"STATE","state":` + state + `}`
}

// sync makes one that continues from positions.
func (h *sourceHistory) sync(from positions) {
	if h.chance(30) {
		h.failing.table, h.failing.after = h.names[h.random.IntN(len(h.names))], h.random.IntN(4)
		h.note("commits of %s fail after %d", h.failing.table, h.failing.after)
		if h.isShared() {
			h.excuse()
			h.restartsAll[h.failing.table] = true
		}
	}
	messages := h.messages(from)
	streams := plannedOverwriting(h.T, h.overwritten, h.names...)
	var out bytes.Buffer
	emitter := protocol.NewEmitter(&out, protocol.EmitterOptions{})
	defer func() { h.failing.table = "" }()
	if err := streams.Open(h.Context(), h.cat, 512, emitter.Logger()); err != nil {
		if h.note("%v", err); h.failing.table == "" {
			h.Fatal(err)
		}
		return
	}
	config := Config{Commit: CommitLimits{MaxRows: int64(1 + h.random.IntN(9)), MaxMebibytes: 1, MaxSeconds: 300}, Completion: StateHint, Memory: 512}
	err := Run(h.Context(), config, streams, checkpoint.NewFiles(h.files), strings.NewReader(strings.Join(messages, "\n")+"\n"), emitter)
	h.note("%v", err)
	for _, line := range echoed(&out) {
		var message struct{ State json.RawMessage }
		if err := json.Unmarshal([]byte(line), &message); err != nil {
			h.Fatal(err)
		}
		if h.isShared() {
			h.orchestrator = nil
		}
		h.orchestrator = h.add(h.orchestrator, message.State)
		h.note("echoed %s", message.State)
		for _, s := range streams.all {
			h.hasAll(s, h.rows(s), h.orchestrator[s.ID.Name], "echoed")
		}
	}
}

// messages are those of a source that continues from positions.
func (h *sourceHistory) messages(from positions) (lines []string) {
	now, covered, complete := positions{}, positions{}, map[string]bool{}
	if h.remembers {
		maps.Copy(now, from)
	}
	for _, name := range h.names {
		if now[name] = from[name]; name == h.overwritten {
			now[name] = 0
		}
	}
	maps.Copy(covered, now)
	sendsStatuses, statuses, states := h.chance(80), false, false
	var said []string // to people
	record := func(name string) {
		for range 1 + h.random.IntN(3) {
			lines = append(lines, fmt.Sprintf(`{"type":"RECORD","record":{"stream":%q,"emitted_at":1,"data":{"id":%d}}}`, name, now[name]))
			said = append(said, fmt.Sprint(name, now[name]))
			now[name]++
		}
	}
	state := func(name string) {
		lines = append(lines, h.message(now, name))
		said = append(said, fmt.Sprint("state ", now))
		if states = true; h.isShared() {
			maps.Copy(covered, now)
		} else {
			covered[name] = now[name]
		}
	}
	status := func(name, status string) {
		if complete[name] = complete[name] || status == "COMPLETE"; sendsStatuses {
			statuses = true
			lines = append(lines, fmt.Sprintf(`{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1,"stream_status":{"stream_descriptor":{"name":%q},"status":%q}}}`, name, status))
			said = append(said, name+" "+status)
		}
	}
	bad := false
	for range h.random.IntN(15) {
		name := h.names[h.random.IntN(len(h.names))]
		switch n := h.random.IntN(100); {
		case complete[name]:
		case n < 55:
			record(name)
		case n < 85:
			state(name)
		case n < 96:
			if h.chance(60) {
				state(name)
			}
			status(name, "COMPLETE")
		default:
			bad, said = true, append(said, "bad record")
			lines = append(lines, fmt.Sprintf(`{"type":"RECORD","record":{"stream":%q,"emitted_at":1,"data":{"id":}}}`, name))
		}
	}
	end := h.random.IntN(10)
	for _, name := range h.names {
		switch {
		case complete[name] || end > 5: // it dies
		case end == 0:
			status(name, "INCOMPLETE")
		default:
			if end > 1 {
				state(name)
			}
			status(name, "COMPLETE")
		}
	}
	h.note("the source says: %s", strings.Join(said, ", "))
	h.excuseUncovered(now, covered, complete, from == nil, statuses, states, bad)
	return lines
}

// excuseUncovered notes which streams may keep rows after their last state: those that are complete, and where states
// cover all streams, only if all are. Before the first state nobody knows that they do.
func (h *sourceHistory) excuseUncovered(now, covered positions, complete map[string]bool, fromNothing, statuses, states, bad bool) {
	switch {
	case bad:
		return
	case !states && (!statuses || !h.isShared() || fromNothing):
		h.excuse(h.names...)
		return
	}
	for _, name := range h.names {
		if h.isShared() && !complete[name] {
			return
		}
	}
	for _, name := range h.names {
		if complete[name] && statuses && now[name] > covered[name] {
			h.excuse(name)
		}
	}
}
