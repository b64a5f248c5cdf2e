package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// interruptTimeout is how long an interrupted run waits for the warehouse and the
// catalog.
const interruptTimeout = 2 * time.Minute

// interruptible does work, which ends soon after ctx does, unless something hangs that
// cannot be interrupted, as a file system can: then the work is left behind.
func interruptible(ctx context.Context, work func() error) error {
	ended := protocol.Go(work)
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(interruptTimeout):
		return &protocol.Error{Kind: protocol.TransientError, Message: fmt.Sprintf(
			"The run was told to stop, and waited for %s for the warehouse or the catalog, which do not answer. What it acknowledged is safe; start it again when they do.", interruptTimeout)}
	}
}

// signalDelay is how long after the end of the input a signal may come that
// ended it: Ctrl-C stops both programs of a pipe, and the other one may be
// quicker.
const signalDelay = 250 * time.Millisecond

// end finishes at the end of the input. Where it would have to be taken for the
// end of a stream, it first waits for a signal that may have come to both
// programs: then the source has not ended by itself.
func (w *writer) end(ctx, working context.Context) error {
	if !w.ledger.assumes() {
		return w.finish(working, ended)
	}
	select {
	case <-ctx.Done():
		return errors.Join(w.finish(working, stoppedAt), context.Cause(ctx))
	case <-working.Done():
		return context.Cause(working)
	case <-time.After(w.signalDelay):
		return w.finish(working, ended)
	}
}
