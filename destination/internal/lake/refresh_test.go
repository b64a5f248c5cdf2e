package lake

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
)

func refreshing(t *testing.T, tbl *Table, p *columnar.Plan, o Options, g *Generation) *Table {
	t.Helper()
	again := openTable(t, tbl.cat, p, o)
	if _, err := again.Begin(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	return again
}

// of is a row of a generation; 0 is none.
func of(generation int64, row map[string]any) map[string]any {
	if generation > 0 {
		row[generationColumn] = generation
	}
	return row
}

// refreshes are the ways in which a refresh can find the rows that go.
var refreshes = map[string]Options{
	"copy_on_write": {Upsert: CopyOnWrite},
	"merge_on_read": {Upsert: MergeOnRead},
	"spilled keys":  {Upsert: MergeOnRead, Memory: memoryForKeys(0)},
}

func TestARefreshIsSeenWhenItIsFinished(t *testing.T) {
	for how, o := range refreshes {
		for name, p := range map[string]*columnar.Plan{"append": plain("s"), "append_dedup": keyed("s")} {
			t.Run(name+" "+how, func(t *testing.T) {
				row := func(key, cursor int64, v string) map[string]any {
					if name == "append" {
						return map[string]any{"id": key, "v": v}
					}
					return version{key: key, cursor: cursor, v: v}.row()
				}
				want := func(key, cursor int64, v string) string {
					if name == "append" {
						return fmt.Sprintf(`{"id":%d,"v":%q}`, key, v)
					}
					return version{key: key, cursor: cursor, v: v}.json()
				}
				tbl := openTable(t, openCatalog(t, t.TempDir()), p, o)
				tbl = refreshing(t, tbl, p, o, &Generation{ID: 12})
				if tbl.Refreshing() {
					t.Error("a sync that keeps all generations refreshes")
				}
				commit(t, tbl, `{"n":12}`, stage(t, tbl, 0, of(12, row(1, 9, "old")), of(12, row(2, 9, "old"))))

				// The first attempt fails after a commit, which readers do not see.
				g := &Generation{ID: 13, Minimum: 13}
				tbl = refreshing(t, tbl, p, o, g)
				if !tbl.Refreshing() {
					t.Fatal("no refresh was begun")
				}
				if state, err := CommittedState(t.Context(), load(t, tbl), p, g); err != nil || state != nil {
					t.Errorf("before the first state of the refresh there is %s, %v", state, err)
				}
				commit(t, tbl, `{"n":131}`, stage(t, tbl, 0, of(13, row(1, 1, "new")), of(13, row(3, 1, "new"))))
				expectRows(t, tbl, want(1, 9, "old"), want(2, 9, "old"))
				for _, asked := range []*Generation{g, nil} {
					if state, err := CommittedState(t.Context(), load(t, tbl), p, asked); err != nil || string(state) != `{"n":131}` {
						t.Errorf("during the refresh the state is %s, %v", state, err)
					}
				}

				// The second continues, and ends without a row of its own.
				tbl = refreshing(t, tbl, p, o, g)
				commit(t, tbl, `{"n":132}`, stage(t, tbl, 0, of(13, row(4, 1, "newer"))))
				if name == "append_dedup" {
					commit(t, tbl, `{"n":133}`, stage(t, tbl, 0, of(13, row(3, 2, "newest"))))
				}
				tbl = refreshing(t, tbl, p, o, g)
				if _, err := tbl.Finish(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
				last := `{"n":132}`
				if name == "append" {
					expectRows(t, tbl, want(1, 1, "new"), want(3, 1, "new"), want(4, 1, "newer"))
				} else {
					last = `{"n":133}`
					expectRows(t, tbl, want(1, 1, "new"), want(3, 2, "newest"), want(4, 1, "newer"))
				}
				after := load(t, tbl)
				if got := string(lastState(t, after)); got != last {
					t.Errorf("state %s, want %s", got, last)
				}
				if left := generationsOf(after.Metadata()); left != nil {
					t.Errorf("branches of %v are left", left)
				}
				for key := range after.Properties() {
					if strings.HasPrefix(key, stateKey+".") || strings.HasPrefix(key, stateSnapshotKey+".") {
						t.Errorf("property %s is left", key)
					}
				}

				// Once more with the same ids, as a retry comes: nothing is wiped.
				tbl = refreshing(t, tbl, p, o, g)
				if tbl.Refreshing() {
					t.Error("a refresh that is done was begun again")
				}
				commit(t, tbl, `{"n":134}`, stage(t, tbl, 0, of(13, row(5, 1, "late"))))
				if n := len(rows(t, load(t, tbl))); n != 4 {
					t.Errorf("%d rows", n)
				}
			})
		}
	}
}

// What a refresh deletes may be on the main branch alone: of the generation that stays, or of any when the
// refresh is given up.
func TestARefreshDeletesRowsOfTheMainBranch(t *testing.T) {
	p := keyed("s")
	for how, o := range refreshes {
		for _, cursor := range []int64{2, -1} { // -1: none
			for name, finish := range map[string]func(*Table) error{
				"finished": func(tbl *Table) error { _, err := tbl.Finish(t.Context(), nil); return err },
				"given up": func(tbl *Table) error {
					refreshing(t, tbl, p, o, &Generation{ID: 14})
					return nil
				},
			} {
				t.Run(fmt.Sprint(name, " ", how, " ", cursor), func(t *testing.T) {
					tbl := openTable(t, openCatalog(t, t.TempDir()), p, o)
					commit(t, tbl, `{"n":1}`, stage(t, tbl, 0,
						of(13, version{key: 1, cursor: 1, v: "goes"}.row()), of(13, version{key: 2, cursor: 1, v: "stays"}.row()),
						of(13, version{key: 3, cursor: 1, v: "comes again"}.row())))
					commit(t, tbl, `{"n":2}`, stage(t, tbl, 0, of(12, version{key: 4, cursor: 1, v: "old"}.row())))
					tbl = refreshing(t, tbl, p, o, &Generation{ID: 13, Minimum: 13})
					tombstone := func(key int64) map[string]any {
						return of(13, version{key: key, cursor: cursor, v: "gone", deleted: true}.row())
					}
					commit(t, tbl, `{"n":3}`, stage(t, tbl, 0, tombstone(1), tombstone(3), tombstone(4), tombstone(5)))
					commit(t, tbl, `{"n":4}`, stage(t, tbl, 0, of(13, version{key: 3, cursor: 3, v: "again"}.row())))
					if err := finish(tbl); err != nil {
						t.Fatal(err)
					}
					expectRows(t, tbl, version{key: 2, cursor: 1, v: "stays"}.json(), version{key: 3, cursor: 3, v: "again"}.json())
				})
			}
		}
	}
}

// Upkeep after an attempt that was not complete is that of the refresh's own files.
func TestUpkeepCompactsAnUnfinishedRefresh(t *testing.T) {
	tbl := openTable(t, openCatalog(t, t.TempDir()), plain("s"), Options{})
	commit(t, tbl, `{"n":1}`, stage(t, tbl, 0, of(12, map[string]any{"id": 0, "v": "old"})))
	tbl = refreshing(t, tbl, plain("s"), Options{}, &Generation{ID: 13, Minimum: 13})
	var want []string
	for id := range tierFiles {
		commit(t, tbl, `{"n":2}`, stage(t, tbl, 0, of(13, map[string]any{"id": id, "v": "new"})))
		want = append(want, fmt.Sprintf(`{"id":%d,"v":"new"}`, id))
	}
	if did := maintain(t, tbl, Upkeep{ExpireAfter: time.Hour, KeepSnapshots: 1}); did.CompactedFiles != tierFiles || did.IntoFiles != 1 {
		t.Errorf("upkeep did %+v", did)
	}
	expectRows(t, tbl, `{"id":0,"v":"old"}`)
	if _, err := tbl.Finish(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	expectRows(t, tbl, want...)
}

func TestARefreshOfNothingEmptiesTheTable(t *testing.T) {
	p := keyed("s")
	tbl := openTable(t, openCatalog(t, t.TempDir()), p, Options{})
	commit(t, tbl, `{"n":1}`, stage(t, tbl, 0, of(12, version{key: 1, cursor: 1, v: "a"}.row())))
	tbl = refreshing(t, tbl, p, Options{}, &Generation{ID: 13, Minimum: 13})
	if _, err := tbl.Finish(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	expectRows(t, tbl)
	if state := lastState(t, load(t, tbl)); state != nil {
		t.Errorf("the state of rows that are gone is still %s", state)
	}
}

func TestRowsOfTheGenerationStayInFilesWithOlderOnes(t *testing.T) {
	for _, o := range refreshes {
		p := keyed("s")
		row := func(key, cursor int64, v string) version { return version{key: key, cursor: cursor, v: v} }
		tbl := openTable(t, openCatalog(t, t.TempDir()), p, o)
		commit(t, tbl, "", stage(t, tbl, 0,
			of(12, row(1, 9, "old").row()), of(13, row(2, 5, "kept").row()), of(13, row(3, 1, "beaten").row()), of(12, row(4, 1, "old").row())))
		tbl = refreshing(t, tbl, p, o, &Generation{ID: 13, Minimum: 13})
		commit(t, tbl, "", stage(t, tbl, 0,
			of(13, row(1, 1, "new").row()), of(13, row(2, 1, "older").row()), of(13, row(3, 2, "newer").row())))
		if _, err := tbl.Finish(t.Context(), json.RawMessage(`{}`)); err != nil {
			t.Fatal(err)
		}
		expectRows(t, tbl, row(1, 1, "new").json(), row(2, 5, "kept").json(), row(3, 2, "newer").json())
	}
}

func TestWhatANullGenerationCountsAs(t *testing.T) {
	for name, tc := range map[string]struct {
		syncs   []*Generation // before the refresh; each adds a row of its generation
		refresh Generation
		want    int // rows of those that stay
	}{
		"PyAirbyte's ids remove nothing that had none":   {[]*Generation{nil}, Generation{1, 1}, 1},
		"nor when they come again":                       {[]*Generation{nil, {1, 1}}, Generation{1, 1}, 2},
		"counted generations are newer than none":        {[]*Generation{nil}, Generation{2, 2}, 0},
		"also when the first truncation is of the first": {[]*Generation{nil, {0, 0}}, Generation{1, 1}, 0},
		"a generation that was not truncated is older":   {[]*Generation{{1, 0}, {1, 0}}, Generation{2, 2}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := plain("s")
			tbl := openTable(t, openCatalog(t, t.TempDir()), p, Options{})
			for i, g := range tc.syncs {
				tbl = refreshing(t, tbl, p, Options{}, g)
				row := map[string]any{"id": i}
				if g != nil {
					row[generationColumn] = g.ID
				}
				commit(t, tbl, "", stage(t, tbl, 0, row))
				if tbl.Refreshing() {
					t.Fatalf("sync %d refreshes", i)
				}
			}
			tbl = refreshing(t, tbl, p, Options{}, &tc.refresh)
			if tbl.Refreshing() {
				if _, err := tbl.Finish(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
			}
			if n := len(rows(t, load(t, tbl))); n != tc.want {
				t.Errorf("%d rows stay, want %d", n, tc.want)
			}
		})
	}
}

// begun is a table with a row of generation 12 and a refresh to 13 under way
// that has one.
func begun(t *testing.T, p *columnar.Plan) *Table {
	t.Helper()
	tbl := openTable(t, openCatalog(t, t.TempDir()), p, Options{})
	commit(t, tbl, `{"n":12}`, stage(t, tbl, 0, of(12, version{key: 1, cursor: 1, v: "old"}.row()), of(12, version{key: 2, cursor: 1, v: "old"}.row())))
	tbl = refreshing(t, tbl, p, Options{}, &Generation{ID: 13, Minimum: 13})
	commit(t, tbl, `{"n":13}`, stage(t, tbl, 0, of(13, version{key: 2, cursor: 2, v: "new"}.row()), of(13, version{key: 3, cursor: 2, v: "new"}.row())))
	return tbl
}

func TestARefreshThatIsGivenUpIsRetained(t *testing.T) {
	p := keyed("s")
	tbl := openTable(t, begun(t, p).cat, p, Options{})
	retained, err := tbl.Begin(t.Context(), &Generation{ID: 14})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int64{13}, retained); diff != "" {
		t.Errorf("retained (-want +got):\n%s", diff)
	}
	expectRows(t, tbl, version{key: 1, cursor: 1, v: "old"}.json(), version{key: 2, cursor: 2, v: "new"}.json(), version{key: 3, cursor: 2, v: "new"}.json())
	if got := string(lastState(t, load(t, tbl))); got != `{"n":13}` {
		t.Errorf("state %s", got)
	}
	if retained, err := openTable(t, tbl.cat, p, Options{}).Begin(t.Context(), nil); err != nil || retained != nil {
		t.Errorf("retained %v again, %v", retained, err)
	}
}

func TestARefreshOfANewerGenerationDiscardsTheOlderOne(t *testing.T) {
	p := keyed("s")
	tbl := refreshing(t, begun(t, p), p, Options{}, &Generation{ID: 14, Minimum: 14})
	commit(t, tbl, `{"n":14}`, stage(t, tbl, 0, of(14, version{key: 4, cursor: 1, v: "newest"}.row())))
	if _, err := tbl.Finish(t.Context(), json.RawMessage(`{"n":141}`)); err != nil {
		t.Fatal(err)
	}
	expectRows(t, tbl, version{key: 4, cursor: 1, v: "newest"}.json())
	after := load(t, tbl)
	if got := string(lastState(t, after)); got != `{"n":141}` || generationsOf(after.Metadata()) != nil {
		t.Errorf("state %s, branches %v", got, generationsOf(after.Metadata()))
	}
}

func TestAnOverwriteGivesARefreshUp(t *testing.T) {
	p := keyed("s")
	tbl := openTable(t, begun(t, p).cat, p, Options{})
	if _, err := tbl.Replace(t.Context(), nil, json.RawMessage(`{"n":1}`)); err != nil {
		t.Fatal(err)
	}
	expectRows(t, tbl)
	after := load(t, tbl)
	if left := generationsOf(after.Metadata()); left != nil {
		t.Errorf("branches %v", left)
	}
	if state, err := CommittedState(t.Context(), after, p, nil); err != nil || string(state) != `{"n":1}` {
		t.Errorf("state %s, %v", state, err)
	}
}

// A state may come before the first row; the next attempt must find it.
func TestARefreshHasItsStateBeforeItsFirstRow(t *testing.T) {
	p := keyed("s")
	tbl := openTable(t, openCatalog(t, t.TempDir()), p, Options{})
	commit(t, tbl, `{"n":12}`, stage(t, tbl, 0, of(12, version{key: 1, cursor: 1, v: "old"}.row())))
	g := &Generation{ID: 13, Minimum: 13}
	tbl = refreshing(t, tbl, p, Options{}, g)
	commit(t, tbl, `{"n":13}`)
	if state, err := CommittedState(t.Context(), load(t, tbl), p, g); err != nil || string(state) != `{"n":13}` {
		t.Errorf("state %s, %v", state, err)
	}
	if tbl = refreshing(t, tbl, p, Options{}, g); !tbl.Refreshing() {
		t.Error("the refresh is not continued")
	}
}

// Whatever the catalog does: rows of a refresh are on its branch once, then in
// the table once, and what others write meanwhile stays.
func TestARefreshUnderFaults(t *testing.T) {
	p := keyed("s")
	g := &Generation{ID: 13, Minimum: 13}
	for name, script := range map[string][]outcome{
		"refused":                  {refuses, refuses},
		"landed without an answer": {landsSilently},
		"lost without an answer":   {failsSilently},
		"lost, then landed":        {failsSilently, landsSilently},
		"another writer first":     {letsOthersFirst, letsOthersFirst},
		"another writer after":     {refuses, landsThenOthers},
	} {
		for _, step := range []string{"a commit", "the end", "giving it up"} {
			t.Run(name+" at "+step, func(t *testing.T) {
				t.Parallel()
				tbl := begun(t, p)
				cat := &faulty{Catalog: tbl.cat}
				others := openTable(t, tbl.cat, p, Options{})
				var theirs []string
				cat.other = func() {
					v := version{key: int64(100 + len(theirs)), cursor: 1, v: "theirs"}
					commit(t, others, "", stage(t, others, 0, of(13, v.row())))
					theirs = append(theirs, v.json())
				}
				tbl = openTable(t, cat, p, Options{})
				tbl.maxBackoff = time.Millisecond
				if step == "giving it up" {
					cat.script = script
					if _, err := tbl.Begin(t.Context(), nil); err != nil {
						t.Fatal(err)
					}
					expectRows(t, tbl, append(theirs,
						version{key: 1, cursor: 1, v: "old"}.json(), version{key: 2, cursor: 2, v: "new"}.json(), version{key: 3, cursor: 2, v: "new"}.json())...)
					return
				}
				if _, err := tbl.Begin(t.Context(), g); err != nil {
					t.Fatal(err)
				}
				staged := stage(t, tbl, 0, of(13, version{key: 4, cursor: 1, v: "newest"}.row()))
				if step == "a commit" {
					cat.script = script
				}
				if _, err := tbl.Commit(t.Context(), []*Staged{staged}, json.RawMessage(`{"n":131}`)); err != nil {
					t.Fatal(err)
				}
				if got, err := CommittedState(t.Context(), load(t, tbl), p, g); err != nil || string(got) != `{"n":131}` {
					t.Errorf("state of the branch %s, %v", got, err)
				}
				cat.script = nil
				if step == "the end" {
					cat.script = script
				}
				if _, err := tbl.Finish(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
				expectRows(t, tbl, append(theirs,
					version{key: 2, cursor: 2, v: "new"}.json(), version{key: 3, cursor: 2, v: "new"}.json(), version{key: 4, cursor: 1, v: "newest"}.json())...)
				if got := string(lastState(t, load(t, tbl))); got != `{"n":131}` {
					t.Errorf("state %s", got)
				}
			})
		}
	}
}

// An end that nobody can tell the fate of leaves the refresh to be ended again.
func TestTheEndOfARefreshThatFailsCanBeTriedAgain(t *testing.T) {
	p := keyed("s")
	g := &Generation{ID: 13, Minimum: 13}
	tbl := begun(t, p)
	cat := &faulty{Catalog: tbl.cat}
	tbl = openTable(t, cat, p, Options{})
	tbl.maxBackoff, tbl.commitTimeout = time.Millisecond, 50*time.Millisecond
	if _, err := tbl.Begin(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	cat.script = slices.Repeat([]outcome{failsSilently}, 10_000)
	if _, err := tbl.Finish(t.Context(), nil); err == nil {
		t.Fatal("no error")
	}
	cat.script = nil
	expectRows(t, tbl, version{key: 1, cursor: 1, v: "old"}.json(), version{key: 2, cursor: 1, v: "old"}.json())
	tbl = refreshing(t, tbl, p, Options{}, g)
	if _, err := tbl.Finish(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	expectRows(t, tbl, version{key: 2, cursor: 2, v: "new"}.json(), version{key: 3, cursor: 2, v: "new"}.json())
}
