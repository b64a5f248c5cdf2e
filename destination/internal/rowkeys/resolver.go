// Package rowkeys finds, of all rows of a key, the one that stays: the rows that a
// commit brings and those of the table are compared by hashes of their keys, in
// memory or, when they are too many, in files.
//
// Its terms: a staged row is one of a commit that has not landed. A tombstone is a
// record that deletes its key; an unversioned one has no cursor. A hit is a row of
// the table whose key is staged. A run is keys in a scratch file, ordered by their
// hashes. A row is superseded if another one of its key stays, or none.
package rowkeys

import (
	"cmp"
	"context"
	"errors"
	"sync"

	"github.com/zeebo/xxh3"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/budget"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
)

// A Resolver is the rows of one commit, and which of them win.
//
// Of all rows of a key, staged and in the table, one stays: the one with the
// highest cursor, null being lowest; of those the one that arrived last, a staged
// row being later than any in the table. If that one is a tombstone, none stays. A
// tombstone without a cursor is not the lowest but the last of all that arrived
// before it, and what arrives after it is a new row. A table keeps no tombstones:
// an older record that arrives in a later commit than the tombstone of its key is
// a new row. The branch of a refresh does keep them, as they may have to delete
// rows that are not on the branch.
type Resolver struct {
	scratch        storage.Scratch
	memory         *budget.Memory
	files          []*File // staged
	indexes        []*Index
	keepTombstones bool

	winners *winners     // nil when keys are in runs
	spilled *spilledKeys // nil when they are not

	mu      sync.Mutex
	scanned map[string][]*block // hits in memory by data file, deleted rows included
	found   map[string][]*block // the same of the scan that is under way
	hits    int64               // rows of found
	most    int64               // how many more of them than staged rows there may be
}

// ManyHits is how many more hits than staged rows a table has in memory.
const ManyHits = 500_000

// ErrManyHits says that there are more rows of staged keys in the table than there
// is memory for.
var ErrManyHits = errors.New("the table has many rows of a key")

// NewResolver finds the winners among the staged rows, unless keys were spilled. At
// most so many more hits than staged rows are kept in memory.
func NewResolver(scratch storage.Scratch, memory *budget.Memory, files []*File, indexes []*Index, keepTombstones bool, most int64) *Resolver {
	c := &Resolver{scratch: scratch, memory: memory, files: files, indexes: indexes, keepTombstones: keepTombstones, scanned: map[string][]*block{}, most: most}
	if len(c.stagedRuns()) > 0 {
		c.spilled = newSpilledKeys(scratch, memory)
		return c
	}
	var blocks []*block
	for _, f := range files {
		blocks = append(blocks, f.blocks...)
	}
	c.winners = newWinners(blocks, keepTombstones)
	return c
}

// StagedRows is the number of rows in the indexes.
func (c *Resolver) StagedRows() (rows int64) {
	for _, x := range c.indexes {
		rows += x.rows
	}
	return rows
}

// Close forgets all keys and removes what was spilled.
func (c *Resolver) Close() error {
	var errs []error
	for _, x := range c.indexes {
		errs = append(errs, x.Close())
	}
	if c.spilled != nil {
		errs = append(errs, c.spilled.hits.Close())
	}
	return errors.Join(errs...)
}

// Begin prepares an attempt to commit: files of the table that earlier attempts
// did not scan are scanned with Scan, and Decide follows.
func (c *Resolver) Begin(ctx context.Context) error {
	c.found, c.hits = map[string][]*block{}, 0
	if c.spilled != nil {
		return c.spillStaged(ctx)
	}
	for _, b := range c.winners.blocks {
		for i := range b.flags {
			b.flags[i] &^= supersededByTable
		}
	}
	return nil
}

// Spill is for a commit with more hits than there is memory for. All files are to
// be scanned again, after Begin.
func (c *Resolver) Spill() {
	c.winners, c.spilled, c.scanned = nil, newSpilledKeys(c.scratch, c.memory), map[string][]*block{}
}

// AbandonScan forgets the hits in runs after a scan that failed halfway, because the next
// attempt finds them again.
func (c *Resolver) AbandonScan() error {
	if c.spilled == nil {
		return nil
	}
	err := c.spilled.hits.Close()
	c.Spill()
	return err
}

// filter is of the staged keys.
func (c *Resolver) filter() keyFilter {
	if c.spilled != nil {
		return c.spilled.filter
	}
	return c.winners.filter
}

// match returns the rows whose keys are staged, and adds their hashes or slots to
// the block.
func (c *Resolver) match(keys []xxh3.Uint128, b *block) (rows []int) {
	filter := c.filter()
	for i, hash := range keys {
		if !filter.mayHave(hash) {
			continue
		}
		if c.spilled != nil {
			rows = append(rows, i)
			b.hashes = append(b.hashes, hash)
		} else if slot, found := c.winners.find(hash); found {
			rows = append(rows, i)
			b.slots = append(b.slots, slot)
		}
	}
	return rows
}

// hit adds rows of a data file.
func (c *Resolver) hit(path string, b *block) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.spilled != nil {
		return c.spilled.add(path, b)
	}
	c.found[path] = append(c.found[path], b)
	if c.hits += int64(len(b.slots)); c.hits > c.StagedRows()+c.most {
		return ErrManyHits
	}
	return nil
}

// Scanned reports whether a data file need not be scanned again.
func (c *Resolver) Scanned(path string) bool {
	_, ok := c.scanned[path]
	return ok
}

// SetScanned says that all parts of a data file were scanned.
func (c *Resolver) SetScanned(path string) { c.scanned[path] = c.found[path] }

// HasHits reports whether a data file has rows of staged keys.
func (c *Resolver) HasHits(path string) bool {
	if c.spilled != nil {
		return c.spilled.found[path] != nil
	}
	return len(c.scanned[path]) > 0
}

// TableFile is a data file of the table that has hits.
type TableFile struct {
	Path    string
	Rows    int64                 // in the file
	Deleted parquetfile.Positions // rows that are deleted already; nil is none
}

// Decide marks the staged rows that are superseded, for [File.Superseded] to
// return. Of the files of the table, which are in the order in which their rows
// arrived, it returns the rows that are superseded or deleted already, by path, where
// there are any that had not been deleted. It may change the sets of deleted rows.
func (c *Resolver) Decide(ctx context.Context, files []TableFile) (map[string]parquetfile.Positions, error) {
	if c.spilled != nil {
		return c.decideSpilled(ctx, files)
	}
	hits := c.liveHits(files)
	c.markSupersededByTable(hits)
	best := c.bestOfTable(hits)
	deleted := map[string]parquetfile.Positions{}
	for h, hit := range hits {
		for i, slot := range hit.slots {
			if b, ok := best[slot]; ok && b == (hitRow{h, i}) {
				continue
			}
			path := hit.file.Path
			if deleted[path] == nil {
				if deleted[path] = hit.file.Deleted; hit.file.Deleted == nil {
					deleted[path] = parquetfile.NewPositions(hit.file.Rows)
				}
			}
			deleted[path].Add(hit.rows[i])
		}
	}
	return deleted, nil
}

// fileHits is hits in one data file.
type fileHits struct {
	*block
	file  *TableFile
	place int // of the file among all
}

// hitRow is a row of one of several fileHits.
type hitRow struct{ hits, row int }

// liveHits returns the hits that are not deleted.
func (c *Resolver) liveHits(files []TableFile) (hits []fileHits) {
	for i := range files {
		f := &files[i]
		for _, b := range c.scanned[f.Path] {
			hits = append(hits, fileHits{b.without(f.Deleted), f, i})
		}
	}
	return hits
}

// without returns the rows of a block that are not deleted.
func (b *block) without(deleted parquetfile.Positions) *block {
	if deleted == nil {
		return b
	}
	live := &block{texts: b.texts}
	for i, row := range b.rows {
		if deleted.Has(row) {
			continue
		}
		live.slots, live.rows = append(live.slots, b.slots[i]), append(live.rows, row)
		live.cursors, live.flags = append(live.cursors, b.cursors[i]), append(live.flags, b.flags[i])
	}
	return live
}

// markSupersededByTable marks the staged rows whose cursors are lower than one in
// the table.
func (c *Resolver) markSupersededByTable(hits []fileHits) {
	for _, hit := range hits {
		for i, slot := range hit.slots {
			if _, unversioned := c.winners.tombstones[slot]; unversioned {
				continue // all rows of the table are older
			}
			w := &c.winners.slots[slot]
			block := c.winners.blocks[w.block]
			row, winner := hit.candidate(i), block.candidate(int(w.row))
			if compareCursors(&row, &winner) > 0 {
				block.flags[w.row] |= supersededByTable
			}
		}
	}
}

// bestOfTable returns the rows of the table that stay, by the slots of the staged
// rows that they supersede. A table may hold several rows of a key, if it was once
// appended to: of those, one stays.
func (c *Resolver) bestOfTable(hits []fileHits) map[uint32]hitRow {
	best := map[uint32]hitRow{}
	for h, hit := range hits {
		for i, slot := range hit.slots {
			w := c.winners.slots[slot]
			if c.winners.blocks[w.block].flags[w.row]&supersededByTable == 0 {
				continue
			}
			b, ok := best[slot]
			if !ok {
				best[slot] = hitRow{h, i}
				continue
			}
			other := hits[b.hits]
			row, last := hit.candidate(i), other.candidate(b.row)
			if cmp.Or(
				compareCursors(&row, &last),
				cmp.Compare(hit.place, other.place),
				cmp.Compare(hit.rows[i], other.rows[b.row]),
			) >= 0 {
				best[slot] = hitRow{h, i}
			}
		}
	}
	return best
}
