package lake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/iceberg-go/catalog"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

func TestAppendKeepsEveryRowAndTheState(t *testing.T) {
	tbl := openTable(t, openCatalog(t, t.TempDir()), plain("s"), Options{})
	a, b := tbl.NewWriter(), tbl.NewWriter()
	for i, w := range []*Writer{a, b, a} {
		if err := w.Write(t.Context(), batch(t, tbl.schema, map[string]any{"id": i, "v": "x"}), nil); err != nil {
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
	commit(t, tbl, `{"n": 1}`, first, nil, second)
	expectRows(t, tbl, `{"id":0,"v":"x"}`, `{"id":1,"v":"x"}`, `{"id":2,"v":"x"}`)
	if got := string(lastState(t, load(t, tbl))); got != `{"n": 1}` {
		t.Errorf("state %s", got)
	}
	if nothing, err := a.Close(t.Context(), nil, nil, math.MaxInt64); nothing != nil || err != nil {
		t.Errorf("an empty writer hands over %v, %v", nothing, err)
	}

	// A state without rows makes no snapshot.
	commit(t, tbl, `{"n": 2}`)
	loaded := load(t, tbl)
	if got, n := string(lastState(t, loaded)), len(loaded.Metadata().Snapshots()); got != `{"n": 2}` || n != 1 {
		t.Errorf("state %s, %d snapshots", got, n)
	}
	// Nothing at all commits nothing.
	commit(t, tbl, "")
	if diff := cmp.Diff(loaded.MetadataLocation(), load(t, tbl).MetadataLocation()); diff != "" {
		t.Error(diff)
	}
}

// telling is a catalog that takes no commit and says why.
type telling struct {
	catalog.Catalog
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
		{errConnection, "The catalog did not say whether it accepted a commit of table ns.s. Start again from the table's own state, which the state command prints. The disk is full."},
	} {
		real := openCatalog(t, t.TempDir())
		tbl := openTable(t, real, plain("s"), Options{})
		tbl.cat = telling{real, &protocol.Error{Kind: protocol.TransientError, Message: "The disk is full.", Err: tc.err}}
		tbl.maxBackoff, tbl.commitTimeout = time.Millisecond, time.Millisecond
		_, err := tbl.Commit(t.Context(), nil, json.RawMessage(`{"n":1}`))
		var told *protocol.Error
		if !errors.As(err, &told) || told.Kind != protocol.TransientError || told.Message != tc.want {
			t.Errorf("%v: error %v", tc.err, err)
		}
	}
}

// What was staged for more than a day may have been removed as an orphan.
func TestACommitNamesNoFileThatIsGone(t *testing.T) {
	for _, gone := range []bool{false, true} {
		tbl := openTable(t, openCatalog(t, t.TempDir()), plain("s"), Options{})
		commit(t, tbl, `{"n":1}`, stage(t, tbl, 0, map[string]any{"id": 1, "v": "old"}))
		staged := []*Staged{stage(t, tbl, 0, map[string]any{"id": 2, "v": "new"}), stage(t, tbl, 0, map[string]any{"id": 3, "v": "new"})}
		tbl.since = time.Now().Add(-orphanAge)
		if gone {
			if err := tbl.files.Remove(staged[1].files[0].data.FilePath()); err != nil {
				t.Fatal(err)
			}
		}
		_, err := tbl.Replace(t.Context(), staged, json.RawMessage(`{"n":2}`))
		if !gone {
			if err != nil {
				t.Error(err)
			}
			expectRows(t, tbl, `{"id":2,"v":"new"}`, `{"id":3,"v":"new"}`)
			continue
		}
		var told *protocol.Error
		if !errors.As(err, &told) || told.Kind != protocol.TransientError {
			t.Errorf("error %v", err)
		}
		expectRows(t, tbl, `{"id":1,"v":"old"}`)
	}
}

// A long upsert, whose staging takes longer than the whole patience, still gets several attempts, and a table
// that cannot be loaded now and then costs one of them.
func TestALongCommitGetsSeveralAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tbl := &Table{commitTimeout: 5 * time.Minute, maxBackoff: time.Second}
		retry, attempts := newRetry(tbl), 0
		for more := true; more && attempts < 100; attempts++ {
			if err := retry.working(func() error { time.Sleep(10 * time.Minute); return nil }); err != nil {
				t.Fatal(err)
			}
			var err error
			if more, err = retry.again(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if attempts != 100 {
			t.Errorf("%d attempts: the time of the work counts", attempts)
		}
		retry, attempts = newRetry(tbl), 0
		for more := true; more; attempts++ {
			time.Sleep(2 * time.Minute) // a catalog that hardly answers
			more, _ = retry.again(t.Context())
		}
		if attempts != leastAttempts {
			t.Errorf("%d attempts of two minutes each, want %d", attempts, leastAttempts)
		}
	})
}

func TestATableThatCannotBeLoadedNowAndThen(t *testing.T) {
	for _, tt := range []struct {
		err  error
		done bool
	}{
		{errConnection, true},
		{&protocol.Error{Kind: protocol.TransientError, Message: "The catalog is locked."}, true},
		{&protocol.Error{Kind: protocol.ConfigError, Message: "The catalog is not sound."}, false},
		{fmt.Errorf("%w", catalog.ErrNoSuchTable), false},
	} {
		real := openCatalog(t, t.TempDir())
		cat := &unloadable{Catalog: real, err: tt.err}
		tbl := openTable(t, cat, keyed("s"), Options{})
		tbl.maxBackoff = time.Millisecond
		staged := stage(t, tbl, 0, version{key: 1, cursor: 1, v: "a"}.row())
		cat.times = 2
		_, err := tbl.Commit(t.Context(), []*Staged{staged}, json.RawMessage(`{}`))
		if (err == nil) != tt.done {
			t.Errorf("%v: %v", tt.err, err)
		}
	}
}

// silentOnce does not answer the first commit, which it does not make, and calls
// then what is given.
type silentOnce struct {
	catalog.Catalog
	then func()
}

func (c *silentOnce) CommitTable(ctx context.Context, id table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	if c.then == nil {
		return c.Catalog.CommitTable(ctx, id, reqs, updates)
	}
	c.then()
	c.then = nil
	return nil, "", errConnection
}

// unwritable is storage on which no file can be created.
type unwritable struct{ iceio.WriteFileIO }

func (unwritable) Create(string) (iceio.FileWriter, error) { return nil, errConnection }

// A table without a state must not be taken for one that has the state of a
// commit without one.
func TestACommitWithoutAStateIsNotTakenForCommitted(t *testing.T) {
	cat := &silentOnce{Catalog: openCatalog(t, t.TempDir())}
	tbl := openTable(t, cat, plain("s"), Options{})
	staged := stage(t, tbl, 0, map[string]any{"id": 1, "v": "x"})
	files := tbl.files
	cat.then = func() { tbl.files = unwritable{files} }
	_, err := tbl.Commit(t.Context(), []*Staged{staged}, nil)
	if err == nil {
		t.Error("the commit is said to be made")
	}
	tbl.files = files
	expectRows(t, tbl)
}

// unloadable fails to load a table so many times.
type unloadable struct {
	catalog.Catalog
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
	cat := &faulty{Catalog: openCatalog(t, t.TempDir())}
	tbl := openTable(t, cat, plain("s"), Options{})
	tbl.maxBackoff = time.Millisecond
	for name, tc := range map[string]struct {
		script   []outcome
		attempts int
	}{
		"at once":                 {nil, 1},
		"after a refusal":         {[]outcome{refuses}, 2},
		"without an answer":       {[]outcome{landsSilently}, 2},
		"lost without an answer":  {[]outcome{failsSilently}, 2},
		"lost twice, then landed": {[]outcome{failsSilently, failsSilently, landsSilently}, 4},
	} {
		staged := stage(t, tbl, 0, map[string]any{"id": 1, "v": "x"}, map[string]any{"id": 2, "v": "y"})
		bytes := staged.files[0].data.FileSizeBytes()
		cat.script = tc.script
		got, err := tbl.Commit(t.Context(), []*Staged{staged}, json.RawMessage(`{"n":1}`))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		loaded := load(t, tbl)
		want := Committed{
			SnapshotID: loaded.CurrentSnapshot().SnapshotID, MetadataLocation: loaded.MetadataLocation(),
			Attempts: tc.attempts, Rows: 2, Files: 1, Bytes: bytes, Duration: got.Duration,
		}
		if got != want || got.Duration <= 0 {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	got, err := tbl.Commit(t.Context(), nil, json.RawMessage(`{"n":2}`))
	if want := (Committed{MetadataLocation: load(t, tbl).MetadataLocation(), Attempts: 1, Duration: got.Duration}); err != nil || got != want {
		t.Errorf("a state alone: %+v, %v, want %+v", got, err, want)
	}
}
