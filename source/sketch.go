package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// A sketch remembers a set of rows, however many, in two and a half kilobytes. It cannot
// list them, but the difference of two sketches can be listed as long as it is
// small: whoever reads all rows anew takes them out one by one and finds which
// ones are missing, new or different. It is an invertible Bloom lookup table:
// every element is added into four cells, and a cell that holds one element only
// gives it away.
type sketch struct {
	cells [sketchRows * sketchWidth]cell
}

const (
	sketchRows  = 4
	sketchWidth = 20 // cells of one row; some 40 differences in all can be listed
)

// A cell holds sums over its elements: of one for each, and, by exclusive or,
// of their parts.
type cell struct {
	Count   int32
	Element element
	Check   uint32
}

// An element is a row: its key and which version of it.
type element struct {
	Key  [16]byte
	Hash uint64
}

func (e element) digest() (check uint32, cells [sketchRows]int) {
	var b [24]byte
	copy(b[:], e.Key[:])
	binary.BigEndian.PutUint64(b[16:], e.Hash)
	sum := sha256.Sum256(b[:])
	for i := range cells {
		cells[i] = i*sketchWidth + int(binary.BigEndian.Uint32(sum[4+4*i:])%sketchWidth)
	}
	return binary.BigEndian.Uint32(sum[:]), cells
}

func (s *sketch) add(e element)    { s.put(e, 1) }
func (s *sketch) remove(e element) { s.put(e, -1) }

func (s *sketch) put(e element, n int32) {
	check, cells := e.digest()
	for _, i := range cells {
		c := &s.cells[i]
		c.Count += n
		c.Check ^= check
		c.Element.Hash ^= e.Hash
		for j := range c.Element.Key {
			c.Element.Key[j] ^= e.Key[j]
		}
	}
}

// list returns the elements that were added once more than removed, and the
// reverse. Complete is false if there are more than the sketch can tell apart;
// those it returns are right all the same.
func (s sketch) list() (added, removed []element, complete bool) {
	for again := true; again; {
		again = false
		for i := range s.cells { // by index: put changes them
			c := s.cells[i]
			if c.Count != 1 && c.Count != -1 {
				continue
			}
			if check, _ := c.Element.digest(); check != c.Check {
				continue
			}
			if c.Count == 1 {
				added = append(added, c.Element)
			} else {
				removed = append(removed, c.Element)
			}
			s.put(c.Element, -c.Count)
			again = true
		}
	}
	return added, removed, s == sketch{}
}

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
func packKey(key string) (packed [16]byte, err error) {
	if n, err := strconv.ParseUint(key, 10, 63); err == nil {
		binary.BigEndian.PutUint64(packed[8:], n)
		return packed, nil
	}
	digits := strings.ReplaceAll(strings.Trim(key, `"`), "-", "")
	if n, err := hex.Decode(packed[:], []byte(digits)); err != nil || n != len(packed) || unpackKey(packed) != key {
		return packed, fmt.Errorf("%s is neither a number nor a UUID", key)
	}
	return packed, nil
}

// unpackKey is the reverse of packKey.
func unpackKey(p [16]byte) string {
	if n := binary.BigEndian.Uint64(p[8:]); binary.BigEndian.Uint64(p[:]) == 0 {
		return strconv.FormatUint(n, 10)
	}
	return fmt.Sprintf(`"%x-%x-%x-%x-%x"`, p[:4], p[4:6], p[6:8], p[8:10], p[10:])
}
