package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/changes"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/whoop"
)

// A walk is one reading of a collection, for all its readers.
type walk struct {
	*run
	collection string
	readers    []*reader
	slices     []slice
	exact      bool // nobody will look again for what the paging missed
	failed     atomic.Bool
}

// A slice is a span of time that is read completely before a state goes out:
// pages come newest first, so a part of one proves nothing.
type slice struct{ from, to time.Time }

const (
	// sliceLength makes slices of about 45 pages of each collection, half a minute
	// of work. Shorter ones would have more pages that are not full.
	sliceLength = 3 * 365 * 24 * time.Hour
	// requestedSlice is for slices with a request for each record: a few minutes
	// of work, which a spent quota can cost at most.
	requestedSlice = 30 * 24 * time.Hour
	// shortestSlice is not halved any more.
	shortestSlice = time.Hour
	// readings are how often a slice is read for its records to hold still.
	readings = 5
	// longestHistory is how far back slices are made; what is older is in the first.
	longestHistory = sliceLength << (guesses - 1)
	guesses        = 5
)

// slicesOf cuts the time up to end into slices, oldest first. A zero from means
// all history; its first slice then reaches to first.
func slicesOf(from, first, end time.Time, length time.Duration) []slice {
	var list []slice
	for next := from; next.Before(end); {
		s := slice{from: next, to: next.Add(length)}
		if next.IsZero() {
			s.to = first
		}
		if s.to.After(end) {
			s.to = end
		}
		list = append(list, s)
		next = s.to
	}
	return list
}

// newWalk plans a walk.
func (r *run) newWalk(ctx context.Context, collection string, readers []*reader) (*walk, error) {
	w := &walk{run: r, collection: collection, readers: readers}
	from, first, length := r.end, r.end, sliceLength
	for _, rd := range readers {
		if rd.from.Before(from) {
			from = rd.from
		}
		if rd.requests() {
			length = requestedSlice
		}
		w.exact = w.exact || rd.tracker == nil || rd.ReconcileEveryDays == 0
	}
	if from.IsZero() {
		oldest, err := r.findOldest(ctx, collection, readers)
		if err != nil {
			return w, err
		}
		first = oldest.Add(length)
	}
	w.slices = slicesOf(from, first, r.end, length)
	return w, nil
}

// A part is one slice of a walk.
type part struct {
	*walk
	slice
	last bool
}

// walk reads collections one after the other, each once for all its readers.
// Slices are fetched ahead of their turn where that keeps up the pace. Its
// error ends the run.
func (r *run) walk(ctx context.Context, walks []*walk) error {
	var parts []part
	for _, w := range walks {
		if len(w.slices) == 0 { // there is nothing to read, and still an end
			parts = append(parts, part{walk: w, last: true})
		}
		for i, s := range w.slices {
			parts = append(parts, part{w, s, i == len(w.slices)-1})
		}
	}
	fetch := func(ctx context.Context, p part) ([]changes.Record, error) {
		if p.failed.Load() || len(p.slices) == 0 {
			return nil, nil
		}
		return p.fetch(ctx, p.slice)
	}
	return inOrder(ctx, r.client.Width, parts, fetch, func(p part, records []changes.Record, err error) error {
		if p.failed.Load() {
			return nil
		}
		if err != nil {
			p.failed.Store(true)
			return r.tryAll(p.readers, err)
		}
		return p.read(ctx, records)
	})
}

// read gives a slice's records to the walk's readers.
func (p part) read(ctx context.Context, records []changes.Record) error {
	for _, rd := range p.readers {
		if rd.over {
			continue
		}
		var err error
		if p.to.After(rd.from) {
			err = rd.readSlice(ctx, records, p.to)
		}
		if err == nil && p.last {
			err = rd.finish(ctx)
		}
		if err := p.try(rd, err); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) tryAll(readers []*reader, err error) error {
	for _, rd := range readers {
		if err := r.try(rd, err); err != nil {
			return err
		}
	}
	return nil
}

// fetch reads the records of a slice, oldest first.
//
// A record that vanishes between two pages shifts the rest, and one of them is
// missed. An incremental stream finds it all the same: in the window by the
// next sync, which reads it again; before that by the next full walk, which
// compares all keys; and a row that it knows and misses is asked for by its
// key. Where nobody looks again, slices of several pages are read until two
// readings in a row have the same records.
func (w *walk) fetch(ctx context.Context, s slice) ([]changes.Record, error) {
	var before map[string]bool
	for range readings {
		records, pages, err := w.pages(ctx, s)
		var paging *whoop.PagingError
		if errors.As(err, &paging) {
			older, newer, ok := s.halves()
			if !ok {
				return nil, err
			}
			first, err := w.fetch(ctx, older)
			if err != nil {
				return nil, err
			}
			second, err := w.fetch(ctx, newer)
			return append(first, second...), err // what lies across comes twice
		}
		if err != nil || !w.exact || pages == 1 {
			return records, err
		}
		keys := keysIn(records)
		if maps.Equal(keys, before) {
			return records, nil
		}
		before = keys
	}
	return nil, &whoop.UnavailableError{Path: w.collection, Err: fmt.Errorf("the records from %s to %s changed whenever they were read", s.from, s.to)}
}

// halves are for a slice whose pages do not lead on: a smaller one has fewer.
func (s slice) halves() (older, newer slice, ok bool) {
	if s.from.IsZero() {
		// How far it reaches is not known, so its last part shrinks instead.
		middle := s.to.Add(-sliceLength)
		return slice{s.from, middle}, slice{middle, s.to}, middle.Year() > 1970
	}
	length := s.to.Sub(s.from)
	middle := s.from.Add(length / 2)
	return slice{s.from, middle}, slice{middle, s.to}, length > shortestSlice
}

func keysIn(records []changes.Record) map[string]bool {
	keys := make(map[string]bool, len(records))
	for _, r := range records {
		keys[r.Key] = true
	}
	return keys
}

// pages reads a slice once.
func (w *walk) pages(ctx context.Context, s slice) (records []changes.Record, pages int, err error) {
	key := keyOf(w.collection)
	for page, err := range w.client.Pages(ctx, w.collection, s.from, s.to) {
		if err != nil {
			return nil, pages, err
		}
		pages++
		for _, raw := range page.Records {
			records = append(records, changes.ParseRecord(raw, key))
		}
	}
	slices.Reverse(records)
	return newest(records), pages, nil
}

// newest leaves of the records with one key, which come when pages shift while
// they are read, the one that was updated last.
func newest(records []changes.Record) []changes.Record {
	at := map[string]int{}
	kept := records[:0]
	for _, r := range records {
		if i, twice := at[r.Key]; twice && r.Key != "" {
			if r.Updated.After(kept[i].Updated) {
				kept[i] = r
			}
			continue
		}
		at[r.Key] = len(kept)
		kept = append(kept, r)
	}
	return kept
}

// keyOf is the key of a collection's records.
func keyOf(collection string) string {
	i := slices.IndexFunc(streams, func(s stream) bool { return s.collection == collection })
	return streams[i].key
}

// findOldest returns when the member's history begins, as far as is known, or
// guessed within a factor of two, up to longestHistory. It spares empty slices;
// nothing else depends on it.
func (r *run) findOldest(ctx context.Context, collection string, readers []*reader) (time.Time, error) {
	var oldest time.Time
	for _, rd := range readers {
		if rd.tracker != nil && !rd.tracker.Oldest().IsZero() && (oldest.IsZero() || rd.tracker.Oldest().Before(oldest)) {
			oldest = rd.tracker.Oldest()
		}
	}
	if oldest.IsZero() {
		oldest = r.oldest
	}
	if !oldest.IsZero() {
		if limit := r.end.Add(-longestHistory); oldest.Before(limit) {
			return limit, nil
		}
		return oldest, nil
	}
	for doubled := range guesses {
		guess := r.end.Add(-sliceLength << doubled)
		more, err := r.client.Any(ctx, collection, guess)
		if err != nil {
			return oldest, err
		}
		r.oldest = guess
		if !more {
			break
		}
	}
	return r.oldest, nil
}

// missing tells whether an error says that there is no such record.
func missing(err error) bool {
	var status *whoop.StatusError
	return errors.As(err, &status) && status.NotFound()
}
