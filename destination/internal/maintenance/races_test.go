package maintenance_test

import (
	"testing"
	"time"

	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
)

// Between the choice of the snapshots that expire and the commit, another program may come to need one of them.
func TestASnapshotThatIsNeededMeanwhileDoesNotExpire(t *testing.T) {
	for name, tc := range map[string]struct {
		ref  string
		kind table.RefType
		rows int // of the table afterwards
	}{
		"a tag":           {"audit", table.TagRef, 3},
		"a branch":        {"experiment", table.BranchRef, 3},
		"the table's tip": {table.MainBranch, table.BranchRef, 1},
	} {
		t.Run(name, func(t *testing.T) {
			cat := &laketest.Faulty{Catalog: laketest.OpenCatalog(t, t.TempDir())}
			tbl := laketest.OpenTable(t, cat, laketest.Plain("s"), lake.Options{ReaderTime: time.Nanosecond})
			var rows []string
			for id := range 3 {
				rows = append(rows, appendOne(t, tbl, id))
			}
			oldest := laketest.Load(t, tbl).Metadata().Snapshots()[0].SnapshotID
			cat.Script = []laketest.Outcome{laketest.LetsOthersFirst}
			cat.Other = func() {
				set := table.NewSetSnapshotRefUpdate(tc.ref, oldest, tc.kind, 0, 0, 0)
				if _, _, err := cat.Catalog.CommitTable(t.Context(), tbl.Opened().Identifier(), nil, []table.Update{set}); err != nil {
					t.Fatal(err)
				}
			}
			did := laketest.Maintain(t, tbl, laketest.Everything)
			after := laketest.Load(t, tbl)
			var at int64
			if s := after.SnapshotByName(tc.ref); s != nil {
				at = s.SnapshotID
			}
			if diff := cmp.Diff(oldest, at); diff != "" {
				t.Errorf("%s is at (-want +got):\n%s", tc.ref, diff)
			}
			if did.ExpiredSnapshots != 1 {
				t.Errorf("%d snapshots expired", did.ExpiredSnapshots)
			}
			laketest.ExpectRows(t, tbl, rows[:tc.rows]...)
			laketest.CheckFiles(t, after)
		})
	}
}
