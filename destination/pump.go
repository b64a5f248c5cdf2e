package main

import (
	"context"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// pump reads the input in a goroutine of its own: a read of standard input
// cannot be interrupted, and an interrupted run must not wait for one. The
// input's last error, io.EOF at its end, comes on ended after all items were
// received.
func pump(ctx context.Context, in *protocol.Input) (items <-chan protocol.Item, ended <-chan error) {
	received := make(chan protocol.Item)
	ended = protocol.Go(func() error {
		for {
			item, err := in.Next()
			if err != nil {
				return err
			}
			select {
			case received <- item:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	})
	return received, ended
}
