package syncer

import (
	"context"
	"errors"
)

// workers are all workers of a sync.
type workers []*worker

// each runs a task on every worker, between two of its jobs, and waits for all of
// them.
func (ws workers) each(ctx context.Context, task func(*worker, context.Context) error) error {
	done := make(chan error, len(ws))
	for _, w := range ws {
		select {
		case w.tasks <- func(ctx context.Context) error {
			err := task(w, ctx)
			done <- err
			return err
		}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for range ws {
		select {
		case err := <-done:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// discardFiles deletes the files that no commit plan has.
func (ws workers) discardFiles() error {
	var errs []error
	for _, w := range ws {
		for _, b := range w.all {
			errs = append(errs, b.writer.Abort())
		}
	}
	return errors.Join(errs...)
}
