package zstdpage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// values makes a page: a prefix, and values by number.
func values(prefix, width, count int, value func(i int, v []byte)) []byte {
	page := bytes.Repeat([]byte{7}, prefix)
	for i := range count {
		page = append(page, make([]byte, width)...)
		value(i, page[len(page)-width:])
	}
	return page
}

func decompress(t testing.TB, frame []byte) []byte {
	t.Helper()
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	page, err := d.DecodeAll(frame, nil)
	if err != nil {
		t.Fatalf("the frame cannot be read: %v", err)
	}
	return page
}

func TestPages(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	word := func(of func(i int) uint64) func(int, []byte) {
		return func(i int, v []byte) { binary.LittleEndian.PutUint64(v, of(i)) }
	}
	id := func(i int, v []byte) { copy(v, fmt.Sprintf("\x24\x00\x00\x00018f3c1e-7a00-7000-8000-0000%08x", i)) }
	noise := func(i int, v []byte) {
		for j := range v {
			v[j] = byte(random.Uint32())
		}
	}
	tests := []struct {
		name                 string
		prefix, width, count int
		value                func(int, []byte)
		atMost               float64 // bytes for each value
	}{
		{"small numbers", 6, 8, 60_000, word(func(int) uint64 { return random.Uint64N(1000) }), 1.6},
		{"numbers of three bytes", 0, 8, 60_000, word(func(int) uint64 { return random.Uint64N(1 << 24) }), 3.05},
		{"numbers that grow", 0, 8, 60_000, word(func(i int) uint64 { return 1e15 + uint64(i)*977 }), 3.6},
		{"random words", 3000, 8, 60_000, noise, 8.01},
		{"equal words", 0, 8, 60_000, word(func(int) uint64 { return 42 }), 0.01},
		{"equal words at first", 0, 8, 60_000, word(func(i int) uint64 { return uint64(max(0, i-30_000)) }), 1.6},
		{"ids", 6, 40, 30_000, id, 3},
		{"random ids", 6, 40, 10_000, func(_ int, v []byte) { copy(v, fmt.Sprintf("\x24\x00\x00\x00%032x", random.Uint64())) }, 21},
		{"shared bytes at both ends", 0, 12, 30_000, func(_ int, v []byte) { v[5], v[6] = byte(random.Uint32()), byte(random.Uint32()) }, 2.05},
		{"shared bytes that move", 0, 16, 30_000, func(i int, v []byte) { v[i/3000%16] = byte(random.Uint32()) }, 3.5},
		{"few bytes", 2, 4, 30_000, func(_ int, v []byte) { v[0] = byte(random.Uint32N(20)) }, 0.6},
		{"two bytes", 0, 2, 30_000, func(_ int, v []byte) { v[0] = byte(random.Uint32()) }, 2},
		{"one byte", 0, 1, 300_000, noise, 1.01},
		{"no values", 5, 8, 0, nil, 0},
		{"one value", 5, 8, 1, noise, 40},
		{"two values", 5, 8, 2, noise, 40},
		{"a long prefix", 300_000, 8, 5_000, word(func(i int) uint64 { return uint64(i) }), 3},
		{"the widest values", 5, MaxWidth, 2_000, func(i int, v []byte) { v[i%7] = 1 }, 9},
	}
	var e Encoder
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			page := values(test.prefix, test.width, test.count, test.value)
			frame := e.Append(nil, page, test.prefix, test.width)
			if !bytes.Equal(decompress(t, frame), page) {
				t.Error("the frame holds another page")
			}
			if size := float64(len(frame)-40) / float64(max(1, test.count)); size > test.atMost+float64(test.prefix)/float64(max(1, test.count)) {
				t.Errorf("%.2f bytes for each value, want at most %.2f", size, test.atMost)
			}
		})
	}
}

// Every width and number of values near the ends of blocks.
func TestEndsOfBlocks(t *testing.T) {
	var e Encoder
	for width := 1; width <= MaxWidth; width += 1 + width/9 {
		for _, count := range []int{0, 1, 2, 3, blockBytes/width - 1, blockBytes / width, blockBytes/width + 1, blockBytes/width + 2, 2*blockBytes/width + 1} {
			for _, varies := range []int{0, width / 2, width - 1} {
				page := values(3, width, count, func(i int, v []byte) { v[varies] = byte(i * i) })
				if got := decompress(t, e.Append([]byte{}, page, 3, width)); !bytes.Equal(got, page) {
					t.Fatalf("%d values of %d bytes, byte %d varies: the frame holds another page", count, width, varies)
				}
			}
		}
	}
}

func FuzzPages(f *testing.F) {
	f.Add([]byte("0123456789abcdef"), uint8(MaxWidth-8), uint8(3), uint16(20_000))
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 2, 0}, uint8(MaxWidth-4), uint8(0), uint16(40_000))
	f.Fuzz(func(t *testing.T, seed []byte, narrower, prefix uint8, count uint16) {
		width := MaxWidth - int(narrower)
		// The bytes that vary, and how they do, come from the seed.
		page := values(int(prefix), width, int(count)%(1<<18/width), func(i int, v []byte) {
			for j, s := range seed {
				if s != 0 {
					v[j%len(v)] ^= byte(i * int(s) >> (s & 7))
				}
			}
		})
		var e Encoder
		if !bytes.Equal(decompress(t, e.Append(nil, page, int(prefix), width)), page) {
			t.Error("the frame holds another page")
		}
	})
}

func BenchmarkWords(b *testing.B) {
	page := values(6, 8, 60_000, func(_ int, v []byte) { binary.LittleEndian.PutUint64(v, rand.Uint64N(30_000_000)) })
	b.SetBytes(int64(len(page)))
	var e Encoder
	var dst []byte
	for b.Loop() {
		dst = e.Append(dst[:0], page, 6, 8)
	}
}
