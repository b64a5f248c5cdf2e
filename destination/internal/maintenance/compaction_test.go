package maintenance_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/maintenance"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
)

// Rows keep the order in which they arrived: of two rows of a key, which a
// table has that was appended to before, the later stays the later.
func TestCompactedRowsKeepTheirPlaceInTime(t *testing.T) {
	for _, format := range []int{2, 3} {
		cat := laketest.OpenCatalog(t, t.TempDir())
		appended := laketest.Keyed("s")
		appended.Dedup = false
		tbl := laketest.OpenTable(t, cat, appended, lake.Options{FormatVersion: format})
		for n := range 4 {
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, laketest.Version{Key: 1, Cursor: 5, V: fmt.Sprint("row ", n)}.Row()))
		}
		set, err := tbl.Storage().List(laketest.Load(t, tbl).SnapshotByName(tbl.Branch()), snapshots.Cache{})
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(set.Files, func(a, b *snapshots.LiveFile) int { return int(a.Sequence - b.Sequence) })
		if err := maintenance.Compact(t.Context(), tbl, set, set.Files[:3]); err != nil {
			t.Fatal(err)
		}
		// A late, older record beats none of them, and of those one stays.
		dedup := laketest.OpenTable(t, cat, laketest.Keyed("s"), lake.Options{})
		laketest.Commit(t, dedup, "", laketest.Stage(t, dedup, 0, laketest.Version{Key: 1, Cursor: 1, V: "old"}.Row()))
		laketest.ExpectRows(t, dedup, laketest.Version{Key: 1, Cursor: 5, V: "row 3"}.JSON())
	}
}

// The files of format version 1 have no sequence numbers.
func TestRowsWithoutSequenceNumbersAreMergedInTheirOrder(t *testing.T) {
	for _, upgraded := range []bool{false, true} {
		cat := laketest.OpenCatalog(t, t.TempDir())
		appended := laketest.Keyed("s")
		appended.Dedup = false
		tbl := laketest.OpenTable(t, cat, appended, lake.Options{FormatVersion: 1})
		for n := range 8 { // the first file is the smallest
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, laketest.Version{Key: 1, Cursor: 5, V: strings.Repeat(fmt.Sprint(n, " is longer. "), n)}.Row()))
		}
		if upgraded {
			if _, _, err := cat.CommitTable(t.Context(), tbl.Opened().Identifier(), nil, []table.Update{table.NewUpgradeFormatVersionUpdate(2)}); err != nil {
				t.Fatal(err)
			}
		}
		if did := laketest.Maintain(t, tbl, maintenance.Options{Thorough: true, KeepSnapshots: 99, ExpireAfter: time.Hour}); did.CompactedFiles != 8 || did.IntoFiles != 1 {
			t.Fatalf("%d files became %d", did.CompactedFiles, did.IntoFiles)
		}
		tbl = laketest.OpenTable(t, cat, laketest.Keyed("s"), lake.Options{})
		laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, laketest.Version{Key: 1, Cursor: 1, V: "old"}.Row()))
		laketest.ExpectRows(t, tbl, laketest.Version{Key: 1, Cursor: 5, V: strings.Repeat("7 is longer. ", 7)}.JSON())
	}
}

// Whatever is committed while files are compacted wins: rows that were deleted
// stay so, and the work is done for the files that are as they were.
func TestCompactionGivesWayToOtherWriters(t *testing.T) {
	for _, mode := range []lake.Upsert{lake.CopyOnWrite, lake.MergeOnRead} {
		for _, format := range []int{2, 3} {
			t.Run(fmt.Sprint(mode, " v", format), func(t *testing.T) {
				real := laketest.OpenCatalog(t, t.TempDir())
				others := laketest.OpenTable(t, real, laketest.Keyed("s"), lake.Options{Upsert: mode, FormatVersion: format})
				want := laketest.Model{}
				write := func(v laketest.Version) {
					laketest.Commit(t, others, "", laketest.Stage(t, others, 0, v.Row()))
					want.Commit([]laketest.Version{v})
				}
				for key := range int64(8) {
					write(laketest.Version{Key: key, Cursor: 1, V: "before"})
				}
				cat := &laketest.Faulty{Catalog: real, Script: []laketest.Outcome{laketest.LetsOthersFirst, laketest.LetsOthersFirst, laketest.FailsSilently, laketest.LandsSilently}}
				n := int64(2)
				cat.Other = func() {
					write(laketest.Version{Key: n, Cursor: 2, V: "theirs", Deleted: n == 2})
					n++
				}
				tbl := laketest.OpenTable(t, cat, laketest.Keyed("s"), lake.Options{Upsert: mode, FormatVersion: format})
				laketest.Maintain(t, tbl, laketest.Everything)
				laketest.ExpectRows(t, tbl, want.Rows()...)
				cat.Script = nil
				if did := laketest.Maintain(t, tbl, laketest.Everything); did.CompactedFiles == 0 {
					t.Errorf("did %+v", did)
				}
				laketest.ExpectRows(t, tbl, want.Rows()...)
			})
		}
	}
}

// overtaken is a catalog whose table others change just after it was loaded, once.
type overtaken struct {
	lake.Catalog
	others func()
}

func (c *overtaken) LoadTable(ctx context.Context, id table.Identifier) (*table.Table, error) {
	loaded, err := c.Catalog.LoadTable(ctx, id)
	if others := c.others; others != nil {
		c.others = nil
		others()
	}
	return loaded, err
}

// What is being compacted may be removed by the maintenance of others, who have committed and keep nothing for readers.
func TestMaintenanceWhoseSnapshotIsRemovedBeginsAgain(t *testing.T) {
	cat := &overtaken{Catalog: laketest.OpenCatalog(t, t.TempDir())}
	tbl := laketest.OpenTable(t, cat, laketest.Plain("s"), lake.Options{})
	var want []string
	for id := range 2 * maintenance.TierFiles {
		appendOne(t, tbl, id)
	}
	others := laketest.OpenTable(t, cat.Catalog, laketest.Plain("s"), lake.Options{ReaderTime: time.Nanosecond})
	cat.others = func() {
		laketest.Maintain(t, others, laketest.Everything)
		for id := range 2 * maintenance.TierFiles {
			appendOne(t, others, 100+id)
		}
		want = laketest.RowsOf(t, others)
	}
	if did := laketest.Maintain(t, tbl, laketest.Everything); did.CompactedFiles < 2*maintenance.TierFiles {
		t.Errorf("did %+v", did)
	}
	if diff := cmp.Diff(want, laketest.RowsOf(t, tbl)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// Equality deletes know rows by their values, and files by their age: a merged
// file would bring rows back.
func TestFilesUnderEqualityDeletesAreNotCompacted(t *testing.T) {
	tbl, _ := laketest.TwoFiles(t, lake.Options{})
	laketest.AddEqualityDelete(t, tbl, 1)
	want := laketest.RowsOf(t, tbl)
	did := laketest.Maintain(t, tbl, laketest.Everything)
	if did.CompactedFiles != 0 || len(did.NotDone) != 1 || !strings.Contains(did.NotDone[0], "equality deletes") {
		t.Errorf("did %+v", did)
	}
	if diff := cmp.Diff(want, laketest.RowsOf(t, tbl)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// What other programs wrote into a table of ours is folded in as well.
func TestDeletesOfOtherProgramsAreFoldedIn(t *testing.T) {
	for format, deletes := range map[int]func(*testing.T, *lake.Table, []*snapshots.LiveFile) []iceberg.DataFile{2: laketest.SharedDeletes, 3: laketest.SharedVectors} {
		tbl, files := laketest.TwoFiles(t, lake.Options{FormatVersion: format})
		laketest.AddDeletes(t, tbl, deletes(t, tbl, files)...)
		for key := range int64(5) {
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, laketest.Version{Key: 10 + key, Cursor: 1, V: "old"}.Row()))
		}
		want := laketest.RowsOf(t, tbl)
		if did := laketest.Maintain(t, tbl, laketest.Everything); did.CompactedFiles != 7 || did.IntoFiles != 1 {
			t.Errorf("version %d: did %+v", format, did)
		}
		if diff := cmp.Diff(want, laketest.RowsOf(t, tbl)); diff != "" {
			t.Errorf("version %d: rows (-want +got):\n%s", format, diff)
		}
	}
}

// A column that came later does not make files of either kind be rewritten
// for ever.
func TestFilesOfDifferentColumnsAreNotMerged(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	narrow := laketest.OpenTable(t, cat, laketest.Plain("s"), lake.Options{})
	for id := range 3 {
		appendOne(t, narrow, id)
	}
	wide := laketest.OpenTable(t, cat, laketest.Plan("s", `"id":{"type":"integer"},"v":{"type":"string"},"w":{"type":"string"}`), lake.Options{})
	for id := range 6 {
		laketest.Commit(t, wide, "", laketest.Stage(t, wide, 0, map[string]any{"id": 10 + id, "w": "y"}))
	}
	want := laketest.RowsOf(t, wide)
	if did := laketest.Maintain(t, wide, laketest.Everything); did.CompactedFiles != 6 || did.IntoFiles != 1 {
		t.Errorf("did %+v", did)
	}
	if did := laketest.Maintain(t, wide, laketest.Everything); did.CompactedFiles != 0 {
		t.Errorf("did again %+v", did)
	}
	if diff := cmp.Diff(want, laketest.RowsOf(t, wide)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// Maintenance after an attempt that was not complete is that of the refresh's own files.
func TestMaintenanceCompactsAnUnfinishedRefresh(t *testing.T) {
	tbl := laketest.OpenTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{})
	laketest.Commit(t, tbl, `{"n":1}`, laketest.Stage(t, tbl, 0, map[string]any{"id": 0, "v": "old", "_airbyte_generation_id": 12}))
	tbl = laketest.OpenTable(t, tbl.Catalog(), laketest.Plain("s"), lake.Options{})
	if _, err := tbl.Begin(t.Context(), &lake.Generation{ID: 13, Minimum: 13}); err != nil {
		t.Fatal(err)
	}
	var want []string
	for id := range maintenance.TierFiles {
		laketest.Commit(t, tbl, `{"n":2}`, laketest.Stage(t, tbl, 0, map[string]any{"id": id, "v": "new", "_airbyte_generation_id": 13}))
		want = append(want, fmt.Sprintf(`{"id":%d,"v":"new"}`, id))
	}
	if did := laketest.Maintain(t, tbl, maintenance.Options{ExpireAfter: time.Hour, KeepSnapshots: 1}); did.CompactedFiles != maintenance.TierFiles || did.IntoFiles != 1 {
		t.Errorf("maintenance did %+v", did)
	}
	laketest.ExpectRows(t, tbl, `{"id":0,"v":"old"}`)
	if _, err := tbl.Finish(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	laketest.ExpectRows(t, tbl, want...)
}

// A merged file of many columns must not have too many column chunks.
func TestMergedFilesOfManyColumnsAreSmaller(t *testing.T) {
	var properties []string
	for i := range parquetfile.MaxChunks / 4 {
		properties = append(properties, fmt.Sprintf(`"c%d":{"type":"integer"}`, i))
	}
	cat := laketest.OpenCatalog(t, t.TempDir())
	wide := laketest.OpenTable(t, cat, laketest.Plan("wide", strings.Join(properties, ",")), lake.Options{})
	if got := maintenance.MergedBytes(wide); got > 4*snapshots.RewriteBatchBytes {
		t.Errorf("files are merged up to %d bytes", got)
	}
	usual := laketest.OpenTable(t, cat, laketest.Keyed("usual"), lake.Options{})
	if got := maintenance.MergedBytes(usual); got != usual.Storage().TargetFileBytes {
		t.Errorf("files of few columns are merged up to %d bytes", got)
	}
}
