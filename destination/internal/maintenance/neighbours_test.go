package maintenance_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/maintenance"
)

// loadCounter counts how often each table is loaded.
type loadCounter struct {
	lake.Catalog
	loads *atomic.Int64
}

func (c loadCounter) LoadTable(ctx context.Context, id table.Identifier) (*table.Table, error) {
	c.loads.Add(1)
	return c.Catalog.LoadTable(ctx, id)
}

// The tables of one run find out only once where the others keep their files.
func TestTablesOfARunShareTheirNeighbours(t *testing.T) {
	const tables = 8
	cat := loadCounter{laketest.OpenCatalog(t, t.TempDir()), &atomic.Int64{}}
	var all []*lake.Table
	for i := range tables {
		tbl := laketest.OpenTable(t, cat, laketest.Plain(fmt.Sprint("s", i)), lake.Options{ReaderTime: time.Nanosecond})
		appendOne(t, tbl, 1)
		appendOne(t, tbl, 2)
		all = append(all, tbl)
	}
	maintain := func(neighbours *maintenance.Neighbours) int64 {
		before := cat.loads.Load()
		u := laketest.Everything
		u.Neighbours = neighbours
		for i, tbl := range all {
			appendOne(t, tbl, 3)
			if did := laketest.Maintain(t, tbl, u); did.ExpiredSnapshots == 0 || did.RemovedFiles == 0 || len(did.NotDone) > 0 {
				t.Errorf("table %d: %+v", i, did)
			}
		}
		return cat.loads.Load() - before
	}
	alone, shared := maintain(nil), maintain(&maintenance.Neighbours{})
	if want := alone - (tables-1)*tables; shared != want {
		t.Errorf("%d loads, want %d; without sharing %d", shared, want, alone)
	}
}

// Files of a table that was created while others were maintained are not removed.
func TestANeighbourThatComesInTheMeantimeIsSeen(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	u := laketest.Everything
	u.Neighbours = &maintenance.Neighbours{}
	withOrphan := func(name string) (tbl *lake.Table, orphan string) {
		tbl = laketest.OpenTable(t, cat, laketest.Plain(name), lake.Options{})
		appendOne(t, tbl, 1)
		orphan = filepath.Join(laketest.PathOf(t, laketest.Load(t, tbl).Location()), "data", ownName("", ".parquet"))
		if err := os.WriteFile(orphan, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(orphan, time.Time{}, time.Now().Add(-2*filenames.OrphanAge)); err != nil {
			t.Fatal(err)
		}
		return tbl, orphan
	}
	first, _ := withOrphan("first")
	second, orphan := withOrphan("second")
	if did := laketest.Maintain(t, first, u); did.RemovedOrphans != 1 {
		t.Fatalf("did %+v", did)
	}
	_, err := cat.CreateTable(t.Context(), table.Identifier{"ns", "late"}, laketest.Plain("late").Schema,
		catalog.WithProperties(iceberg.Properties{table.WriteDataPathKey: laketest.Load(t, second).Location() + "/data"}))
	if err != nil {
		t.Fatal(err)
	}
	if did := laketest.Maintain(t, second, u); did.RemovedOrphans != 0 || !strings.Contains(strings.Join(did.NotDone, "\n"), "table ns.late keeps files in") {
		t.Errorf("did %+v", did)
	}
	if _, err := os.Stat(orphan); err != nil {
		t.Error(err)
	}
}

// silentCatalog lists nothing, as a REST catalog without that endpoint.
type silentCatalog struct{ lake.Catalog }

func (silentCatalog) ListNamespaces(context.Context, table.Identifier) ([]table.Identifier, error) {
	return nil, nil
}

// Where the catalog does not say which tables there are, any file may be another's.
func TestNoOrphanGoesWhereTheCatalogListsNothing(t *testing.T) {
	tbl := laketest.OpenTable(t, silentCatalog{laketest.OpenCatalog(t, t.TempDir())}, laketest.Plain("items"), lake.Options{})
	appendOne(t, tbl, 1)
	orphan := filepath.Join(laketest.PathOf(t, laketest.Load(t, tbl).Location()), "data", ownName("", ".parquet"))
	if err := os.WriteFile(orphan, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(orphan, time.Time{}, time.Now().Add(-2*filenames.OrphanAge)); err != nil {
		t.Fatal(err)
	}
	if did := laketest.Maintain(t, tbl, laketest.Everything); did.RemovedOrphans != 0 || !strings.Contains(strings.Join(did.NotDone, "\n"), "does not list this table") {
		t.Errorf("did %+v", did)
	}
	if _, err := os.Stat(orphan); err != nil {
		t.Error(err)
	}
}
