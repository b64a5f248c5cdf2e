package columnar

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
)

// expectRowsOf compares all but the ids of rows, which are random.
func expectRowsOf(t *testing.T, b, want *Batch) {
	t.Helper()
	got, wanted := validRecord(t, b), validRecord(t, want)
	for i := range int(wanted.NumCols()) {
		if i == int(wanted.NumCols())-airbyteColumns+rawIDColumn {
			continue
		}
		if !array.Equal(got.Column(i), wanted.Column(i)) {
			t.Fatalf("column %s has other values", wanted.ColumnName(i))
		}
	}
}

// Streams take turns of any length, and their batches use memory of each other.
func TestMemoryOfOtherBatchesHasNoTraces(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var free FreeList
	var d Decoder
	type stream struct {
		batch, fresh *Batch // with the same rows
		lines        [][]byte
	}
	streams := make([]stream, len(workloads))
	for i, w := range workloads {
		streams[i] = stream{w.batch(t), w.batch(t), bytes.SplitAfter(w.lines(1<<20), []byte("\n"))}
	}
	taken := 0
	for range 200 {
		i := r.IntN(len(streams))
		s := &streams[i]
		for range 1 + r.IntN(4) {
			from := r.IntN(len(s.lines))
			lines := bytes.Join(s.lines[from:min(len(s.lines), from+r.IntN(200))], nil)
			for _, b := range []*Batch{s.batch, s.fresh} {
				if err := d.Decode(lines, 1, 0, to(b)); err != nil {
					t.Fatal(err)
				}
			}
			before := free.Bytes()
			s.batch.Grow(&free)
			taken += max(0, before-free.Bytes())
			if s.batch.Rows() != s.fresh.Rows() || s.batch.Bytes() != s.fresh.Bytes() {
				t.Fatalf("%d rows of %d bytes, not %d of %d", s.batch.Rows(), s.batch.Bytes(), s.fresh.Rows(), s.fresh.Bytes())
			}
		}
		if r.IntN(2) == 0 {
			expectRowsOf(t, s.batch, s.fresh)
			s.batch.Release(&free)
			s.fresh = workloads[i].batch(t)
			if s.batch.Rows() != 0 || s.batch.Bytes() != 0 {
				t.Fatalf("%d rows of %d bytes are left", s.batch.Rows(), s.batch.Bytes())
			}
		}
		if r.IntN(10) == 0 {
			to := r.IntN(1 << 20)
			if free.Shrink(to); free.Bytes() > to {
				t.Fatalf("%d bytes are left of %d", free.Bytes(), to)
			}
		}
	}
	if taken < 1<<20 {
		t.Errorf("batches took %d bytes from others", taken)
	}
}

func TestABatchGrowsIntoTheMemoryOfAnother(t *testing.T) {
	for _, w := range workloads {
		t.Run(w.name, func(t *testing.T) {
			lines := bytes.SplitAfter(w.lines(1<<20), []byte("\n"))
			var free FreeList
			var d Decoder
			decode := func(b *Batch) {
				for len := len(lines); len > 0; len -= min(len, 20) {
					if err := d.Decode(bytes.Join(lines[max(0, len-20):len], nil), 1, 0, to(b)); err != nil {
						t.Fatal(err)
					}
					b.Grow(&free)
				}
				b.Record()
			}
			first, second := w.batch(t), w.batch(t)
			decode(first)
			held := first.Capacity() + free.Bytes()
			first.Release(&free)
			if left := first.Capacity() + free.Bytes(); left < held*9/10 || left > held || free.Bytes() < left*9/10 {
				t.Errorf("of %d bytes, %d are free and %d still in the batch", held, free.Bytes(), first.Capacity())
			}
			decode(second)
			if now := second.Capacity() + free.Bytes(); now > held*3/2 {
				t.Errorf("the second batch and what is free take %d bytes; the first took %d", now, held)
			}
		})
	}
}
