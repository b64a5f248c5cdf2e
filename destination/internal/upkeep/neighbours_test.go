package upkeep_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/upkeep"
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
	maintain := func(neighbours *upkeep.Neighbours) int64 {
		before := cat.loads.Load()
		u := laketest.Everything
		u.Neighbours = neighbours
		for i, tbl := range all {
			appendOne(t, tbl, 3)
			if did := laketest.Maintain(t, tbl, u); did.ExpiredSnapshots == 0 || did.RemovedFiles == 0 || len(did.Left) > 0 {
				t.Errorf("table %d: %+v", i, did)
			}
		}
		return cat.loads.Load() - before
	}
	alone, shared := maintain(nil), maintain(&upkeep.Neighbours{})
	if want := alone - (tables-1)*tables; shared != want {
		t.Errorf("%d loads, want %d; without sharing %d", shared, want, alone)
	}
}
