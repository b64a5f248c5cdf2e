package rowkeys

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/zeebo/xxh3"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
)

// A keyRun is keys in a scratch file, ordered by their hashes, unversioned
// tombstones before other rows of a key. For each key it has what decides whether
// the row stays, and the place of the row.
type keyRun struct {
	path  string
	files []*File // that the rows are in
	count int64
}

func (r *keyRun) explain(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", doing, r.path, err)
}

func pathsOf(runs []*keyRun) []string {
	all := make([]string, len(runs))
	for i, r := range runs {
		all[i] = r.path
	}
	return all
}

func compareKeys(a xxh3.Uint128, aFlags rowFlag, b xxh3.Uint128, bFlags rowFlag) int {
	rank := func(f rowFlag) int {
		if f.isUnversionedTombstone() {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.Hi, b.Hi), cmp.Compare(a.Lo, b.Lo), cmp.Compare(rank(aFlags), rank(bFlags)))
}

// keyBytes is the size of the fixed part of a key in a run.
const keyBytes = 33

// appendKey encodes a key of a run.
func appendKey(to []byte, hash xxh3.Uint128, c candidate, file int, row int64) []byte {
	if c.flags&textCursor != 0 {
		c.cursor = uint64(len(c.text))
	}
	for _, n := range [...]uint64{hash.Hi, hash.Lo, c.arrival, c.cursor} {
		to = binary.LittleEndian.AppendUint64(to, n)
	}
	to = append(to, byte(c.flags&^(supersededByStaged|supersededByTable)))
	to = binary.AppendUvarint(to, uint64(file))
	to = binary.AppendUvarint(to, uint64(row))
	return append(to, c.text...)
}

// A spilledKey is a key that was read from a run.
type spilledKey struct {
	candidate
	hash xxh3.Uint128
	file *File
	row  int64
}

// isPresent reports whether the row is in the commit or in the table.
func (k *spilledKey) isPresent() bool { return k.row < k.file.rows && !k.file.deleted.Has(k.row) }

func (k *spilledKey) supersede() { k.file.supersede(k.row) }

// set makes k a copy of another key.
func (k *spilledKey) set(other *spilledKey) {
	text := append(k.text[:0], other.text...)
	*k = *other
	k.text = text
}

// keyReader reads the keys of a run.
type keyReader struct {
	run       *keyRun
	in        *bufio.Reader
	remaining int64
	spilledKey
}

// next reads the next key; false is the end.
func (r *keyReader) next() (more bool, err error) {
	if r.remaining == 0 {
		return false, nil
	}
	r.remaining--
	fixed, err := r.in.Peek(keyBytes)
	if err != nil {
		return false, r.run.explain("reading", err)
	}
	number := func(i int) uint64 { return binary.LittleEndian.Uint64(fixed[8*i:]) }
	r.hash = xxh3.Uint128{Hi: number(0), Lo: number(1)}
	text := r.text[:0]
	r.candidate = candidate{arrival: number(2), cursor: number(3), flags: rowFlag(fixed[keyBytes-1])}
	_, err = r.in.Discard(keyBytes)
	file, fileErr := binary.ReadUvarint(r.in)
	row, rowErr := binary.ReadUvarint(r.in)
	if err = errors.Join(err, fileErr, rowErr); err == nil && r.flags&textCursor != 0 {
		r.text = append(text, make([]byte, r.cursor)...)
		_, err = io.ReadFull(r.in, r.text)
	}
	if err != nil {
		return false, r.run.explain("reading", err)
	}
	r.file, r.row = r.run.files[file], int64(row)
	return true, nil
}

// scratchReader reads a scratch file from its beginning. It opens the file for each
// read: there may be thousands of runs, more than a process may have open files.
type scratchReader struct {
	files storage.Scratch
	path  string
	at    int64
}

func (r *scratchReader) Read(p []byte) (int, error) {
	in, err := r.files.Open(r.path)
	if err != nil {
		return 0, err
	}
	n, err := in.ReadAt(p, r.at)
	r.at += int64(n)
	if closeErr := in.Close(); err == nil || n > 0 {
		err = closeErr // the end comes with the next Read
	}
	return n, err
}

// keyMerge reads the keys of several runs in order.
type keyMerge struct {
	heap []*keyReader // the one with the lowest key first
}

const (
	mergeBuffers = 16 << 20 // bytes for all runs
	minKeyBuffer = 4 << 10  // and for each
	maxKeyBuffer = 256 << 10
)

func mergeKeys(files storage.Scratch, runs []*keyRun) (*keyMerge, error) {
	m := &keyMerge{}
	buffer := min(maxKeyBuffer, max(minKeyBuffer, mergeBuffers/max(1, len(runs))))
	for _, run := range runs {
		r := &keyReader{run: run, remaining: run.count, in: bufio.NewReaderSize(&scratchReader{files: files, path: run.path}, buffer)}
		more, err := r.next()
		if err != nil {
			return nil, err
		}
		if more {
			m.heap = append(m.heap, r)
		}
	}
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.sink(i)
	}
	return m, nil
}

// key is the next key, nil at the end. It is valid until skip.
func (m *keyMerge) key() *spilledKey {
	if len(m.heap) == 0 {
		return nil
	}
	return &m.heap[0].spilledKey
}

// skip removes the next key.
func (m *keyMerge) skip() error {
	more, err := m.heap[0].next()
	if err != nil {
		return err
	}
	if !more {
		last := len(m.heap) - 1
		m.heap[0] = m.heap[last]
		m.heap = m.heap[:last]
	}
	m.sink(0)
	return nil
}

// sink restores the order of the heap below an element whose key has grown.
func (m *keyMerge) sink(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(m.heap); child++ {
			a, b := m.heap[child], m.heap[least]
			if compareKeys(a.hash, a.flags, b.hash, b.flags) < 0 {
				least = child
			}
		}
		if least == i {
			return
		}
		m.heap[i], m.heap[least] = m.heap[least], m.heap[i]
		i = least
	}
}
