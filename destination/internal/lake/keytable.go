package lake

import "github.com/zeebo/xxh3"

// keyTable finds the staged row that wins a key: open addressing with linear
// probing, 18 bytes a row.
type keyTable struct {
	blocks []*keyBlock
	slots  []keySlot

	// erased is the arrival of the last tombstone without a cursor of a slot's
	// key. With nothing to compare, it deletes what came before it, whatever
	// the cursors of that are.
	erased map[uint32]uint64
}

type keySlot struct {
	tag   uint32 // of the hash, to save looking at the row; with used set
	block uint32
	row   uint32
}

const used = 1 << 31

// newKeyTable finds the winners. Tombstones that win are no rows, unless they are
// kept.
func newKeyTable(blocks []*keyBlock, keepTombstones bool) *keyTable {
	rows := 0
	for _, b := range blocks {
		rows += len(b.hashes)
	}
	k := &keyTable{blocks: blocks}
	if rows == 0 {
		return k
	}
	k.slots = make([]keySlot, rows+rows/2+1)
	// Rows come in any order, so what erases goes first.
	for _, erasing := range []bool{true, false} {
		for i, b := range blocks {
			for row := range b.hashes {
				if b.flags[row]&loser == 0 && b.flags[row].erases() == erasing {
					k.insert(uint32(i), uint32(row))
				}
			}
		}
	}
	if keepTombstones {
		return k
	}
	for _, s := range k.slots {
		if s.tag != 0 && k.blocks[s.block].flags[s.row]&tombstone != 0 {
			k.blocks[s.block].flags[s.row] |= loser
		}
	}
	return k
}

// insert makes a row the winner of its key unless the one there is newer; the
// other of the two is a loser.
func (k *keyTable) insert(block, row uint32) {
	b := k.blocks[block]
	slot, found := k.find(b.hashes[row])
	s := &k.slots[slot]
	if !found {
		*s = keySlot{tag: uint32(b.hashes[row].Lo) | used, block: block, row: row}
		if b.flags[row].erases() {
			k.erase(slot, b.orders[row])
		}
		return
	}
	other := k.blocks[s.block]
	c, winner := b.candidate(int(row)), other.candidate(int(s.row))
	if c.loses(&winner, k.erased[slot]) {
		b.flags[row] |= loser
		return
	}
	if b.flags[row].erases() {
		k.erase(slot, b.orders[row])
	}
	other.flags[s.row] |= loser
	s.block, s.row = block, row
}

func (k *keyTable) erase(slot uint32, order uint64) {
	if k.erased == nil {
		k.erased = map[uint32]uint64{}
	}
	k.erased[slot] = order
}

// find returns the slot of a key: the one it is in, or the one it would be in.
func (k *keyTable) find(hash xxh3.Uint128) (slot uint32, found bool) {
	n := uint64(len(k.slots))
	tag := uint32(hash.Lo) | used
	for i := hash.Hi >> 32 * n >> 32; ; {
		s := k.slots[i]
		if s.tag == 0 {
			return uint32(i), false
		}
		if s.tag == tag && k.blocks[s.block].hashes[s.row] == hash {
			return uint32(i), true
		}
		if i++; i == n {
			i = 0
		}
	}
}
