package main

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/changes"
)

// A walk reads one collection, once for all its readers.
type walk struct {
	run         *run
	collection  string
	readers     []*reader
	timeSlices  []timeSlice
	untilAgreed bool        // slices are read until two readings agree, because no later sync finds what paging missed
	done        atomic.Bool // all its readers are done
}

// A timeSlice is a span of time that is read completely before a state goes out. Pages
// come newest first, so part of a slice does not show what has been read.
type timeSlice struct{ from, to time.Time }

const (
	// sliceLength makes slices of about 45 pages of each collection, half a minute
	// of work. Shorter slices would have more pages that are not full.
	sliceLength = 3 * 365 * 24 * time.Hour
	// requestedSlice is for slices with a request for each record: a few minutes
	// of work, which is all that a spent quota can cost.
	requestedSlice = 30 * 24 * time.Hour
	// longAgo is from when on a walk may begin long before the member's history: whoever
	// wants all of it may write any start_date.
	longAgo = 2 * sliceLength
)

// newWalk plans a walk from where the reader that needs most starts.
func (r *run) newWalk(ctx context.Context, collection string, readers []*reader) (*walk, error) {
	w := &walk{run: r, collection: collection, readers: readers}
	from, firstEnd, length := r.end, time.Time{}, sliceLength
	for _, rd := range readers {
		if rd.readFrom.Before(from) {
			from = rd.readFrom
		}
		if rd.byRequest() {
			length = requestedSlice
		}
		fullRefresh, noFullWalks := rd.tracker == nil, r.session.config.ReconcileEveryDays == 0
		w.untilAgreed = w.untilAgreed || fullRefresh || noFullWalks
	}
	if r.end.Sub(from) > longAgo {
		oldest, err := r.findOldest(ctx, collection, readers)
		if err != nil {
			return nil, err
		}
		firstEnd = oldest.Add(length)
	}
	w.timeSlices = cutSlices(from, firstEnd, r.end, length)
	return w, nil
}

// cutSlices cuts the time up to end into slices, oldest first. A zero from means
// all history. The first slice ends at firstEnd if that makes it longer than the others.
func cutSlices(from, firstEnd, end time.Time, length time.Duration) []timeSlice {
	var list []timeSlice
	for next := from; next.Before(end); {
		s := timeSlice{from: next, to: next.Add(length)}
		if s.to.Before(firstEnd) {
			s.to = firstEnd
		}
		if s.to.After(end) {
			s.to = end
		}
		list = append(list, s)
		next = s.to
	}
	return list
}

// A step is one slice of a walk.
type step struct {
	walk  *walk
	slice timeSlice
	last  bool // of the walk
}

// readWalks reads collections one after the other. It fetches slices before their turn
// if that makes better use of the rate limit. Its error ends the run.
func (r *run) readWalks(ctx context.Context, walks []*walk) error {
	var steps []step
	for _, w := range walks {
		if len(w.timeSlices) == 0 { // nothing to read, but the streams still end
			steps = append(steps, step{walk: w, last: true})
		}
		for i, s := range w.timeSlices {
			steps = append(steps, step{w, s, i == len(w.timeSlices)-1})
		}
	}
	// prefetch calls fetch for several steps at once, and use for one after the other.
	fetch := func(ctx context.Context, s step) ([]changes.Record, error) {
		if s.walk.done.Load() || len(s.walk.timeSlices) == 0 {
			return nil, nil
		}
		return s.walk.fetch(ctx, s.slice)
	}
	use := func(s step, records []changes.Record, err error) error {
		if s.walk.done.Load() {
			return nil
		}
		if err != nil {
			err = r.failStreams(ctx, s.walk.readers, err)
		} else {
			err = s.deliver(ctx, records)
		}
		s.walk.done.Store(!slices.ContainsFunc(s.walk.readers, func(rd *reader) bool { return !rd.done }))
		return err
	}
	return prefetch(ctx, r.session.client.Width, steps, fetch, use)
}

// deliver gives a slice's records to the walk's readers, and ends their streams after
// the last slice.
func (s step) deliver(ctx context.Context, records []changes.Record) error {
	for _, rd := range s.walk.readers {
		if rd.done {
			continue
		}
		var err error
		if s.slice.to.After(rd.readFrom) { // else it is for another reader, which starts earlier
			err = rd.emitSlice(ctx, records, s.slice)
		}
		if err == nil && s.last {
			err = rd.endWalk(ctx)
		}
		if err := s.walk.run.failStream(ctx, rd, err); err != nil {
			return err
		}
	}
	return nil
}
