package syncer

import (
	"context"
	"errors"
	"slices"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
)

// closeFiles closes the files with the plan's rows, on all workers. Streams of few rows are
// gathered on one worker before (gather.go). What it returns waits until they are closed and
// the storage has them safe; meanwhile the workers may be sent other records.
func (r *run) closeFiles(ctx context.Context, plan *commitPlan) (closed func() error, err error) {
	r.plans = append(r.plans, plan)
	gathered, err := r.gather(ctx, plan)
	if err != nil {
		return nil, err
	}
	atOnce := r.config.Memory.tablesAtOnce()
	closing, err := r.workers.start(ctx, func(w *worker, ctx context.Context) error {
		var before []*lake.Completed
		for tables := range slices.Chunk(plan.tables, atOnce) {
			for _, completed := range before {
				if err := completed.Wait(); err != nil {
					return err
				}
			}
			before = before[:0]
			for _, t := range tables {
				completed, err := gathered.closeFiles(ctx, w, t)
				if err != nil {
					return err
				}
				t.addFiles(completed)
				before = append(before, completed)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return func() error {
		if err := closing(); err != nil {
			return err
		}
		return errors.Join(r.config.Memory.EachTable(len(plan.tables), func(i int) error {
			return plan.tables[i].waitForFiles(ctx)
		})...)
	}, nil
}

// addFiles adds the files of one worker; nil: it has none.
func (t *tableCommit) addFiles(completed *lake.Completed) {
	if completed == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.completed = append(t.completed, completed)
}

// waitForFiles waits until the storage has the table's files safe.
func (t *tableCommit) waitForFiles(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.completed) > 0 {
		staged, err := t.completed[0].Staged(ctx)
		if err != nil {
			return err
		}
		t.completed = t.completed[1:]
		if staged != nil {
			t.staged = append(t.staged, staged)
		}
	}
	return nil
}

// discardFiles deletes the files of a plan that is not committed.
func (p *commitPlan) discardFiles() error {
	var errs []error
	for _, t := range p.tables {
		for _, completed := range t.completed {
			errs = append(errs, completed.Discard())
		}
		errs = append(errs, lake.Discard(t.stream.Table, t.staged))
	}
	return errors.Join(errs...)
}
