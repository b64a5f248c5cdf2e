package syncer

import "sync"

// firstBadRecord is the first record that could not be read. It does not stop the
// workers: the records before it are decoded, and then the goroutine that reads the
// input makes the final commit, as at any other end.
type firstBadRecord struct {
	once  sync.Once
	found chan struct{} // closed when there is one

	mu  sync.Mutex
	job decodeJob // that the record is in
	err error
}

func newFirstBadRecord() *firstBadRecord { return &firstBadRecord{found: make(chan struct{})} }

func (b *firstBadRecord) report(job decodeJob, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil || job.sequence < b.job.sequence {
		b.job, b.err = job, err
	}
	b.once.Do(func() { close(b.found) })
}

func (b *firstBadRecord) reported() bool {
	select {
	case <-b.found:
		return true
	default:
		return false
	}
}

// first returns the error and the segment of the record; nil: there is none. It is
// the first one of the input once all records before it are decoded.
func (b *firstBadRecord) first() (segment int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.job.segment, b.err
}
