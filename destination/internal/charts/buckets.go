package charts

import (
	"maps"
	"math"
	"slices"
	"time"
)

// maxPoints is how many buckets a chart has at most. If there are more, they are made
// wider.
const maxPoints = 1500

// A width is how long a bucket is.
type width struct {
	name    string
	seconds int64 // about
	start   func(time.Time) time.Time
	// inside is the time of a bucket of the narrower width that says in which bucket of
	// this one it is.
	inside func(time.Time) time.Time
}

func same(t time.Time) time.Time { return t }

// monday is the first day of a week as ISO 8601 has it.
func monday(t time.Time) time.Time {
	day := t.Truncate(24 * time.Hour)
	return day.AddDate(0, 0, -(int(day.Weekday())+6)%7)
}

// widths are what buckets can be, the narrowest first.
var widths = []width{
	{"hour", 3600, func(t time.Time) time.Time { return t.Truncate(time.Hour) }, same},
	{"day", 86400, func(t time.Time) time.Time { return t.Truncate(24 * time.Hour) }, same},
	{"week", 7 * 86400, monday, same},
	{
		"month", 30 * 86400, func(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC) },
		func(t time.Time) time.Time { return t.AddDate(0, 0, 3) },
	}, // a week is in the month of its Thursday
	{"year", 365 * 86400, func(t time.Time) time.Time { return time.Date(t.Year(), 1, 1, 0, 0, 0, 0, time.UTC) }, same},
}

// A cell is what is known of the values of a series in a bucket.
type cell struct {
	n             int64
	sum, min, max float64
}

func (c *cell) add(other cell) {
	switch {
	case other.n == 0:
	case c.n == 0:
		*c = other
	default:
		c.n += other.n
		c.sum += other.sum
		c.min, c.max = math.Min(c.min, other.min), math.Max(c.max, other.max)
	}
}

// value is NaN if there are no values.
func (c cell) value(aggregate string) float64 {
	switch {
	case c.n == 0:
		return math.NaN()
	case aggregate == "sum":
		return c.sum
	case aggregate == "min":
		return c.min
	case aggregate == "max":
		return c.max
	}
	return c.sum / float64(c.n)
}

// buckets are the values of a chart by time. They take memory for maxPoints buckets,
// however many values there are.
type buckets struct {
	width  int // among widths
	series int
	cells  map[int64][]cell // by the start of the bucket, in seconds
	left   int64            // rows that were left out: the years are too many
}

// newBuckets has buckets of a width, for so many series.
func newBuckets(every string, series int) *buckets {
	return &buckets{
		width: slices.IndexFunc(widths, func(w width) bool { return w.name == every }), series: series,
		cells: map[int64][]cell{},
	}
}

// add adds a row. A value that is NaN is none.
func (b *buckets) add(at time.Time, values []float64) {
	key := widths[b.width].start(at).Unix()
	for b.cells[key] == nil && len(b.cells) >= maxPoints {
		if b.width == len(widths)-1 {
			b.left++
			return
		}
		b.widen()
		key = widths[b.width].start(at).Unix()
	}
	row := make([]cell, b.series)
	for i, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			row[i] = cell{n: 1, sum: v, min: v, max: v}
		}
	}
	b.merge(key, row)
}

func (b *buckets) merge(key int64, row []cell) {
	have := b.cells[key]
	if have == nil {
		b.cells[key] = row
		return
	}
	for i := range row {
		have[i].add(row[i])
	}
}

// widen makes the buckets wider by one step.
func (b *buckets) widen() {
	b.width++
	narrow := b.cells
	b.cells = map[int64][]cell{}
	to := widths[b.width]
	for key, row := range narrow {
		b.merge(to.start(to.inside(time.Unix(key, 0).UTC())).Unix(), row)
	}
}

// points are the starts of the buckets that have values, in order, and the values of each
// series in them.
func (b *buckets) points(aggregate string) (times []float64, values []Values) {
	values = make([]Values, b.series)
	for _, key := range slices.Sorted(maps.Keys(b.cells)) {
		row := b.cells[key]
		if !slices.ContainsFunc(row, func(c cell) bool { return c.n > 0 }) {
			continue
		}
		times = append(times, float64(key))
		for i, c := range row {
			values[i] = append(values[i], c.value(aggregate))
		}
	}
	return times, values
}
