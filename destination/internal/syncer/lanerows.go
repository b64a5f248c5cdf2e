package syncer

import (
	"cmp"
	"slices"
	"sync"
)

// laneRows counts the rows of a stream that are not committed, by segment. There
// may be as many segments as rows.
type laneRows struct {
	mu     sync.Mutex
	counts []segmentRows // in order
}

type segmentRows struct{ segment, rows int64 }

// at finds the place of a segment among the counts.
func (r *laneRows) at(segment int64) (place int, found bool) {
	return slices.BinarySearchFunc(r.counts, segment, func(c segmentRows, segment int64) int { return cmp.Compare(c.segment, segment) })
}

func (r *laneRows) add(segment, rows int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	place, found := r.at(segment)
	if !found { // mostly the last place: workers are hardly apart
		r.counts = slices.Insert(r.counts, place, segmentRows{segment: segment})
	}
	r.counts[place].rows += rows
}

// between sums the rows of segments after (exclusive) to upTo (inclusive).
func (r *laneRows) between(after, upTo int64) (rows int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first, _ := r.at(after + 1)
	for _, c := range r.counts[first:] {
		if c.segment > upTo {
			break
		}
		rows += c.rows
	}
	return rows
}

func (r *laneRows) forget(upTo int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept, _ := r.at(upTo + 1)
	r.counts = slices.Delete(r.counts, 0, kept)
}
