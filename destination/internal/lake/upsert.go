package lake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
)

// rewriteLimit is how many bytes of data files Auto rewrites in one commit
// rather than writing position deletes, unless the commit brings more than
// that in new data.
const rewriteLimit = 256 << 10

// upsert is the rows of one commit, and which of them win.
//
// Of all rows of a key, staged and in the table, one stays: the one with the
// highest cursor, null being lowest; of those the one that arrived last, a
// staged row being later than any in the table. If that one is a tombstone,
// none stays. A tombstone without a cursor is not the lowest but the last of
// all that arrived before it, and what arrives after it starts anew. A table
// keeps no tombstones: an older record that arrives in a later commit than the
// tombstone of its key is a new row. The branch of a refresh does keep them, as
// they may have to delete rows that are not on the branch.
type upsert struct {
	t       *Table
	files   []*stagedFile
	indexes []*keyIndex
	rows    int64         // in the indexes
	win     *keyTable     // nil when keys are in runs
	spilled *spilledTable // nil when they are not

	// What one attempt to commit learns that the next need not learn again.
	manifests manifestCache
	scanned   map[string][]*keyHits // by data file, deleted rows included
}

// newUpsert finds the winners among the staged rows, unless keys were spilled.
// Streams that are not dedup have no keys, and all their rows win.
func newUpsert(t *Table, files []*stagedFile, indexes []*keyIndex) *upsert {
	u := &upsert{t: t, files: files, indexes: indexes, manifests: manifestCache{}, scanned: map[string][]*keyHits{}}
	for _, x := range indexes {
		u.rows += x.rows
		if len(x.runs) > 0 {
			u.spilled = newSpilledTable(t)
		}
	}
	if u.spilled != nil {
		return u
	}
	var blocks []*keyBlock
	for _, f := range files {
		if f.keys != nil {
			blocks = append(blocks, f.keys.blocks...)
		}
	}
	u.win = newKeyTable(blocks, u.keepsTombstones())
	return u
}

func (u *upsert) keepsTombstones() bool { return u.t.branch != "" && u.t.plan.Deleted != "" }

// close removes what was spilled. A scratch file that cannot be removed is only
// in the way, and found with the orphans: it must not fail a commit that has
// landed.
func (u *upsert) close() {
	for _, x := range u.indexes {
		_ = x.close()
	}
	if u.spilled != nil {
		_ = u.spilled.hits.close()
	}
}

// stage is what committing the rows does to the table as it is in base.
func (u *upsert) stage(ctx context.Context, base *table.Table) (*change, error) {
	c := &change{operation: table.OpOverwrite}
	set, err := u.t.live(base, u.manifests)
	if err != nil {
		return c, err
	}
	if set.equality > 0 {
		return c, u.t.equalityDeletes()
	}
	if len(set.files) == 0 {
		c.operation = table.OpAppend
	}
	outdated, err := u.outdated(ctx, base.Schema(), set)
	if err != nil {
		return c, err
	}
	return c, u.apply(ctx, c, base, outdated)
}

func (t *Table) equalityDeletes() error {
	return t.configError(nil,
		"Table %s has equality deletes, which another program wrote. This program cannot replace rows in such a table. Compact it with that program first.", t)
}

// outdatedFile is a data file of the table with rows that go.
type outdatedFile struct {
	*liveFile
	gone parquetfile.Positions // deleted already, or now
}

// outdated finds the rows of the table that staged rows replace or delete,
// and marks the staged rows that rows of the table beat.
func (u *upsert) outdated(ctx context.Context, schema *iceberg.Schema, set *liveSet) ([]*outdatedFile, error) {
	gone, err := u.superseded(ctx, schema, set)
	if err != nil {
		return nil, err
	}
	var outdated []*outdatedFile
	for _, f := range set.files {
		rows := gone[f]
		if rows == nil && f.older != nil {
			if rows, err = u.t.deleted(ctx, f, set.shared); err != nil {
				return nil, err
			}
		}
		if rows != nil {
			outdated = append(outdated, &outdatedFile{liveFile: f, gone: rows})
		}
	}
	return outdated, nil
}

// superseded finds the rows of the table that go, with those of their files that
// have gone already.
func (u *upsert) superseded(ctx context.Context, schema *iceberg.Schema, set *liveSet) (map[*liveFile]parquetfile.Positions, error) {
	if u.spilled == nil {
		gone, err := u.supersededInMemory(ctx, schema, set)
		if !errors.Is(err, errManyHits) {
			return gone, err
		}
		u.win, u.spilled, u.scanned = nil, newSpilledTable(u.t), map[string][]*keyHits{}
	}
	return u.supersededBySpilled(ctx, schema, set)
}

func (u *upsert) supersededInMemory(ctx context.Context, schema *iceberg.Schema, set *liveSet) (map[*liveFile]parquetfile.Positions, error) {
	for _, b := range u.win.blocks {
		for i := range b.flags {
			b.flags[i] &^= beaten
		}
	}
	var found []*keyHits
	if len(u.win.slots) > 0 && len(set.files) > 0 {
		finder, err := newKeyFinder(u, schema)
		if err != nil {
			return nil, err
		}
		if found, err = finder.all(ctx, set); err != nil {
			return nil, fmt.Errorf("looking for keys in table %s: %w", u.t, err)
		}
	}
	for _, h := range found {
		for i, slot := range h.slots {
			if _, erased := u.win.erased[slot]; erased {
				continue // all rows of the table are older
			}
			w := &u.win.slots[slot]
			block := u.win.blocks[w.block]
			hit, winner := h.block.candidate(i), block.candidate(int(w.row))
			if compareCursors(&hit, &winner) > 0 {
				block.flags[w.row] |= beaten
			}
		}
	}
	// A table may hold several rows of a key, if it was once appended to. Of
	// those that beat a staged row, one stays.
	type row struct{ file, hit int }
	best := map[uint32]row{}
	for f, h := range found {
		for i, slot := range h.slots {
			w := u.win.slots[slot]
			if u.win.blocks[w.block].flags[w.row]&beaten == 0 {
				continue
			}
			b, ok := best[slot]
			if !ok {
				best[slot] = row{f, i}
				continue
			}
			hit, last := h.block.candidate(i), found[b.file].block.candidate(b.hit)
			if cmp.Or(
				compareCursors(&hit, &last),
				cmp.Compare(h.file.sequence, found[b.file].file.sequence),
				cmp.Compare(h.block.rows[i], found[b.file].block.rows[b.hit]),
			) >= 0 {
				best[slot] = row{f, i}
			}
		}
	}
	gone := map[*liveFile]parquetfile.Positions{}
	for f, h := range found {
		for i, slot := range h.slots {
			if b, ok := best[slot]; ok && b == (row{f, i}) {
				continue
			}
			if gone[h.file] == nil {
				if gone[h.file] = h.deleted; h.deleted == nil {
					gone[h.file] = parquetfile.NewPositions(h.file.data.Count())
				}
			}
			gone[h.file].Add(h.block.rows[i])
		}
	}
	return gone, nil
}

// apply adds to c the staged files without the rows that lose, and the
// table's files without those that are outdated.
func (u *upsert) apply(ctx context.Context, c *change, base *table.Table, outdated []*outdatedFile) error {
	version := base.Metadata().Version()
	type partial struct {
		staged *stagedFile
		gone   parquetfile.Positions
	}
	var partials []partial
	var rewrite, fresh int64
	for _, f := range u.files {
		gone := f.losers()
		fresh += f.data.FileSizeBytes()
		switch {
		case gone == nil:
			c.add = append(c.add, f.data)
		case gone.Count() == f.data.Count():
			c.unused = append(c.unused, f.data.FilePath())
		default:
			partials = append(partials, partial{f, gone})
			rewrite += f.data.FileSizeBytes()
		}
	}
	outdated = slices.DeleteFunc(outdated, func(o *outdatedFile) bool {
		if o.gone.Count() < o.data.Count() {
			rewrite += o.data.FileSizeBytes()
			return false
		}
		c.drop(o.data, o.manifest)
		for _, d := range o.deletes {
			c.drop(d.data, d.manifest)
		}
		return true
	})
	if u.copies(version, rewrite, fresh) && len(partials)+len(outdated) > 0 {
		end, err := u.t.opts.Memory.Begin(ctx, rewriteBytes)
		if err != nil {
			return err
		}
		defer end()
		r := u.t.newRewriter(base.Metadata(), c, u.t.opts.TargetFileBytes, table.UnsortedSortOrder)
		inPartitions(partials, func(p partial) iceberg.DataFile { return p.staged.data })
		inPartitions(outdated, func(o *outdatedFile) iceberg.DataFile { return o.data })
		for _, p := range partials {
			c.unused = append(c.unused, p.staged.data.FilePath())
			if err := r.copy(ctx, p.staged.data, p.gone); err != nil {
				return err
			}
		}
		for _, o := range outdated {
			c.drop(o.data, o.manifest)
			for _, d := range o.deletes {
				c.drop(d.data, d.manifest)
			}
			if err := r.copy(ctx, o.data, o.gone); err != nil {
				return err
			}
		}
		return r.close(ctx)
	}
	for _, p := range partials {
		c.add = append(c.add, p.staged.data)
		if err := u.t.writeDeletes(c, base.Metadata(), p.staged.data, p.gone); err != nil {
			return err
		}
	}
	for _, o := range outdated {
		// One delete file per data file: it takes over what the earlier ones
		// of the file said. Some readers fail on several.
		for _, d := range o.deletes {
			c.drop(d.data, d.manifest)
		}
		if err := u.t.writeDeletes(c, base.Metadata(), o.data, o.gone); err != nil {
			return err
		}
	}
	return nil
}

// copies says whether files are rewritten rather than given delete files.
func (u *upsert) copies(version int, rewrite, fresh int64) bool {
	switch {
	case version < 2: // has no delete files
		return true
	case u.t.opts.Upsert == Auto:
		return rewrite <= max(rewriteLimit, fresh)
	}
	return u.t.opts.Upsert == CopyOnWrite
}

// losers is the rows of the file that are not to be seen, nil if there are
// none.
func (f *stagedFile) losers() parquetfile.Positions {
	gone := slices.Clone(f.gone)
	if f.keys == nil {
		return gone
	}
	lose := func(row int64) {
		if gone == nil {
			gone = parquetfile.NewPositions(f.data.Count())
		}
		gone.Add(row)
	}
	row := f.keys.spilled
	for _, b := range f.keys.blocks {
		for _, flags := range b.flags {
			if flags&(loser|beaten) != 0 {
				lose(row)
			}
			row++
		}
	}
	for row := range f.keys.gone.All() {
		lose(row)
	}
	return gone
}
