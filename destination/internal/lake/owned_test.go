package lake

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
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
)

// What a snapshot names that expires is removed only if this program made it and it lies below the table's own paths.
func TestExpiryLeavesFilesOfOthersAndFilesElsewhere(t *testing.T) {
	tbl := impatient(openTable(t, openCatalog(t, t.TempDir()), plain("s"), Options{}))
	appendOne(t, tbl, 1)
	var mine []string
	for _, uri := range named(t, load(t, tbl)) {
		mine = append(mine, pathOf(t, uri))
	}
	stays := []string{filepath.Join(t.TempDir(), filenames.New(".puffin"))}
	if err := os.WriteFile(stays[0], []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	addFile(t, tbl, parquet.NewWriterProperties(), 3, func(int) string { return "theirs" })
	for _, uri := range named(t, load(t, tbl)) {
		if path := pathOf(t, uri); strings.Contains(path, "theirs") {
			stays = append(stays, path)
		}
	}
	if _, _, err := tbl.cat.CommitTable(t.Context(), tbl.id, nil, []table.Update{table.NewSetStatisticsUpdate(table.StatisticsFile{
		SnapshotID: load(t, tbl).CurrentSnapshot().SnapshotID, StatisticsPath: "file://" + stays[0], BlobMetadata: []table.BlobMetadata{},
	})}); err != nil {
		t.Fatal(err)
	}
	if _, err := tbl.Replace(t.Context(), []*Staged{stage(t, tbl, 0, map[string]any{"id": 2, "v": "x"})}, nil); err != nil {
		t.Fatal(err)
	}
	did := maintain(t, tbl, everything)
	if did.ExpiredSnapshots != 2 || did.RemovedFiles == 0 || !strings.Contains(fmt.Sprint(did.Left), "other programs") {
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
		if _, err := os.Stat(path); err == nil && filenames.Ours(path) {
			t.Errorf("%s stays", path)
		}
	}
	expectRows(t, tbl, `{"id":2,"v":"x"}`)
}

// Metadata files that a table has had are removed only where its metadata belongs.
func TestMetadataFilesElsewhereStay(t *testing.T) {
	cat := openCatalog(t, t.TempDir())
	tbl := openTable(t, cat, plain("s"), Options{Settings: tabledef.Settings{Properties: map[string]string{table.MetadataPreviousVersionsMaxKey: "1"}}})
	tbl.readerGracePeriod = 0
	elsewhere := t.TempDir()
	amend := func(update table.Update) {
		t.Helper()
		if _, _, err := tbl.commitMetadata(t.Context(), func(*table.Table) ([]table.Requirement, []table.Update, error) {
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
	here := pathOf(t, load(t, tbl).MetadataLocation())
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

// A reader looks at a table once, and reads for a while: what it began on stays for as long as the configuration says.
func TestMetadataFilesStayForReaders(t *testing.T) {
	for reader, want := range map[time.Duration]bool{time.Hour: true, time.Nanosecond: false} {
		told := map[string]bool{}
		tbl := openTable(t, openCatalog(t, t.TempDir()), plain("s"), Options{ReaderTime: reader, Removed: func(file string) { told[pathOf(t, file)] = true }, Settings: tabledef.Settings{Properties: map[string]string{table.MetadataPreviousVersionsMaxKey: "1"}}})
		appendOne(t, tbl, 1)
		begun := pathOf(t, load(t, tbl).MetadataLocation())
		for id := range 3 {
			appendOne(t, tbl, id)
		}
		if _, err := os.Stat(begun); (err == nil) != want || told[begun] == want {
			t.Errorf("%s: error %v, removed %v", reader, err, told)
		}
	}
}

// A table may be registered in another catalog too, and go a way of its own there: what its metadata files name stays.
func TestUpkeepLeavesWhatAnotherCatalogNeeds(t *testing.T) {
	tbl := impatient(openTable(t, openCatalog(t, t.TempDir()), plain("s"), Options{}))
	want := []string{appendOne(t, tbl, 1), appendOne(t, tbl, 2)}
	shared := named(t, load(t, tbl))
	dir := t.TempDir()
	second := register(t, openCatalog(t, dir), dir, load(t, tbl).MetadataLocation())
	want = append(want, appendOne(t, second, 3))
	appendOne(t, tbl, 4)
	all := named(t, load(t, tbl))
	if _, err := tbl.Replace(t.Context(), []*Staged{stage(t, tbl, 0, map[string]any{"id": 5, "v": "x"})}, nil); err != nil {
		t.Fatal(err)
	}
	ageFiles(t, tbl)
	did := maintain(t, tbl, everything)
	if did.ExpiredSnapshots != 3 || did.RemovedFiles == 0 {
		t.Errorf("did %+v", did)
	}
	expectRows(t, tbl, `{"id":5,"v":"x"}`)
	expectRows(t, second, want...)
	for _, uri := range all {
		if _, err := os.Stat(pathOf(t, uri)); err == nil && !slices.Contains(shared, uri) {
			t.Errorf("%s stays, which no other catalog knows", uri)
		}
	}
}
