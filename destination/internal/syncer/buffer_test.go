package syncer

import "testing"

// Streams that come one after the other use the same memory.
func TestAStreamTakesTheMemoryOfThoseBeforeIt(t *testing.T) {
	r, _ := newTestRun(t, sameCatalog)
	w := newWorker(r.streams, 1<<18, r.firstBad, r.longMessages)
	taken := 0
	for i := range 40 {
		name := []string{"a", "b"}[i/5%2]
		before := w.free.Bytes()
		if err := w.decode(t.Context(), decodeJob{records: recordsOf(t, name, 1000*i, 1000), sequence: uint64(i), segment: 1}); err != nil {
			t.Fatal(err)
		}
		taken += max(0, before-w.free.Bytes())
		sum := 0
		for _, b := range w.all {
			sum += b.batch.Capacity()
		}
		if sum-w.capacity > 1<<10 || w.free.Bytes() > max(0, w.limit*5/4-w.capacity) { // a batch without rows has a few bytes
			t.Fatalf("after %d jobs, buffers take %d bytes, counted as %d, and %d are free; the limit is %d", i+1, sum, w.capacity, w.free.Bytes(), w.limit)
		}
	}
	if taken < w.limit/2 {
		t.Errorf("streams took %d bytes from others", taken)
	}
}

// While tables are committed, their memory is for the commit.
func TestNoMemoryStaysFreeForACommit(t *testing.T) {
	r, _ := newTestRun(t, sameCatalog)
	w := newWorker(r.streams, 1<<20, r.firstBad, r.longMessages)
	for i, name := range []string{"a", "b"} { // rows of b came last
		if err := w.decode(t.Context(), decodeJob{records: recordsOf(t, name, 0, 1000), sequence: uint64(i), segment: 1}); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range r.streams.all {
		if _, err := w.closeFiles(t.Context(), s, 1); err != nil {
			t.Fatal(err)
		}
		if w.free.Bytes() > 0 {
			t.Errorf("after the files of %s were closed, %d bytes are free", s.ID, w.free.Bytes())
		}
	}
	if a, b := w.buffers[""]["a"], w.buffers[""]["b"]; a.batch.Capacity() > 1<<10 || b.batch.Capacity() < 1<<14 {
		t.Errorf("the stream that came first keeps %d bytes, and the one that came last %d", a.batch.Capacity(), b.batch.Capacity())
	}
}
