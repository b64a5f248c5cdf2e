package cli

import (
	"io"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// unreadTimeout is how long a run that was told to stop waits for the reader of its
// messages. PyAirbyte stops reading when it has enough records. It kills a process that
// has not ended ten seconds after SIGTERM, and counts that as a failure.
const unreadTimeout = 2 * time.Second

// output writes messages to standard output until the run has been told to stop and
// nobody reads them any more, which is [protocol.ErrUnread]. That write is still under way
// then, so its bytes must stay as they are, and the next one waits for it.
type output struct {
	w       io.Writer
	stopped <-chan struct{}
	pending <-chan error // the result of a write under way
}

func (o *output) Write(p []byte) (int, error) {
	if o.pending != nil {
		if err := o.wait(); err != nil {
			return 0, err
		}
	}
	o.pending = goroutine.Start(func() error {
		_, err := o.w.Write(p)
		return err
	})
	if err := o.wait(); err != nil {
		return 0, err
	}
	return len(p), nil
}

// wait waits for the write that is under way.
func (o *output) wait() error {
	done := func(err error) error { o.pending = nil; return err }
	select {
	case err := <-o.pending:
		return done(err)
	case <-o.stopped:
	}
	select {
	case err := <-o.pending:
		return done(err)
	case <-time.After(unreadTimeout):
		return protocol.ErrUnread
	}
}
