package charts

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func moment(t *testing.T, text string) time.Time {
	t.Helper()
	at, ok := timeOf(text)
	if !ok {
		t.Fatalf("%q is no time", text)
	}
	return at
}

func TestBuckets(t *testing.T) {
	rows := []struct {
		at    string
		value float64
	}{
		{"2025-12-29T00:00:00Z", 4},
		{"2025-12-31T23:59:59.999999Z", 1},
		{"2026-01-01T01:30:00+01:00", 3},
		{"2026-01-01", 5},
		{"2026-01-04T12:00:00", math.NaN()},
		{"2026-01-05T00:00:00Z", math.Inf(1)},
		{"2026-01-05T00:00:00Z", 7},
	}
	for _, tc := range []struct{ every, aggregate, want string }{
		{"hour", "sum", "2025-12-29T00:00 4, 2025-12-31T23:00 1, 2026-01-01T00:00 8, 2026-01-05T00:00 7"},
		{"day", "mean", "2025-12-29T00:00 4, 2025-12-31T00:00 1, 2026-01-01T00:00 4, 2026-01-05T00:00 7"},
		{"week", "min", "2025-12-29T00:00 1, 2026-01-05T00:00 7"},
		{"week", "max", "2025-12-29T00:00 5, 2026-01-05T00:00 7"},
		{"month", "sum", "2025-12-01T00:00 5, 2026-01-01T00:00 15"},
		{"year", "mean", "2025-01-01T00:00 2.5, 2026-01-01T00:00 5"},
	} {
		t.Run(tc.every+" "+tc.aggregate, func(t *testing.T) {
			b := newBuckets(tc.every, 1)
			for _, r := range rows {
				b.add(moment(t, r.at), []float64{r.value})
			}
			if got := text(b, tc.aggregate); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func text(b *buckets, aggregate string) string {
	var all []string
	times, values := b.points(aggregate)
	for i, at := range times {
		all = append(all, fmt.Sprintf("%s %g", time.Unix(int64(at), 0).UTC().Format("2006-01-02T15:04"), values[0][i]))
	}
	return strings.Join(all, ", ")
}

// A chart takes memory for a limited number of buckets; wider ones have the same values.
func TestBucketsGrowWider(t *testing.T) {
	for _, tc := range []struct {
		every  string
		step   time.Duration
		rows   int
		want   string
		points int
		left   int64
	}{
		{"hour", time.Hour, maxPoints, "hour", maxPoints, 0},
		{"hour", time.Hour, maxPoints + 1, "day", 63, 0},
		{"day", 24 * time.Hour, maxPoints + 1, "week", 215, 0},
		{"day", 7 * 24 * time.Hour, 52 * 40, "month", 479, 0},
		{"hour", 40 * 24 * time.Hour, 9 * 200, "year", 198, 0},
		{"day", 366 * 24 * time.Hour, maxPoints + 20, "year", maxPoints, 16},
	} {
		t.Run(fmt.Sprint(tc.every, tc.step), func(t *testing.T) {
			b := newBuckets(tc.every, 1)
			at := moment(t, "2026-01-01")
			for range tc.rows {
				b.add(at, []float64{1})
				at = at.Add(tc.step)
				if len(b.cells) > maxPoints {
					t.Fatalf("%d buckets", len(b.cells))
				}
			}
			times, values := b.points("sum")
			sum := float64(b.left)
			for _, v := range values[0] {
				sum += v
			}
			if got := widths[b.width].name; got != tc.want || len(times) != tc.points || b.left != tc.left || sum != float64(tc.rows) {
				t.Errorf("%d points of a %s, %d rows left, %g of %d rows", len(times), got, b.left, sum, tc.rows)
			}
		})
	}
}

// A week is in the month in which its Thursday is.
func TestWeeksInMonths(t *testing.T) {
	for day, month := range map[string]string{"2025-12-29": "2026-01", "2026-01-26": "2026-01", "2026-03-30": "2026-04"} {
		b := newBuckets("week", 1)
		b.add(moment(t, day), []float64{1})
		b.widen()
		if got := text(b, "sum"); got != month+"-01T00:00 1" {
			t.Errorf("the week of %s is in %s", day, got)
		}
	}
}

func TestValuesAsJSON(t *testing.T) {
	got, err := json.Marshal(Values{1, -2.5, math.NaN(), math.Inf(-1), 1.0 / 3, 123456789, 1e300, 0.1 + 0.2, -1e-9})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`[1,-2.5,null,null,0.3333333,123456789,1e+300,0.3,-1e-09]`, string(got)); diff != "" {
		t.Error(diff)
	}
}
