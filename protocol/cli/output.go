package cli

import (
	"errors"
	"io"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
)

// unreadTimeout is how long a run that was told to stop waits for the reader of its
// messages. PyAirbyte stops reading when it has enough records. It kills a process that
// has not ended ten seconds after SIGTERM, and counts that as a failure.
const unreadTimeout = 2 * time.Second

var errUnread = errors.New("the run was told to stop, and nobody reads its messages")

// output writes messages to standard output until the run has been told to stop and
// nobody reads them any more. After an error, a write may still be under way, so the
// bytes must stay as they are.
type output struct {
	w       io.Writer
	stopped <-chan struct{}
}

func (o output) Write(p []byte) (int, error) {
	var n int
	written := goroutine.Start(func() (err error) {
		n, err = o.w.Write(p)
		return err
	})
	select {
	case err := <-written:
		return n, err
	case <-o.stopped:
	}
	select {
	case err := <-written:
		return n, err
	case <-time.After(unreadTimeout):
		return 0, errUnread
	}
}
