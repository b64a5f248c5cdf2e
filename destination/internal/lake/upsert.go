package lake

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/zeebo/xxh3"
	"golang.org/x/sync/errgroup"
)

// rewriteLimit is how many bytes of data files Auto rewrites in one commit
// rather than writing position deletes, unless the commit brings more than
// that in new data.
const rewriteLimit = 32 << 20

// upsert is the rows of one commit, and which of them win.
//
// Of all rows of a key, staged and in the table, one stays: the one with the
// highest cursor, null being lowest; of those the one that arrived last, a
// staged row being later than any in the table. If that one is a tombstone,
// none stays. A table keeps no tombstones: an older record that arrives in a
// later commit than the tombstone of its key is a new row.
type upsert struct {
	t     *Table
	files []*stagedFile
	win   *keyTable
}

// newUpsert finds the winners among the staged rows. Streams that are not
// dedup have no keys, and all their rows win.
func newUpsert(t *Table, files []*stagedFile) *upsert {
	var blocks []*keyBlock
	for _, f := range files {
		blocks = append(blocks, f.keys...)
	}
	return &upsert{t: t, files: files, win: newKeyTable(blocks)}
}

// stage is what committing the rows does to the table as it is in base.
func (u *upsert) stage(ctx context.Context, base *table.Table) (*change, error) {
	c := &change{operation: table.OpOverwrite}
	set, err := u.t.live(base)
	if err != nil {
		return c, err
	}
	if set.equality > 0 {
		return c, u.t.configError(nil,
			"Table %s has equality deletes, which another program wrote and rows cannot be replaced beside. Compact the table with that program first.", u.t)
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

// outdatedFile is a data file of the table with rows that go.
type outdatedFile struct {
	*liveFile
	gone positions // deleted already, or now
}

// outdated finds the rows of the table that staged rows replace or delete,
// and marks the staged rows that rows of the table beat.
func (u *upsert) outdated(ctx context.Context, schema *iceberg.Schema, set *liveSet) ([]*outdatedFile, error) {
	for _, b := range u.win.blocks {
		for i := range b.flags {
			b.flags[i] &^= beaten
		}
	}
	finder, err := newKeyFinder(u, schema)
	if err != nil {
		return nil, err
	}
	found := make([]*keyHits, len(set.files))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, f := range set.files {
		if !finder.mayHold(f.data) {
			continue
		}
		group.Go(func() (err error) {
			found[i], err = finder.find(gctx, f, set.shared)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("looking for keys in table %s: %w", u.t, err)
	}
	found = slices.DeleteFunc(found, func(h *keyHits) bool { return h == nil || len(h.rows) == 0 })

	for _, h := range found {
		for i, slot := range h.slots {
			w := &u.win.slots[slot]
			if block := u.win.blocks[w.block]; compareCursors(h.block, i, block, int(w.row)) > 0 {
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
			if !ok || cmp.Or(
				compareCursors(h.block, i, found[b.file].block, b.hit),
				cmp.Compare(h.file.sequence, found[b.file].file.sequence),
				cmp.Compare(h.rows[i], found[b.file].rows[b.hit]),
			) >= 0 {
				best[slot] = row{f, i}
			}
		}
	}
	var outdated []*outdatedFile
	for f, h := range found {
		o := &outdatedFile{liveFile: h.file, gone: h.deleted}
		changed := false
		for i, slot := range h.slots {
			if b, ok := best[slot]; ok && b == (row{f, i}) {
				continue
			}
			if o.gone == nil {
				o.gone = newPositions(h.file.data.Count())
			}
			o.gone.add(h.rows[i])
			changed = true
		}
		if changed {
			outdated = append(outdated, o)
		}
	}
	return outdated, nil
}

// apply adds to c the staged files without the rows that lose, and the
// table's files without those that are outdated.
func (u *upsert) apply(ctx context.Context, c *change, base *table.Table, outdated []*outdatedFile) error {
	version := base.Metadata().Version()
	type partial struct {
		staged *stagedFile
		gone   positions
	}
	var partials []partial
	var rewrite, fresh int64
	for _, f := range u.files {
		gone := f.losers()
		fresh += f.data.FileSizeBytes()
		switch {
		case gone == nil:
			c.add = append(c.add, f.data)
		case gone.count() == f.data.Count():
			c.unused = append(c.unused, f.data.FilePath())
		default:
			partials = append(partials, partial{f, gone})
			rewrite += f.data.FileSizeBytes()
		}
	}
	outdated = slices.DeleteFunc(outdated, func(o *outdatedFile) bool {
		if o.gone.count() < o.data.Count() {
			rewrite += o.data.FileSizeBytes()
			return false
		}
		c.drop(o.data, o.manifest)
		for _, d := range o.deletes {
			c.drop(d.data, d.manifest)
		}
		return true
	})
	if u.copies(version, rewrite, fresh) {
		r := &rewriter{t: u.t, c: c, version: version}
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
		return r.close()
	}
	for _, p := range partials {
		c.add = append(c.add, p.staged.data)
		if err := u.t.writeDeletes(c, version, p.staged.data.FilePath(), p.gone); err != nil {
			return err
		}
	}
	for _, o := range outdated {
		// One delete file per data file: it takes over what the earlier ones
		// of the file said. Some readers fail on several.
		for _, d := range o.deletes {
			c.drop(d.data, d.manifest)
		}
		if err := u.t.writeDeletes(c, version, o.data.FilePath(), o.gone); err != nil {
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
func (f *stagedFile) losers() positions {
	var gone positions
	var row int64
	for _, b := range f.keys {
		for _, flags := range b.flags {
			if flags&(loser|beaten) != 0 {
				if gone == nil {
					gone = newPositions(f.data.Count())
				}
				gone.add(row)
			}
			row++
		}
	}
	return gone
}

// keyTable finds the staged row that wins a key: open addressing with linear
// probing, 18 bytes a row.
type keyTable struct {
	blocks []*keyBlock
	slots  []keySlot
}

type keySlot struct {
	tag   uint32 // of the hash, to save looking at the row; with used set
	block uint32
	row   uint32
}

const used = 1 << 31

func newKeyTable(blocks []*keyBlock) *keyTable {
	rows := 0
	for _, b := range blocks {
		rows += len(b.hashes)
	}
	k := &keyTable{blocks: blocks}
	if rows == 0 {
		return k
	}
	k.slots = make([]keySlot, rows+rows/2+1)
	for i, b := range blocks {
		for row := range b.hashes {
			k.insert(uint32(i), uint32(row))
		}
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
		return
	}
	other := k.blocks[s.block]
	if cmp.Or(
		compareCursors(b, int(row), other, int(s.row)),
		cmp.Compare(b.orders[row], other.orders[s.row]),
	) < 0 {
		b.flags[row] |= loser
		return
	}
	other.flags[s.row] |= loser
	s.block, s.row = block, row
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

// keyHits is the rows of one data file whose keys are staged.
type keyHits struct {
	file    *liveFile
	rows    []int64
	slots   []uint32  // of the key table, one for each row
	block   *keyBlock // their cursors, one for each row
	deleted positions // rows that are deleted, nil if the file has no deletes
}

// keyFinder looks for staged keys in data files.
type keyFinder struct {
	u      *upsert
	ids    []int // of the key columns, then of the cursor
	names  []string
	types  []iceberg.Type
	keys   int // how many of those are the key
	staged []keyRange
}

func newKeyFinder(u *upsert, schema *iceberg.Schema) (*keyFinder, error) {
	f := &keyFinder{u: u, keys: len(u.t.plan.Key)}
	names := u.t.plan.Key
	if u.t.plan.Cursor != "" {
		names = append(slices.Clone(names), u.t.plan.Cursor)
	}
	for _, name := range names {
		field, ok := schema.FindFieldByName(name)
		if !ok {
			return nil, u.t.configError(nil, "Column %q of table %s is gone. It is needed to tell rows apart; add it back, or write the stream to another namespace.", name, u.t)
		}
		f.ids, f.names, f.types = append(f.ids, field.ID), append(f.names, name), append(f.types, field.Type)
	}
	for _, s := range u.files {
		f.staged = append(f.staged, f.rangeOf(s.data))
	}
	return f, nil
}

// find returns the rows of a data file whose keys are staged, without those
// that are deleted already.
func (f *keyFinder) find(ctx context.Context, live *liveFile, shared []deleteFile) (*keyHits, error) {
	r, err := f.u.t.openParquet(live.data)
	if err != nil {
		return nil, err
	}
	defer r.close()
	columns, missing := r.leaves(f.ids[:f.keys], f.names)
	if missing {
		return nil, nil // the key is null in every row of the file
	}
	cursor, noCursor := r.leaves(f.ids[f.keys:], f.names[f.keys:])
	h := &keyHits{file: live, block: &keyBlock{}}
	var hashes []xxh3.Uint128
	for group, first := range r.groups() {
		keys, err := r.read(ctx, group, columns)
		if err != nil {
			return nil, err
		}
		hashes = slices.Grow(hashes[:0], keys[0].Len())[:keys[0].Len()]
		if err := hashKeys(keys, hashes); err != nil {
			return nil, err
		}
		var hits []int
		for i, hash := range hashes {
			if slot, found := f.u.win.find(hash); found {
				hits = append(hits, i)
				h.rows = append(h.rows, first+int64(i))
				h.slots = append(h.slots, slot)
			}
		}
		if len(hits) == 0 {
			continue
		}
		var cursors arrow.Array
		if !noCursor && len(cursor) > 0 {
			got, err := r.read(ctx, group, cursor)
			if err != nil {
				return nil, err
			}
			cursors = got[0]
		}
		if err := h.block.appendCursors(cursors, slices.Values(hits)); err != nil {
			return nil, err
		}
	}
	if len(h.rows) > 0 && len(live.deletes)+len(shared) > 0 {
		if h.deleted, err = f.u.t.deleted(ctx, live, shared); err != nil {
			return nil, err
		}
		h.forget(h.deleted)
	}
	return h, nil
}

// forget removes hits on rows that are deleted.
func (h *keyHits) forget(deleted positions) {
	n := 0
	for i, row := range h.rows {
		if deleted.has(row) {
			continue
		}
		h.rows[n], h.slots[n] = row, h.slots[i]
		h.block.cursors[n], h.block.flags[n] = h.block.cursors[i], h.block.flags[i]
		n++
	}
	h.rows, h.slots = h.rows[:n], h.slots[:n]
	h.block.cursors, h.block.flags = h.block.cursors[:n], h.block.flags[:n]
}
