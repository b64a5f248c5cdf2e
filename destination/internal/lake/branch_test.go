package lake_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// update commits to a table as another program would.
func update(t *testing.T, tbl *lake.Table, updates ...table.Update) {
	t.Helper()
	if _, _, err := tbl.Catalog().CommitTable(t.Context(), tbl.Opened().Identifier(), nil, updates); err != nil {
		t.Fatal(err)
	}
}

// A branch that another program drops takes rows with it whose states were echoed.
// A refresh without them must not be taken for complete.
func TestARefreshWhoseBranchIsGoneIsNotFinished(t *testing.T) {
	p := laketest.Keyed("s")
	g := &lake.Generation{ID: 13, Minimum: 13}
	branch := lake.BranchPrefix + "13"
	stage := func(tbl *lake.Table) []*lake.Staged {
		return []*lake.Staged{laketest.Stage(t, tbl, 0, of(13, laketest.Version{Key: 4, Cursor: 1, V: "later"}.Row()))}
	}
	commit := func(tbl *lake.Table) error {
		_, err := tbl.Commit(t.Context(), stage(tbl), json.RawMessage(`{"n":131}`))
		return err
	}
	finish := func(tbl *lake.Table) error {
		_, err := tbl.Finish(t.Context(), nil, json.RawMessage(`{"n":132}`))
		return err
	}
	for name, tc := range map[string]struct {
		before    func(*lake.Table) error // what the run does while the branch is there
		meanwhile bool                    // it is dropped during the next commit
		then      func(*lake.Table) error
	}{
		"a commit after one":     {before: commit, then: commit},
		"the end after a commit": {before: commit, then: finish},
		"a commit, continued":    {then: commit},
		"the end, continued":     {then: finish},
		"during a commit":        {meanwhile: true, then: commit},
		"during the end":         {meanwhile: true, then: finish},
		"a compaction": {then: func(tbl *lake.Table) error {
			_, err := tbl.ChangeBranch(t.Context(), branch, nil, func(context.Context, *table.Table) (*snapshots.Change, error) { return &snapshots.Change{}, nil })
			return err
		}},
		"the merge of its branch": {then: func(tbl *lake.Table) error { _, err := tbl.Begin(t.Context(), nil); return err }},
	} {
		t.Run(name, func(t *testing.T) {
			tbl := begun(t, p)
			cat := &laketest.Faulty{Catalog: tbl.Catalog()}
			drop := func() { update(t, tbl, table.NewRemoveSnapshotRefUpdate(branch)) }
			run := openTable(t, cat, p, lake.Options{})
			if _, err := run.Begin(t.Context(), g); err != nil {
				t.Fatal(err)
			}
			if tc.before != nil {
				if err := tc.before(run); err != nil {
					t.Fatal(err)
				}
			}
			if tc.meanwhile {
				cat.Script, cat.Other = []laketest.Outcome{laketest.LetsOthersFirst}, drop
			} else {
				drop()
			}
			var userError *protocol.Error
			if err := tc.then(run); !errors.As(err, &userError) || userError.Kind != protocol.TransientError || !strings.Contains(userError.Message, "Branch "+branch+" of table ns.s") {
				t.Errorf("error %v", err)
			}
			laketest.ExpectRows(t, tbl, laketest.Version{Key: 1, Cursor: 1, V: "old"}.JSON(), laketest.Version{Key: 2, Cursor: 1, V: "old"}.JSON())
			after := laketest.Load(t, tbl)
			if after.SnapshotByName(branch) != nil {
				t.Error("the branch was made again")
			}
			if state := laketest.LastState(t, after); string(state) != `{"n":12}` {
				t.Errorf("state %s", state)
			}
			laketest.ExpectFiles(t, tbl, false)
		})
	}
}

// Another process may commit to the branch while it becomes the main branch. Format version 1 has no sequence
// numbers that would be in each other's way.
func TestTheEndOfARefreshHasWhatOthersCommittedMeanwhile(t *testing.T) {
	for version := 1; version <= 2; version++ {
		p, o, g := laketest.Plain("s"), lake.Options{FormatVersion: version}, &lake.Generation{ID: 13, Minimum: 13}
		tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), p, o)
		laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, of(12, map[string]any{"id": 1, "v": "old"})))
		cat := &laketest.Faulty{Catalog: tbl.Catalog()}
		run := refreshing(t, openTable(t, cat, p, o), p, o, g)
		laketest.Commit(t, run, `{"n":13}`, laketest.Stage(t, run, 0, of(13, map[string]any{"id": 2, "v": "new"})))
		other := refreshing(t, tbl, p, o, g)
		cat.Script = []laketest.Outcome{laketest.LetsOthersFirst}
		cat.Other = func() {
			laketest.Commit(t, other, `{"n":131}`, laketest.Stage(t, other, 0, of(13, map[string]any{"id": 3, "v": "theirs"})))
		}
		if _, err := run.Finish(t.Context(), nil, nil); err != nil {
			t.Fatal(err)
		}
		laketest.ExpectRows(t, tbl, `{"id":2,"v":"new"}`, `{"id":3,"v":"theirs"}`)
		if state := laketest.LastState(t, laketest.Load(t, tbl)); string(state) != `{"n":131}` {
			t.Errorf("state %s", state)
		}
	}
}

// Another program may have moved the main branch to the refresh's.
func TestTheEndOfARefreshThatTheMainBranchHasAlready(t *testing.T) {
	p := laketest.Plain("s")
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), p, lake.Options{})
	laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, of(12, map[string]any{"id": 1, "v": "old"})))
	tbl = refreshing(t, tbl, p, lake.Options{}, &lake.Generation{ID: 13, Minimum: 13})
	laketest.Commit(t, tbl, `{"n":13}`, laketest.Stage(t, tbl, 0, of(13, map[string]any{"id": 2, "v": "new"})))
	meta := laketest.Load(t, tbl).Metadata()
	update(t, tbl, lake.MoveTo(meta, table.MainBranch, meta.SnapshotByName(tbl.Branch()).SnapshotID))
	if _, err := tbl.Finish(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	laketest.ExpectRows(t, tbl, `{"id":2,"v":"new"}`)
	laketest.CheckFiles(t, laketest.Load(t, tbl))
}

// A file can have rows of several generations. Once the old ones are marked as deleted,
// there is nothing more to refresh.
func TestRowsThatWereDeletedAreNotRefreshedAgain(t *testing.T) {
	p, o := laketest.Plain("s"), lake.Options{Upsert: lake.MergeOnRead}
	tbl := refreshing(t, openTable(t, laketest.OpenCatalog(t, t.TempDir()), p, o), p, o, &lake.Generation{ID: 12})
	laketest.Commit(t, tbl, `{"n":12}`, laketest.Stage(t, tbl, 0, of(12, map[string]any{"id": int64(1), "v": "old"}), of(13, map[string]any{"id": int64(2), "v": "stays"})))
	g := &lake.Generation{ID: 13, Minimum: 13}
	tbl = refreshing(t, tbl, p, o, g)
	if _, err := tbl.Finish(t.Context(), nil, []byte(`{"n":13}`)); err != nil {
		t.Fatal(err)
	}
	laketest.ExpectRows(t, tbl, `{"id":2,"v":"stays"}`)
	if state, err := lake.CommittedState(t.Context(), laketest.Load(t, tbl), p, g); err != nil || string(state) != `{"n":13}` {
		t.Errorf("after the refresh the state is %s, %v", state, err)
	}
	if begun, err := openTable(t, tbl.Catalog(), p, o).Begin(t.Context(), g); err != nil || begun.Refreshing {
		t.Errorf("it begins again: %+v, %v", begun, err)
	}
}

// lastOnly is a catalog that keeps the last snapshot of a table and no other, as Nessie
// does, and that has somebody else commit before it fails to answer.
type lastOnly struct {
	mainOnly
	namesParents bool // the last snapshot still says which one it followed
	after        func()
}

func (c *lastOnly) LoadTable(ctx context.Context, id table.Identifier) (*table.Table, error) {
	loaded, err := c.mainOnly.LoadTable(ctx, id)
	if err != nil || loaded.CurrentSnapshot() == nil {
		return loaded, err
	}
	text, err := json.Marshal(loaded.Metadata())
	if err != nil {
		return nil, err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	snapshot := *loaded.CurrentSnapshot()
	if !c.namesParents {
		snapshot.ParentSnapshotID = nil
	}
	last, err := json.Marshal([]table.Snapshot{snapshot})
	if err != nil {
		return nil, err
	}
	all["snapshots"], all["snapshot-log"], all["metadata-log"] = last, json.RawMessage(`[]`), json.RawMessage(`[]`)
	if text, err = json.Marshal(all); err != nil {
		return nil, err
	}
	meta, err := table.ParseMetadataBytes(text)
	return table.New(id, meta, loaded.MetadataLocation(), loaded.FS, c), err
}

func (c *lastOnly) CommitTable(ctx context.Context, id table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	meta, location, err := c.mainOnly.CommitTable(ctx, id, reqs, updates)
	if do := c.after; do != nil {
		c.after = nil
		do()
		return nil, "", errors.New("no answer")
	}
	return meta, location, err
}

// Where the catalog keeps no history, or other programs expired it, a commit that may have
// landed before those of another program is not made again: its rows could be there twice.
func TestACommitIsNotRepeatedWithoutAHistory(t *testing.T) {
	row := func(id int64) map[string]any { return map[string]any{"id": id, "v": "x"} }
	for name, tc := range map[string]struct {
		namesParents bool
		version      int
		others       int64 // commits of another program
		landed       bool  // and it is known
	}{
		"no parent":             {others: 1},
		"no sequence numbers":   {others: 1, version: 1},
		"the commit as parent":  {namesParents: true, others: 1, landed: true},
		"a parent that is gone": {namesParents: true, others: 2},
	} {
		t.Run(name, func(t *testing.T) {
			p, o := laketest.Plain("s"), lake.Options{FormatVersion: tc.version}
			cat := &lastOnly{mainOnly: mainOnly{laketest.OpenCatalog(t, t.TempDir())}, namesParents: tc.namesParents}
			tbl, other := openTable(t, cat, p, o), openTable(t, cat, p, o)
			laketest.Commit(t, tbl, `{"n":1}`, laketest.Stage(t, tbl, 0, row(1)))
			staged := laketest.Stage(t, tbl, 0, row(2))
			want := []string{`{"id":1,"v":"x"}`, `{"id":2,"v":"x"}`}
			cat.after = func() {
				for n := range tc.others {
					laketest.Commit(t, other, fmt.Sprintf(`{"n":%d}`, 3+n), laketest.Stage(t, other, 0, row(3+n)))
					want = append(want, fmt.Sprintf(`{"id":%d,"v":"x"}`, 3+n))
				}
			}
			_, err := tbl.Commit(t.Context(), []*lake.Staged{staged}, []byte(`{"n":2}`))
			if userError := (*protocol.Error)(nil); tc.landed {
				if err != nil {
					t.Error(err)
				}
			} else if !errors.As(err, &userError) || userError.Kind != protocol.TransientError || !strings.Contains(userError.Message, "did not say whether it accepted") {
				t.Errorf("error %v", err)
			}
			laketest.ExpectRows(t, tbl, want...)
		})
	}
}
