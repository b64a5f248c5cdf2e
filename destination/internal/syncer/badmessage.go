package syncer

import "sync"

// firstBad is the first record or state that cannot be right. It does not stop the
// workers: the records before it are decoded, and then the goroutine that reads the
// input makes the final commit, as at any other end.
type firstBad struct {
	once  sync.Once
	found chan struct{} // closed when there is one

	mu       sync.Mutex
	sequence uint64 // of the message's batch; see run.sequence
	segment  int64  // that the message is in
	err      error
}

func newFirstBad() *firstBad { return &firstBad{found: make(chan struct{})} }

func (b *firstBad) report(sequence uint64, segment int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil || sequence < b.sequence {
		b.sequence, b.segment, b.err = sequence, segment, err
	}
	b.once.Do(func() { close(b.found) })
}

func (b *firstBad) reported() bool {
	select {
	case <-b.found:
		return true
	default:
		return false
	}
}

// first returns the error and the segment of the message; nil: there is none. It is
// the first one of the input once all records before it are decoded.
func (b *firstBad) first() (segment int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.segment, b.err
}
