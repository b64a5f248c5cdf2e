package syncer

import (
	"context"
	"sync"

	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// readAhead reads the input in a goroutine of its own, since a read of standard
// input cannot be interrupted. After the last item, ended receives the input's
// error: io.EOF at its end. Nothing is read while too many bytes of long messages
// are being decoded.
func readAhead(ctx context.Context, in *protocol.Input, long *longMessages) (items <-chan protocol.Item, ended <-chan error) {
	received := make(chan protocol.Item)
	ended = goroutine.Start(func() error {
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

// longMessages counts the bytes of long messages that are being decoded and written.
// Each of them is in memory about four times, so there must not be many.
type longMessages struct {
	mu    sync.Mutex
	bytes int
	fewer chan struct{} // receives when one is done
}

const (
	longMessageBytes = 1 << 20  // shorter messages share a block of the input
	maxLongBytes     = 16 << 20 // nothing more is read while there are as many
)

func newLongMessages() *longMessages { return &longMessages{fewer: make(chan struct{}, 1)} }

// begin adds a message, if it is long.
func (l *longMessages) begin(size int) {
	if size > longMessageBytes {
		l.mu.Lock()
		l.bytes += size
		l.mu.Unlock()
	}
}

// done removes a message that begin has added.
func (l *longMessages) done(size int) {
	if size > longMessageBytes {
		l.mu.Lock()
		l.bytes -= size
		l.mu.Unlock()
		select {
		case l.fewer <- struct{}{}:
		default:
		}
	}
}

// wait returns when another message may be read. Only one goroutine may call it.
func (l *longMessages) wait(ctx context.Context) error {
	for {
		l.mu.Lock()
		full := l.bytes >= maxLongBytes
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
