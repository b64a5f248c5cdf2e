package lake_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
)

func refreshing(t *testing.T, tbl *lake.Table, p *columnar.Plan, o lake.Options, g *lake.Generation) *lake.Table {
	t.Helper()
	again := openTable(t, tbl.Catalog(), p, o)
	if _, err := again.Begin(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	return again
}

// of is a row of a generation; 0 is none.
func of(generation int64, row map[string]any) map[string]any {
	if generation > 0 {
		row[lake.GenerationColumn] = generation
	}
	return row
}

// refreshes are the ways in which a refresh can find the rows that go.
var refreshes = map[string]lake.Options{
	"copy_on_write": {Upsert: lake.CopyOnWrite},
	"merge_on_read": {Upsert: lake.MergeOnRead},
	"spilled keys":  {Upsert: lake.MergeOnRead, Memory: memoryForKeys(0)},
}

func TestARefreshIsSeenWhenItIsFinished(t *testing.T) {
	for how, o := range refreshes {
		for name, p := range map[string]*columnar.Plan{"append": laketest.Plain("s"), "append_dedup": laketest.Keyed("s")} {
			t.Run(name+" "+how, func(t *testing.T) {
				row := func(key, cursor int64, v string) map[string]any {
					if name == "append" {
						return map[string]any{"id": key, "v": v}
					}
					return laketest.Version{Key: key, Cursor: cursor, V: v}.Row()
				}
				want := func(key, cursor int64, v string) string {
					if name == "append" {
						return fmt.Sprintf(`{"id":%d,"v":%q}`, key, v)
					}
					return laketest.Version{Key: key, Cursor: cursor, V: v}.JSON()
				}
				tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), p, o)
				tbl = refreshing(t, tbl, p, o, &lake.Generation{ID: 12})
				if tbl.Branch() != table.MainBranch {
					t.Error("a sync that keeps all generations refreshes")
				}
				laketest.Commit(t, tbl, `{"n":12}`, laketest.Stage(t, tbl, 0, of(12, row(1, 9, "old")), of(12, row(2, 9, "old"))))

				// The first attempt fails after a commit, which readers do not see.
				g := &lake.Generation{ID: 13, Minimum: 13}
				tbl = refreshing(t, tbl, p, o, g)
				if tbl.Branch() == table.MainBranch {
					t.Fatal("no refresh was begun")
				}
				if state, err := lake.CommittedState(t.Context(), laketest.Load(t, tbl), p, g); err != nil || state != nil {
					t.Errorf("before the first state of the refresh there is %s, %v", state, err)
				}
				laketest.Commit(t, tbl, `{"n":131}`, laketest.Stage(t, tbl, 0, of(13, row(1, 1, "new")), of(13, row(3, 1, "new"))))
				laketest.ExpectRows(t, tbl, want(1, 9, "old"), want(2, 9, "old"))
				for _, asked := range []*lake.Generation{g, nil} {
					if state, err := lake.CommittedState(t.Context(), laketest.Load(t, tbl), p, asked); err != nil || string(state) != `{"n":131}` {
						t.Errorf("during the refresh the state is %s, %v", state, err)
					}
				}

				// The second continues, and ends without a row of its own.
				tbl = refreshing(t, tbl, p, o, g)
				laketest.Commit(t, tbl, `{"n":132}`, laketest.Stage(t, tbl, 0, of(13, row(4, 1, "newer"))))
				if name == "append_dedup" {
					laketest.Commit(t, tbl, `{"n":133}`, laketest.Stage(t, tbl, 0, of(13, row(3, 2, "newest"))))
				}
				tbl = refreshing(t, tbl, p, o, g)
				if _, err := tbl.Finish(t.Context(), nil, nil); err != nil {
					t.Fatal(err)
				}
				last := `{"n":132}`
				if name == "append" {
					laketest.ExpectRows(t, tbl, want(1, 1, "new"), want(3, 1, "new"), want(4, 1, "newer"))
				} else {
					last = `{"n":133}`
					laketest.ExpectRows(t, tbl, want(1, 1, "new"), want(3, 2, "newest"), want(4, 1, "newer"))
				}
				after := laketest.Load(t, tbl)
				if got := string(laketest.LastState(t, after)); got != last {
					t.Errorf("state %s, want %s", got, last)
				}
				if left := lake.GenerationsOf(after.Metadata()); left != nil {
					t.Errorf("branches of %v are left", left)
				}
				for key := range after.Properties() {
					if strings.HasPrefix(key, lake.StateKey+".") || strings.HasPrefix(key, lake.StateSnapshotKey+".") {
						t.Errorf("property %s is left", key)
					}
				}

				// Once more with the same ids, as a retry comes: nothing is wiped.
				tbl = refreshing(t, tbl, p, o, g)
				if tbl.Branch() != table.MainBranch {
					t.Error("a refresh that is done was begun again")
				}
				laketest.Commit(t, tbl, `{"n":134}`, laketest.Stage(t, tbl, 0, of(13, row(5, 1, "late"))))
				if n := len(laketest.Rows(t, laketest.Load(t, tbl))); n != 4 {
					t.Errorf("%d rows", n)
				}
			})
		}
	}
}

// What a refresh deletes may be on the main branch alone: of the generation that stays, or of any when the
// refresh is given up.
func TestARefreshDeletesRowsOfTheMainBranch(t *testing.T) {
	p := laketest.Keyed("s")
	for how, o := range refreshes {
		for i, cursor := range []int64{2, -1} { // -1: none
			for k, end := range []struct {
				name   string
				finish func(*lake.Table) error
			}{
				{"finished", func(tbl *lake.Table) error { _, err := tbl.Finish(t.Context(), nil, nil); return err }},
				{"given up", func(tbl *lake.Table) error {
					refreshing(t, tbl, p, o, &lake.Generation{ID: 14})
					return nil
				}},
			} {
				if (i+k)%testsize.Of(2, 1) > 0 {
					continue
				}
				t.Run(fmt.Sprint(end.name, " ", how, " ", cursor), func(t *testing.T) {
					tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), p, o)
					laketest.Commit(t, tbl, `{"n":1}`, laketest.Stage(t, tbl, 0,
						of(13, laketest.Version{Key: 1, Cursor: 1, V: "goes"}.Row()), of(13, laketest.Version{Key: 2, Cursor: 1, V: "stays"}.Row()),
						of(13, laketest.Version{Key: 3, Cursor: 1, V: "comes again"}.Row())))
					laketest.Commit(t, tbl, `{"n":2}`, laketest.Stage(t, tbl, 0, of(12, laketest.Version{Key: 4, Cursor: 1, V: "old"}.Row())))
					tbl = refreshing(t, tbl, p, o, &lake.Generation{ID: 13, Minimum: 13})
					tombstone := func(key int64) map[string]any {
						return of(13, laketest.Version{Key: key, Cursor: cursor, V: "gone", Deleted: true}.Row())
					}
					laketest.Commit(t, tbl, `{"n":3}`, laketest.Stage(t, tbl, 0, tombstone(1), tombstone(3), tombstone(4), tombstone(5)))
					laketest.Commit(t, tbl, `{"n":4}`, laketest.Stage(t, tbl, 0, of(13, laketest.Version{Key: 3, Cursor: 3, V: "again"}.Row())))
					if err := end.finish(tbl); err != nil {
						t.Fatal(err)
					}
					laketest.ExpectRows(t, tbl, laketest.Version{Key: 2, Cursor: 1, V: "stays"}.JSON(), laketest.Version{Key: 3, Cursor: 3, V: "again"}.JSON())
				})
			}
		}
	}
}

// Attempts in append leave every version of a row on the branch; an attempt in append_dedup that finishes the refresh, or
// gives it up, keeps the one that the last of them would have.
func TestARefreshThatBecomesDedupKeepsTheLatestRows(t *testing.T) {
	for how, o := range refreshes {
		o.TargetFileBytes = 1
		for end, g := range map[string]*lake.Generation{"finished": {ID: 13, Minimum: 13}, "given up": {ID: 14}} {
			for cursor, cursors := range map[string]int64{"updated_at": 4, "": 1} {
				t.Run(fmt.Sprint(end, " ", how, " ", cursor), func(t *testing.T) {
					t.Parallel()
					appended, dedup := laketest.Keyed("s"), laketest.Keyed("s")
					appended.Dedup, appended.Key, appended.Cursor, dedup.Cursor = false, nil, "", cursor
					tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), appended, o)
					old := laketest.Version{Key: 1, Cursor: cursors - 2, V: "old"}
					laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, of(12, old.Row())))
					rng := rand.New(rand.NewPCG(3, uint64(cursors)))
					var versions []laketest.Version
					for n := range 3 {
						tbl = refreshing(t, tbl, appended, o, &lake.Generation{ID: 13, Minimum: 13})
						tbl.SetMinRowGroupBytes(0) // every row makes a file
						w := tbl.NewWriter()
						for range 6 {
							v := laketest.Version{Key: rng.Int64N(4), Cursor: rng.Int64N(cursors) - 1, Order: uint64(len(versions)), Deleted: rng.IntN(5) == 0, V: fmt.Sprint(len(versions))}
							versions = append(versions, v)
							if err := w.Write(t.Context(), laketest.Batch(t, tbl.Opened().Schema(), of(13, v.Row())), nil); err != nil {
								t.Fatal(err)
							}
						}
						staged, err := w.Close(t.Context(), nil, nil, math.MaxInt64)
						if err != nil {
							t.Fatal(err)
						}
						laketest.Commit(t, tbl, fmt.Sprint(n), staged)
					}
					want := laketest.Model{}
					if end == "given up" {
						want.Commit([]laketest.Version{old})
					}
					want.Commit(versions)
					if tbl = refreshing(t, tbl, dedup, o, g); tbl.Branch() != table.MainBranch {
						if _, err := tbl.Finish(t.Context(), nil, nil); err != nil {
							t.Fatal(err)
						}
					}
					laketest.ExpectRows(t, tbl, want.Rows()...)
				})
			}
		}
	}
}

func TestARefreshOfNothingEmptiesTheTable(t *testing.T) {
	p := laketest.Keyed("s")
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), p, lake.Options{})
	laketest.Commit(t, tbl, `{"n":1}`, laketest.Stage(t, tbl, 0, of(12, laketest.Version{Key: 1, Cursor: 1, V: "a"}.Row())))
	tbl = refreshing(t, tbl, p, lake.Options{}, &lake.Generation{ID: 13, Minimum: 13})
	if _, err := tbl.Finish(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	laketest.ExpectRows(t, tbl)
	if state := laketest.LastState(t, laketest.Load(t, tbl)); state != nil {
		t.Errorf("the state of rows that are gone is still %s", state)
	}
}

func TestRowsOfTheGenerationStayInFilesWithOlderOnes(t *testing.T) {
	for _, o := range refreshes {
		p := laketest.Keyed("s")
		row := func(key, cursor int64, v string) laketest.Version {
			return laketest.Version{Key: key, Cursor: cursor, V: v}
		}
		tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), p, o)
		laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0,
			of(12, row(1, 9, "old").Row()), of(13, row(2, 5, "kept").Row()), of(13, row(3, 1, "beaten").Row()), of(12, row(4, 1, "old").Row())))
		tbl = refreshing(t, tbl, p, o, &lake.Generation{ID: 13, Minimum: 13})
		laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0,
			of(13, row(1, 1, "new").Row()), of(13, row(2, 1, "older").Row()), of(13, row(3, 2, "newer").Row())))
		if _, err := tbl.Finish(t.Context(), nil, json.RawMessage(`{}`)); err != nil {
			t.Fatal(err)
		}
		laketest.ExpectRows(t, tbl, row(1, 1, "new").JSON(), row(2, 5, "kept").JSON(), row(3, 2, "newer").JSON())
	}
}

func TestWhatANullGenerationCountsAs(t *testing.T) {
	for name, tc := range map[string]struct {
		syncs   []*lake.Generation // before the refresh; each adds a row of its generation
		refresh lake.Generation
		want    int // rows of those that stay
	}{
		"PyAirbyte's ids remove nothing that had none":   {[]*lake.Generation{nil}, lake.Generation{1, 1}, 1},
		"nor when they come again":                       {[]*lake.Generation{nil, {1, 1}}, lake.Generation{1, 1}, 2},
		"counted generations are newer than none":        {[]*lake.Generation{nil}, lake.Generation{2, 2}, 0},
		"also when the first truncation is of the first": {[]*lake.Generation{nil, {0, 0}}, lake.Generation{1, 1}, 0},
		"a generation that was not truncated is older":   {[]*lake.Generation{{1, 0}, {1, 0}}, lake.Generation{2, 2}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := laketest.Plain("s")
			tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), p, lake.Options{})
			for i, g := range tc.syncs {
				tbl = refreshing(t, tbl, p, lake.Options{}, g)
				row := map[string]any{"id": i}
				if g != nil {
					row[lake.GenerationColumn] = g.ID
				}
				laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, row))
				if tbl.Branch() != table.MainBranch {
					t.Fatalf("sync %d refreshes", i)
				}
			}
			tbl = refreshing(t, tbl, p, lake.Options{}, &tc.refresh)
			if tbl.Branch() != table.MainBranch {
				if _, err := tbl.Finish(t.Context(), nil, nil); err != nil {
					t.Fatal(err)
				}
			}
			if n := len(laketest.Rows(t, laketest.Load(t, tbl))); n != tc.want {
				t.Errorf("%d rows stay, want %d", n, tc.want)
			}
		})
	}
}

// begun is a table with a row of generation 12 and a refresh to 13 under way
// that has one.
func begun(t *testing.T, p *columnar.Plan) *lake.Table {
	t.Helper()
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), p, lake.Options{})
	laketest.Commit(t, tbl, `{"n":12}`, laketest.Stage(t, tbl, 0, of(12, laketest.Version{Key: 1, Cursor: 1, V: "old"}.Row()), of(12, laketest.Version{Key: 2, Cursor: 1, V: "old"}.Row())))
	tbl = refreshing(t, tbl, p, lake.Options{}, &lake.Generation{ID: 13, Minimum: 13})
	laketest.Commit(t, tbl, `{"n":13}`, laketest.Stage(t, tbl, 0, of(13, laketest.Version{Key: 2, Cursor: 2, V: "new"}.Row()), of(13, laketest.Version{Key: 3, Cursor: 2, V: "new"}.Row())))
	return tbl
}

func TestARefreshThatIsGivenUpIsRetained(t *testing.T) {
	p := laketest.Keyed("s")
	tbl := openTable(t, begun(t, p).Catalog(), p, lake.Options{})
	begun, err := tbl.Begin(t.Context(), &lake.Generation{ID: 14})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int64{13}, begun.Retained); diff != "" {
		t.Errorf("retained (-want +got):\n%s", diff)
	}
	laketest.ExpectRows(t, tbl, laketest.Version{Key: 1, Cursor: 1, V: "old"}.JSON(), laketest.Version{Key: 2, Cursor: 2, V: "new"}.JSON(), laketest.Version{Key: 3, Cursor: 2, V: "new"}.JSON())
	if got := string(laketest.LastState(t, laketest.Load(t, tbl))); got != `{"n":13}` {
		t.Errorf("state %s", got)
	}
	if begun, err := openTable(t, tbl.Catalog(), p, lake.Options{}).Begin(t.Context(), nil); err != nil || begun.Retained != nil {
		t.Errorf("retained %v again, %v", begun.Retained, err)
	}
}

// mainOnly is a catalog that keeps no branches besides main.
type mainOnly struct{ lake.Catalog }

func (mainOnly) KeepsBranches() bool { return false }

func TestWithoutBranchesARefreshIsMadeAtOnce(t *testing.T) {
	for how, o := range refreshes {
		for name, p := range map[string]*columnar.Plan{"append": laketest.Plain("s"), "append_dedup": laketest.Keyed("s")} {
			t.Run(name+" "+how, func(t *testing.T) {
				row := func(generation, key int64, v string) map[string]any {
					if name == "append" {
						return of(generation, map[string]any{"id": key, "v": v})
					}
					return of(generation, laketest.Version{Key: key, Cursor: 1, V: v}.Row())
				}
				cat := mainOnly{laketest.OpenCatalog(t, t.TempDir())}
				tbl := openTable(t, cat, p, o)
				laketest.Commit(t, tbl, `{"n":12}`, laketest.Stage(t, tbl, 0, row(12, 1, "old"), row(12, 2, "old")))

				g := &lake.Generation{ID: 13, Minimum: 13}
				tbl = openTable(t, cat, p, o)
				if begun, err := tbl.Begin(t.Context(), g); err != nil || !begun.Refreshing || !begun.AtEnd || tbl.Branch() != table.MainBranch {
					t.Fatalf("a refresh begins as %+v on %s, error %v", begun, tbl.Branch(), err)
				}
				staged := laketest.Stage(t, tbl, 0, row(13, 2, "new"), row(13, 3, "new"))
				before := laketest.Load(t, tbl)
				done, err := tbl.Finish(t.Context(), []*lake.Staged{staged}, json.RawMessage(`{"n":13}`))
				if err != nil || done.Rows != 2 {
					t.Fatalf("%+v, error %v", done, err)
				}
				after := laketest.Load(t, tbl)
				if n := len(after.Metadata().Snapshots()) - len(before.Metadata().Snapshots()); n != 1 {
					t.Errorf("it took %d snapshots", n)
				}
				if n := len(laketest.Rows(t, after)); n != 2 {
					t.Errorf("%d rows", n)
				}
				if got := string(laketest.LastState(t, after)); got != `{"n":13}` {
					t.Errorf("state %s", got)
				}
				laketest.ExpectFiles(t, tbl, false)
				if begun, err := openTable(t, cat, p, o).Begin(t.Context(), g); err != nil || begun.Refreshing {
					t.Errorf("once more it begins as %+v, error %v", begun, err)
				}

				// No row and no state: the rows of before go, and their state with them.
				tbl = openTable(t, cat, p, o)
				if _, err := tbl.Begin(t.Context(), &lake.Generation{ID: 14, Minimum: 14}); err != nil {
					t.Fatal(err)
				}
				if _, err := tbl.Finish(t.Context(), nil, nil); err != nil {
					t.Fatal(err)
				}
				after = laketest.Load(t, tbl)
				if rows, state := laketest.Rows(t, after), laketest.LastState(t, after); len(rows) != 0 || state != nil {
					t.Errorf("rows %v, state %s", rows, state)
				}
			})
		}
	}
}

func TestARefreshOfANewerGenerationDiscardsTheOlderOne(t *testing.T) {
	p := laketest.Keyed("s")
	tbl := refreshing(t, begun(t, p), p, lake.Options{}, &lake.Generation{ID: 14, Minimum: 14})
	laketest.Commit(t, tbl, `{"n":14}`, laketest.Stage(t, tbl, 0, of(14, laketest.Version{Key: 4, Cursor: 1, V: "newest"}.Row())))
	if _, err := tbl.Finish(t.Context(), nil, json.RawMessage(`{"n":141}`)); err != nil {
		t.Fatal(err)
	}
	laketest.ExpectRows(t, tbl, laketest.Version{Key: 4, Cursor: 1, V: "newest"}.JSON())
	after := laketest.Load(t, tbl)
	if got := string(laketest.LastState(t, after)); got != `{"n":141}` || lake.GenerationsOf(after.Metadata()) != nil {
		t.Errorf("state %s, branches %v", got, lake.GenerationsOf(after.Metadata()))
	}
}

func TestAnOverwriteGivesARefreshUp(t *testing.T) {
	p := laketest.Keyed("s")
	tbl := openTable(t, begun(t, p).Catalog(), p, lake.Options{})
	if _, err := tbl.Replace(t.Context(), nil, json.RawMessage(`{"n":1}`)); err != nil {
		t.Fatal(err)
	}
	laketest.ExpectRows(t, tbl)
	after := laketest.Load(t, tbl)
	if left := lake.GenerationsOf(after.Metadata()); left != nil {
		t.Errorf("branches %v", left)
	}
	if state, err := lake.CommittedState(t.Context(), after, p, nil); err != nil || string(state) != `{"n":1}` {
		t.Errorf("state %s, %v", state, err)
	}
}

// A state may come before the first row; the next attempt must find it.
func TestARefreshHasItsStateBeforeItsFirstRow(t *testing.T) {
	p := laketest.Keyed("s")
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), p, lake.Options{})
	laketest.Commit(t, tbl, `{"n":12}`, laketest.Stage(t, tbl, 0, of(12, laketest.Version{Key: 1, Cursor: 1, V: "old"}.Row())))
	g := &lake.Generation{ID: 13, Minimum: 13}
	tbl = refreshing(t, tbl, p, lake.Options{}, g)
	laketest.Commit(t, tbl, `{"n":13}`)
	if state, err := lake.CommittedState(t.Context(), laketest.Load(t, tbl), p, g); err != nil || string(state) != `{"n":13}` {
		t.Errorf("state %s, %v", state, err)
	}
	if tbl = refreshing(t, tbl, p, lake.Options{}, g); tbl.Branch() == table.MainBranch {
		t.Error("the refresh is not continued")
	}
}

// Whatever the catalog does: rows of a refresh are on its branch once, then in
// the table once, and what others write meanwhile stays.
func TestARefreshUnderFaults(t *testing.T) {
	p := laketest.Keyed("s")
	g := &lake.Generation{ID: 13, Minimum: 13}
	for name, script := range map[string][]laketest.Outcome{
		"refused":                  {laketest.Refuses, laketest.Refuses},
		"landed without an answer": {laketest.LandsSilently},
		"lost without an answer":   {laketest.FailsSilently},
		"lost, then landed":        {laketest.FailsSilently, laketest.LandsSilently},
		"another writer first":     {laketest.LetsOthersFirst, laketest.LetsOthersFirst},
		"another writer after":     {laketest.Refuses, laketest.LandsThenOthers},
	} {
		for k, step := range []string{"a commit", "the end", "giving it up"} {
			if (len(name)+k)%testsize.Of(3, 1) > 0 {
				continue // every script and every step is left
			}
			t.Run(name+" at "+step, func(t *testing.T) {
				t.Parallel()
				tbl := begun(t, p)
				cat := &laketest.Faulty{Catalog: tbl.Catalog()}
				others := openTable(t, tbl.Catalog(), p, lake.Options{})
				var theirs []string
				cat.Other = func() {
					v := laketest.Version{Key: int64(100 + len(theirs)), Cursor: 1, V: "theirs"}
					laketest.Commit(t, others, "", laketest.Stage(t, others, 0, of(13, v.Row())))
					theirs = append(theirs, v.JSON())
				}
				tbl = openTable(t, cat, p, lake.Options{})
				tbl.SetRetries(time.Millisecond, 5*time.Minute)
				if step == "giving it up" {
					cat.Script = script
					if _, err := tbl.Begin(t.Context(), nil); err != nil {
						t.Fatal(err)
					}
					laketest.ExpectRows(t, tbl, append(theirs,
						laketest.Version{Key: 1, Cursor: 1, V: "old"}.JSON(), laketest.Version{Key: 2, Cursor: 2, V: "new"}.JSON(), laketest.Version{Key: 3, Cursor: 2, V: "new"}.JSON())...)
					return
				}
				if _, err := tbl.Begin(t.Context(), g); err != nil {
					t.Fatal(err)
				}
				staged := laketest.Stage(t, tbl, 0, of(13, laketest.Version{Key: 4, Cursor: 1, V: "newest"}.Row()))
				if step == "a commit" {
					cat.Script = script
				}
				if _, err := tbl.Commit(t.Context(), []*lake.Staged{staged}, json.RawMessage(`{"n":131}`)); err != nil {
					t.Fatal(err)
				}
				if got, err := lake.CommittedState(t.Context(), laketest.Load(t, tbl), p, g); err != nil || string(got) != `{"n":131}` {
					t.Errorf("state of the branch %s, %v", got, err)
				}
				cat.Script = nil
				if step == "the end" {
					cat.Script = script
				}
				if _, err := tbl.Finish(t.Context(), nil, nil); err != nil {
					t.Fatal(err)
				}
				laketest.ExpectRows(t, tbl, append(theirs,
					laketest.Version{Key: 2, Cursor: 2, V: "new"}.JSON(), laketest.Version{Key: 3, Cursor: 2, V: "new"}.JSON(), laketest.Version{Key: 4, Cursor: 1, V: "newest"}.JSON())...)
				if got := string(laketest.LastState(t, laketest.Load(t, tbl))); got != `{"n":131}` {
					t.Errorf("state %s", got)
				}
			})
		}
	}
}

// An end that nobody can tell the fate of leaves the refresh to be ended again.
func TestTheEndOfARefreshThatFailsCanBeTriedAgain(t *testing.T) {
	p := laketest.Keyed("s")
	g := &lake.Generation{ID: 13, Minimum: 13}
	tbl := begun(t, p)
	cat := &laketest.Faulty{Catalog: tbl.Catalog()}
	tbl = openTable(t, cat, p, lake.Options{})
	tbl.SetRetries(time.Millisecond, 50*time.Millisecond)
	if _, err := tbl.Begin(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	cat.Script = slices.Repeat([]laketest.Outcome{laketest.FailsSilently}, 10_000)
	if _, err := tbl.Finish(t.Context(), nil, nil); err == nil {
		t.Fatal("no error")
	}
	cat.Script = nil
	laketest.ExpectRows(t, tbl, laketest.Version{Key: 1, Cursor: 1, V: "old"}.JSON(), laketest.Version{Key: 2, Cursor: 1, V: "old"}.JSON())
	tbl = refreshing(t, tbl, p, lake.Options{}, g)
	if _, err := tbl.Finish(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	laketest.ExpectRows(t, tbl, laketest.Version{Key: 2, Cursor: 2, V: "new"}.JSON(), laketest.Version{Key: 3, Cursor: 2, V: "new"}.JSON())
}
