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
	wait, err := ws.start(ctx, task)
	if err != nil {
		return err
	}
	return wait()
}

// start starts a task on every worker, between two of its jobs. Jobs that are sent
// after it come after the task.
func (ws workers) start(ctx context.Context, task func(*worker, context.Context) error) (wait func() error, err error) {
	done := make(chan error, len(ws))
	for _, w := range ws {
		select {
		case w.tasks <- func(ctx context.Context) error {
			err := task(w, ctx)
			done <- err
			return err
		}:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return func() error {
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
	}, nil
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
