package main

import (
	"context"
	"errors"
	"io"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

type pumped struct {
	protocol.Item
	err error
}

// pump reads the input in a goroutine of its own: a read of standard input
// cannot be interrupted, and an interrupted run must not wait for one.
func pump(ctx context.Context, in *protocol.Input) <-chan pumped {
	items := make(chan pumped)
	go func() {
		defer close(items)
		for {
			item, err := in.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			select {
			case items <- pumped{item, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return items
}
