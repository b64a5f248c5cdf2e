package main

import (
	"context"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// inOrder fetches something for each item and uses it, one after the other in
// the order of the items. Up to width items are fetched at once, ahead of their
// turn; width is asked anew for each. Use decides what becomes of an error of
// fetch; its own ends everything.
func inOrder[T, R any](ctx context.Context, width func() int, items []T, fetch func(context.Context, T) (R, error), use func(T, R, error) error) error {
	type fetching struct {
		value R
		ended <-chan error
	}
	ctx, cancel := context.WithCancel(ctx)
	var ahead []*fetching // in the order of the items
	defer func() {
		cancel()
		for _, f := range ahead {
			<-f.ended //nolint:errcheck // nobody asks for its value any more
		}
	}()
	begun := 0
	for i, item := range items {
		for ; begun < min(len(items), i+max(1, width())); begun++ {
			f, next := &fetching{}, items[begun]
			f.ended = protocol.Go(func() (err error) {
				f.value, err = fetch(ctx, next)
				return err
			})
			ahead = append(ahead, f)
		}
		f := ahead[0]
		ahead = ahead[1:]
		err := <-f.ended
		if err := use(item, f.value, err); err != nil {
			return err
		}
	}
	return nil
}
