package main

import (
	"context"
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
