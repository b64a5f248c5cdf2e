package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A sketch remembers a set of rows, however many, in three kilobytes. It cannot
// list them, but whoever reads all rows anew takes them out one by one, and what
// is left tells the difference: the keys that are missing or new, as long as
// they are few, and then the rows that are different, however many. It is an
// invertible Bloom lookup table: every row is added into four cells that its key
// chooses, and a cell that holds one key only gives it away.
type sketch struct {
	cells [sketchRows * sketchWidth]cell
}

const (
	sketchRows  = 4
	sketchWidth = 20 // cells of one row; some 40 missing and new keys in all can be listed
)

// A cell holds sums over its rows: of one for each, and, by exclusive or, of
// their parts. A row that is taken out in another version leaves nothing of its
// key, and in Version the difference of the two.
type cell struct {
	Count   int32
	Key     packedKey
	Check   uint32 // of the key
	Version version
}

// A version tells the versions of a row apart. Check binds it to the key.
type version struct {
	Hash  uint64
	Check uint32
}

type packedKey [16]byte

// An element is a row: its key and which version of it.
type element struct {
	Key  packedKey
	Hash uint64
}

func (k packedKey) digest() (check uint32, cells [sketchRows]int) {
	sum := sha256.Sum256(k[:])
	for i := range cells {
		cells[i] = i*sketchWidth + int(binary.BigEndian.Uint32(sum[4+4*i:])%sketchWidth)
	}
	return binary.BigEndian.Uint32(sum[:]), cells
}

func (e element) version() version {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(e.Key[:len(e.Key):len(e.Key)], e.Hash))
	return version{e.Hash, binary.BigEndian.Uint32(sum[:])}
}

func (v version) xor(w version) version { return version{v.Hash ^ w.Hash, v.Check ^ w.Check} }

func (s *sketch) add(e element)    { s.put(e.Key, e.version(), 1) }
func (s *sketch) remove(e element) { s.put(e.Key, e.version(), -1) }

func (s *sketch) put(key packedKey, v version, n int32) {
	check, cells := key.digest()
	for _, i := range cells {
		c := &s.cells[i]
		c.Count += n
		c.Check ^= check
		c.Version = c.Version.xor(v)
		for j := range c.Key {
			c.Key[j] ^= key[j]
		}
	}
}

// keys lists the keys that were added once more than removed, and the reverse,
// and takes them out; of their versions the cells keep the sums. Complete is
// false if there are more than the sketch can tell apart; those it returns are
// right all the same.
func (s *sketch) keys() (added, removed []packedKey, complete bool) {
	for again := true; again; {
		again = false
		for i := range s.cells { // by index: put changes them
			c := s.cells[i]
			if c.Count != 1 && c.Count != -1 {
				continue
			}
			if check, _ := c.Key.digest(); check != c.Check {
				continue
			}
			if c.Count == 1 {
				added = append(added, c.Key)
			} else {
				removed = append(removed, c.Key)
			}
			s.put(c.Key, version{}, -c.Count)
			again = true
		}
	}
	complete = true
	for _, c := range s.cells {
		complete = complete && c.Count == 0 && c.Check == 0 && c.Key == packedKey{}
	}
	return added, removed, complete
}

// different lists, once keys is complete, those of the given rows that were
// added in another version than the one removed, given here; when they are many,
// also others. Others are the keys that are not among the rows, but whose
// versions are in the sums.
func (s *sketch) different(rows []element, others []packedKey) (list []packedKey) {
	type candidate struct {
		element
		cells [sketchRows]int
		other bool
	}
	var left []candidate
	for _, k := range others {
		_, cells := k.digest()
		left = append(left, candidate{element{Key: k}, cells, true})
	}
	for _, e := range rows {
		if _, cells := e.Key.digest(); s.dirty(cells) {
			left = append(left, candidate{e, cells, false})
		}
	}
	for again := true; again; {
		again = false
		left = slices.DeleteFunc(left, func(c candidate) bool {
			if !s.dirty(c.cells) {
				return true // what was in its cells is of others
			}
			for _, i := range c.cells {
				// Whether it alone has left what is in this cell, its check tells.
				sum, was := s.cells[i].Version, version{}
				if !c.other {
					was = c.version()
				}
				if (element{c.Key, sum.Hash ^ was.Hash}).version() != sum.xor(was) {
					continue
				}
				for _, j := range c.cells {
					s.cells[j].Version = s.cells[j].Version.xor(sum)
				}
				if !c.other {
					list = append(list, c.Key)
				}
				again = true
				return true
			}
			return false
		})
	}
	for _, c := range left {
		if !c.other {
			list = append(list, c.Key)
		}
	}
	return list
}

// dirty tells whether all cells hold what may be the difference of two versions.
func (s *sketch) dirty(cells [sketchRows]int) bool {
	for _, i := range cells {
		if s.cells[i].Version == (version{}) {
			return false
		}
	}
	return true
}

// MarshalText writes no text for an empty sketch.
func (s sketch) MarshalText() ([]byte, error) {
	if s == (sketch{}) {
		return nil, nil
	}
	var b bytes.Buffer
	if err := binary.Write(&b, binary.BigEndian, s.cells); err != nil {
		return nil, fmt.Errorf("encoding a sketch: %w", err)
	}
	return base64.StdEncoding.AppendEncode(nil, b.Bytes()), nil
}

func (s *sketch) UnmarshalText(text []byte) error {
	*s = sketch{}
	if len(text) == 0 {
		return nil
	}
	b, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		return fmt.Errorf("decoding a sketch: %w", err)
	}
	if len(b) != binary.Size(s.cells) {
		return fmt.Errorf("decoding a sketch: %d bytes, want %d", len(b), binary.Size(s.cells))
	}
	return binary.Read(bytes.NewReader(b), binary.BigEndian, &s.cells)
}

// packKey makes 16 bytes of a key, which is JSON. WHOOP's are integers and
// UUIDs; this is where one of another kind is refused.
func packKey(key string) (packed packedKey, err error) {
	if !strings.HasPrefix(key, `"`) {
		n, err := strconv.ParseUint(key, 10, 63)
		if err != nil || strconv.FormatUint(n, 10) != key {
			return packed, fmt.Errorf("%s is neither a number nor a UUID", key)
		}
		binary.BigEndian.PutUint64(packed[8:], n)
		return packed, nil
	}
	const form = `"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"`
	digits := 0
	for i := range len(key) {
		c := key[i]
		digit := strings.IndexByte("0123456789abcdef", c)
		if len(key) != len(form) || digit < 0 && c != form[i] || digit >= 0 && form[i] != 'x' {
			return packed, fmt.Errorf("%s is neither a number nor a UUID", key)
		}
		if digit >= 0 {
			packed[digits/2] = packed[digits/2]<<4 | byte(digit)
			digits++
		}
	}
	if binary.BigEndian.Uint64(packed[:]) == 0 { // it would come back as a number
		return packed, fmt.Errorf("%s is no UUID of a record", key)
	}
	return packed, nil
}

// unpackKey is the reverse of packKey.
func unpackKey(p packedKey) string {
	if n := binary.BigEndian.Uint64(p[8:]); binary.BigEndian.Uint64(p[:]) == 0 {
		return strconv.FormatUint(n, 10)
	}
	return fmt.Sprintf(`"%x-%x-%x-%x-%x"`, p[:4], p[4:6], p[6:8], p[8:10], p[10:])
}
