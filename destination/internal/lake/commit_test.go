package lake_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/iceberg-go/catalog"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

func TestAppendKeepsEveryRowAndTheState(t *testing.T) {
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{})
	a, b := tbl.NewWriter(), tbl.NewWriter()
	for i, w := range []*lake.Writer{a, b, a} {
		if err := w.Write(t.Context(), laketest.Batch(t, tbl.Opened().Schema(), map[string]any{"id": i, "v": "x"}), nil); err != nil {
			t.Fatal(err)
		}
	}
	first, err := a.Close(t.Context(), nil, nil, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.Close(t.Context(), nil, nil, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	if first.Rows() != 2 || second.Rows() != 1 {
		t.Errorf("staged %d and %d rows", first.Rows(), second.Rows())
	}
	laketest.Commit(t, tbl, `{"n": 1}`, first, nil, second)
	laketest.ExpectRows(t, tbl, `{"id":0,"v":"x"}`, `{"id":1,"v":"x"}`, `{"id":2,"v":"x"}`)
	if got := string(laketest.LastState(t, laketest.Load(t, tbl))); got != `{"n": 1}` {
		t.Errorf("state %s", got)
	}
	if nothing, err := a.Close(t.Context(), nil, nil, math.MaxInt64); nothing != nil || err != nil {
		t.Errorf("an empty writer hands over %v, %v", nothing, err)
	}

	// A state without rows makes no snapshot.
	laketest.Commit(t, tbl, `{"n": 2}`)
	loaded := laketest.Load(t, tbl)
	if got, n := string(laketest.LastState(t, loaded)), len(loaded.Metadata().Snapshots()); got != `{"n": 2}` || n != 1 {
		t.Errorf("state %s, %d snapshots", got, n)
	}
	// Nothing at all commits nothing.
	laketest.Commit(t, tbl, "")
	if diff := cmp.Diff(loaded.MetadataLocation(), laketest.Load(t, tbl).MetadataLocation()); diff != "" {
		t.Error(diff)
	}
}

// telling is a catalog that takes no commit and says why.
type telling struct {
	lake.Catalog
	err error
}

func (c telling) CommitTable(context.Context, table.Identifier, []table.Requirement, []table.Update) (table.Metadata, string, error) {
	return nil, "", c.err
}

func TestWhatTheCatalogSaysOfACommitIsToldOn(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want string
	}{
		{table.ErrCommitFailed, "Table ns.s could not be committed within 1ms. The disk is full."},
		{laketest.ErrConnection, "The catalog did not say whether it accepted a commit of table ns.s. Start again from the table's own state, which the state command prints. The disk is full."},
	} {
		real := laketest.OpenCatalog(t, t.TempDir())
		tbl := openTable(t, real, laketest.Plain("s"), lake.Options{})
		tbl.SetCatalog(telling{real, &protocol.Error{Kind: protocol.TransientError, Message: "The disk is full.", Err: tc.err}})
		tbl.SetRetries(time.Millisecond, time.Millisecond)
		_, err := tbl.Commit(t.Context(), nil, json.RawMessage(`{"n":1}`))
		var userError *protocol.Error
		if !errors.As(err, &userError) || userError.Kind != protocol.TransientError || userError.Message != tc.want {
			t.Errorf("%v: error %v", tc.err, err)
		}
	}
}

// orphaned is storage from which a file disappears when another one is created.
type orphaned struct {
	iceio.WriteFileIO
	path string
}

func (o orphaned) Create(name string) (iceio.FileWriter, error) {
	if err := o.Remove(o.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return o.WriteFileIO.Create(name)
}

// What was staged for more than a day may be removed as an orphan, before the commit and while it is made.
func TestACommitNamesNoFileThatIsGone(t *testing.T) {
	old := laketest.Version{Key: 1, Cursor: 1, V: "old"}
	for name, tc := range map[string]struct {
		remove func(tbl *lake.Table, path string) error
		gone   bool
	}{
		"never":  {remove: func(*lake.Table, string) error { return nil }},
		"before": {remove: func(tbl *lake.Table, path string) error { return tbl.Storage().Files.Remove(path) }, gone: true},
		"meanwhile": {remove: func(tbl *lake.Table, path string) error {
			tbl.Storage().Files = orphaned{tbl.Storage().Files, path}
			return nil
		}, gone: true},
	} {
		for _, kind := range []string{"append", "rows of one key"} {
			t.Run(name+", "+kind, func(t *testing.T) {
				p := laketest.Keyed("s")
				p.Dedup = kind != "append"
				tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), p, lake.Options{Upsert: lake.CopyOnWrite})
				laketest.Commit(t, tbl, `{"n":1}`, laketest.Stage(t, tbl, 0, old.Row()))
				added := []laketest.Version{{Key: 2, Cursor: 1, V: "a"}, {Key: 3, Cursor: 1, V: "b"}}
				staged := laketest.Stage(t, tbl, 0, added[0].Row(), added[1].Row())
				more := laketest.Stage(t, tbl, 2, laketest.Version{Key: 3, Cursor: 2, V: "c"}.Row())
				tbl.SetOpened(time.Now().Add(-filenames.OrphanAge))
				if err := tc.remove(tbl, staged.Files()[0].FilePath()); err != nil {
					t.Fatal(err)
				}
				_, err := tbl.Commit(t.Context(), []*lake.Staged{staged, more}, json.RawMessage(`{"n":2}`))
				if !tc.gone {
					if err != nil {
						t.Error(err)
					}
					if n := len(laketest.Rows(t, laketest.Load(t, tbl))); n != 3 && p.Dedup || n != 4 && !p.Dedup {
						t.Errorf("%d rows", n)
					}
					return
				}
				var userError *protocol.Error
				if !errors.As(err, &userError) || userError.Kind != protocol.TransientError || !strings.Contains(userError.Message, "was removed as an orphan") {
					t.Errorf("error %v", err)
				}
				laketest.ExpectRows(t, tbl, old.JSON())
			})
		}
	}
}

func TestATableThatCannotBeLoadedNowAndThen(t *testing.T) {
	for _, tt := range []struct {
		err  error
		done bool
	}{
		{laketest.ErrConnection, true},
		{&protocol.Error{Kind: protocol.TransientError, Message: "The catalog is locked."}, true},
		{&protocol.Error{Kind: protocol.ConfigError, Message: "The catalog is not sound."}, false},
		{fmt.Errorf("%w", catalog.ErrNoSuchTable), false},
	} {
		real := laketest.OpenCatalog(t, t.TempDir())
		cat := &unloadable{Catalog: real, err: tt.err}
		tbl := openTable(t, cat, laketest.Keyed("s"), lake.Options{})
		tbl.SetRetries(time.Millisecond, 5*time.Minute)
		staged := laketest.Stage(t, tbl, 0, laketest.Version{Key: 1, Cursor: 1, V: "a"}.Row())
		cat.times = 2
		_, err := tbl.Commit(t.Context(), []*lake.Staged{staged}, json.RawMessage(`{}`))
		if (err == nil) != tt.done {
			t.Errorf("%v: %v", tt.err, err)
		}
	}
}

// silentOnce does not answer the first commit, which it does not make, and calls
// then what is given.
type silentOnce struct {
	lake.Catalog
	then func()
}

func (c *silentOnce) CommitTable(ctx context.Context, id table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	if c.then == nil {
		return c.Catalog.CommitTable(ctx, id, reqs, updates)
	}
	c.then()
	c.then = nil
	return nil, "", laketest.ErrConnection
}

// unwritable is storage on which no file can be created.
type unwritable struct{ iceio.WriteFileIO }

func (unwritable) Create(string) (iceio.FileWriter, error) { return nil, laketest.ErrConnection }

// A table without a state must not be taken for one that has the state of a
// commit without one.
func TestACommitWithoutAStateIsNotTakenForCommitted(t *testing.T) {
	cat := &silentOnce{Catalog: laketest.OpenCatalog(t, t.TempDir())}
	tbl := openTable(t, cat, laketest.Plain("s"), lake.Options{})
	staged := laketest.Stage(t, tbl, 0, map[string]any{"id": 1, "v": "x"})
	files := tbl.Storage().Files
	cat.then = func() { tbl.Storage().Files = unwritable{files} }
	_, err := tbl.Commit(t.Context(), []*lake.Staged{staged}, nil)
	if err == nil {
		t.Error("the commit is said to be made")
	}
	tbl.Storage().Files = files
	laketest.ExpectRows(t, tbl)
}

// landsLate does not answer the first commit, which it makes once the table has been
// loaded for the next attempt, and calls then what is given.
type landsLate struct {
	lake.Catalog
	then func()
	land func() error // nil: there is nothing to make
}

func (c *landsLate) CommitTable(ctx context.Context, id table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	commit := func() (table.Metadata, string, error) { return c.Catalog.CommitTable(ctx, id, reqs, updates) }
	if c.then == nil {
		return commit()
	}
	c.then()
	c.then, c.land = nil, func() error {
		_, _, err := commit()
		return err
	}
	return nil, "", laketest.ErrConnection
}

func (c *landsLate) LoadTable(ctx context.Context, id table.Identifier) (*table.Table, error) {
	loaded, err := c.Catalog.LoadTable(ctx, id)
	if c.land != nil && err == nil {
		err, c.land = c.land(), nil
	}
	return loaded, err
}

// A commit that landed has its snapshot, also when the attempt after it made none.
func TestACommitThatLandsLateSaysWhatItDid(t *testing.T) {
	cat := &landsLate{Catalog: laketest.OpenCatalog(t, t.TempDir())}
	tbl := openTable(t, cat, laketest.Plain("s"), lake.Options{})
	staged := laketest.Stage(t, tbl, 0, map[string]any{"id": 1, "v": "x"})
	files := tbl.Storage().Files
	cat.then = func() { tbl.Storage().Files = unwritable{files} }
	done, err := tbl.Commit(t.Context(), []*lake.Staged{staged}, json.RawMessage(`{"n":1}`))
	tbl.Storage().Files = files
	if err != nil {
		t.Fatal(err)
	}
	if current := laketest.Load(t, tbl).CurrentSnapshot(); current == nil || done.SnapshotID != current.SnapshotID || done.Rows != 1 {
		t.Errorf("%+v was done, and the table is at %v", done, current)
	}
	laketest.ExpectRows(t, tbl, `{"id":1,"v":"x"}`)
}

// unloadable fails to load a table so many times.
type unloadable struct {
	lake.Catalog
	err   error
	times int
}

func (u *unloadable) LoadTable(ctx context.Context, id table.Identifier) (*table.Table, error) {
	if u.times > 0 {
		u.times--
		return nil, u.err
	}
	return u.Catalog.LoadTable(ctx, id)
}

func TestACommitSaysWhatItDid(t *testing.T) {
	cat := &laketest.Faulty{Catalog: laketest.OpenCatalog(t, t.TempDir())}
	tbl := openTable(t, cat, laketest.Plain("s"), lake.Options{})
	tbl.SetRetries(time.Millisecond, 5*time.Minute)
	for name, tc := range map[string]struct {
		script   []laketest.Outcome
		attempts int
	}{
		"at once":                 {nil, 1},
		"after a refusal":         {[]laketest.Outcome{laketest.Refuses}, 2},
		"without an answer":       {[]laketest.Outcome{laketest.LandsSilently}, 2},
		"lost without an answer":  {[]laketest.Outcome{laketest.FailsSilently}, 2},
		"lost twice, then landed": {[]laketest.Outcome{laketest.FailsSilently, laketest.FailsSilently, laketest.LandsSilently}, 4},
	} {
		staged := laketest.Stage(t, tbl, 0, map[string]any{"id": 1, "v": "x"}, map[string]any{"id": 2, "v": "y"})
		bytes := staged.Files()[0].FileSizeBytes()
		cat.Script = tc.script
		got, err := tbl.Commit(t.Context(), []*lake.Staged{staged}, json.RawMessage(`{"n":1}`))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		loaded := laketest.Load(t, tbl)
		want := lake.Committed{
			SnapshotID: loaded.CurrentSnapshot().SnapshotID, MetadataLocation: loaded.MetadataLocation(),
			Attempts: tc.attempts, Rows: 2, Files: 1, Bytes: bytes, Duration: got.Duration,
		}
		if got != want || got.Duration <= 0 {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	got, err := tbl.Commit(t.Context(), nil, json.RawMessage(`{"n":2}`))
	if want := (lake.Committed{MetadataLocation: laketest.Load(t, tbl).MetadataLocation(), Attempts: 1, Duration: got.Duration}); err != nil || got != want {
		t.Errorf("a state alone: %+v, %v, want %+v", got, err, want)
	}
}

// unremovable is storage that removes nothing.
type unremovable struct{ iceio.WriteFileIO }

func (unremovable) Remove(string) error { return laketest.ErrConnection }

// What a refused attempt leaves behind is in no one's way: it is an orphan.
func TestARefusedCommitIsTriedAgainWhateverItLeaves(t *testing.T) {
	for _, refusals := range []int{1, 10_000} {
		cat := &laketest.Faulty{Catalog: laketest.OpenCatalog(t, t.TempDir())}
		tbl := openTable(t, cat, laketest.Plain("s"), lake.Options{})
		tbl.SetRetries(time.Millisecond, time.Millisecond)
		staged := laketest.Stage(t, tbl, 0, map[string]any{"id": 1, "v": "x"})
		tbl.Storage().Files = unremovable{tbl.Storage().Files}
		cat.Script = slices.Repeat([]laketest.Outcome{laketest.Refuses}, refusals)
		_, err := tbl.Commit(t.Context(), []*lake.Staged{staged}, json.RawMessage(`{"n":1}`))
		if refusals == 1 {
			if err != nil {
				t.Error(err)
			}
			laketest.ExpectRows(t, tbl, `{"id":1,"v":"x"}`)
			continue
		}
		if !errors.Is(err, table.ErrCommitFailed) || !errors.Is(err, laketest.ErrConnection) {
			t.Errorf("error %v", err)
		}
		laketest.ExpectRows(t, tbl)
	}
}

// The function that says what to replace may fail without a change.
func TestARewriteThatDoesNotComeToAChange(t *testing.T) {
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{})
	added := laketest.Stage(t, tbl, 0, map[string]any{"id": 1, "v": "x"}).Files()
	_, err := tbl.ChangeBranch(t.Context(), table.MainBranch, added, func(context.Context, *table.Table) (*snapshots.Change, error) { return nil, laketest.ErrConnection })
	if !errors.Is(err, laketest.ErrConnection) {
		t.Errorf("error %v", err)
	}
	laketest.ExpectRows(t, tbl)
	laketest.ExpectFiles(t, tbl, false)
}
