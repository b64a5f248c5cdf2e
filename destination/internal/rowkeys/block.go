package rowkeys

import (
	"bytes"
	"cmp"
	"encoding/binary"

	"github.com/zeebo/xxh3"
)

// A block holds of each row what decides which of two rows of a key stays: 33
// bytes, and the text of the cursor when that is not a number.
//
// Keys are compared by 128-bit hashes only. That two of 10 billion keys have
// the same one is a matter of 1 in 10^18. They are seeded, so that nobody can
// choose two such keys.
type block struct {
	rows     []int64  // of the file; nil: consecutive ones
	slots    []uint32 // of winners, of hits
	hashes   []xxh3.Uint128
	arrivals []uint64
	cursors  []uint64 // numbers of the same order as the values, or places in texts
	texts    []byte   // cursors that are compared as bytes: length, bytes
	flags    []rowFlag
}

type rowFlag uint8

const (
	nullCursor         rowFlag = 1 << iota // older than any other
	textCursor                             // compared as bytes
	tombstone                              // deletes its key
	supersededByStaged                     // another staged row of its key wins, or it is a tombstone
	supersededByTable                      // a row of the table wins; only as long as one attempt to commit
)

// isUnversionedTombstone reports whether the row is a tombstone without a cursor,
// which deletes all that arrived before it.
func (f rowFlag) isUnversionedTombstone() bool {
	return f&(nullCursor|tombstone) == nullCursor|tombstone
}

// text is the cursor of a row whose cursors are text.
func (b *block) text(row int) []byte {
	at := b.texts[b.cursors[row]:]
	n, size := binary.Uvarint(at)
	return at[size : size+int(n)]
}

// memory is how many bytes the block takes, and a commit of it: each row has a
// slot among the winners, and perhaps a hit.
func (b *block) memory() int64 {
	const row, slot, hit = 33, 18, 21
	return int64(len(b.hashes))*(row+slot+hit) + int64(cap(b.texts))
}

// candidate returns what decides whether a row stays.
func (b *block) candidate(row int) candidate {
	c := candidate{cursor: b.cursors[row], flags: b.flags[row]}
	if b.arrivals != nil {
		c.arrival = b.arrivals[row]
	}
	if c.flags&textCursor != 0 {
		c.text = b.text(row)
	}
	return c
}

// candidate is what decides whether a row stays.
type candidate struct {
	arrival uint64
	cursor  uint64
	text    []byte // a cursor that is text
	flags   rowFlag
}

// losesTo reports whether the winner so far supersedes the row. tombstone is the
// arrival of the last unversioned tombstone of their key, 0 if there is none. Such
// tombstones must be compared before all other rows.
func (c *candidate) losesTo(winner *candidate, tombstone uint64) bool {
	return c.arrival < tombstone ||
		!winner.flags.isUnversionedTombstone() && cmp.Or(compareCursors(c, winner), cmp.Compare(c.arrival, winner.arrival)) < 0
}

// compareCursors orders two rows by their cursors.
func compareCursors(a, b *candidate) int {
	aNull, bNull := a.flags&nullCursor != 0, b.flags&nullCursor != 0
	switch {
	case aNull && bNull:
		return 0
	case aNull:
		return -1
	case bNull:
		return 1
	case a.flags&b.flags&textCursor != 0:
		return bytes.Compare(a.text, b.text)
	}
	return cmp.Compare(a.cursor, b.cursor)
}
