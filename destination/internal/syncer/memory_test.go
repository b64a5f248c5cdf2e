package syncer

import (
	"runtime"
	"strings"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

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

// A sync keeps to its share: it has no more workers than the memory is enough for.
func TestASyncHasAsManyWorkersAsItsMemoryAllows(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(16))
	r, _ := newTestRun(t, sameCatalog)
	r.config.Memory = 256
	_ = r.execute(t.Context(), protocol.NewInput(strings.NewReader(""), r.log)) // the streams are not complete
	if len(r.workers) != 4 || r.workers[0].limit != 8<<20 {
		t.Errorf("%d workers, each with %d bytes of columns", len(r.workers), r.workers[0].limit)
	}
}
