package rollback_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rollback"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

func TestMain(m *testing.M) { laketest.Main(m) }

func row(key int64) laketest.Version { return laketest.Version{Key: key, Cursor: 1, V: "x"} }

// filled is a table of three commits, each with a row and a state.
func filled(t *testing.T, cat lake.Catalog, upsert lake.Upsert) *lake.Table {
	t.Helper()
	tbl := laketest.OpenTable(t, cat, laketest.Keyed("s"), lake.Options{Upsert: upsert})
	for n := range int64(3) {
		laketest.Commit(t, tbl, fmt.Sprintf(`{"n":%d}`, n), laketest.Stage(t, tbl, 0, row(n).Row()))
	}
	return tbl
}

func attach(t *testing.T, cat lake.Catalog, tbl *lake.Table) *lake.Table {
	t.Helper()
	attached, err := lake.Attach(t.Context(), cat, tbl.Opened().Identifier(), lake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return attached
}

// A catalog may answer or not, and others may commit before or after: the table is rolled back once, or not at all.
func TestARollbackUnderFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		script []laketest.Outcome
		fails  string
		rows   []string
		state  string
	}{
		"no fault":                 {nil, "", []string{row(0).JSON()}, `{"n":0}`},
		"refused":                  {[]laketest.Outcome{laketest.Refuses}, "", []string{row(0).JSON()}, `{"n":0}`},
		"no answer":                {[]laketest.Outcome{laketest.LandsSilently}, "", []string{row(0).JSON()}, `{"n":0}`},
		"no answer and no effect":  {[]laketest.Outcome{laketest.FailsSilently}, "", []string{row(0).JSON()}, `{"n":0}`},
		"another writer was first": {[]laketest.Outcome{laketest.LetsOthersFirst}, "nothing was rolled back", []string{row(0).JSON(), row(1).JSON(), row(2).JSON(), row(9).JSON()}, `{"n":9}`},
		"another writer came next": {[]laketest.Outcome{laketest.LandsThenOthers}, "", []string{row(0).JSON(), row(9).JSON()}, `{"n":9}`},
	} {
		t.Run(name, func(t *testing.T) {
			real := laketest.OpenCatalog(t, t.TempDir())
			tbl := filled(t, real, lake.MergeOnRead)
			faulty := &laketest.Faulty{Catalog: real, Script: tc.script, Other: func() {
				other := laketest.OpenTable(t, real, laketest.Keyed("s"), lake.Options{})
				laketest.Commit(t, other, `{"n":9}`, laketest.Stage(t, other, 0, row(9).Row()))
			}}
			attached := attach(t, faulty, tbl)
			ancestors := rollback.Ancestors(attached.Opened())
			err := rollback.Table(t.Context(), attached, ancestors[len(ancestors)-1])
			var userError *protocol.Error
			if (err != nil) != (tc.fails != "") || err != nil && (!errors.As(err, &userError) || !strings.Contains(userError.Message, tc.fails)) {
				t.Errorf("error %v", err)
			}
			laketest.ExpectRows(t, tbl, tc.rows...)
			if got := string(laketest.LastState(t, laketest.Load(t, tbl))); got != tc.state {
				t.Errorf("state %s, want %s", got, tc.state)
			}
		})
	}
}

// Snapshots that maintenance has expired are not among those to which a table can be set back, and the state of those
// that are left stays known.
func TestARollbackAfterSnapshotsExpired(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	tbl := filled(t, cat, lake.MergeOnRead)
	all := rollback.Ancestors(laketest.Load(t, tbl))
	_, _, err := tbl.UpdateMetadata(t.Context(), func(base *table.Table) ([]table.Requirement, []table.Update, error) {
		ids := []int64{all[2].SnapshotID}
		updates, err := lake.KeepStates(t.Context(), base, ids)
		return nil, append(updates, table.NewRemoveSnapshotsUpdate(ids, false)), err
	})
	if err != nil {
		t.Fatal(err)
	}
	loaded := laketest.Load(t, tbl)
	if _, err := rollback.Find(loaded, fmt.Sprint(all[2].SnapshotID)); err == nil || !strings.Contains(err.Error(), "it has expired") {
		t.Errorf("the expired snapshot: %v", err)
	}
	to, err := rollback.Find(loaded, fmt.Sprint(all[1].SnapshotID))
	if err != nil {
		t.Fatal(err)
	}
	if err := rollback.Table(t.Context(), attach(t, cat, tbl), to); err != nil {
		t.Fatal(err)
	}
	laketest.ExpectRows(t, tbl, row(0).JSON(), row(1).JSON())
	if got := string(laketest.LastState(t, laketest.Load(t, tbl))); got != `{"n":1}` {
		t.Errorf("state %s", got)
	}
}

func TestTheSnapshotOfATimeIsFound(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	tbl := laketest.OpenTable(t, cat, laketest.Keyed("s"), lake.Options{})
	var ids []int64
	var at []int64 // milliseconds
	for n := range int64(3) {
		laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, row(n).Row()))
		s := laketest.Load(t, tbl).CurrentSnapshot()
		ids, at = append(ids, s.SnapshotID), append(at, s.TimestampMs)
		for time.Now().UnixMilli() <= s.TimestampMs { // each in a millisecond of its own
			time.Sleep(time.Millisecond)
		}
	}
	loaded := laketest.Load(t, tbl)
	form := func(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }
	for to, want := range map[string]int64{
		form(at[0]): ids[0], form(at[1] - 1): ids[0], form(at[1]): ids[1], form(at[2] - 1): ids[1], form(at[2]): ids[2], form(at[2] + 1): ids[2],
		fmt.Sprint(ids[1]): ids[1],
		time.UnixMilli(at[1]).In(time.FixedZone("", 3600)).Format("2006-01-02T15:04:05.000-07:00"): ids[1],
	} {
		found, err := rollback.Find(loaded, to)
		if err != nil || found.SnapshotID != want {
			t.Errorf("%s: %+v, %v; want %d", to, found, err, want)
		}
	}
	if _, err := rollback.Find(loaded, form(at[0]-1)); err == nil {
		t.Error("a snapshot from before the first one was found")
	}
	if _, err := rollback.Find(laketest.Load(t, laketest.OpenTable(t, cat, laketest.Plain("empty"), lake.Options{})), "2030-01-01"); err == nil || !strings.Contains(err.Error(), "It has no snapshot.") {
		t.Errorf("a table without snapshots: %v", err)
	}
}

// A refresh that is under way goes on after a rollback, and so does the order of generations.
func TestARollbackDuringARefresh(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	begin := func(g lake.Generation) *lake.Table {
		tbl := laketest.OpenTable(t, cat, laketest.Plain("s"), lake.Options{})
		if _, err := tbl.Begin(t.Context(), &g); err != nil {
			t.Fatal(err)
		}
		return tbl
	}
	of := func(key, generation int64) map[string]any {
		return map[string]any{"id": key, "v": "x", "_airbyte_generation_id": generation}
	}
	first := begin(lake.Generation{ID: 2})
	laketest.Commit(t, first, `{"n":1}`, laketest.Stage(t, first, 0, of(1, 2)))
	laketest.Commit(t, first, `{"n":2}`, laketest.Stage(t, first, 0, of(2, 2)))
	refresh := begin(lake.Generation{ID: 3, Minimum: 3})
	laketest.Commit(t, refresh, `{"n":1}`, laketest.Stage(t, refresh, 0, of(1, 3)))
	attached := attach(t, cat, first)
	if err := rollback.Table(t.Context(), attached, rollback.Ancestors(attached.Opened())[1]); err != nil {
		t.Fatal(err)
	}
	laketest.ExpectRows(t, first, `{"id":1,"v":"x"}`)
	next := begin(lake.Generation{ID: 3, Minimum: 3})
	laketest.Commit(t, next, `{"n":4}`, laketest.Stage(t, next, 0, of(4, 3)))
	if _, err := next.Finish(context.WithoutCancel(t.Context()), nil, nil); err != nil {
		t.Fatal(err)
	}
	laketest.ExpectRows(t, next, `{"id":1,"v":"x"}`, `{"id":4,"v":"x"}`)
}
