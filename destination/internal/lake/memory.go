package lake

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// Memory limits what the tables that share it take besides the rows of their
// writers: a quarter for keys, and half for what reads and copies rows.
type Memory struct {
	keys     int64 // bytes for keys of rows that are not committed; beyond it they are spilled
	heldKeys atomic.Int64

	tasks     *semaphore.Weighted // bytes of what runs at the same time
	taskBytes int64               // in all

	// long is for the task that has rows of more than longRow in hand. It is
	// asked for last: who has it waits for nothing else.
	long chan struct{}
}

// What tasks take, with rows that are not long.
const (
	scanBytes    = 2 * pieceBytes
	rewriteBytes = 4 * pieceBytes // a piece, a row group before and after it is joined
	mergeBytes   = 2 * mergedBytes

	longRow = 4 << 20
)

// NewMemory divides the given number of bytes.
func NewMemory(bytes int64) *Memory {
	m := &Memory{keys: bytes / 4, taskBytes: bytes / 2, long: make(chan struct{}, 1)}
	m.tasks = semaphore.NewWeighted(m.taskBytes)
	return m
}

// holdKeys counts bytes of keys in, and reports whether they are too many.
func (m *Memory) holdKeys(bytes int64) (full bool) { return m.heldKeys.Add(bytes) > m.keys }

// begin waits until there is memory for a task, which takes all there is if it
// needs more.
func (m *Memory) begin(ctx context.Context, bytes int64) (end func(), err error) {
	bytes = min(bytes, m.taskBytes)
	if err := m.tasks.Acquire(ctx, bytes); err != nil {
		return nil, context.Cause(ctx)
	}
	return func() { m.tasks.Release(bytes) }, nil
}

// beginLong waits until no other task has long rows in hand.
func (m *Memory) beginLong() (end func()) {
	m.long <- struct{}{}
	return func() { <-m.long }
}
