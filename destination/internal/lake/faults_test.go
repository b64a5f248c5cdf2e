package lake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// outcome is what a faulty catalog does with one commit.
type outcome int

const (
	takes            outcome = iota // the commit and says so
	refuses                         // for certain
	landsSilently                   // takes the commit and says nothing
	failsSilently                   // does not take it and says nothing
	letsOthersFirst                 // commits another writer's rows, then hands this commit on
	landsThenOthers                 // takes the commit, then another's, and says nothing
	diesAfterLanding                // takes the commit, says nothing, and the run is cancelled
)

var errConnection = errors.New("connection reset by peer")

// faulty does with the n-th commit what script says, and takes the rest.
type faulty struct {
	catalog.Catalog
	mu     sync.Mutex
	script []outcome
	other  func()
	cancel context.CancelFunc
}

func (f *faulty) next() outcome {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.script) == 0 {
		return takes
	}
	o := f.script[0]
	f.script = f.script[1:]
	return o
}

func (f *faulty) CommitTable(ctx context.Context, id table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	land := func() error {
		_, _, err := f.Catalog.CommitTable(ctx, id, reqs, updates)
		return err
	}
	switch f.next() {
	case refuses:
		return nil, "", fmt.Errorf("%w: no", table.ErrCommitFailed)
	case failsSilently:
		return nil, "", errConnection
	case landsSilently:
		return nil, "", errors.Join(errConnection, land())
	case diesAfterLanding:
		f.cancel()
		return nil, "", errors.Join(errConnection, land())
	case landsThenOthers:
		err := land()
		f.other()
		return nil, "", errors.Join(errConnection, err)
	case letsOthersFirst:
		f.other()
	}
	return f.Catalog.CommitTable(ctx, id, reqs, updates)
}

// Whatever the catalog does, a commit that is reported done is there once, and
// one that is reported failed is there at most once; the rows of others are
// not touched, and no file that a snapshot names is gone.
func TestCommitUnderFaults(t *testing.T) {
	always := slices.Repeat([]outcome{refuses}, 10_000)
	silent := slices.Repeat([]outcome{failsSilently}, 10_000)
	for name, tc := range map[string]struct {
		script []outcome
		fails  bool // the commit is reported failed
		there  bool // the rows are in the table all the same
		keeps  bool // the staged files are left on disk
	}{
		"refused twice":                   {script: []outcome{refuses, refuses}, there: true},
		"refused always":                  {script: always, fails: true},
		"landed without an answer":        {script: []outcome{landsSilently}, there: true},
		"lost without an answer":          {script: []outcome{failsSilently}, there: true},
		"lost, then landed, no answers":   {script: []outcome{failsSilently, landsSilently}, there: true},
		"no answer ever":                  {script: silent, fails: true, keeps: true},
		"another writer first":            {script: []outcome{letsOthersFirst}, there: true},
		"landed, another after":           {script: []outcome{landsThenOthers}, there: true},
		"refused, landed, another after":  {script: []outcome{refuses, landsThenOthers}, there: true},
		"cancelled after it had landed":   {script: []outcome{diesAfterLanding}, there: true},
		"no answer, then always refused":  {script: append([]outcome{failsSilently}, always[1:]...), fails: true, keeps: true},
		"landed, no answer, state only":   {script: []outcome{landsSilently}, there: true},
		"another first, then no answer":   {script: []outcome{letsOthersFirst, landsSilently}, there: true},
		"another first, several times":    {script: slices.Repeat([]outcome{letsOthersFirst}, 5), there: true},
		"another first, refused, silence": {script: []outcome{letsOthersFirst, refuses, failsSilently, landsThenOthers}, there: true},
	} {
		for k, kind := range []string{"append", "copy_on_write", "merge_on_read", "replace", "spilled keys"} {
			if (len(name)+k)%testsize.Of(4, 1) > 0 {
				continue
			}
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				real := openCatalog(t, t.TempDir())
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				plan, mode := keyed("s"), Upsert(kind)
				if kind == "append" {
					plan.Dedup = false
				}
				others := openTable(t, real, plan, Options{Upsert: MergeOnRead})
				before := version{key: 1, cursor: 1, v: "before"}
				commit(t, others, `{"n":0}`, stage(t, others, 0, before.row(), version{key: 2, cursor: 1, v: "before"}.row()))
				want := []string{before.json(), version{key: 2, cursor: 1, v: "before"}.json()}

				foreign := int64(100)
				cat := &faulty{Catalog: real, script: slices.Clone(tc.script), cancel: cancel}
				var theirs []string
				cat.other = func() {
					foreign++
					v := version{key: foreign, cursor: 1, v: "theirs"}
					commit(t, others, "", stage(t, others, 0, v.row()))
					theirs = append(theirs, v.json())
				}
				o := Options{Upsert: mode}
				if kind == "spilled keys" {
					o = Options{Upsert: MergeOnRead, Memory: memoryForKeys(0)}
				}
				tbl := openTable(t, cat, plan, o)
				tbl.maxBackoff, tbl.commitTimeout = time.Millisecond, 300*time.Millisecond
				if !tc.fails {
					tbl.commitTimeout = time.Minute
				}
				mine := version{key: 2, cursor: 2, v: "mine"}
				staged := stage(t, tbl, 0, mine.row())

				var err error
				state := json.RawMessage(`{"n":1}`)
				if kind == "replace" {
					_, err = tbl.Replace(ctx, []*Staged{staged}, state)
				} else {
					_, err = tbl.Commit(ctx, []*Staged{staged}, state)
				}
				if (err != nil) != tc.fails {
					t.Fatalf("error %v", err)
				}
				var perr *protocol.Error
				if err != nil && (!errors.As(err, &perr) || perr.Kind != protocol.TransientError) {
					t.Errorf("error %v is no transient error", err)
				}
				if tc.there {
					switch kind {
					case "append":
						want = append(want, mine.json())
					case "replace":
						// What came after the swap stays.
						want = []string{mine.json()}
						theirs = since(theirs, tc.script)
					default:
						want[1] = mine.json()
					}
				}
				expectRows(t, tbl, append(want, theirs...)...)
				wantState := `{"n":0}`
				if tc.there {
					wantState = `{"n":1}`
				}
				if got := string(lastState(t, load(t, tbl))); got != wantState {
					t.Errorf("state %s, want %s", got, wantState)
				}
				if !slices.Contains(tc.script, failsSilently) || tc.keeps {
					expectFiles(t, tbl, tc.keeps)
				}
			})
		}
	}
}

// since drops the rows others wrote before the script's commit landed.
func since(theirs []string, script []outcome) []string {
	n := 0
	for _, o := range script {
		if o == letsOthersFirst {
			n++
		}
	}
	return theirs[n:]
}

// expectFiles checks that every file a snapshot names is there, and that no
// data file is there that none names, unless some were kept on purpose.
func expectFiles(t *testing.T, tbl *Table, keeps bool) {
	t.Helper()
	known := map[string]bool{}
	for _, uri := range named(t, load(t, tbl)) {
		known[pathOf(t, uri)] = true
	}
	root := pathOf(t, load(t, tbl).Location()) + "/data"
	left := 0
	for _, f := range dataFilesOnDisk(t, tbl) {
		if !known[root+f] {
			left++
		}
		delete(known, root+f)
	}
	if keeps && left == 0 {
		t.Error("the staged files are gone, though a commit that names them may still land")
	}
	if !keeps && left > 0 {
		t.Errorf("%d files are left that nothing names", left)
	}
}

// A state without rows is committed once, too, and found again.
func TestStateOnlyUnderFaults(t *testing.T) {
	for _, script := range [][]outcome{{refuses}, {landsSilently}, {failsSilently}, {letsOthersFirst}, {landsThenOthers}} {
		real := openCatalog(t, t.TempDir())
		others := openTable(t, real, plain("s"), Options{})
		cat := &faulty{Catalog: real, script: script}
		cat.other = func() { commit(t, others, "", stage(t, others, 0, map[string]any{"id": 9})) }
		tbl := openTable(t, cat, plain("s"), Options{})
		commit(t, tbl, `{"n":1}`)
		if got := string(lastState(t, load(t, tbl))); got != `{"n":1}` {
			t.Errorf("%v: state %s", script, got)
		}
	}
}

// Writers with catalogs of their own, as processes have, land every commit
// once.
func TestConcurrentWritersLoseAndDoubleNothing(t *testing.T) {
	const writers = 4
	for kind, commits := range map[Upsert]int{"append": testsize.Of(4, 10), Auto: testsize.Of(4, 10), MergeOnRead: testsize.Of(2, 6)} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var all sync.WaitGroup
			for n := range int64(writers) {
				cat := openCatalog(t, dir)
				all.Go(func() {
					plan, mode := keyed("s"), kind
					if kind == "append" {
						plan.Dedup, mode = false, Auto
					}
					// All of them make the table at once.
					tbl, err := open(t.Context(), cat, plan, Options{Upsert: mode})
					if err != nil {
						t.Error(err)
						return
					}
					for c := range int64(commits) {
						// A key of its own, and one that all of them write.
						s := stage(t, tbl, 0,
							version{key: 1000*(n+1) + c, cursor: 1, v: "own"}.row(),
							version{key: c, cursor: n, v: fmt.Sprint("shared by ", n)}.row())
						if _, err := tbl.Commit(t.Context(), []*Staged{s}, json.RawMessage(fmt.Sprintf(`{"writer":%d}`, n))); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			if t.Failed() {
				return
			}
			var want []string
			for c := range int64(commits) {
				for n := range int64(writers) {
					want = append(want, version{key: 1000*(n+1) + c, cursor: 1, v: "own"}.json())
					if kind == "append" || n == writers-1 {
						want = append(want, version{key: c, cursor: n, v: fmt.Sprint("shared by ", n)}.json())
					}
				}
			}
			tbl := openTable(t, openCatalog(t, dir), keyed("s"), Options{})
			expectRows(t, tbl, want...)
			expectFiles(t, tbl, false)
			if n := len(load(t, tbl).Metadata().Snapshots()); n != writers*commits {
				t.Errorf("%d snapshots of %d commits", n, writers*commits)
			}
		})
	}
}

// A table is brought to its definition whatever the catalog does, as rows are committed.
func TestADefinitionIsCommittedUnderFaults(t *testing.T) {
	for name, script := range map[string][]outcome{
		"refused":                  {refuses, refuses},
		"landed without an answer": {landsSilently, landsSilently},
		"lost without an answer":   {failsSilently, failsSilently},
		"lost, then landed":        {failsSilently, landsSilently},
		"another writer first":     {letsOthersFirst},
	} {
		t.Run(name, func(t *testing.T) {
			real := openCatalog(t, t.TempDir())
			others := openTable(t, real, planOf("s", optional("id", aLong)), Options{})
			cat := &faulty{Catalog: real, script: script, other: func() { commit(t, others, "", stage(t, others, 0, map[string]any{"id": 1})) }}
			o := Options{Settings: tabledef.Settings{PartitionBy: by(t, "bucket(4, id)"), SortBy: sortedBy(t, "v"), Properties: map[string]string{"comment": "x"}}}
			tbl := openTable(t, cat, planOf("s", optional("id", aLong), optional("v", aString)), o)
			loaded := load(t, tbl)
			if diff := cmp.Diff([]string{"id long", "v string"}, columnsOf(loaded.Schema())[:2]); diff != "" {
				t.Errorf("columns (-want +got):\n%s", diff)
			}
			if by, sorted := tabledef.Clauses(loaded.Metadata()); len(by) != 1 || len(sorted) != 1 || loaded.Properties()["comment"] != "x" {
				t.Errorf("partitioned by %q, sorted by %q, properties %v", by, sorted, loaded.Properties())
			}
			if n := len(loaded.Metadata().Schemas()); n != 2 {
				t.Errorf("%d schemas", n)
			}
			commit(t, tbl, "", stage(t, tbl, 0, map[string]any{"id": 2, "v": "y"}))
			checkFiles(t, load(t, tbl))
		})
	}
}
