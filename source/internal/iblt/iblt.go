// Package iblt compares two sets of key-value pairs without keeping either: an
// invertible Bloom lookup table, as in Goodrich and Mitzenmacher, "Invertible
// Bloom Lookup Tables" (2011, arXiv:1101.2245), with the sums of Eppstein et al.,
// "What's the Difference? Efficient Set Reconciliation without Prior Context"
// (SIGCOMM 2011).
//
// Insert the pairs of one set and delete those of the other. What is in both
// cancels out, so the table, three kilobytes large however many pairs there were,
// holds the difference. [Table.ListKeys] lists the keys that are in one set only,
// as long as they are few. [Table.Changed] then finds the keys whose values
// differ, however many they are.
package iblt

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
)

const (
	hashes = 4  // cells that a pair is added to
	width  = 20 // cells per hash
)

// Capacity is how many pairs may differ for a table of this size to list them all 99
// times in 100.
const Capacity = 45

// A Table is an invertible Bloom lookup table. The zero value is empty.
type Table struct {
	cells [hashes * width]cell
}

// A Key identifies a pair.
type Key [16]byte

// A Pair is what a table holds.
type Pair struct {
	Key   Key
	Value uint64
}

// A cell holds sums over its pairs: their number and, by exclusive or, their
// parts. A pair that is deleted with another value than it was inserted with
// leaves nothing of its key, and in Value the difference of the two.
type cell struct {
	Count int32
	Key   Key
	Check uint32 // of the key
	Value checkedValue
}

// A checkedValue is a value with a checksum that binds it to its key.
type checkedValue struct {
	Value uint64
	Check uint32
}

func (k Key) digest() (check uint32, cells [hashes]int) {
	sum := sha256.Sum256(k[:])
	for i := range cells {
		cells[i] = i*width + int(binary.BigEndian.Uint32(sum[4+4*i:])%width)
	}
	return binary.BigEndian.Uint32(sum[:]), cells
}

func (p Pair) checkedValue() checkedValue {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(p.Key[:len(p.Key):len(p.Key)], p.Value))
	return checkedValue{p.Value, binary.BigEndian.Uint32(sum[:])}
}

func (v checkedValue) xor(w checkedValue) checkedValue {
	return checkedValue{v.Value ^ w.Value, v.Check ^ w.Check}
}

// Insert adds a pair.
func (t *Table) Insert(p Pair) { t.add(p.Key, p.checkedValue(), 1) }

// Delete removes a pair. It need not have been inserted: the table then holds it
// as one that is only in the other set.
func (t *Table) Delete(p Pair) { t.add(p.Key, p.checkedValue(), -1) }

func (t *Table) add(key Key, v checkedValue, n int32) {
	check, cells := key.digest()
	for _, i := range cells {
		c := &t.cells[i]
		c.Count += n
		c.Check ^= check
		c.Value = c.Value.xor(v)
		for j := range c.Key {
			c.Key[j] ^= key[j]
		}
	}
}

// ListKeys lists the keys that were inserted once more than deleted, and the
// reverse, and takes them out of the table; the cells keep the sums of their
// values. If complete is false, there are more keys than the table can tell
// apart; those it returns are correct all the same.
func (t *Table) ListKeys() (inserted, deleted []Key, complete bool) {
	for again := true; again; {
		again = false
		for i := range t.cells { // by index: add changes them
			c := t.cells[i]
			if c.Count != 1 && c.Count != -1 {
				continue
			}
			if check, _ := c.Key.digest(); check != c.Check {
				continue
			}
			if c.Count == 1 {
				inserted = append(inserted, c.Key)
			} else {
				deleted = append(deleted, c.Key)
			}
			t.add(c.Key, checkedValue{}, -c.Count)
			again = true
		}
	}
	complete = true
	for _, c := range t.cells {
		complete = complete && c.Count == 0 && c.Check == 0 && c.Key == Key{}
	}
	return inserted, deleted, complete
}

// Changed lists those of the deleted pairs whose key was inserted with another
// value; if they are many, it lists unchanged ones too. Call it after ListKeys was
// complete, with the keys that ListKeys returned as listed, because the cells
// still hold their values. Values are those of the listed keys, unless too many
// values differ to tell.
func (t *Table) Changed(deleted []Pair, listed []Key) (keys []Key, values map[Key]uint64) {
	values = map[Key]uint64{}
	type candidate struct {
		Pair
		cells  [hashes]int
		listed bool
	}
	var candidates []candidate
	for _, k := range listed {
		_, cells := k.digest()
		candidates = append(candidates, candidate{Pair{Key: k}, cells, true})
	}
	for _, p := range deleted {
		if _, cells := p.Key.digest(); t.mayDiffer(cells) {
			candidates = append(candidates, candidate{p, cells, false})
		}
	}
	for again := true; again; {
		again = false
		candidates = slices.DeleteFunc(candidates, func(c candidate) bool {
			if !t.mayDiffer(c.cells) {
				return true // the differences in its cells were those of other pairs
			}
			for _, i := range c.cells {
				// The checksum shows whether this pair alone accounts for the cell.
				sum, was := t.cells[i].Value, checkedValue{}
				if !c.listed {
					was = c.checkedValue()
				}
				if (Pair{c.Key, sum.Value ^ was.Value}).checkedValue() != sum.xor(was) {
					continue
				}
				for _, j := range c.cells {
					t.cells[j].Value = t.cells[j].Value.xor(sum)
				}
				if c.listed {
					values[c.Key] = sum.Value
				} else {
					keys = append(keys, c.Key)
				}
				again = true
				return true
			}
			return false
		})
	}
	for _, c := range candidates {
		if !c.listed {
			keys = append(keys, c.Key)
		}
	}
	return keys, values
}

// mayDiffer reports whether all cells hold what may be the difference of two
// values.
func (t *Table) mayDiffer(cells [hashes]int) bool {
	for _, i := range cells {
		if t.cells[i].Value == (checkedValue{}) {
			return false
		}
	}
	return true
}

// MarshalText writes no text for an empty table.
func (t Table) MarshalText() ([]byte, error) {
	if t == (Table{}) {
		return nil, nil
	}
	var b bytes.Buffer
	if err := binary.Write(&b, binary.BigEndian, t.cells); err != nil {
		return nil, fmt.Errorf("encoding a sketch: %w", err)
	}
	return base64.StdEncoding.AppendEncode(nil, b.Bytes()), nil
}

// UnmarshalText reads what MarshalText wrote.
func (t *Table) UnmarshalText(text []byte) error {
	*t = Table{}
	if len(text) == 0 {
		return nil
	}
	b, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		return fmt.Errorf("decoding a sketch: %w", err)
	}
	if len(b) != binary.Size(t.cells) {
		return fmt.Errorf("decoding a sketch: %d bytes, want %d", len(b), binary.Size(t.cells))
	}
	return binary.Read(bytes.NewReader(b), binary.BigEndian, &t.cells)
}
