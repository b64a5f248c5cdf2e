package rowkeys

import (
	"bufio"
	"cmp"
	"errors"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/zeebo/xxh3"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/budget"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
)

// A File holds the keys of one data file that are in memory. For keys that were
// spilled it holds what a merge has to know of the file, and what it finds out.
type File struct {
	blocks  []*block
	spilled int64 // rows of the file before those of the blocks
	rows    int64 // of the file; those after them do not count

	place      int                   // of the file among those of the table
	deleted    parquetfile.Positions // before this commit
	superseded parquetfile.Positions // by spilled keys of other rows
}

// NewFile returns a file without keys. Some of its rows may be deleted already;
// nil is none.
func NewFile(deleted parquetfile.Positions) *File { return &File{deleted: deleted} }

func (f *File) add(b *block) {
	f.blocks = append(f.blocks, b)
	f.rows += int64(len(b.hashes))
}

// Truncate makes only the first rows of the file count.
func (f *File) Truncate(rows int64) {
	f.rows = rows
	left := max(0, rows-f.spilled)
	for i, b := range f.blocks {
		if n := int64(len(b.hashes)); n < left {
			left -= n
			continue
		}
		f.blocks = append(f.blocks[:i:i], &block{
			hashes: b.hashes[:left], arrivals: b.arrivals[:left], cursors: b.cursors[:left], texts: b.texts, flags: b.flags[:left],
		})
		return
	}
}

func (f *File) supersede(row int64) {
	if f.superseded == nil {
		f.superseded = parquetfile.NewPositions(f.rows)
	}
	f.superseded.Add(row)
}

// Superseded adds the superseded rows of a staged file to those that are deleted
// already, which may be nil. rows is the number of rows in the file.
func (f *File) Superseded(deleted parquetfile.Positions, rows int64) parquetfile.Positions {
	add := func(row int64) {
		if deleted == nil {
			deleted = parquetfile.NewPositions(rows)
		}
		deleted.Add(row)
	}
	row := f.spilled
	for _, b := range f.blocks {
		for _, flags := range b.flags {
			if flags&(supersededByStaged|supersededByTable) != 0 {
				add(row)
			}
			row++
		}
	}
	for row := range f.superseded.All() {
		add(row)
	}
	return deleted
}

// An Index holds the keys of several files: in memory, and in runs when they become
// too many. It is for one goroutine.
type Index struct {
	scratch storage.Scratch
	memory  *budget.Memory
	files   []*File // that have blocks
	runs    []*keyRun
	rows    int64 // in all
	held    int64 // bytes
}

// NewIndex returns an empty index.
func NewIndex(files storage.Scratch, memory *budget.Memory) *Index {
	return &Index{scratch: files, memory: memory}
}

// AddRows adds rows of a file that is being written.
func (x *Index) AddRows(f *File, c *Columns, rec arrow.RecordBatch, arrivals []uint64) error {
	b, err := c.block(rec, arrivals)
	if err != nil {
		return err
	}
	return x.add(f, b)
}

// add adds rows of a file.
func (x *Index) add(f *File, b *block) error {
	if len(f.blocks) == 0 {
		x.files = append(x.files, f)
	}
	f.add(b)
	x.rows += int64(len(b.hashes))
	bytes := b.memory()
	x.held += bytes
	if x.memory.HoldKeys(bytes) {
		return x.spill()
	}
	return nil
}

// spill moves all keys in memory to a run.
func (x *Index) spill() error {
	type place struct {
		hash       uint64 // its first half, which nearly always decides
		block, row uint32
	}
	type source struct {
		*block
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
	path, out, err := x.scratch.Create(storage.KeysSuffix)
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
		if _, err = w.Write(entry); err != nil { // Flush returns it, too
			break
		}
	}
	return run.explain("writing", errors.Join(w.Flush(), out.Close()))
}

// release gives back the memory of the keys.
func (x *Index) release() {
	x.memory.HoldKeys(-x.held)
	x.held = 0
}

// Close forgets all keys and removes the runs. It may be called on nil.
func (x *Index) Close() error {
	if x == nil {
		return nil
	}
	x.release()
	runs := x.runs
	x.files, x.runs = nil, nil
	return x.scratch.Remove(pathsOf(runs))
}

// A keyFilter is a Bloom filter for hashes of keys, of about a byte for each.
type keyFilter []uint64

func newKeyFilter(keys int64) keyFilter { return make(keyFilter, keys/8+1) }

func (f keyFilter) at(hash xxh3.Uint128) (word int, bits uint64) {
	for i := range 4 {
		bits |= 1 << (hash.Lo >> (6 * i) & 63)
	}
	return int(hash.Hi >> 32 * uint64(len(f)) >> 32), bits
}

func (f keyFilter) add(hash xxh3.Uint128) {
	word, bits := f.at(hash)
	f[word] |= bits
}

func (f keyFilter) mayHave(hash xxh3.Uint128) bool {
	word, bits := f.at(hash)
	return f[word]&bits == bits
}
