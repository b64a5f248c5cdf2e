package main

import (
	"context"
	"time"
)

const (
	// longestHistory is how far back slices are made. The first slice holds
	// everything older.
	longestHistory = sliceLength << (maxGuesses - 1)
	maxGuesses     = 5
)

// findOldest returns when the member's history begins, at most longestHistory ago:
// from the states, or else as a guess within a factor of two. It saves requests
// for empty slices and has no other effect.
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
	for doubled := range maxGuesses {
		guess := r.end.Add(-(sliceLength << doubled))
		older, err := r.session.client.NewestBefore(ctx, collection, guess)
		if err != nil {
			return oldest, err
		}
		r.oldest = guess
		if older == nil {
			break
		}
	}
	return r.oldest, nil
}
