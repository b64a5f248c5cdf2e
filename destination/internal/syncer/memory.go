package syncer

import (
	"runtime"
	"runtime/debug"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/budget"
	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
)

// Memory is the memory that the process may use, in MiB.
type Memory int

func (m Memory) bytes() int64 { return int64(m) << 20 }

// memoryPerWorker is the share of one worker: rows, blocks of input, Parquet pages,
// and garbage that the collector has not freed yet.
const memoryPerWorker = 64 // MiB

// parallel returns the number of workers: one for each core, if there is memory for
// them.
func (m Memory) parallel(cores int) int { return max(1, min(cores, int(m)/memoryPerWorker)) }

// threads returns the number of threads that run Go code at the same time: two for
// each worker, since other goroutines read, commit and collect garbage. With many
// more, on few or busy cores, the collector gets its turn so late that the heap
// outgrows its limit.
func (m Memory) threads(cores int) int { return min(cores, 2*m.parallel(cores)) }

// memoryPerTable is the share of a table that is opened, committed or maintained: its
// metadata and manifests. What reading and rewriting rows needs besides, it waits for.
const memoryPerTable = 16 // MiB

// tablesAtOnce returns how many tables are opened, committed or maintained at the same
// time. They spend most of it waiting for storage and catalog, so it is not a matter of
// cores.
func (m Memory) tablesAtOnce() int { return max(4, min(32, int(m)/memoryPerTable)) }

// EachTable does something for each of n tables, for several at the same time, and
// returns their errors in the order of the tables.
func (m Memory) EachTable(n int, do func(i int) error) []error {
	slots := make(chan struct{}, m.tablesAtOnce())
	ended := make([]<-chan error, n)
	for i := range n {
		slots <- struct{}{}
		ended[i] = goroutine.Start(func() error {
			defer func() { <-slots }()
			return do(i)
		})
	}
	errs := make([]error, n)
	for i := range n {
		errs[i] = <-ended[i]
	}
	return errs
}

// Shared returns what the tables of one run share for reading and rewriting rows.
func (m Memory) Shared() *budget.Memory { return budget.NewMemory(m.bytes()) }

// outsideHeap is what the process needs outside of Go's heap: the pages of the
// program itself, and what the heap outgrows its limit by while the collector runs.
const outsideHeap = 100 // MiB

// LimitProcess keeps the process within its memory.
func (m Memory) LimitProcess() {
	debug.SetMemoryLimit(int64(min(int(m)*3/4, int(m)-outsideHeap)) << 20)
	if cores := runtime.GOMAXPROCS(0); m.threads(cores) < cores {
		runtime.GOMAXPROCS(m.threads(cores))
	}
}

// columnBytes returns how many bytes of columns each worker holds before it writes
// a row group. More than 16 MiB makes nothing faster. An eighth of the memory for
// all workers, and at most a sixteenth for one, leaves room for blocks of input,
// Parquet pages and garbage.
func (m Memory) columnBytes(workers int) int {
	const enough = 16 << 20
	return min(enough, (int(m)<<20)/max(16, 8*workers))
}
