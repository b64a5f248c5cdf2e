package lake_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
)

// benchBatch makes rows of keyed tables with the ids given.
func benchBatch(b testing.TB, t *lake.Table, ids []int64, cursor int64) arrow.RecordBatch {
	b.Helper()
	schema, err := table.SchemaToArrowSchema(t.Opened().Schema(), nil, true, false)
	if err != nil {
		b.Fatal(err)
	}
	rows := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer rows.Release()
	for _, id := range ids {
		rows.Field(0).(*array.Int64Builder).Append(id)
		rows.Field(1).(*array.StringBuilder).Append(fmt.Sprint("value of ", id, " at ", cursor))
		rows.Field(2).(*array.TimestampBuilder).Append(arrow.Timestamp(cursor))
		rows.Field(3).AppendNull()
		rows.Field(4).(*array.StringBuilder).Append(fmt.Sprintf("%08x-0000-7000-8000-%012x", rand.Uint32(), id))
		rows.Field(5).(*array.TimestampBuilder).Append(arrow.Timestamp(cursor))
		rows.Field(6).AppendNull()
		rows.Field(7).AppendNull()
	}
	return rows.NewRecordBatch()
}

func benchStage(b *testing.B, t *lake.Table, ids []int64, cursor int64) *lake.Staged {
	b.Helper()
	w := t.NewWriter()
	const group = 100_000
	order := make([]uint64, group)
	for len(ids) > 0 {
		n := min(len(ids), group)
		b.StopTimer()
		rec := benchBatch(b, t, ids[:n], cursor)
		for i := range order {
			order[i]++
		}
		b.StartTimer()
		if err := w.Write(b.Context(), rec, order[:n]); err != nil {
			b.Fatal(err)
		}
		rec.Release()
		ids = ids[n:]
	}
	s, err := w.Close(b.Context(), nil, nil, math.MaxInt64)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkUpsert replaces 500,000 rows of 5 million, spread over all of them,
// and appends as many to a table of its own to compare with.
func BenchmarkUpsert(b *testing.B) {
	const all, some = 5_000_000, 500_000
	for _, mode := range []lake.Upsert{"append", lake.MergeOnRead, lake.CopyOnWrite} {
		b.Run(string(mode), func(b *testing.B) {
			plan := laketest.Keyed("s")
			if mode == "append" {
				plan.Dedup = false
			}
			t := openTable(b, laketest.OpenCatalog(b, b.TempDir()), plan, lake.Options{Upsert: mode})
			ids := make([]int64, all)
			for i := range ids {
				ids[i] = int64(i)
			}
			if mode != "append" {
				laketest.Commit(b, t, "", benchStage(b, t, ids, 1))
			}
			rng := rand.New(rand.NewPCG(1, 2))
			b.ResetTimer()
			for n := range b.N {
				rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
				laketest.Commit(b, t, "", benchStage(b, t, ids[:some], int64(n+2)))
			}
		})
	}
}
