// Package budget is the one memory limit that everything that reads, sorts and
// rewrites rows shares.
package budget

import (
	"context"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"
	"golang.org/x/sync/semaphore"
)

// Memory limits what the tables that share it take besides the rows of their
// writers: a quarter is for keys, and half for tasks that read and copy rows.
type Memory struct {
	keys     int64 // bytes for keys of rows that are not committed; beyond it they are spilled
	heldKeys atomic.Int64

	tasks     *semaphore.Weighted // bytes of the tasks that run at the same time
	taskBytes int64               // in all

	// long is for the task that holds rows of more than LongRow. A task asks
	// for it last: who has it waits for nothing else.
	long chan struct{}
}

// LongRow is the size of a row from which only one task at a time may hold such
// rows. The costs of tasks are those of shorter rows.
const LongRow = 4 << 20

// NewMemory divides the given number of bytes.
func NewMemory(bytes int64) *Memory {
	m := &Memory{keys: bytes / 4, taskBytes: bytes / 2, long: make(chan struct{}, 1)}
	m.tasks = semaphore.NewWeighted(m.taskBytes)
	return m
}

// HoldKeys adds to the bytes that keys take, and reports whether they take too
// many.
func (m *Memory) HoldKeys(bytes int64) (full bool) { return m.heldKeys.Add(bytes) > m.keys }

// Begin waits until there is memory for a task. A task that needs more than
// there is takes all.
func (m *Memory) Begin(ctx context.Context, bytes int64) (end func(), err error) {
	bytes = min(bytes, m.taskBytes)
	if err := m.tasks.Acquire(ctx, bytes); err != nil {
		return nil, context.Cause(ctx)
	}
	return func() { m.tasks.Release(bytes) }, nil
}

// BeginLong waits until no other task holds long rows.
func (m *Memory) BeginLong(ctx context.Context) (end func(), err error) {
	select {
	case m.long <- struct{}{}:
		return func() { <-m.long }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// SizeOf is about how many bytes rows take.
func SizeOf(rec arrow.RecordBatch) (bytes int64) {
	for _, c := range rec.Columns() {
		bytes += int64(c.Data().SizeInBytes())
	}
	return bytes
}
