package main

import (
	"context"
	"sync"
)

// inOrder fetches something for each item and uses it, one after the other in
// the order of the items. Up to width items are fetched at once, ahead of their
// turn; width is asked anew for each. Use decides what becomes of an error of
// fetch; its own ends everything.
func inOrder[T, R any](ctx context.Context, width func() int, items []T, fetch func(context.Context, T) (R, error), use func(T, R, error) error) error {
	type result struct {
		value R
		err   error
	}
	ctx, cancel := context.WithCancel(ctx)
	var underWay sync.WaitGroup
	defer underWay.Wait()
	defer cancel()
	results := make([]chan result, len(items))
	begun := 0
	for i, item := range items {
		for ; begun < min(len(items), i+max(1, width())); begun++ {
			next, ahead := make(chan result, 1), items[begun]
			results[begun] = next
			underWay.Go(func() {
				value, err := fetch(ctx, ahead)
				next <- result{value, err}
			})
		}
		r := <-results[i]
		results[i] = nil
		if err := use(item, r.value, r.err); err != nil {
			return err
		}
	}
	return nil
}
