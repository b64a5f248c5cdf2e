package lake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
)

// everything is upkeep that leaves nothing for later.
var everything = Upkeep{ExpireAfter: time.Nanosecond, KeepSnapshots: 1, Thorough: true}

// impatient makes a table's snapshots expire at once.
func impatient(t *Table) *Table {
	t.readerGracePeriod = 0
	return t
}

func maintain(t testing.TB, tbl *Table, u Upkeep) Maintained {
	t.Helper()
	did, err := Maintain(t.Context(), tbl, u)
	if err != nil {
		t.Fatal(err)
	}
	return did
}

// appendOne commits one row of a plain table.
func appendOne(t testing.TB, tbl *Table, id int) string {
	t.Helper()
	commit(t, tbl, "", stage(t, tbl, 0, map[string]any{"id": id, "v": "x"}))
	return fmt.Sprintf(`{"id":%d,"v":"x"}`, id)
}

func TestUpkeepLeavesOneFileOneSnapshotAndNoOrphan(t *testing.T) {
	tbl := impatient(openTable(t, openCatalog(t, t.TempDir()), plain("s"), Options{}))
	var want []string
	for id := range 12 {
		want = append(want, appendOne(t, tbl, id))
	}
	did := maintain(t, tbl, everything)
	if removed := len(did.Removed); removed != did.RemovedFiles {
		t.Errorf("%d files are listed as removed, %d were", removed, did.RemovedFiles)
	}
	did.Removed = nil
	if diff := cmp.Diff(Maintained{CompactedFiles: 12, IntoFiles: 1, ExpiredSnapshots: 12, RemovedFiles: 12 + 12 + 12, LookedForOrphans: true}, did); diff != "" {
		t.Errorf("did (-want +got):\n%s", diff)
	}
	expectRows(t, tbl, want...)
	expectFiles(t, tbl, false)
	loaded := load(t, tbl)
	if s := loaded.CurrentSnapshot(); s.Summary.Operation != table.OpReplace || len(loaded.Metadata().Snapshots()) != 1 {
		t.Errorf("%s, %d snapshots", s.Summary.Operation, len(loaded.Metadata().Snapshots()))
	}
	// There is nothing left to do.
	at := loaded.MetadataLocation()
	if diff := cmp.Diff(Maintained{LookedForOrphans: true}, maintain(t, tbl, everything)); diff != "" || load(t, tbl).MetadataLocation() != at {
		t.Errorf("did again (-want +got):\n%s", diff)
	}
}

// Rows keep the order in which they arrived: of two rows of a key, which a
// table has that was appended to before, the later stays the later.
func TestCompactedRowsKeepTheirPlaceInTime(t *testing.T) {
	for _, format := range []int{2, 3} {
		cat := openCatalog(t, t.TempDir())
		appended := keyed("s")
		appended.Dedup = false
		tbl := openTable(t, cat, appended, Options{FormatVersion: format})
		for n := range 4 {
			commit(t, tbl, "", stage(t, tbl, 0, version{key: 1, cursor: 5, v: fmt.Sprint("row ", n)}.row()))
		}
		set, err := tbl.storage().List(tbl.tip(load(t, tbl)), snapshots.Cache{})
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(set.Files, func(a, b *snapshots.LiveFile) int { return int(a.Sequence - b.Sequence) })
		done, files, err := upkeep{tbl}.rewrite(t.Context(), load(t, tbl).Metadata(), []*bundle{{files: set.Files[:3]}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = (&fileCommit{t: tbl, files: files}).commitWithRetry(t.Context(), func(context.Context, *table.Table) (*snapshots.Change, error) {
			return swap(done, set, set, &Maintained{}), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		// A late, older record beats none of them, and of those one stays.
		dedup := openTable(t, cat, keyed("s"), Options{})
		commit(t, dedup, "", stage(t, dedup, 0, version{key: 1, cursor: 1, v: "old"}.row()))
		expectRows(t, dedup, version{key: 1, cursor: 5, v: "row 3"}.json())
	}
}

// Whatever is committed while files are compacted wins: rows that were deleted
// stay so, and the work is done for the files that are as they were.
func TestCompactionGivesWayToOtherWriters(t *testing.T) {
	for _, mode := range []Upsert{CopyOnWrite, MergeOnRead} {
		for _, format := range []int{2, 3} {
			t.Run(fmt.Sprint(mode, " v", format), func(t *testing.T) {
				real := openCatalog(t, t.TempDir())
				others := openTable(t, real, keyed("s"), Options{Upsert: mode, FormatVersion: format})
				want := model{}
				write := func(v version) {
					commit(t, others, "", stage(t, others, 0, v.row()))
					want.commit([]version{v})
				}
				for key := range int64(8) {
					write(version{key: key, cursor: 1, v: "before"})
				}
				cat := &faulty{Catalog: real, script: []outcome{letsOthersFirst, letsOthersFirst, failsSilently, landsSilently}}
				n := int64(2)
				cat.other = func() {
					write(version{key: n, cursor: 2, v: "theirs", deleted: n == 2})
					n++
				}
				tbl := openTable(t, cat, keyed("s"), Options{Upsert: mode, FormatVersion: format})
				maintain(t, tbl, everything)
				expectRows(t, tbl, want.rows()...)
				cat.script = nil
				if did := maintain(t, tbl, everything); did.CompactedFiles == 0 {
					t.Errorf("did %+v", did)
				}
				expectRows(t, tbl, want.rows()...)
			})
		}
	}
}

// Against the model of upserts, with upkeep of every kind between, beside and
// in the way of commits, each with a catalog of its own.
func TestUpkeepChangesNoRow(t *testing.T) {
	for _, tc := range []struct {
		mode   Upsert
		format int
	}{{Auto, 2}, {MergeOnRead, 2}, {MergeOnRead, 3}, {"append", 1}, {"append", 2}} {
		t.Run(fmt.Sprint(tc.mode, " v", tc.format), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			plan, mode := keyed("s"), tc.mode
			if mode == "append" {
				plan.Dedup, mode = false, Auto
			}
			opts := Options{Upsert: mode, FormatVersion: tc.format, TargetFileBytes: 30_000}
			rng := rand.New(rand.NewPCG(1, uint64(len(tc.mode)+tc.format)))
			tbl := openTable(t, openCatalog(t, dir), plan, opts)

			// The others compact and expire without a pause until the commits end.
			stop := make(chan struct{})
			var others sync.WaitGroup
			var mu sync.Mutex
			var total Maintained
			var last []func()
			for n := range 2 {
				theirs := impatient(openTable(t, openCatalog(t, dir), plan, opts))
				u := Upkeep{ExpireAfter: time.Hour, KeepSnapshots: 3 + n, Thorough: n == 0}
				if u.Thorough {
					u.ExpireAfter = 0
				}
				once := func() {
					did, err := Maintain(t.Context(), theirs, u)
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					total.CompactedFiles += did.CompactedFiles
					total.ExpiredSnapshots += did.ExpiredSnapshots
					mu.Unlock()
				}
				last = append(last, once)
				others.Go(func() {
					for !t.Failed() {
						select {
						case <-stop:
							return
						case <-time.After(time.Duration(5+20*n) * time.Millisecond):
							once()
						}
					}
				})
			}
			want, appended := model{}, []string{}
			order := uint64(0)
			rounds := testsize.Of(8, 20)
			for round := range rounds {
				var versions []version
				var rows []map[string]any
				for range 1 + rng.IntN(12) {
					v := version{
						key: rng.Int64N(80), cursor: rng.Int64N(8) - 1, order: order, v: fmt.Sprint(round, "-", order),
						deleted: rng.IntN(6) == 0 && plan.Dedup,
					}
					order++
					versions, rows, appended = append(versions, v), append(rows, v.row()), append(appended, v.json())
				}
				commit(t, tbl, fmt.Sprintf(`{"round":%d}`, round), stage(t, tbl, order-uint64(len(rows)), rows...))
				want.commit(versions)
				if round%(rounds/2) == rounds/2-1 {
					rows := want.rows()
					if !plan.Dedup {
						rows = appended
					}
					// The snapshot that is read may expire under the reader.
					readTwice(t, tbl, rows)
				}
			}
			close(stop)
			others.Wait()
			for _, once := range last { // on a busy machine the commits may have been first every time
				once()
			}
			if t.Failed() {
				return
			}
			maintain(t, impatient(tbl), everything)
			// Files that a commit on its way might name wait for the next day.
			ageFiles(t, tbl)
			maintain(t, tbl, everything)
			final := want.rows()
			if !plan.Dedup {
				final = appended
			}
			expectRows(t, tbl, final...)
			expectFiles(t, tbl, false)
			if got := string(lastState(t, load(t, tbl))); got != fmt.Sprintf(`{"round":%d}`, rounds-1) {
				t.Errorf("state %s", got)
			}
			rewrites := mode == MergeOnRead || !plan.Dedup
			if total.CompactedFiles == 0 && rewrites || total.ExpiredSnapshots == 0 {
				t.Errorf("beside the commits upkeep did %+v", total)
			}
		})
	}
}

// readTwice compares a table's rows, and does so again when a file was gone.
func readTwice(t *testing.T, tbl *Table, want []string) {
	t.Helper()
	for range 20 {
		got, err := func() (got []string, err error) {
			for row, err := range Rows(t.Context(), load(t, tbl), 0) {
				if err != nil {
					return nil, err
				}
				text, err := json.Marshal(row[:3])
				if err != nil {
					return nil, err
				}
				got = append(got, string(text))
			}
			return got, nil
		}()
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, sorted); diff != "" {
			t.Fatalf("rows (-want +got):\n%s", diff)
		}
		return
	}
	t.Fatal("the files of the current snapshot are gone each time they are read")
}

// life is how many more times a process reaches its catalog or its files.
type life struct{ left int }

var errKilled = errors.New("killed")

func (l *life) step() error {
	if l.left--; l.left < 0 {
		return errKilled
	}
	return nil
}

type mortalCatalog struct {
	catalog.Catalog
	*life
}

func (c mortalCatalog) LoadTable(ctx context.Context, id table.Identifier) (*table.Table, error) {
	if err := c.step(); err != nil {
		return nil, err
	}
	return c.Catalog.LoadTable(ctx, id)
}

// CommitTable may be what the process dies of, before it or after it.
func (c mortalCatalog) CommitTable(ctx context.Context, id table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	if err := c.step(); err != nil {
		return nil, "", err
	}
	meta, location, err := c.Catalog.CommitTable(ctx, id, reqs, updates)
	return meta, location, errors.Join(err, c.step())
}

type mortalFiles struct {
	iceio.LocalFS
	*life
}

func (f mortalFiles) Open(name string) (iceio.File, error) {
	if err := f.step(); err != nil {
		return nil, err
	}
	return f.LocalFS.Open(name)
}

func (f mortalFiles) Create(name string) (iceio.FileWriter, error) {
	if err := f.step(); err != nil {
		return nil, err
	}
	return f.LocalFS.Create(name)
}

func (f mortalFiles) Remove(name string) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.LocalFS.Remove(name)
}

// Wherever upkeep is killed the table is right, and the next upkeep ends what
// it began, but for files too young to be orphans.
func TestUpkeepThatIsKilledLeavesTheTableRight(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 5))
	survived, deaths := false, 0
	for left := 1; !survived; left += 1 + rng.IntN(testsize.Of(40, 14)) {
		real := openCatalog(t, t.TempDir())
		tbl := impatient(openTable(t, real, keyed("s"), Options{Upsert: MergeOnRead}))
		want := model{}
		for n := range int64(6) {
			versions := []version{{key: n, cursor: n, v: "x"}, {key: n + 10, cursor: n, v: "x"}, {key: max(0, n-1), cursor: n, v: "again", order: 1}}
			commit(t, tbl, "", stage(t, tbl, 0, versions[0].row(), versions[1].row(), versions[2].row()))
			want.commit(versions)
		}
		l := &life{left}
		mortal := impatient(openTable(t, real, keyed("s"), Options{Upsert: MergeOnRead}))
		mortal.cat, mortal.files = mortalCatalog{real, l}, mortalFiles{life: l}
		mortal.maxBackoff, mortal.commitTimeout = time.Millisecond, 0 // a dead catalog does not come back
		_, err := Maintain(t.Context(), mortal, everything)
		if survived = l.left >= 0; survived && err != nil {
			t.Errorf("not killed: error %v", err)
		}
		deaths++
		expectRows(t, tbl, want.rows()...)
		for _, uri := range named(t, load(t, tbl)) {
			if _, err := os.Stat(pathOf(t, uri)); err != nil {
				t.Errorf("killed at %d: %v", left, err)
			}
		}
		maintain(t, tbl, everything)
		expectRows(t, tbl, want.rows()...)
		if loaded := load(t, tbl); len(loaded.Metadata().Snapshots()) != 1 {
			t.Errorf("killed at %d: %d snapshots", left, len(loaded.Metadata().Snapshots()))
		}
		if t.Failed() {
			return
		}
	}
	if deaths < testsize.Of(4, 10) {
		t.Errorf("killed %d times only", deaths)
	}
	t.Logf("killed %d times", deaths)
}

// A run that is told to end ends its upkeep, and says so.
func TestUpkeepEndsWhenItIsCancelled(t *testing.T) {
	tbl := openTable(t, openCatalog(t, t.TempDir()), plain("s"), Options{})
	row := appendOne(t, tbl, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Maintain(ctx, tbl, everything); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	expectRows(t, tbl, row)
}

func TestUpkeepEndsWithItsBudget(t *testing.T) {
	tbl := openTable(t, openCatalog(t, t.TempDir()), plain("s"), Options{})
	var want []string
	for id := range 8 {
		want = append(want, appendOne(t, tbl, id))
	}
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	did, err := Maintain(ctx, tbl, everything)
	if err != nil || did.CompactedFiles != 0 || len(did.Left) != 1 || !strings.Contains(did.Left[0], "time limit was reached") {
		t.Errorf("%+v, %v", did, err)
	}
	expectRows(t, tbl, want...)
	expectFiles(t, tbl, false)
}

func TestSnapshotsThatStay(t *testing.T) {
	hour := time.Hour
	for name, tc := range map[string]struct {
		ages []time.Duration // oldest first
		u    Upkeep
		refs map[string]int // names of snapshots, by position
		want []int          // positions of those that go
	}{
		"old ones go": {ages: []time.Duration{9 * hour, 8 * hour, 7 * hour, 2 * hour}, u: Upkeep{ExpireAfter: 8 * hour, KeepSnapshots: 1}, want: []int{0}},
		"an old one that was current a moment ago": {ages: []time.Duration{99 * hour, hour / 2}, u: Upkeep{ExpireAfter: hour, KeepSnapshots: 1}},
		"some are kept however old":                {ages: []time.Duration{9 * hour, 9 * hour, 9 * hour}, u: Upkeep{ExpireAfter: hour, KeepSnapshots: 2}, want: []int{0}},
		"the current one always":                   {ages: []time.Duration{9 * hour}, u: Upkeep{ExpireAfter: hour}},
		"one that a tag names":                     {ages: []time.Duration{9 * hour, 9 * hour, 9 * hour}, u: Upkeep{ExpireAfter: hour, KeepSnapshots: 1}, refs: map[string]int{"tag": 0}, want: []int{1}},
		"none a reader may be at":                  {ages: []time.Duration{hour / 2, hour / 3, 0}, u: Upkeep{KeepSnapshots: 1}},
		"the oldest of too many too":               {ages: times(maxSnapshots+2, 2*hour), u: Upkeep{ExpireAfter: 100 * hour, KeepSnapshots: 10}, want: []int{0, 1}},
		"not if they are to be kept":               {ages: times(maxSnapshots+2, 2*hour), u: Upkeep{ExpireAfter: 100 * hour, KeepSnapshots: 500}},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			b, err := table.NewMetadataBuilder(2)
			for _, do := range []func() error{
				func() error { return err },
				func() error { return b.SetLoc("file:///t") },
				func() error { return b.AddSchema(iceberg.NewSchema(0, optional("v", aString))) },
				func() error { return b.SetCurrentSchemaID(-1) },
				func() error { return b.AddPartitionSpec(iceberg.UnpartitionedSpec, true) },
				func() error { return b.SetDefaultSpecID(-1) },
				func() error { return b.AddSortOrder(&table.UnsortedSortOrder) },
				func() error { return b.SetDefaultSortOrderID(-1) },
			} {
				if err := do(); err != nil {
					t.Fatal(err)
				}
			}
			for i, age := range tc.ages {
				s := &table.Snapshot{SnapshotID: int64(i + 1), SequenceNumber: int64(i + 1), TimestampMs: now.Add(-age).UnixMilli(), Summary: &table.Summary{Operation: table.OpAppend}, ManifestList: "x"}
				if i > 0 {
					parent := int64(i)
					s.ParentSnapshotID = &parent
				}
				if err := b.AddSnapshot(s); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.SetSnapshotRef(table.MainBranch, int64(len(tc.ages)), table.BranchRef); err != nil {
				t.Fatal(err)
			}
			for name, i := range tc.refs {
				if err := b.SetSnapshotRef(name, int64(i+1), table.TagRef); err != nil {
					t.Fatal(err)
				}
			}
			meta, err := b.Build()
			if err != nil {
				t.Fatal(err)
			}
			got := map[int64]bool{}
			for _, id := range (upkeep{&Table{readerGracePeriod: time.Hour}}).expired(meta, tc.u) {
				got[id-1] = true
			}
			want := map[int64]bool{}
			for _, i := range tc.want {
				want[int64(i)] = true
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("gone (-want +got):\n%s", diff)
			}
		})
	}
}

func times(n int, d time.Duration) []time.Duration {
	all := make([]time.Duration, n)
	for i := range all {
		all[i] = d
	}
	return all
}

// A reader that stands on an older snapshot pins it with a tag or a branch. What
// the snapshot needs stays, data, deletes and manifests, and goes when the name does.
func TestASnapshotWithANameStaysWithAllItNeeds(t *testing.T) {
	for name, ref := range map[string]struct {
		name string
		kind table.RefType
	}{
		"another program's tag": {"audit", table.TagRef},
		"a tag of ours":         {"airbyte_reader", table.TagRef},
		"a branch":              {"audit", table.BranchRef},
	} {
		t.Run(name, func(t *testing.T) {
			tbl := impatient(openTable(t, openCatalog(t, t.TempDir()), keyed("s"), Options{Upsert: MergeOnRead}))
			commit(t, tbl, "", stage(t, tbl, 0, version{key: 1, cursor: 1, v: "a"}.row(), version{key: 2, cursor: 1, v: "a"}.row()))
			commit(t, tbl, "", stage(t, tbl, 0, version{key: 1, cursor: 2, v: "b"}.row())) // with a delete file
			pinned := load(t, tbl).CurrentSnapshot().SnapshotID
			update := func(u table.Update) {
				t.Helper()
				if _, _, err := tbl.cat.CommitTable(t.Context(), tbl.id, nil, []table.Update{u}); err != nil {
					t.Fatal(err)
				}
			}
			update(table.NewSetSnapshotRefUpdate(ref.name, pinned, ref.kind, 0, 0, 0))
			if _, err := tbl.Replace(t.Context(), []*Staged{stage(t, tbl, 0, version{key: 3, cursor: 1, v: "c"}.row())}, nil); err != nil {
				t.Fatal(err)
			}
			commit(t, tbl, "", stage(t, tbl, 0, version{key: 4, cursor: 1, v: "d"}.row()))
			all := everything
			all.AllOrphans = true
			ageFiles(t, tbl)
			if did := maintain(t, tbl, all); did.ExpiredSnapshots == 0 {
				t.Errorf("did %+v", did)
			}
			var got []string
			_, batches, err := load(t, tbl).Scan(table.WithSnapshotID(pinned), table.WithSelectedFields("id", "v")).ToArrowRecords(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for b, err := range batches {
				if err != nil {
					t.Fatalf("reading the pinned snapshot: %v", err)
				}
				for i := range int(b.NumRows()) {
					got = append(got, b.Column(0).ValueStr(i)+b.Column(1).ValueStr(i))
				}
			}
			if diff := cmp.Diff([]string{"1b", "2a"}, got, sorted); diff != "" {
				t.Errorf("rows of the pinned snapshot (-want +got):\n%s", diff)
			}
			expectRows(t, tbl, version{key: 3, cursor: 1, v: "c"}.json(), version{key: 4, cursor: 1, v: "d"}.json())

			update(table.NewRemoveSnapshotRefUpdate(ref.name))
			if did := maintain(t, tbl, all); did.ExpiredSnapshots != 1 || did.RemovedFiles == 0 {
				t.Errorf("without the name: did %+v", did)
			}
			expectFiles(t, tbl, false)
		})
	}
}

func TestOnlyOldFilesThatNothingNamesAreOrphans(t *testing.T) {
	cat := openCatalog(t, t.TempDir())
	tbl := openTable(t, cat, plain("s"), Options{})
	row := appendOne(t, tbl, 1)
	staged := stage(t, tbl, 0, map[string]any{"id": 2, "v": "x"})
	root := pathOf(t, load(t, tbl).Location())
	plant := func(name string, age time.Duration) string {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("{"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	gone := []string{
		plant("data/"+ownName("", ".parquet"), 25*time.Hour), plant("data/deep/er/"+ownName("", ".puffin"), 25*time.Hour),
		plant("metadata/"+ownName("", "-m0.avro"), 25*time.Hour), plant("metadata/"+ownName("snap-7-0-", ".avro"), 25*time.Hour),
		plant("data/"+ownName("", storage.RowsSuffix), 25*time.Hour), plant("data/"+ownName("", storage.KeysSuffix), 25*time.Hour),
	}
	stays := []string{
		plant("data/"+ownName("", ".parquet"), 23*time.Hour), plant("README.txt", 99*time.Hour), plant("metadata/version-hint.text", 99*time.Hour),
		plant("data/export.parquet", 99*time.Hour), plant("customers.parquet", 99*time.Hour), plant("data/01890000-0000-7000-8000-000000000000.parquet", 99*time.Hour),
		plant("exports/"+ownName("", ".parquet"), 99*time.Hour), plant("metadata/00009-cut-off.metadata.json", 99*time.Hour),
	}
	looked := func(at string) {
		update := table.NewSetPropertiesUpdate(iceberg.Properties{orphansKey: at})
		if _, _, err := tbl.cat.CommitTable(t.Context(), tbl.id, nil, []table.Update{update}); err != nil {
			t.Fatal(err)
		}
	}
	looked(time.Now().Add(-25 * time.Hour).UTC().Format(time.RFC3339))
	// What the table names may be as old as it likes.
	loaded := load(t, tbl)
	for _, uri := range append(named(t, loaded), loaded.MetadataLocation()) {
		if err := os.Chtimes(pathOf(t, uri), time.Time{}, time.Now().Add(-99*time.Hour)); err != nil {
			t.Fatal(err)
		}
		stays = append(stays, pathOf(t, uri))
	}
	if did := maintain(t, tbl, Upkeep{ExpireAfter: time.Hour, KeepSnapshots: 9}); did.RemovedOrphans != len(gone) || did.Left != nil {
		t.Errorf("did %+v", did)
	}
	for _, path := range gone {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, path := range stays {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	commit(t, tbl, "", staged)
	expectRows(t, tbl, row, `{"id":2,"v":"x"}`)

	// After a write it is looked for once a day; on demand, always.
	again := plant("data/"+ownName("", ".parquet"), 25*time.Hour)
	if did := maintain(t, tbl, Upkeep{ExpireAfter: time.Hour, KeepSnapshots: 9}); did.RemovedOrphans != 0 {
		t.Errorf("did %+v", did)
	}
	if did := maintain(t, tbl, everything); did.RemovedOrphans != 1 {
		t.Errorf("%s: did %+v", again, did)
	}
}

// ageFiles makes all files of a table two days old.
func ageFiles(t *testing.T, tbl *Table) {
	t.Helper()
	old := time.Now().Add(-2 * orphanAge)
	err := filepath.WalkDir(pathOf(t, load(t, tbl).Location()), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chtimes(path, old, old)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// ownName is a name as this program gives to its files.
func ownName(before, ext string) string {
	if stem, ok := strings.CutSuffix(ext, ".avro"); ok {
		return before + uuid.NewString() + stem + filenames.Mark + ".avro"
	}
	return before + uuid.NewString() + filenames.Mark + ext
}

func TestOrphansAreLeftWhereTheLocationIsShared(t *testing.T) {
	for name, tc := range map[string]struct {
		share func(t *testing.T, cat catalog.Catalog, tbl *Table)
		why   string
	}{
		"another table within": {func(t *testing.T, cat catalog.Catalog, tbl *Table) {
			_, err := cat.CreateTable(t.Context(), table.Identifier{"ns", "within"}, plain("s").Schema, catalog.WithLocation(load(t, tbl).Location()+"/deeper"))
			if err != nil {
				t.Fatal(err)
			}
		}, "is the metadata of another table"},
		"another table's data": {func(t *testing.T, cat catalog.Catalog, tbl *Table) {
			_, err := cat.CreateTable(t.Context(), table.Identifier{"ns", "other"}, plain("s").Schema,
				catalog.WithProperties(iceberg.Properties{table.WriteDataPathKey: load(t, tbl).Location() + "/data"}))
			if err != nil {
				t.Fatal(err)
			}
		}, "table ns.other keeps files in"},
		"a table of another catalog": {func(t *testing.T, _ catalog.Catalog, tbl *Table) {
			other := openCatalog(t, t.TempDir())
			if err := other.CreateNamespace(t.Context(), table.Identifier{"ns"}, nil); err != nil {
				t.Fatal(err)
			}
			if _, err := other.CreateTable(t.Context(), table.Identifier{"ns", "s"}, plain("s").Schema, catalog.WithLocation(load(t, tbl).Location())); err != nil {
				t.Fatal(err)
			}
		}, "is the metadata of another table"},
		"the owner forbids it": {func(t *testing.T, cat catalog.Catalog, tbl *Table) {
			forbid := table.NewSetPropertiesUpdate(iceberg.Properties{table.GCEnabledKey: "false"})
			if _, _, err := cat.CommitTable(t.Context(), tbl.id, nil, []table.Update{forbid}); err != nil {
				t.Fatal(err)
			}
		}, "property gc.enabled forbids it"},
	} {
		t.Run(name, func(t *testing.T) {
			cat := openCatalog(t, t.TempDir())
			tbl := openTable(t, cat, plain("s"), Options{})
			row := appendOne(t, tbl, 1)
			tc.share(t, cat, tbl)
			orphan := filepath.Join(pathOf(t, load(t, tbl).Location()), "data", ownName("", ".parquet"))
			if err := os.WriteFile(orphan, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(orphan, time.Time{}, time.Now().Add(-48*time.Hour)); err != nil {
				t.Fatal(err)
			}
			did := maintain(t, tbl, everything)
			if did.RemovedOrphans != 0 || !strings.Contains(strings.Join(did.Left, "\n"), tc.why) {
				t.Errorf("did %+v", did)
			}
			if _, err := os.Stat(orphan); err != nil {
				t.Error(err)
			}
			expectRows(t, tbl, row)
		})
	}
}

// Equality deletes know rows by their values, and files by their age: a merged
// file would bring rows back.
func TestFilesUnderEqualityDeletesAreNotCompacted(t *testing.T) {
	tbl, _ := twoFiles(t, Options{})
	addEqualityDelete(t, tbl, 1)
	want := rowsOf(t, tbl)
	did := maintain(t, tbl, everything)
	if did.CompactedFiles != 0 || len(did.Left) != 1 || !strings.Contains(did.Left[0], "equality deletes") {
		t.Errorf("did %+v", did)
	}
	if diff := cmp.Diff(want, rowsOf(t, tbl)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// What other programs wrote into a table of ours is folded in as well.
func TestDeletesOfOtherProgramsAreFoldedIn(t *testing.T) {
	for format, deletes := range map[int]func(*testing.T, *Table, []*snapshots.LiveFile) []iceberg.DataFile{2: sharedDeletes, 3: sharedVectors} {
		tbl, files := twoFiles(t, Options{FormatVersion: format})
		addDeletes(t, tbl, deletes(t, tbl, files)...)
		for key := range int64(5) {
			commit(t, tbl, "", stage(t, tbl, 0, version{key: 10 + key, cursor: 1, v: "old"}.row()))
		}
		want := rowsOf(t, tbl)
		if did := maintain(t, tbl, everything); did.CompactedFiles != 7 || did.IntoFiles != 1 {
			t.Errorf("version %d: did %+v", format, did)
		}
		if diff := cmp.Diff(want, rowsOf(t, tbl)); diff != "" {
			t.Errorf("version %d: rows (-want +got):\n%s", format, diff)
		}
	}
}

// A column that came later does not make files of either kind be rewritten
// for ever.
func TestFilesOfDifferentColumnsAreNotMerged(t *testing.T) {
	cat := openCatalog(t, t.TempDir())
	narrow := openTable(t, cat, plain("s"), Options{})
	for id := range 3 {
		appendOne(t, narrow, id)
	}
	wide := openTable(t, cat, planOf("s", optional("id", aLong), optional("v", aString), optional("w", aString)), Options{})
	for id := range 6 {
		commit(t, wide, "", stage(t, wide, 0, map[string]any{"id": 10 + id, "w": "y"}))
	}
	want := rowsOf(t, wide)
	if did := maintain(t, wide, everything); did.CompactedFiles != 6 || did.IntoFiles != 1 {
		t.Errorf("did %+v", did)
	}
	if did := maintain(t, wide, everything); did.CompactedFiles != 0 {
		t.Errorf("did again %+v", did)
	}
	if diff := cmp.Diff(want, rowsOf(t, wide)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestAttachRefusesTablesOfOtherPrograms(t *testing.T) {
	cat := openCatalog(t, t.TempDir())
	tbl := openTable(t, cat, plain("s"), Options{TargetFileBytes: 1 << 20})
	if _, err := Attach(t.Context(), cat, tbl.id, Options{}); !errors.Is(err, ErrNotOurs) {
		t.Errorf("a table nothing was committed to: %v", err)
	}
	row := appendOne(t, tbl, 1)
	attached, err := Attach(t.Context(), cat, tbl.id, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if attached.opts.TargetFileBytes != 1<<20 || attached.String() != "ns.s" {
		t.Errorf("%s, files of %d bytes", attached, attached.opts.TargetFileBytes)
	}
	maintain(t, attached, everything)
	expectRows(t, tbl, row)
}
