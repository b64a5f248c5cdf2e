package lake

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/iceberg-go"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
)

// Bytes must order as the values do, and tell all of them apart.
func TestKeysOrderAsValuesDo(t *testing.T) {
	decimal := func(high int64, low uint64) iceberg.Literal {
		return iceberg.DecimalLiteral{Val: decimal128.New(high, low), Scale: 9}
	}
	for _, ascending := range [][]iceberg.Literal{
		{nil, iceberg.BoolLiteral(false), iceberg.BoolLiteral(true)},
		{nil, iceberg.Int32Literal(math.MinInt32), iceberg.Int32Literal(-1), iceberg.Int32Literal(0), iceberg.Int32Literal(1), iceberg.Int32Literal(math.MaxInt32)},
		{nil, iceberg.Int64Literal(math.MinInt64), iceberg.Int64Literal(-1), iceberg.Int64Literal(0), iceberg.Int64Literal(1 << 40), iceberg.Int64Literal(math.MaxInt64)},
		{nil, iceberg.Float32Literal(-2), iceberg.Float32Literal(0), iceberg.Float32Literal(0.5), iceberg.Float32Literal(math.Inf(1))},
		{nil, iceberg.Float64Literal(math.Inf(-1)), iceberg.Float64Literal(-2), iceberg.Float64Literal(-1e-300), iceberg.Float64Literal(0), iceberg.Float64Literal(1e300), iceberg.Float64Literal(math.NaN())},
		{nil, iceberg.DateLiteral(-719162), iceberg.DateLiteral(-1), iceberg.DateLiteral(0), iceberg.DateLiteral(20000)},
		{nil, iceberg.TimestampLiteral(-62135596800000000), iceberg.TimestampLiteral(-1), iceberg.TimestampLiteral(0)},
		{nil, iceberg.TimestampNsLiteral(-1), iceberg.TimestampNsLiteral(0)},
		{nil, iceberg.TimeLiteral(0), iceberg.TimeLiteral(1)},
		{nil, decimal(-1<<62, 0), decimal(-1, 0), decimal(-1, math.MaxUint64), decimal(0, 0), decimal(0, math.MaxUint64), decimal(1, 0)},
		{nil, iceberg.StringLiteral(""), iceberg.StringLiteral("\x00"), iceberg.StringLiteral("\x00\x00"), iceberg.StringLiteral("\x00\xff"), iceberg.StringLiteral("\x01"), iceberg.StringLiteral("a"), iceberg.StringLiteral("a\x00"), iceberg.StringLiteral("ab"), iceberg.StringLiteral("b")},
		{nil, iceberg.BinaryLiteral{}, iceberg.BinaryLiteral{0}, iceberg.BinaryLiteral{0xff}, iceberg.BinaryLiteral{0xff, 0}},
		{nil, iceberg.FixedLiteral{0, 1}, iceberg.FixedLiteral{1, 0}},
		{nil, iceberg.UUIDLiteral{0, 1}, iceberg.UUIDLiteral{1}},
	} {
		for _, descending := range []bool{false, true} {
			f := orderedField{descending: descending, nullsLast: descending}
			var last []byte
			values := slices.Clone(ascending)
			if descending {
				slices.Reverse(values)
			}
			for i, v := range values {
				key, err := f.append(nil, iceberg.Optional[iceberg.Literal]{Valid: v != nil, Val: v})
				if err != nil {
					t.Fatal(err)
				}
				// What follows a value in a key has no part in its place.
				if i > 0 && bytes.Compare(append(last, 0xff), append(slices.Clone(key), 0)) >= 0 {
					t.Errorf("descending %v: %v is not behind what comes before it", descending, v)
				}
				last = key
			}
		}
	}
}

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
	for name, o := range map[string]Options{
		"partitioned":            {Settings: tabledef.Settings{PartitionBy: by(t, "k")}},
		"sorted":                 {Settings: tabledef.Settings{SortBy: sortedBy(t, "k")}},
		"partitioned and sorted": {Settings: tabledef.Settings{PartitionBy: by(t, "bucket(3, k)"), SortBy: sortedBy(t, "k desc", "day")}},
	} {
		for _, runs := range []int{0, 1, mergedRuns, 3 * mergedRuns} {
			t.Run(fmt.Sprint(name, " from ", runs, " runs"), func(t *testing.T) {
				t.Parallel()
				rng := rand.New(rand.NewPCG(uint64(runs), 1))
				tbl := openTable(t, openCatalog(t, t.TempDir()), p, o)
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
					if err := w.Write(t.Context(), batch(t, tbl.schema, rowsNow()...), nil); err != nil {
						t.Fatal(err)
					}
				}
				last := batch(t, tbl.schema, rowsNow()...)
				keep := len(sent) - rng.IntN(len(sent)/2+1)
				staged, err := w.Close(t.Context(), last, nil, int64(keep))
				if err != nil {
					t.Fatal(err)
				}
				commit(t, tbl, "", staged)
				checkPartitions(t, tbl)
				expectFiles(t, tbl, false)

				var got []string
				for _, row := range rows(t, load(t, tbl)) {
					got = append(got, normal(t, row))
				}
				var want []string
				for _, text := range sent[:keep] {
					want = append(want, normal(t, text))
				}
				if diff := gocmp.Diff(want, got, sorted); diff != "" {
					t.Errorf("rows (-want +got):\n%.3000s", diff)
				}
				if name != "sorted" {
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

// A group of runs fits into memory, or is of two.
func TestRunsAreMergedInGroups(t *testing.T) {
	of := func(n int, largest int64) []*run {
		var all []*run
		for range n {
			all = append(all, &run{largest: largest})
		}
		return all
	}
	for name, tc := range map[string]struct {
		runs []*run
		want []int
	}{
		"none":       {nil, nil},
		"few":        {of(mergedRuns, runBatchBytes), []int{mergedRuns}},
		"many":       {of(2*mergedRuns+1, runBatchBytes), []int{mergedRuns, mergedRuns, 1}},
		"large ones": {of(5, mergedBytes), []int{2, 2, 1}},
		"one large":  {slices.Concat(of(3, runBatchBytes), of(1, mergedBytes), of(3, runBatchBytes)), []int{3, 2, 2}},
	} {
		var got []int
		for _, group := range mergeable(tc.runs) {
			got = append(got, len(group))
		}
		if diff := gocmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
