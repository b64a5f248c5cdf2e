package lake

import (
	"testing"
	"testing/synctest"
	"time"
)

// A long upsert, whose staging takes longer than the time for its attempts, still gets several attempts, and a table
// that cannot be loaded now and then costs one of them.
func TestALongCommitGetsSeveralAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tbl := &Table{commitTimeout: 5 * time.Minute, maxBackoff: time.Second}
		budget, attempts := newRetryBudget(tbl), 0
		for more := true; more && attempts < 100; attempts++ {
			if err := budget.exclude(func() error { time.Sleep(10 * time.Minute); return nil }); err != nil {
				t.Fatal(err)
			}
			var err error
			if more, err = budget.again(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if attempts != 100 {
			t.Errorf("%d attempts: the time of the work counts", attempts)
		}
		budget, attempts = newRetryBudget(tbl), 0
		for more := true; more; attempts++ {
			time.Sleep(2 * time.Minute) // a catalog that hardly answers
			more, _ = budget.again(t.Context())
		}
		if attempts != leastAttempts {
			t.Errorf("%d attempts of two minutes each, want %d", attempts, leastAttempts)
		}
	})
}
