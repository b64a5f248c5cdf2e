package lake_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/iceberg-go"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
)

// Rows of every shape come out of runs, and of runs of runs, as they went in: those
// that arrived first, in order, of equal ones the first to arrive first.
func TestRowsComeOutOfRunsInOrder(t *testing.T) {
	p := planOf("s", optional("id", aLong), optional("k", aLong), optional("text", aString), optional("flag", iceberg.PrimitiveTypes.Bool),
		optional("amount", iceberg.DecimalTypeOf(38, 9)), optional("day", iceberg.PrimitiveTypes.Date),
		optional("in", structOf(100, optional("a", aLong), optional("tags", listOf(110, aString)),
			optional("deep", structOf(120, optional("x", iceberg.PrimitiveTypes.Float64))))),
		optional("items", listOf(130, structOf(131, optional("n", aLong), optional("names", listOf(140, aString))))))
	random := func(rng *rand.Rand, id int) string {
		some := func(format string, args ...any) string {
			if rng.IntN(4) == 0 {
				return "null"
			}
			return fmt.Sprintf(format, args...)
		}
		list := func(of func() string) string {
			var all []string
			for range rng.IntN(4) {
				all = append(all, of())
			}
			return some("[%s]", strings.Join(all, ","))
		}
		text := func() string { return some("%q", strings.Repeat(string(rune('a'+rng.IntN(26))), rng.IntN(40))) }
		return fmt.Sprintf(`{"id":%d,"k":%s,"text":%s,"flag":%s,"amount":%s,"day":%s,"in":%s,"items":%s}`, id,
			some("%d", rng.IntN(9)), text(), some("%t", rng.IntN(2) == 0), some(`"%d.%09d"`, rng.IntN(1e6), rng.IntN(1e9)), some(`"20%02d-01-01"`, rng.IntN(99)),
			some(`{"a":%s,"tags":%s,"deep":%s}`, some("%d", id), list(text), some(`{"x":%s}`, some("0.%d5", rng.IntN(1000)))),
			list(func() string { return some(`{"n":%s,"names":%s}`, some("%d", id), list(text)) }))
	}
	for i, tc := range []struct {
		name     string
		settings tabledef.Settings
	}{
		{"partitioned", tabledef.Settings{PartitionBy: by(t, "k")}},
		{"sorted", tabledef.Settings{SortBy: sortedBy(t, "k")}},
		{"partitioned and sorted", tabledef.Settings{PartitionBy: by(t, "bucket(3, k)"), SortBy: sortedBy(t, "k desc", "day")}},
	} {
		for k, runs := range []int{0, 1, 16, testsize.Of(18, 48)} {
			if (i+k)%testsize.Of(3, 1) > 0 {
				continue // every order and every number of runs is left
			}
			t.Run(fmt.Sprint(tc.name, " from ", runs, " runs"), func(t *testing.T) {
				t.Parallel()
				rng := rand.New(rand.NewPCG(uint64(runs), 1))
				tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), p, lake.Options{Settings: tc.settings})
				w := tbl.NewWriter()
				var sent []string
				rowsNow := func() []map[string]any {
					var all []map[string]any
					for range 1 + rng.IntN(20) {
						text := random(rng, len(sent))
						var row map[string]any
						if err := json.Unmarshal([]byte(text), &row); err != nil {
							t.Fatal(err)
						}
						sent, all = append(sent, text), append(all, row)
					}
					return all
				}
				for range runs {
					if err := w.Write(t.Context(), laketest.Batch(t, tbl.Opened().Schema(), rowsNow()...), nil); err != nil {
						t.Fatal(err)
					}
				}
				last := laketest.Batch(t, tbl.Opened().Schema(), rowsNow()...)
				keep := len(sent) - rng.IntN(len(sent)/2+1)
				staged, err := w.Close(t.Context(), last, nil, int64(keep))
				if err != nil {
					t.Fatal(err)
				}
				laketest.Commit(t, tbl, "", staged)
				checkPartitions(t, tbl)
				laketest.ExpectFiles(t, tbl, false)

				var got []string
				for _, row := range laketest.Rows(t, laketest.Load(t, tbl)) {
					got = append(got, normal(t, row))
				}
				var want []string
				for _, text := range sent[:keep] {
					want = append(want, normal(t, text))
				}
				if diff := gocmp.Diff(want, got, laketest.Sorted); diff != "" {
					t.Errorf("rows (-want +got):\n%.3000s", diff)
				}
				if tc.name != "sorted" {
					return
				}
				// The one file says by itself whether it is in order.
				slices.SortStableFunc(want, func(a, b string) int { return cmp.Compare(number(t, a, "k"), number(t, b, "k")) })
				if diff := gocmp.Diff(want, got); diff != "" {
					t.Errorf("rows in order (-want +got):\n%.3000s", diff)
				}
			})
		}
	}
}

// normal writes JSON in one way, numbers without trailing zeros.
func normal(t testing.TB, text string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	if amount, ok := v.(map[string]any)["amount"].(string); ok {
		var f float64
		if _, err := fmt.Sscan(amount, &f); err != nil {
			t.Fatal(err)
		}
		v.(map[string]any)["amount"] = f
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// number is a member, null being lower than any.
func number(t testing.TB, text, name string) float64 {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	n, ok := v[name].(float64)
	if !ok {
		return -1
	}
	return n
}
