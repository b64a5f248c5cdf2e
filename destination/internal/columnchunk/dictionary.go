package columnchunk

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"github.com/zeebo/xxh3"
)

const (
	maxDictionary = 1 << 20 // bytes
	// A dictionary is given up if after so many values most of them are distinct.
	dictionaryTrial = 8192
)

// A dictionary is the distinct values of a chunk, and the index of each value.
type dictionary struct {
	page    []byte // in the encoding PLAIN
	entries int
	indices []uint32

	starts []int    // of texts, in the page
	words  []uint64 // numbers
	slots  []uint32 // hash table of indices+1
}

// build fills the dictionary with the values at present positions. It reports whether it
// pays. Booleans have none: readers do not expect it.
func (d *dictionary) build(v values, present []uint64, positions int) bool {
	*d = dictionary{page: d.page[:0], indices: d.indices[:0], starts: d.starts[:0], words: d.words[:0], slots: d.slots[:0]}
	d.slots = append(d.slots, make([]uint32, 1024)...)
	var add func(from, to int)
	switch v := v.(type) {
	case texts:
		add = func(from, to int) { d.addTexts(v, from, to) }
	case interface{ fixed() ([]byte, int) }:
		data, width := v.fixed()
		add = func(from, to int) { d.addNumbers(data[from*width:to*width], width) }
	default:
		return false
	}
	pays := true
	eachRun(present, 0, positions, func(from, to int) {
		for ; from < to && pays; from += dictionaryTrial {
			tried := len(d.indices) >= dictionaryTrial
			add(from, min(to, from+dictionaryTrial))
			if n := len(d.indices); !tried && n >= dictionaryTrial {
				pays = d.entries < n*2/3
			}
			pays = pays && len(d.page)+8*len(d.words) <= maxDictionary
		}
	})
	if d.entries == 0 || !pays {
		return false
	}
	if n, ok := v.(interface{ fixed() ([]byte, int) }); ok {
		_, width := n.fixed()
		for _, word := range d.words {
			d.page = binary.LittleEndian.AppendUint64(d.page, word)
			d.page = d.page[:len(d.page)-8+width]
		}
	}
	return true
}

// addNumbers adds numbers of four or eight bytes.
func (d *dictionary) addNumbers(data []byte, width int) {
	shift := 64 - bits.Len(uint(len(d.slots)-1))
	var last uint64
	index := uint32(0) // of last, plus 1; 0: there is none
	for ; len(data) >= width; data = data[width:] {
		var word uint64
		if width == 8 {
			word = binary.LittleEndian.Uint64(data)
		} else {
			word = uint64(binary.LittleEndian.Uint32(data))
		}
		if word == last && index > 0 {
			d.indices = append(d.indices, index-1)
			continue
		}
		last = word
		slot := hashWord(word) >> shift
		for {
			if index = d.slots[slot]; index == 0 || d.words[index-1] == word {
				break
			}
			slot = (slot + 1) & uint64(len(d.slots)-1)
		}
		if index == 0 {
			d.words = append(d.words, word)
			d.entries++
			index = uint32(d.entries)
			d.slots[slot] = index
			if d.rehash(func(i int) uint64 { return hashWord(d.words[i]) }) {
				shift = 64 - bits.Len(uint(len(d.slots)-1))
			}
		}
		d.indices = append(d.indices, index-1)
	}
}

func hashWord(word uint64) uint64 { return (word ^ word>>32) * 0x9e3779b97f4a7c15 }

// addTexts adds texts.
func (d *dictionary) addTexts(v texts, from, to int) {
	shift := 64 - bits.Len(uint(len(d.slots)-1))
	var last []byte
	index := uint32(0)
	for i := from; i < to && len(d.page) <= maxDictionary; i++ {
		text := v.bytes[v.offsets[i]:v.offsets[i+1]]
		if index > 0 && bytes.Equal(text, last) {
			d.indices = append(d.indices, index-1)
			continue
		}
		last = text
		slot := hashText(text) >> shift
		for {
			if index = d.slots[slot]; index == 0 || bytes.Equal(d.text(int(index-1)), text) {
				break
			}
			slot = (slot + 1) & uint64(len(d.slots)-1)
		}
		if index == 0 {
			d.starts = append(d.starts, len(d.page))
			d.page = append(binary.LittleEndian.AppendUint32(d.page, uint32(len(text))), text...)
			d.entries++
			index = uint32(d.entries)
			d.slots[slot] = index
			if d.rehash(func(i int) uint64 { return hashText(d.text(i)) }) {
				shift = 64 - bits.Len(uint(len(d.slots)-1))
			}
		}
		d.indices = append(d.indices, index-1)
	}
}

func hashText(text []byte) uint64 {
	if n := len(text); n >= 4 && n <= 8 {
		return hashWord(uint64(binary.LittleEndian.Uint32(text)) | uint64(binary.LittleEndian.Uint32(text[n-4:]))<<32)
	}
	return xxh3.Hash(text)
}

// text is a text of the dictionary.
func (d *dictionary) text(i int) []byte {
	start := d.starts[i] + 4
	return d.page[start : start+int(binary.LittleEndian.Uint32(d.page[start-4:]))]
}

// rehash enlarges the table when it is half full.
func (d *dictionary) rehash(hash func(i int) uint64) bool {
	if d.entries*2 < len(d.slots) {
		return false
	}
	d.slots = make([]uint32, 4*len(d.slots))
	shift, mask := 64-bits.Len(uint(len(d.slots)-1)), uint64(len(d.slots)-1)
	for i := range d.entries {
		slot := hash(i) >> shift
		for d.slots[slot] != 0 {
			slot = (slot + 1) & mask
		}
		d.slots[slot] = uint32(i) + 1
	}
	return true
}

// width is the number of bits of an index.
func (d *dictionary) width() int { return max(1, bits.Len(uint(d.entries-1))) }
