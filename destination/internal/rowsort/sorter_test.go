package rowsort

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/iceberg-go"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/budget"
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

// A run that is told to stop does not wait for another task with long rows.
func TestASorterOfLongRowsCanBeStopped(t *testing.T) {
	memory := budget.NewMemory(1 << 20)
	end, err := memory.BeginLong(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	s := &Sorter{memory: memory, long: true}
	if err := s.Finish(ctx, nil, nil, 0, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
