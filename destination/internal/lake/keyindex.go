package lake

import (
	"bufio"
	"cmp"
	"errors"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/scratch"
)

// fileKeys is the keys of rows of one data file, as far as they are in memory,
// and what a merge of spilled keys has to know of the file and finds out.
type fileKeys struct {
	blocks  []*keyBlock
	spilled int64 // rows of the file before those of the blocks
	rows    int64 // of the file; those after them do not count

	sequence int64                 // of the file in the table
	deleted  parquetfile.Positions // rows that do not count
	gone     parquetfile.Positions // rows that lose
}

func (f *fileKeys) add(b *keyBlock) {
	f.blocks = append(f.blocks, b)
	f.rows += int64(len(b.hashes))
}

// truncate makes only the first rows of the file count.
func (f *fileKeys) truncate(rows int64) {
	f.rows = rows
	left := max(0, rows-f.spilled)
	for i, b := range f.blocks {
		if n := int64(len(b.hashes)); n < left {
			left -= n
			continue
		}
		f.blocks = append(f.blocks[:i:i], &keyBlock{
			hashes: b.hashes[:left], orders: b.orders[:left], cursors: b.cursors[:left], texts: b.texts, flags: b.flags[:left],
		})
		return
	}
}

func (f *fileKeys) lose(row int64) {
	if f.gone == nil {
		f.gone = parquetfile.NewPositions(f.rows)
	}
	f.gone.Add(row)
}

// A keyIndex is the keys of rows of several files: in memory, and in runs when
// they become too many. It is for one goroutine.
type keyIndex struct {
	t     *Table
	files []*fileKeys // that have blocks
	runs  []*keyRun
	rows  int64 // in all
	held  int64 // bytes
}

// add adds rows of a file.
func (x *keyIndex) add(f *fileKeys, b *keyBlock) error {
	if len(f.blocks) == 0 {
		x.files = append(x.files, f)
	}
	f.add(b)
	x.rows += int64(len(b.hashes))
	bytes := b.memory()
	x.held += bytes
	if x.t.opts.Memory.HoldKeys(bytes) {
		return x.spill()
	}
	return nil
}

// spill moves all keys in memory to a run.
func (x *keyIndex) spill() error {
	type place struct {
		hash       uint64 // the beginning of it, which seldom leaves more to compare
		block, row uint32
	}
	type source struct {
		*keyBlock
		file  int
		first int64
	}
	var blocks []source
	var places []place
	run := &keyRun{}
	for _, f := range x.files {
		for _, b := range f.blocks {
			for row, hash := range b.hashes {
				places = append(places, place{hash.Hi, uint32(len(blocks)), uint32(row)})
			}
			blocks = append(blocks, source{b, len(run.files), f.spilled})
			f.spilled += int64(len(b.hashes))
		}
		f.blocks = nil
		run.files = append(run.files, f)
	}
	x.files = nil
	defer x.release()
	if len(places) == 0 {
		return nil
	}
	slices.SortFunc(places, func(a, b place) int {
		if c := cmp.Compare(a.hash, b.hash); c != 0 {
			return c
		}
		x, y := blocks[a.block], blocks[b.block]
		return compareKeys(x.hashes[a.row], x.flags[a.row], y.hashes[b.row], y.flags[b.row])
	})
	path, out, err := x.t.scratch().Create(scratch.KeysSuffix)
	if err != nil {
		return err
	}
	run.path, run.count = path, int64(len(places))
	x.runs = append(x.runs, run)
	w := bufio.NewWriterSize(out, 1<<18)
	var entry []byte
	for _, p := range places {
		b := blocks[p.block]
		row := b.first + int64(p.row)
		if b.rows != nil {
			row = b.rows[p.row]
		}
		entry = appendKey(entry[:0], b.hashes[p.row], b.candidate(int(p.row)), b.file, row)
		if _, err = w.Write(entry); err != nil { // which every later Write and Flush return, too
			break
		}
	}
	return run.explain("writing", errors.Join(w.Flush(), out.Close()))
}

// release counts out what is no longer in memory.
func (x *keyIndex) release() {
	x.t.opts.Memory.HoldKeys(-x.held)
	x.held = 0
}

// close forgets all keys and removes the runs. It may be called on nil.
func (x *keyIndex) close() error {
	if x == nil {
		return nil
	}
	x.release()
	runs := x.runs
	x.files, x.runs = nil, nil
	return x.t.scratch().Remove(pathsOfRuns(runs))
}

// A keyFilter holds hashes of keys such that none is missed and few others are
// taken for one: a Bloom filter of about a byte for each.
type keyFilter []uint64

func newKeyFilter(keys int64) keyFilter { return make(keyFilter, keys/8+1) }

func (f keyFilter) at(hash xxh3.Uint128) (word int, bits uint64) {
	for i := range 4 {
		bits |= 1 << (hash.Lo >> (6 * i) & 63)
	}
	return int(hash.Hi % uint64(len(f))), bits
}

func (f keyFilter) add(hash xxh3.Uint128) {
	word, bits := f.at(hash)
	f[word] |= bits
}

func (f keyFilter) mayHave(hash xxh3.Uint128) bool {
	word, bits := f.at(hash)
	return f[word]&bits == bits
}
