package lake_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
)

func reset(t *testing.T, tbl *lake.Table) lake.Committed {
	t.Helper()
	again, err := lake.Attach(t.Context(), tbl.Catalog(), tbl.Opened().Identifier(), lake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	done, err := again.Reset(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func expectState(t *testing.T, tbl *lake.Table, want string) {
	t.Helper()
	if got := string(laketest.LastState(t, laketest.Load(t, tbl))); got != want {
		t.Errorf("state %q, want %q", got, want)
	}
}

// The state of a sync that is running covers rows which a reset or a rollback has removed: its commits are refused.
func TestASyncThatRunsDuringARestartIsRefused(t *testing.T) {
	for name, restart := range map[string]func(*testing.T, *lake.Table){
		"reset": func(t *testing.T, tbl *lake.Table) { reset(t, tbl) },
		"rollback": func(t *testing.T, tbl *lake.Table) {
			_, _, err := tbl.UpdateMetadata(t.Context(), func(base *table.Table) ([]table.Requirement, []table.Update, error) {
				updates, _, err := lake.RollBack(t.Context(), base, base.SnapshotByID(*base.CurrentSnapshot().ParentSnapshotID))
				return nil, updates, err
			})
			if err != nil {
				t.Fatal(err)
			}
		},
	} {
		for _, p := range []string{"append", "append_dedup"} {
			t.Run(name+" during "+p, func(t *testing.T) {
				plan := laketest.Plain("s")
				if p == "append_dedup" {
					plan = laketest.Keyed("s")
				}
				cat := laketest.OpenCatalog(t, t.TempDir())
				running := openTable(t, cat, plan, lake.Options{})
				row := func(key int64) map[string]any { return laketest.Version{Key: key, Cursor: 1, V: "x"}.Row() }
				laketest.Commit(t, running, `{"n":1}`, laketest.Stage(t, running, 0, row(1)))
				laketest.Commit(t, running, `{"n":2}`, laketest.Stage(t, running, 0, row(2)))
				restart(t, running)
				before := laketest.Load(t, running).MetadataLocation()
				for _, staged := range [][]*lake.Staged{{laketest.Stage(t, running, 0, row(3))}, nil} {
					_, err := running.Commit(t.Context(), staged, json.RawMessage(`{"n":3}`))
					if err == nil || !strings.Contains(err.Error(), "was reset or rolled back during this sync, so nothing more was committed.") {
						t.Errorf("error %v", err)
					}
				}
				if after := laketest.Load(t, running).MetadataLocation(); after != before {
					t.Error("the sync has changed the table")
				}
				laketest.ExpectFiles(t, running, false)
				next := openTable(t, cat, plan, lake.Options{})
				laketest.Commit(t, next, `{"n":4}`, laketest.Stage(t, next, 0, row(4)))
				expectState(t, next, `{"n":4}`)
			})
		}
	}
}

// A reset removes rows, state and refreshes under way, whatever the table went through.
func TestAResetLeavesNothing(t *testing.T) {
	row := func(key int64) map[string]any { return laketest.Version{Key: key, Cursor: 1, V: "x"}.Row() }
	for name, prepare := range map[string]func(*testing.T, *lake.Table){
		"rows and state": func(*testing.T, *lake.Table) {},
		"no state": func(t *testing.T, tbl *lake.Table) {
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, row(5)))
		},
		"a state and no rows": func(t *testing.T, tbl *lake.Table) {
			if _, err := tbl.Replace(t.Context(), nil, json.RawMessage(`{"n":5}`)); err != nil {
				t.Fatal(err)
			}
		},
		// The properties belong to the snapshot before.
		"a rollback by another program to a state without rows": func(t *testing.T, tbl *lake.Table) {
			if _, err := tbl.Replace(t.Context(), nil, json.RawMessage(`{"n":5}`)); err != nil {
				t.Fatal(err)
			}
			empty := laketest.Load(t, tbl).CurrentSnapshot().SnapshotID
			if _, err := tbl.Replace(t.Context(), nil, nil); err != nil {
				t.Fatal(err)
			}
			update := table.NewSetSnapshotRefUpdate(table.MainBranch, empty, table.BranchRef, 0, 0, 0)
			if _, _, err := tbl.Catalog().CommitTable(t.Context(), tbl.Opened().Identifier(), nil, []table.Update{update}); err != nil {
				t.Fatal(err)
			}
			expectState(t, tbl, `{"n":5}`)
		},
		"a refresh under way": func(t *testing.T, tbl *lake.Table) {
			if _, err := tbl.Begin(t.Context(), &lake.Generation{ID: 7, Minimum: 7}); err != nil {
				t.Fatal(err)
			}
			laketest.Commit(t, tbl, `{"n":5}`, laketest.Stage(t, tbl, 0, row(5)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{})
			if _, err := tbl.Begin(t.Context(), &lake.Generation{ID: 2}); err != nil { // generations count
				t.Fatal(err)
			}
			laketest.Commit(t, tbl, `{"n":1}`, laketest.Stage(t, tbl, 0, row(1)))
			prepare(t, tbl)
			before := laketest.Load(t, tbl)
			done := reset(t, tbl)
			after := laketest.Load(t, tbl)
			if s := after.SnapshotByID(done.SnapshotID); s == nil || *s.ParentSnapshotID != before.CurrentSnapshot().SnapshotID {
				t.Errorf("the reset made snapshot %+v", s)
			}
			laketest.ExpectRows(t, tbl)
			expectState(t, tbl, "")
			for ref := range after.Metadata().Refs() {
				if ref != table.MainBranch {
					t.Errorf("branch %s is left", ref)
				}
			}
			if again := reset(t, tbl); again.SnapshotID != 0 || laketest.Load(t, tbl).Properties()["airbyte.restart"] != after.Properties()["airbyte.restart"] {
				t.Error("a second reset changed the table")
			}
		})
	}
}
