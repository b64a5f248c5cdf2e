package syncer

import (
	"runtime"
	"runtime/debug"
)

// Memory is what the process may use, in MiB.
type Memory int

func (m Memory) bytes() int64 { return int64(m) << 20 }

// memoryPerWorker is how much of the memory each of the workers has for what it
// holds: rows, blocks of input, Parquet pages, and what the collector has not
// freed yet.
const memoryPerWorker = 64 // MiB

// parallel is how many workers run at the same time: one on each core, as far as
// the memory goes.
func (m Memory) parallel(cores int) int { return max(1, min(cores, int(m)/memoryPerWorker)) }

// threads is how many threads run Go code at the same time: two for each worker,
// as others read, commit and collect garbage. With many more the collector gets
// its turn late, where there are fewer cores or they are busy, and the heap
// outgrows its limit meanwhile.
func (m Memory) threads(cores int) int { return min(cores, 2*m.parallel(cores)) }

// outsideHeap is what the process takes beside Go's heap, whatever its memory:
// the program itself, of which the pages in use count, and what the heap outgrows
// its limit by while the collector runs.
const outsideHeap = 80 // MiB

// LimitProcess keeps the process within its memory.
func (m Memory) LimitProcess() {
	debug.SetMemoryLimit(int64(min(int(m)*3/4, int(m)-outsideHeap)) << 20)
	if cores := runtime.GOMAXPROCS(0); m.threads(cores) < cores {
		runtime.GOMAXPROCS(m.threads(cores))
	}
}

// columnBudget is how many bytes of columns each of the workers holds before it
// writes a row group. More than 16 MiB makes nothing faster; an eighth of the
// memory for all of them, and a sixteenth for one, leaves room for blocks of
// input, Parquet pages and what the collector has not freed yet.
func (m Memory) columnBudget(workers int) int {
	const enough = 16 << 20
	return min(enough, int(m)<<20/max(16, 8*workers))
}
