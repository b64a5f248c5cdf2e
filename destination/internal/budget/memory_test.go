package budget

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func TestTasksWaitForMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const taskBytes = 64 << 20
		m := NewMemory(4 * taskBytes) // half of it is for tasks
		first, err := m.Begin(t.Context(), taskBytes)
		if err != nil {
			t.Fatal(err)
		}
		second, err := m.Begin(t.Context(), taskBytes)
		if err != nil {
			t.Fatal(err)
		}
		began := make(chan func())
		begin := func(bytes int64) {
			end, err := m.Begin(t.Context(), bytes)
			if err != nil {
				t.Error(err)
			}
			began <- end
		}
		go begin(100 * taskBytes) // it needs more than there is, and takes all
		waits := func(why string) {
			t.Helper()
			synctest.Wait()
			select {
			case <-began:
				t.Fatal(why)
			default:
			}
		}
		waits("a third task began beside two that take all memory")
		first()
		waits("a task that takes all memory began beside another")
		second()
		third := <-began
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := m.Begin(ctx, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("a task that is no longer wanted: %v", err)
		}
		third()
		go begin(taskBytes)
		(<-began)()
	})
}

func TestOneTaskHoldsLongRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(256 << 20)
		first, err := m.BeginLong(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		stopped := errors.New("told to stop")
		ctx, stop := context.WithCancelCause(t.Context())
		type begun struct {
			end func()
			err error
		}
		began := make(chan begun)
		begin := func(ctx context.Context) {
			end, err := m.BeginLong(ctx)
			began <- begun{end, err}
		}
		go begin(ctx)
		synctest.Wait()
		select {
		case <-began:
			t.Fatal("a second task holds long rows")
		default:
		}
		stop(stopped)
		if second := <-began; !errors.Is(second.err, stopped) {
			t.Errorf("a task that is told to stop while it waits: %v", second.err)
		}
		go begin(t.Context())
		synctest.Wait()
		first()
		third := <-began
		if third.err != nil {
			t.Fatal(third.err)
		}
		third.end()
	})
}
