package maintenance_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
)

// What a snapshot names that expires is removed only if this program made it and it lies below the table's own paths.
func TestExpiryLeavesFilesOfOthersAndFilesElsewhere(t *testing.T) {
	tbl := laketest.OpenTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{ReaderTime: time.Nanosecond})
	appendOne(t, tbl, 1)
	var mine []string
	for _, uri := range laketest.Named(t, laketest.Load(t, tbl)) {
		mine = append(mine, laketest.PathOf(t, uri))
	}
	stays := []string{filepath.Join(t.TempDir(), filenames.New(".puffin"))}
	if err := os.WriteFile(stays[0], []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	laketest.AddFile(t, tbl, parquet.NewWriterProperties(), 3, func(int) string { return "theirs" })
	for _, uri := range laketest.Named(t, laketest.Load(t, tbl)) {
		if path := laketest.PathOf(t, uri); strings.Contains(path, "theirs") {
			stays = append(stays, path)
		}
	}
	if _, _, err := tbl.Catalog().CommitTable(t.Context(), tbl.Opened().Identifier(), nil, []table.Update{table.NewSetStatisticsUpdate(table.StatisticsFile{
		SnapshotID: laketest.Load(t, tbl).CurrentSnapshot().SnapshotID, StatisticsPath: "file://" + stays[0], BlobMetadata: []table.BlobMetadata{},
	})}); err != nil {
		t.Fatal(err)
	}
	if _, err := tbl.Replace(t.Context(), []*lake.Staged{laketest.Stage(t, tbl, 0, map[string]any{"id": 2, "v": "x"})}, nil); err != nil {
		t.Fatal(err)
	}
	did := laketest.Maintain(t, tbl, laketest.Everything)
	if did.ExpiredSnapshots != 2 || did.RemovedFiles == 0 || !strings.Contains(fmt.Sprint(did.NotDone), "other programs") {
		t.Errorf("did %+v", did)
	}
	for _, path := range stays {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	if len(stays) != 2 {
		t.Errorf("the table named %d files of others", len(stays))
	}
	for _, path := range mine {
		if _, err := os.Stat(path); err == nil && filenames.HasMark(path) {
			t.Errorf("%s stays", path)
		}
	}
	laketest.ExpectRows(t, tbl, `{"id":2,"v":"x"}`)
}

// Metadata files that a table has had are removed only where its metadata belongs.
func TestMetadataFilesElsewhereStay(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	tbl := laketest.OpenTable(t, cat, laketest.Plain("s"), lake.Options{ReaderTime: time.Nanosecond, Settings: tabledef.Settings{Properties: map[string]string{table.MetadataPreviousVersionsMaxKey: "1"}}})
	elsewhere := t.TempDir()
	amend := func(update table.Update) {
		t.Helper()
		if _, _, err := tbl.UpdateMetadata(t.Context(), func(*table.Table) ([]table.Requirement, []table.Update, error) {
			return nil, []table.Update{update}, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	amend(table.NewSetPropertiesUpdate(iceberg.Properties{table.WriteMetadataPathKey: "file://" + elsewhere}))
	amend(table.NewSetPropertiesUpdate(iceberg.Properties{"k": "1"}))
	amend(table.NewRemovePropertiesUpdate([]string{table.WriteMetadataPathKey}))
	there, err := filepath.Glob(elsewhere + "/*.metadata.json")
	if err != nil || len(there) == 0 {
		t.Fatalf("%v are elsewhere (error %v)", there, err)
	}
	here := laketest.PathOf(t, laketest.Load(t, tbl).MetadataLocation())
	for n := range 5 {
		amend(table.NewSetPropertiesUpdate(iceberg.Properties{"k": fmt.Sprint("now ", n)}))
	}
	left, err := filepath.Glob(elsewhere + "/*.metadata.json")
	if diff := cmp.Diff(there, left); err != nil || diff != "" {
		t.Errorf("elsewhere (-want +got):\n%s (error %v)", diff, err)
	}
	if _, err := os.Stat(here); err == nil {
		t.Errorf("%s stays where metadata belongs", here)
	}
}

// serverCatalog removes metadata files itself, as the server of a REST catalog does.
type serverCatalog struct{ lake.Catalog }

func (serverCatalog) ClientRemovesMetadata() bool { return false }

func TestMetadataFilesOfAServerStay(t *testing.T) {
	o := lake.Options{ReaderTime: time.Nanosecond, Settings: tabledef.Settings{Properties: map[string]string{table.MetadataPreviousVersionsMaxKey: "1"}}}
	tbl := laketest.OpenTable(t, serverCatalog{laketest.OpenCatalog(t, t.TempDir())}, laketest.Plain("s"), o)
	var all []string
	for id := range 4 {
		appendOne(t, tbl, id)
		all = append(all, laketest.PathOf(t, laketest.Load(t, tbl).MetadataLocation()))
	}
	laketest.AgeFiles(t, tbl)
	for _, orphans := range []bool{false, true} {
		u := laketest.Everything
		u.AllOrphans = orphans
		laketest.Maintain(t, tbl, u)
		for _, path := range all {
			if _, err := os.Stat(path); err != nil {
				t.Errorf("all orphans %v: %v", orphans, err)
			}
		}
	}
}

// A reader looks at a table once, and reads for a while: what it began on stays for as long as the configuration says.
func TestMetadataFilesStayForReaders(t *testing.T) {
	for reader, want := range map[time.Duration]bool{time.Hour: true, time.Nanosecond: false} {
		told := map[string]bool{}
		tbl := laketest.OpenTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{ReaderTime: reader, Removed: func(file string) { told[laketest.PathOf(t, file)] = true }, Settings: tabledef.Settings{Properties: map[string]string{table.MetadataPreviousVersionsMaxKey: "1"}}})
		appendOne(t, tbl, 1)
		begun := laketest.PathOf(t, laketest.Load(t, tbl).MetadataLocation())
		for id := range 3 {
			appendOne(t, tbl, id)
		}
		if _, err := os.Stat(begun); (err == nil) != want || told[begun] == want {
			t.Errorf("%s: error %v, removed %v", reader, err, told)
		}
	}
}

// A table may be registered in another catalog too, and go a way of its own there: what its metadata files name stays.
func TestMaintenanceLeavesWhatAnotherCatalogNeeds(t *testing.T) {
	tbl := laketest.OpenTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{ReaderTime: time.Nanosecond})
	want := []string{appendOne(t, tbl, 1), appendOne(t, tbl, 2)}
	shared := laketest.Named(t, laketest.Load(t, tbl))
	dir := t.TempDir()
	second := register(t, laketest.OpenCatalog(t, dir), dir, laketest.Load(t, tbl).MetadataLocation())
	want = append(want, appendOne(t, second, 3))
	appendOne(t, tbl, 4)
	all := laketest.Named(t, laketest.Load(t, tbl))
	if _, err := tbl.Replace(t.Context(), []*lake.Staged{laketest.Stage(t, tbl, 0, map[string]any{"id": 5, "v": "x"})}, nil); err != nil {
		t.Fatal(err)
	}
	laketest.AgeFiles(t, tbl)
	did := laketest.Maintain(t, tbl, laketest.Everything)
	if did.ExpiredSnapshots != 3 || did.RemovedFiles == 0 {
		t.Errorf("did %+v", did)
	}
	laketest.ExpectRows(t, tbl, `{"id":5,"v":"x"}`)
	laketest.ExpectRows(t, second, want...)
	for _, uri := range all {
		if _, err := os.Stat(laketest.PathOf(t, uri)); err == nil && !slices.Contains(shared, uri) {
			t.Errorf("%s stays, which no other catalog knows", uri)
		}
	}
}
