package main

import (
	"context"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// shutdownTimeout is how long a run that was told to stop waits for the warehouse
// and the catalog.
const shutdownTimeout = 2 * time.Minute

// withShutdownTimeout runs work, which should return soon after ctx is done. If it
// hangs in a call that cannot be interrupted, as of a file system, it is left
// running and an error is returned.
func withShutdownTimeout(ctx context.Context, work func() error) error {
	ended := goroutine.Start(work)
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(shutdownTimeout):
		return protocol.TransientError.Errorf(nil, "The run was told to stop. It waited %s for the warehouse or the catalog, which do not answer. What it acknowledged is safe; start it again when they do.", shutdownTimeout)
	}
}
