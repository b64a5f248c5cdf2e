package syncer

import (
	"context"
	"sync"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// pump reads the input in a goroutine of its own: a read of standard input
// cannot be interrupted, and an interrupted run must not wait for one. The
// input's last error, io.EOF at its end, comes on ended after all items were
// received. While long messages are worked on, it does not read on.
func pump(ctx context.Context, in *protocol.Input, long *longMessages) (items <-chan protocol.Item, ended <-chan error) {
	received := make(chan protocol.Item)
	ended = protocol.Go(func() error {
		for {
			if err := long.wait(ctx); err != nil {
				return err
			}
			item, err := in.Next()
			if err != nil {
				return err
			}
			if item.Records != nil {
				long.begin(len(item.Records.Data))
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

// longMessages counts the bytes of the long messages that are being decoded and
// written. Each is in memory some four times then, so there must not be many.
type longMessages struct {
	mu    sync.Mutex
	bytes int
	fewer chan struct{} // when some are done
}

const (
	longMessage = 1 << 20  // bytes; shorter ones share a block of the input
	mostLong    = 16 << 20 // bytes; as long as there are as many, nothing is read
)

func newLongMessages() *longMessages { return &longMessages{fewer: make(chan struct{}, 1)} }

// begin counts a message in, if it is long.
func (l *longMessages) begin(size int) {
	if size > longMessage {
		l.mu.Lock()
		l.bytes += size
		l.mu.Unlock()
	}
}

// done counts out a message that begin has counted in.
func (l *longMessages) done(size int) {
	if size > longMessage {
		l.mu.Lock()
		l.bytes -= size
		l.mu.Unlock()
		select {
		case l.fewer <- struct{}{}:
		default:
		}
	}
}

// wait returns when another message may be read. It is for one goroutine.
func (l *longMessages) wait(ctx context.Context) error {
	for {
		l.mu.Lock()
		full := l.bytes >= mostLong
		l.mu.Unlock()
		if !full {
			return nil
		}
		select {
		case <-l.fewer:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
