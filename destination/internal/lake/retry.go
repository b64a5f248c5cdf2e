package lake

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"time"

	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// minAttempts is how many attempts a commit gets whatever the time: staging a
// large upsert can take minutes, in which others commit.
const minAttempts = 4

// A retryBudget says whether there is one more attempt at a commit. The time that
// it limits is spent between the attempts, while catalog and other writers are
// waited for; the time in which rows are read and written does not count.
type retryBudget struct {
	t       *Table
	attempt int
	began   time.Time     // of the time that counts since then
	elapsed time.Duration // the time that counted before
}

func newRetryBudget(t *Table) *retryBudget { return &retryBudget{t: t, began: time.Now()} }

// exclude does the work of an attempt, whose time does not count.
func (r *retryBudget) exclude(do func() error) error {
	r.elapsed += time.Since(r.began)
	defer func() { r.began = time.Now() }()
	return do()
}

// again waits before the next attempt; false when there is none any more. It
// waits longer the more attempts there were, and not in step with other writers.
func (r *retryBudget) again(ctx context.Context) (bool, error) {
	r.attempt++
	if r.attempt >= minAttempts && r.elapsed+time.Since(r.began) >= r.t.commitTimeout {
		return false, nil
	}
	longest := min((20*time.Millisecond)<<min(r.attempt-1, 8), r.t.maxBackoff)
	select {
	case <-time.After(rand.N(longest)):
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// MovedOn reports whether reading the table as it was in base failed because others have
// committed since and removed files that only the snapshots of then named.
func MovedOn(ctx context.Context, cat Catalog, base *table.Table, err error) bool {
	if !errors.Is(err, fs.ErrNotExist) || errors.As(err, new(*protocol.Error)) {
		return false
	}
	now, err := cat.LoadTable(ctx, base.Identifier())
	return err == nil && now.MetadataLocation() != base.MetadataLocation()
}

// isRetryable reports whether the error of loading a table may be gone at the
// next attempt.
func isRetryable(err error) bool {
	var e *protocol.Error
	switch {
	case errors.As(err, &e):
		return e.Kind == protocol.TransientError
	case errors.Is(err, catalog.ErrNoSuchTable), errors.Is(err, catalog.ErrNoSuchNamespace),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	}
	return !storage.IsFailure(err)
}
