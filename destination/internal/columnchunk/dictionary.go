package columnchunk

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"github.com/zeebo/xxh3"
)

const (
	mostDictionary = 1 << 20 // bytes
	// A dictionary is given up if after so many values most of them are distinct.
	dictionaryTrial = 8192
)

// A dictionary is the distinct values of a chunk, and the index of each value.
type dictionary struct {
	page    []byte // in the encoding PLAIN
	starts  []int  // of the entries, in the page
	indices []uint32
	slots   []uint32 // hash table of indices+1
}

// build fills the dictionary with the values at present positions. It reports whether it
// pays.
func (d *dictionary) build(v values, present []uint64, positions int) bool {
	d.page, d.starts, d.indices = d.page[:0], d.starts[:0], d.indices[:0]
	d.slots = append(d.slots[:0], make([]uint32, 1024)...)
	_, isText := v.(texts)
	small := true
	eachRun(present, 0, positions, func(from, to int) {
		for i := from; i < to && small; i++ {
			d.add(v.key(i), isText)
			if n := len(d.indices); n == dictionaryTrial {
				small = len(d.starts) < n*2/3
			}
			small = small && len(d.page) <= mostDictionary
		}
	})
	return small && len(d.indices) > 0
}

func (d *dictionary) add(value []byte, isText bool) {
	if len(d.starts)*2 >= len(d.slots) {
		d.rehash(isText)
	}
	mask := uint64(len(d.slots) - 1)
	slot := hash(value) & mask
	for ; d.slots[slot] != 0; slot = (slot + 1) & mask {
		if i := d.slots[slot] - 1; bytes.Equal(d.entry(int(i), isText), value) {
			d.indices = append(d.indices, i)
			return
		}
	}
	i := uint32(len(d.starts))
	d.slots[slot] = i + 1
	d.starts = append(d.starts, len(d.page))
	if isText {
		d.page = binary.LittleEndian.AppendUint32(d.page, uint32(len(value)))
	}
	d.page = append(d.page, value...)
	d.indices = append(d.indices, i)
}

func hash(value []byte) uint64 {
	if len(value) == 8 {
		h := binary.LittleEndian.Uint64(value) * 0x9e3779b97f4a7c15
		return h>>32 ^ h>>47
	}
	return xxh3.Hash(value)
}

// entry is a value of the dictionary.
func (d *dictionary) entry(i int, isText bool) []byte {
	end := len(d.page)
	if i+1 < len(d.starts) {
		end = d.starts[i+1]
	}
	value := d.page[d.starts[i]:end]
	if isText {
		value = value[4:]
	}
	return value
}

func (d *dictionary) rehash(isText bool) {
	d.slots = make([]uint32, 4*len(d.slots))
	mask := uint64(len(d.slots) - 1)
	for i := range d.starts {
		slot := hash(d.entry(i, isText)) & mask
		for d.slots[slot] != 0 {
			slot = (slot + 1) & mask
		}
		d.slots[slot] = uint32(i) + 1
	}
}

// width is the number of bits of an index.
func (d *dictionary) width() int { return max(1, bits.Len(uint(len(d.starts)-1))) }
