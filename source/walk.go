package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/whoop"
)

// A slice is a span of time that is read completely before a state goes out:
// pages come newest first, so a part of one proves nothing. A year has about 15
// pages of each collection.
type slice struct{ from, to time.Time }

const sliceLength = 365 * 24 * time.Hour

// slicesOf cuts the time up to end into slices, oldest first. A zero from means
// all history; its first slice then reaches to first.
func slicesOf(from, first, end time.Time) []slice {
	var list []slice
	for next := from; next.Before(end); {
		s := slice{from: next, to: next.Add(sliceLength)}
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

// walk reads one collection once for all its readers. Its error ends the run.
func (r *run) walk(ctx context.Context, collection string, readers []*reader) error {
	from, first := r.end, r.end
	for _, rd := range readers {
		if rd.from.Before(from) {
			from = rd.from
		}
	}
	if from.IsZero() {
		var err error
		if first, err = r.firstSlice(ctx, collection, readers); err != nil {
			return r.tryAll(readers, err)
		}
	}
	for _, s := range slicesOf(from, first, r.end) {
		records, err := r.slice(ctx, collection, s)
		if err != nil {
			return r.tryAll(readers, err)
		}
		for _, rd := range readers {
			if rd.over || !s.to.After(rd.from) {
				continue
			}
			if err := r.try(rd, rd.readSlice(ctx, records, s.to)); err != nil {
				return err
			}
		}
	}
	for _, rd := range readers {
		if !rd.over {
			if err := r.try(rd, rd.finish(ctx)); err != nil {
				return err
			}
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

// slice reads the records of a slice, oldest first.
func (r *run) slice(ctx context.Context, collection string, s slice) ([]record, error) {
	key := keyOf(collection)
	var records []record
	for page, err := range r.client.Pages(ctx, collection, s.from, s.to) {
		if err != nil {
			return nil, err
		}
		for _, raw := range page.Records {
			rec, err := parseRecord(raw, key)
			if err != nil {
				return nil, err
			}
			records = append(records, rec)
		}
	}
	slices.Reverse(records)
	return records, nil
}

// keyOf is the key of a collection's records.
func keyOf(collection string) string {
	i := slices.IndexFunc(streams, func(s stream) bool { return s.collection == collection })
	return streams[i].key
}

// firstSlice returns where the first slice of a walk over all history ends: a
// slice's length after the oldest record known, or guessed.
func (r *run) firstSlice(ctx context.Context, collection string, readers []*reader) (time.Time, error) {
	var oldest time.Time
	for _, rd := range readers {
		if rd.tracker != nil && !rd.tracker.state.Oldest.IsZero() && (oldest.IsZero() || rd.tracker.state.Oldest.Before(oldest)) {
			oldest = rd.tracker.state.Oldest
		}
	}
	if !oldest.IsZero() {
		return oldest.Add(sliceLength), nil
	}
	if r.oldest.IsZero() {
		if err := r.guessOldest(ctx, collection); err != nil {
			return oldest, err
		}
	}
	return r.oldest.Add(sliceLength), nil
}

// guessOldest finds, within a factor of two, how far a collection reaches back,
// up to 32 years. It spares empty slices; nothing else depends on it.
func (r *run) guessOldest(ctx context.Context, collection string) error {
	for years := range 6 {
		r.oldest = r.end.Add(-sliceLength << years)
		more, err := r.client.Any(ctx, collection, r.oldest)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// missing tells whether an error says that there is no such record.
func missing(err error) bool {
	var status *whoop.StatusError
	return errors.As(err, &status) && status.NotFound()
}
