package rowkeys

import "github.com/zeebo/xxh3"

// winners finds the staged row that wins a key: open addressing with linear
// probing, 19 bytes a row.
type winners struct {
	blocks []*block
	slots  []keySlot
	filter keyFilter // of the keys; it is so small that it stays in the processor's cache

	// tombstones is the arrival of the last unversioned tombstone of a slot's key.
	// With nothing to compare, it deletes what came before it, whatever the
	// cursors of that are.
	tombstones map[uint32]uint64
}

type keySlot struct {
	tag   uint32 // of the hash, to save looking at the row; with used set
	block uint32
	row   uint32
}

const used = 1 << 31

// newWinners finds the winners. A tombstone that wins is superseded itself, unless
// tombstones are kept.
func newWinners(blocks []*block, keepTombstones bool) *winners {
	rows := 0
	for _, b := range blocks {
		rows += len(b.hashes)
	}
	k := &winners{blocks: blocks}
	if rows == 0 {
		return k
	}
	k.slots = make([]keySlot, rows+rows/2+1)
	k.filter = newKeyFilter(int64(rows))
	// Rows come in any order, so unversioned tombstones go first.
	for _, unversioned := range []bool{true, false} {
		for i, b := range blocks {
			for row := range b.hashes {
				if b.flags[row]&supersededByStaged == 0 && b.flags[row].isUnversionedTombstone() == unversioned {
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
			k.blocks[s.block].flags[s.row] |= supersededByStaged
		}
	}
	return k
}

// insert makes a row the winner of its key unless the one there is newer; the
// other of the two is superseded.
func (k *winners) insert(block, row uint32) {
	b := k.blocks[block]
	slot, found := k.find(b.hashes[row])
	s := &k.slots[slot]
	if !found {
		k.filter.add(b.hashes[row])
		*s = keySlot{tag: uint32(b.hashes[row].Lo) | used, block: block, row: row}
		if b.flags[row].isUnversionedTombstone() {
			k.addTombstone(slot, b.arrivals[row])
		}
		return
	}
	other := k.blocks[s.block]
	c, winner := b.candidate(int(row)), other.candidate(int(s.row))
	if c.losesTo(&winner, k.tombstones[slot]) {
		b.flags[row] |= supersededByStaged
		return
	}
	if b.flags[row].isUnversionedTombstone() {
		k.addTombstone(slot, b.arrivals[row])
	}
	other.flags[s.row] |= supersededByStaged
	s.block, s.row = block, row
}

func (k *winners) addTombstone(slot uint32, order uint64) {
	if k.tombstones == nil {
		k.tombstones = map[uint32]uint64{}
	}
	k.tombstones[slot] = order
}

// find returns the slot of a key: the one it is in, or the one it would be in.
func (k *winners) find(hash xxh3.Uint128) (slot uint32, found bool) {
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
