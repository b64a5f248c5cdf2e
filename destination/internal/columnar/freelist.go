package columnar

import (
	"slices"
	"unsafe"
)

// A FreeList is memory of columns that no batch uses at the moment. The rows of any
// stream may come next: without it each stream would grow columns of its own, and the
// collector would have to free those of the streams before. It is for one goroutine.
type FreeList struct {
	words   freeBuffers[int64]
	offsets freeBuffers[int32]
	data    freeBuffers[byte]
}

// Bytes returns the size of the memory.
func (l *FreeList) Bytes() int { return l.words.bytes + l.offsets.bytes + l.data.bytes }

// Shrink frees memory until at most that many bytes are left. It frees small buffers first:
// they cost the least to make again.
func (l *FreeList) Shrink(to int) {
	all := max(1, l.Bytes())
	if all <= to {
		return
	}
	share := float64(max(0, to)) / float64(all)
	l.words.shrink(share)
	l.offsets.shrink(share)
	l.data.shrink(share)
}

// freeBuffers are in the order of their capacity.
type freeBuffers[T any] struct {
	all   [][]T
	bytes int
}

// minFreeBuffer is the capacity in bytes of buffers that are worth keeping.
const minFreeBuffer = 1 << 10

func sizeOf[T any](s []T) int {
	var one T
	return cap(s) * int(unsafe.Sizeof(one))
}

// place returns where a buffer of a capacity is or would be.
func (f *freeBuffers[T]) place(capacity int) int {
	i, _ := slices.BinarySearchFunc(f.all, capacity, func(s []T, capacity int) int { return cap(s) - capacity })
	return i
}

func (f *freeBuffers[T]) put(s []T) {
	if sizeOf(s) < minFreeBuffer {
		return
	}
	f.all = slices.Insert(f.all, f.place(cap(s)), s)
	f.bytes += sizeOf(s)
}

// grow moves what is in a buffer to a larger one, if the buffer is nearly full. It does
// not use a much larger one, of which little would be filled.
func (f *freeBuffers[T]) grow(s *[]T) {
	if len(*s) <= cap(*s)/4*3 {
		return
	}
	i := f.place(cap(*s) + cap(*s)/2)
	if i == len(f.all) || cap(f.all[i]) > 4*cap(*s) {
		return
	}
	larger := f.all[i]
	f.all = slices.Delete(f.all, i, i+1)
	f.bytes -= sizeOf(larger)
	f.put(*s)
	*s = append(larger[:0], *s...)
}

// shrink keeps a share of the bytes.
func (f *freeBuffers[T]) shrink(share float64) {
	n, to := 0, int(float64(f.bytes)*share)
	for ; n < len(f.all) && f.bytes > to; n++ {
		f.bytes -= sizeOf(f.all[n])
	}
	f.all = slices.Delete(f.all, 0, n)
}

// release takes the memory of a column and of those in it, which must be cleared then.
func (c *column) release(l *FreeList) {
	l.words.put(c.words)
	l.offsets.put(c.offsets)
	l.data.put(c.data)
	l.data.put(c.valid)
	c.words, c.offsets, c.data, c.valid = nil, nil, nil, nil
	for _, f := range c.fields {
		f.release(l)
	}
	if c.element != nil {
		c.element.release(l)
	}
}

func (c *column) grow(l *FreeList) {
	l.words.grow(&c.words)
	l.offsets.grow(&c.offsets)
	l.data.grow(&c.data)
	l.data.grow(&c.valid)
	for _, f := range c.fields {
		f.grow(l)
	}
	if c.element != nil {
		c.element.grow(l)
	}
}

// Release empties the batch; its memory serves the next rows of any batch.
func (b *Batch) Release(l *FreeList) {
	for _, c := range b.columns() {
		c.release(l)
	}
	l.data.put(b.zeros)
	for _, c := range []*constant{b.syncID, b.generation} {
		l.words.put(c.rows)
		c.rows = nil
	}
	b.zeros, b.order = nil, nil
	b.Reset()
}

// Grow gives memory of the list to columns that are nearly full.
func (b *Batch) Grow(l *FreeList) {
	for _, c := range b.columns() {
		c.grow(l)
	}
}
