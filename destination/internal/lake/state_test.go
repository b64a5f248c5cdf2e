package lake_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/maintenance"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
)

var stateHistories = flag.Int("states", testsize.Of(3, 60), "how many tables TestTheStateIsThatOfTheVisibleRows goes through")

// Whatever this program and others do to a table, its state is that of the rows which are visible: every state
// says how many rows there were when it was committed.
func TestTheStateIsThatOfTheVisibleRows(t *testing.T) {
	known, unknown := 0, 0
	for seed := range uint64(*stateHistories) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			h := newStateHistory(t, seed)
			for range 40 {
				h.step()
				if h.compare() {
					known++
				} else {
					unknown++
				}
			}
		})
	}
	if unknown*20 > known {
		t.Errorf("the state was unknown after %d steps of %d", unknown, known+unknown)
	}
	t.Logf("%d tables, %d steps, %d of them after which the state was unknown", *stateHistories, known+unknown, unknown)
}

// stateHistory is a table, and of every snapshot the state that its rows have.
type stateHistory struct {
	t          *testing.T
	random     *rand.Rand
	p          *columnar.Plan
	tbl        *lake.Table
	states     map[int64][]string // by snapshot, the last one last; 0: before the first
	generation int64              // of the main branch's rows
	refresh    int64              // generation of a refresh under way; 0: none
	rows       int                // that were ever written
	shown      map[string]string  // by branch, what it was seen to have last
	moved      map[int64]bool     // snapshots that another program moved the main branch to
	expired    bool               // by another program
	log        []string
}

func newStateHistory(t *testing.T, seed uint64) *stateHistory {
	p := laketest.Plain("s")
	return &stateHistory{
		t: t, random: rand.New(rand.NewPCG(seed, 5)), p: p, states: map[int64][]string{}, shown: map[string]string{}, moved: map[int64]bool{},
		tbl: openTable(t, laketest.OpenCatalog(t, t.TempDir()), p, lake.Options{FormatVersion: 1 + int(seed%3)}),
	}
}

func (h *stateHistory) step() {
	do := []struct {
		name string
		do   func() bool
	}{
		{"commit", h.commit},
		{"commit", h.commit},
		{"commit", h.commit},
		{"state alone", h.stateAlone},
		{"state alone", h.stateAlone},
		{"rows without a state", h.rowsAlone},
		{"replace", h.replace},
		{"refresh", h.refreshStep},
		{"refresh", h.refreshStep},
		{"finish", h.finish},
		{"maintenance", h.maintenance},
		{"another program's compaction", h.foreignSnapshot},
		{"another program's compaction", h.foreignSnapshot},
		{"rollback", h.rollback},
		{"fast-forward", h.fastForward},
		{"another program expires", h.foreignExpiry},
	}
	for {
		c := do[h.random.IntN(len(do))]
		if c.do() {
			h.log = append(h.log, c.name)
			return
		}
	}
}

// compare reports whether the table knew its state.
func (h *stateHistory) compare() bool {
	h.t.Helper()
	loaded := laketest.Load(h.t, h.tbl)
	got, err := lake.LastState(h.t.Context(), loaded)
	if errors.Is(err, lake.ErrStateUnknown) && h.expired {
		return false
	}
	if err != nil {
		h.t.Fatalf("%v\nafter %q", err, h.log)
	}
	h.expect(table.MainBranch, loaded.CurrentSnapshot(), got)
	if h.refresh > 0 {
		branch := lake.BranchPrefix + strconv.FormatInt(h.refresh, 10)
		got, err := lake.CommittedState(h.t.Context(), loaded, h.p, &lake.Generation{h.refresh, h.refresh})
		if err != nil {
			h.t.Fatalf("%v\nafter %q", err, h.log)
		}
		h.expect(branch, loaded.SnapshotByName(branch), got)
	}
	return true
}

// expect checks the state of a snapshot. It is the last one, but for snapshots that a branch was moved to: there
// progress that came without rows may be forgotten, never that of rows.
func (h *stateHistory) expect(branch string, s *table.Snapshot, got json.RawMessage) {
	h.t.Helper()
	states := h.states[snapshotID(s)]
	last := ""
	if len(states) > 0 {
		last = states[len(states)-1]
	}
	if string(got) != last && !(h.moved[snapshotID(s)] && slices.Contains(states, string(got))) {
		h.t.Fatalf("the state of branch %q is %s; want %s of %s\nafter %q", branch, got, last, states, h.log)
	}
	h.shown[branch] = string(got)
}

func snapshotID(s *table.Snapshot) int64 {
	if s == nil {
		return 0
	}
	return s.SnapshotID
}

// on opens the table as a sync does, for the main branch or for the refresh.
func (h *stateHistory) on(refresh bool) *lake.Table {
	tbl := openTable(h.t, h.tbl.Catalog(), h.p, lake.Options{})
	if refresh {
		if _, err := tbl.Begin(h.t.Context(), &lake.Generation{h.refresh, h.refresh}); err != nil {
			h.t.Fatal(err)
		}
	}
	return tbl
}

func (h *stateHistory) row(tbl *lake.Table) *lake.Staged {
	h.rows++
	return laketest.Stage(h.t, tbl, 0, of(max(h.generation, h.refresh), map[string]any{"id": h.rows}))
}

func (h *stateHistory) newState() string {
	return fmt.Sprintf(`{"rows":%d,"n":%d}`, h.rows, len(h.log))
}

// note says of the last snapshot of a branch what its state is.
func (h *stateHistory) note(tbl *lake.Table, state string) {
	loaded := laketest.Load(h.t, h.tbl)
	id := snapshotID(loaded.SnapshotByName(tbl.Branch()))
	h.states[id] = append(h.states[id], state)
}

// now is the state that a branch was seen to have.
func (h *stateHistory) now(tbl *lake.Table) string {
	return h.shown[tbl.Branch()]
}

func (h *stateHistory) commit() bool {
	tbl := h.on(false)
	staged := h.row(tbl)
	state := h.newState()
	laketest.Commit(h.t, tbl, state, staged)
	h.note(tbl, state)
	return true
}

func (h *stateHistory) stateAlone() bool {
	tbl := h.on(h.refresh > 0 && h.random.IntN(2) == 0)
	if tip := laketest.Load(h.t, tbl).SnapshotByName(tbl.Branch()); tbl.Branch() != table.MainBranch && (tip == nil || h.moved[tip.SnapshotID]) {
		return false // it makes a snapshot, or is the main branch's progress, too
	}
	state := h.newState()
	laketest.Commit(h.t, tbl, state)
	h.note(tbl, state)
	return true
}

func (h *stateHistory) rowsAlone() bool {
	tbl := h.on(false)
	before := h.now(tbl)
	laketest.Commit(h.t, tbl, "", h.row(tbl))
	h.note(tbl, before)
	return true
}

func (h *stateHistory) replace() bool {
	tbl := h.on(false)
	staged := h.row(tbl)
	state := h.newState()
	raw := json.RawMessage(state)
	if h.random.IntN(2) == 0 { // that of the rows before is not that of these
		state, raw = "", nil
	}
	if _, err := tbl.Replace(h.t.Context(), []*lake.Staged{staged}, raw); err != nil {
		h.t.Fatal(err)
	}
	h.note(tbl, state)
	h.refresh = 0
	return true
}

func (h *stateHistory) refreshStep() bool {
	if h.refresh == 0 {
		if h.rows == 0 {
			return false
		}
		h.refresh = max(h.generation, 1) + 1
		if tbl := h.on(true); tbl.Branch() == table.MainBranch {
			h.refresh = 0
			return false
		}
	}
	tbl := h.on(true)
	staged := h.row(tbl)
	state := h.newState()
	laketest.Commit(h.t, tbl, state, staged)
	h.note(tbl, state)
	return true
}

func (h *stateHistory) finish() bool {
	if h.refresh == 0 {
		return false
	}
	tbl := h.on(true)
	if tbl.Branch() == table.MainBranch {
		return false
	}
	state, raw := h.now(tbl), json.RawMessage(nil)
	if h.random.IntN(2) == 0 {
		state = h.newState()
		raw = json.RawMessage(state)
	}
	if _, err := tbl.Finish(h.t.Context(), nil, raw); err != nil {
		h.t.Fatal(err)
	}
	h.note(tbl, state)
	h.generation, h.refresh = h.refresh, 0
	return true
}

func (h *stateHistory) maintenance() bool {
	tbl := openTable(h.t, h.tbl.Catalog(), h.p, lake.Options{ReaderTime: time.Nanosecond})
	before := h.now(tbl)
	if _, err := maintenance.Maintain(h.t.Context(), tbl, maintenance.Options{ExpireAfter: time.Nanosecond, KeepSnapshots: 1 + h.random.IntN(3), Thorough: true}); err != nil {
		h.t.Fatal(err)
	}
	h.note(tbl, before)
	return true
}

// foreignSnapshot is one that changes no rows, like that of a compaction.
func (h *stateHistory) foreignSnapshot() bool {
	loaded := laketest.Load(h.t, h.tbl)
	tip := loaded.CurrentSnapshot()
	if tip == nil {
		return false
	}
	s, err := h.tbl.Storage().Write(h.t.Context(), loaded.Metadata(), loaded.SnapshotByName(h.tbl.Branch()), &snapshots.Change{Operation: table.OpReplace, Forced: true}, iceberg.Properties{lake.TokenKey: ""})
	if err != nil {
		h.t.Fatal(err)
	}
	delete(s.Summary.Properties, lake.TokenKey)
	h.change(table.NewAddSnapshotUpdate(s), lake.MoveTo(loaded.Metadata(), table.MainBranch, s.SnapshotID))
	h.states[s.SnapshotID] = append(slices.Clone(h.states[tip.SnapshotID]), h.shown[table.MainBranch])
	return true
}

func (h *stateHistory) rollback() bool {
	loaded := laketest.Load(h.t, h.tbl)
	var ancestors []int64
	for s := loaded.CurrentSnapshot(); s != nil && s.ParentSnapshotID != nil; {
		if s = loaded.SnapshotByID(*s.ParentSnapshotID); s != nil {
			ancestors = append(ancestors, s.SnapshotID)
		}
	}
	if ancestors == nil {
		return false
	}
	to := ancestors[h.random.IntN(len(ancestors))]
	h.moved[to] = true
	h.change(lake.MoveTo(loaded.Metadata(), table.MainBranch, to))
	return true
}

func (h *stateHistory) fastForward() bool {
	loaded := laketest.Load(h.t, h.tbl)
	tip := loaded.SnapshotByName(lake.BranchPrefix + strconv.FormatInt(h.refresh, 10))
	if h.refresh == 0 || tip == nil {
		return false
	}
	h.moved[tip.SnapshotID] = true
	h.change(lake.MoveTo(loaded.Metadata(), table.MainBranch, tip.SnapshotID))
	return true
}

// foreignExpiry leaves the last snapshots of every branch.
func (h *stateHistory) foreignExpiry() bool {
	loaded := laketest.Load(h.t, h.tbl)
	keep := map[int64]bool{}
	depth := 1 + h.random.IntN(2)
	for _, ref := range loaded.Metadata().Refs() {
		s := loaded.SnapshotByID(ref.SnapshotID)
		for n := 0; n < depth && s != nil; n++ {
			keep[s.SnapshotID] = true
			if s.ParentSnapshotID == nil {
				break
			}
			s = loaded.SnapshotByID(*s.ParentSnapshotID)
		}
	}
	var gone []int64
	for _, s := range loaded.Metadata().Snapshots() {
		if !keep[s.SnapshotID] {
			gone = append(gone, s.SnapshotID)
		}
	}
	if gone == nil {
		return false
	}
	h.change(table.NewRemoveSnapshotsUpdate(gone, false))
	if h.random.IntN(2) == 0 {
		h.orphan(keep)
	}
	if h.random.IntN(3) == 0 { // with all metadata files of before
		for entry := range laketest.Load(h.t, h.tbl).Metadata().PreviousFiles() {
			if err := os.Remove(laketest.PathOf(h.t, entry.MetadataFile)); err != nil && !os.IsNotExist(err) {
				h.t.Fatal(err)
			}
		}
	}
	h.expired = true
	return true
}

// orphan takes from the snapshots that are kept the parents that are not, as PyIceberg does.
func (h *stateHistory) orphan(keep map[int64]bool) {
	loaded := laketest.Load(h.t, h.tbl)
	text, err := json.Marshal(loaded.Metadata())
	if err != nil {
		h.t.Fatal(err)
	}
	for id := range keep {
		s := loaded.SnapshotByID(id)
		if s.ParentSnapshotID != nil && !keep[*s.ParentSnapshotID] {
			text = bytes.ReplaceAll(text, fmt.Appendf(nil, `"parent-snapshot-id":%d,`, *s.ParentSnapshotID), nil)
		}
	}
	meta, err := table.ParseMetadataBytes(text)
	if err != nil {
		h.t.Fatal(err)
	}
	before := loaded.MetadataLocation()
	after := strings.TrimSuffix(before, ".metadata.json") + "-x.metadata.json"
	if err := os.WriteFile(laketest.PathOf(h.t, after), text, 0o600); err != nil {
		h.t.Fatal(err)
	}
	cut := table.New(h.tbl.Opened().Identifier(), meta, after, nil, nil)
	if err := h.tbl.Catalog().(*catalogs.Catalog).SetMetadataLocation(h.t.Context(), before, cut); err != nil {
		h.t.Fatal(err)
	}
}

func (h *stateHistory) change(updates ...table.Update) {
	h.t.Helper()
	if _, _, err := h.tbl.Catalog().CommitTable(h.t.Context(), h.tbl.Opened().Identifier(), nil, updates); err != nil {
		h.t.Fatal(err)
	}
}

// A snapshot whose parent was taken from it is not the first of its table, in any format version.
func TestASnapshotWithoutItsParentIsNotTheFirst(t *testing.T) {
	for version := range uint64(3) {
		h := newStateHistory(t, version)
		h.commit()
		want := string(laketest.LastState(t, laketest.Load(t, h.tbl)))
		h.foreignSnapshot()
		last := laketest.Load(t, h.tbl).CurrentSnapshot()
		h.change(table.NewRemoveSnapshotsUpdate([]int64{*last.ParentSnapshotID}, false))
		h.orphan(map[int64]bool{last.SnapshotID: true})
		loaded := laketest.Load(t, h.tbl)
		if loaded.CurrentSnapshot().ParentSnapshotID != nil || len(loaded.Metadata().Snapshots()) != 1 {
			t.Fatalf("version %d: the snapshot has its parent", loaded.Metadata().Version())
		}
		if got := string(laketest.LastState(t, loaded)); got != want || want == "" {
			t.Errorf("version %d: the state is %q, want %q", loaded.Metadata().Version(), got, want)
		}
	}
}

// Tables of before have their state in a property that is tied to no snapshot.
func TestAStateOfBeforeIsKept(t *testing.T) {
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{})
	laketest.Commit(t, tbl, `{"n":1}`, laketest.Stage(t, tbl, 0, map[string]any{"id": 1}))
	loaded := laketest.Load(t, tbl)
	text, err := json.Marshal(loaded.Metadata())
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	for _, s := range doc["snapshots"].([]any) {
		delete(s.(map[string]any)["summary"].(map[string]any), lake.StateKey)
	}
	delete(doc["properties"].(map[string]any), lake.StateSnapshotKey)
	if text, err = json.Marshal(doc); err != nil {
		t.Fatal(err)
	}
	before, err := table.ParseMetadataBytes(text)
	if err != nil {
		t.Fatal(err)
	}
	was := table.New(tbl.Opened().Identifier(), before, loaded.MetadataLocation(), loaded.FS, nil)
	if got := string(laketest.LastState(t, was)); got != `{"n":1}` {
		t.Errorf("state %s", got)
	}
}
