package syncer

import (
	"cmp"
	"slices"
	"sync"
)

// rowsBySegment counts rows of a stream by the segment that they came in. There may
// be as many segments as rows.
type rowsBySegment struct {
	mu     sync.Mutex
	counts []segmentRows // in order
}

type segmentRows struct{ segment, rows int64 }

// search returns the index of a segment in counts, or where to insert it.
func (r *rowsBySegment) search(segment int64) (i int, found bool) {
	return slices.BinarySearchFunc(r.counts, segment, func(c segmentRows, segment int64) int { return cmp.Compare(c.segment, segment) })
}

func (r *rowsBySegment) addRows(segment, rows int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, found := r.search(segment)
	if !found { // mostly at the end, as all workers are in one of the last segments
		r.counts = slices.Insert(r.counts, i, segmentRows{segment: segment})
	}
	r.counts[i].rows += rows
}

// any reports whether there are rows.
func (r *rowsBySegment) any() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.counts, func(c segmentRows) bool { return c.rows > 0 })
}

// between returns the rows of the segments from after (exclusive) to upTo
// (inclusive).
func (r *rowsBySegment) between(after, upTo int64) (rows int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first, _ := r.search(after + 1)
	for _, c := range r.counts[first:] {
		if c.segment > upTo {
			break
		}
		rows += c.rows
	}
	return rows
}

// dropUpTo forgets the rows up to a segment.
func (r *rowsBySegment) dropUpTo(upTo int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first, _ := r.search(upTo + 1)
	r.counts = slices.Delete(r.counts, 0, first)
}
