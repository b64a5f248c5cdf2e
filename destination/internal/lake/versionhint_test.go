package lake_test

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/maintenance"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
)

// hinted is the metadata file that a table's version hint names, and which must be there.
func hinted(t *testing.T, tbl *lake.Table) string {
	t.Helper()
	dir := tbl.Opened().Location() + "/metadata/"
	name, err := storage.ReadFile(tbl.Storage().Files, dir+"version-hint.text")
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	location := dir + string(name) + ".metadata.json"
	if _, err := os.Stat(laketest.PathOf(t, location)); err != nil {
		t.Errorf("the version hint names %v", err)
	}
	return location
}

func expectHint(t *testing.T, after string, tbl *lake.Table) {
	t.Helper()
	if got, want := hinted(t, tbl), laketest.Load(t, tbl).MetadataLocation(); got != want {
		t.Errorf("after %s the version hint names %s, want %s", after, got, want)
	}
}

// Whatever changes a table has its version hint name the metadata file that the catalog has.
func TestTheVersionHintNamesTheCurrentMetadata(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	o := lake.Options{Upsert: lake.MergeOnRead, ReaderTime: time.Nanosecond, Settings: tabledef.Settings{Properties: map[string]string{table.MetadataPreviousVersionsMaxKey: "1"}}}
	tbl := openTable(t, cat, laketest.Plan("s", `{"id":{"type":"integer"}}`), o)
	expectHint(t, "it was created", tbl)
	tbl = openTable(t, cat, laketest.Keyed("s"), o)
	expectHint(t, "it got columns", tbl)
	text, err := os.ReadFile(laketest.PathOf(t, tbl.Opened().Location()) + "/metadata/version-hint.text")
	if want := strings.TrimSuffix(path.Base(tbl.Opened().MetadataLocation()), ".metadata.json"); err != nil || string(text) != want {
		t.Errorf("the hint is %q, want %q (error %v)", text, want, err)
	}
	stage := func(v string) *lake.Staged { return laketest.Stage(t, tbl, 0, laketest.Version{Key: 1, V: v}.Row()) }
	for n := range 3 {
		laketest.Commit(t, tbl, "", stage(strings.Repeat("x", n)))
		expectHint(t, "a commit", tbl)
	}
	laketest.Commit(t, tbl, `{"n":1}`)
	expectHint(t, "a state", tbl)
	if _, err := tbl.Replace(t.Context(), []*lake.Staged{stage("new")}, nil); err != nil {
		t.Fatal(err)
	}
	expectHint(t, "an overwrite", tbl)
	tbl = refreshing(t, tbl, laketest.Keyed("s"), o, &lake.Generation{ID: 2, Minimum: 2})
	laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, of(2, laketest.Version{Key: 2}.Row())))
	expectHint(t, "a commit of a refresh", tbl)
	if _, err := tbl.Finish(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	expectHint(t, "a refresh", tbl)
	if did := laketest.Maintain(t, tbl, laketest.Everything); did.ExpiredSnapshots == 0 {
		t.Errorf("maintenance did %+v", did)
	}
	expectHint(t, "maintenance", tbl)
}

// Also when the catalog does not answer, or another writer is quicker.
func TestTheVersionHintOfACommitWithoutAnAnswer(t *testing.T) {
	for name, script := range map[string][]laketest.Outcome{
		"landed": {laketest.LandsSilently}, "failed": {laketest.FailsSilently}, "refused": {laketest.Refuses},
		"others first": {laketest.LetsOthersFirst}, "others later": {laketest.LandsThenOthers},
	} {
		t.Run(name, func(t *testing.T) {
			cat := laketest.OpenCatalog(t, t.TempDir())
			other := openTable(t, cat, laketest.Plain("s"), lake.Options{})
			faulty := &laketest.Faulty{Catalog: cat, Script: script, Other: func() {
				laketest.Commit(t, other, "", laketest.Stage(t, other, 0, map[string]any{"id": 2}))
			}}
			tbl := openTable(t, faulty, laketest.Plain("s"), lake.Options{})
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, map[string]any{"id": 1}))
			expectHint(t, "the commit", tbl)
		})
	}
}

// unhintable is storage in which the version hint cannot be replaced, or not removed either.
type unhintable struct {
	iceio.WriteFileIO
	iceio.ListableIO
	removable bool
}

var errUnhintable = errors.New("not to be replaced")

func (unhintable) ReplaceFile(string, []byte) error { return errUnhintable }

func (u unhintable) Remove(location string) error {
	if !u.removable && strings.HasSuffix(location, ".text") {
		return errUnhintable
	}
	return u.WriteFileIO.Remove(location)
}

func (u unhintable) Open(location string) (iceio.File, error) { return u.WriteFileIO.Open(location) }

// A hint that cannot be written is told once and fails no commit. It never names a file that was removed.
func TestAVersionHintThatCannotBeWritten(t *testing.T) {
	for _, removable := range []bool{true, false} {
		var told []error
		tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{
			ReaderTime: time.Nanosecond, HintFailed: func(err error) { told = append(told, err) },
			Settings: tabledef.Settings{Properties: map[string]string{table.MetadataPreviousVersionsMaxKey: "3"}},
		})
		appendOne := func() { laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, map[string]any{"id": 1})) }
		appendOne()
		old := hinted(t, tbl)
		files := tbl.Storage().Files
		tbl.Storage().Files = unhintable{files, files.(iceio.ListableIO), removable}
		appendOne()
		if now := hinted(t, tbl); now != old {
			t.Errorf("removable %v: the hint names %q, though what it named is still there", removable, now)
		}
		appendOne()
		appendOne()
		if now := hinted(t, tbl); now != map[bool]string{true: "", false: old}[removable] {
			t.Errorf("removable %v: the hint names %q", removable, now)
		}
		laketest.AgeFiles(t, tbl)
		if _, err := maintenance.Maintain(t.Context(), tbl, laketest.Everything); removable != (err == nil) {
			t.Errorf("removable %v: maintenance ended with the error %v", removable, err)
		}
		hinted(t, tbl)
		if len(told) != 1 || !errors.Is(told[0], errUnhintable) {
			t.Errorf("told %v", told)
		}
		tbl.Storage().Files = files
		appendOne()
		expectHint(t, "another commit", tbl)
	}
}

// A writer that is slow to write its hint may put an older one in the place of a newer one, until the next maintenance
// or commit.
func TestAVersionHintOfASlowWriter(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	o := lake.Options{ReaderTime: time.Nanosecond}
	slow, quick := openTable(t, cat, laketest.Plain("s"), o), openTable(t, cat, laketest.Plain("s"), o)
	laketest.Commit(t, slow, "", laketest.Stage(t, slow, 0, map[string]any{"id": 1}))
	late := hinted(t, slow)
	laketest.Commit(t, quick, "", laketest.Stage(t, quick, 0, map[string]any{"id": 2}))
	write := func() {
		if err := snapshots.WriteVersionHint(slow.Storage().Files, slow.Opened().Location(), late); err != nil {
			t.Fatal(err)
		}
	}
	write()
	laketest.Maintain(t, slow, laketest.Everything)
	expectHint(t, "the slow writer's maintenance", slow)
	write()
	laketest.AgeFiles(t, quick)
	laketest.Maintain(t, quick, laketest.Everything)
	laketest.Commit(t, quick, "", laketest.Stage(t, quick, 0, map[string]any{"id": 3}))
	expectHint(t, "another commit", quick)
}

// serverCatalog removes metadata files itself, and changes no hint then.
type serverCatalog struct{ lake.Catalog }

func (serverCatalog) ClientRemovesMetadata() bool { return false }

func TestNoVersionHintWhereItMayNameNothing(t *testing.T) {
	elsewhere := tabledef.Settings{Properties: map[string]string{table.WriteMetadataPathKey: "file://" + t.TempDir()}}
	for name, tbl := range map[string]*lake.Table{
		"the server removes metadata files":        openTable(t, serverCatalog{laketest.OpenCatalog(t, t.TempDir())}, laketest.Plain("s"), lake.Options{}),
		"the table's metadata files are elsewhere": openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{Settings: elsewhere}),
	} {
		laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, map[string]any{"id": 1}))
		if _, err := maintenance.Purge(t.Context(), tbl, "tag"); err != nil { // which removes metadata files
			t.Fatal(err)
		}
		if got := hinted(t, tbl); got != "" {
			t.Errorf("%s, and there is a hint: %s", name, got)
		}
		found, err := storage.List(t.Context(), tbl.Storage().Files.(iceio.ListableIO), path.Dir(laketest.Load(t, tbl).MetadataLocation()))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if strings.HasSuffix(f.Path, ".text") {
				t.Errorf("%s, and there is %s", name, f.Path)
			}
		}
	}
}
