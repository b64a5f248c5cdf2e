package main

import (
	"context"

	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
)

// prefetch fetches something for each item and uses it, in the order of the items.
// Up to width items are fetched at once; width is called again before each fetch.
// Use gets the error of fetch. An error of use ends everything.
func prefetch[T, R any](ctx context.Context, width func() int, items []T, fetch func(context.Context, T) (R, error), use func(T, R, error) error) error {
	type result struct {
		value R
		done  <-chan error
	}
	ctx, cancel := context.WithCancel(ctx)
	var pending []*result // in the order of the items
	defer func() {
		cancel()
		for _, r := range pending {
			<-r.done //nolint:errcheck // nobody needs its value any more
		}
	}()
	started := 0
	for i, item := range items {
		for ; started < min(len(items), i+max(1, width())); started++ {
			r, next := &result{}, items[started]
			r.done = goroutine.Start(func() (err error) {
				r.value, err = fetch(ctx, next)
				return err
			})
			pending = append(pending, r)
		}
		r := pending[0]
		pending = pending[1:]
		err := <-r.done
		if err := use(item, r.value, err); err != nil {
			return err
		}
	}
	return nil
}
