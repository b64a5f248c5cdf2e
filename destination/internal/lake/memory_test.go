package lake

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func TestTasksWaitForMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(4 * scanBytes) // half of it is for tasks
		first, err := m.begin(t.Context(), scanBytes)
		if err != nil {
			t.Fatal(err)
		}
		second, err := m.begin(t.Context(), scanBytes)
		if err != nil {
			t.Fatal(err)
		}
		began := make(chan func())
		begin := func(bytes int64) {
			end, err := m.begin(t.Context(), bytes)
			if err != nil {
				t.Error(err)
			}
			began <- end
		}
		go begin(100 * scanBytes) // it needs more than there is, and takes all
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
		if _, err := m.begin(ctx, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("a task that is no longer wanted: %v", err)
		}
		third()
		go begin(scanBytes)
		(<-began)()
	})
}
