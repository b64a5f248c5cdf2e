package syncer

import "testing"

func TestCoresShareTheMemory(t *testing.T) {
	for _, c := range []struct{ cores, memory, workers, threads, mebibytes int }{
		{1, 256, 1, 1, 16},
		{2, 256, 2, 2, 16},
		{4, 256, 4, 4, 8},
		{16, 256, 4, 8, 8},
		{64, 256, 4, 8, 8},
		{2, 512, 2, 2, 16},
		{16, 512, 8, 16, 8},
		{64, 512, 8, 16, 8},
		{64, 16_384, 64, 64, 16},
	} {
		memory := Memory(c.memory)
		workers := memory.parallel(c.cores)
		if budget := memory.columnBytes(workers) >> 20; workers != c.workers || budget != c.mebibytes {
			t.Errorf("%d cores with %d MiB: %d workers with %d MiB of columns, want %d with %d", c.cores, c.memory, workers, budget, c.workers, c.mebibytes)
		}
		if threads := memory.threads(c.cores); threads != c.threads {
			t.Errorf("%d cores with %d MiB: %d threads, want %d", c.cores, c.memory, threads, c.threads)
		}
	}
}
