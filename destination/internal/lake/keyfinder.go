package lake

import (
	"context"
	"runtime"
	"slices"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/iceberg-go"
	"github.com/zeebo/xxh3"
	"golang.org/x/sync/errgroup"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// keyHits is rows of one data file whose keys are staged.
type keyHits struct {
	file    *liveFile
	block   *keyBlock             // the rows
	slots   []uint32              // of the key table, one for each row; nil when keys are in runs
	deleted parquetfile.Positions // rows of the file that are deleted; nil if it has no deletes
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
	want := u.t.keys
	f := &keyFinder{u: u, keys: len(want.key)}
	ids := want.key
	if want.cursor != noField {
		ids = append(slices.Clone(ids), want.cursor)
	}
	for _, id := range ids {
		field, ok := schema.FindFieldByID(id)
		if !ok {
			name, _ := u.t.schema.FindColumnName(id)
			return nil, u.t.configError(nil, "Column %q of table %s is missing. It identifies rows: add it back, or write the stream to another namespace.", name, u.t)
		}
		f.ids, f.names, f.types = append(f.ids, id), append(f.names, field.Name), append(f.types, field.Type)
	}
	for _, s := range u.files {
		f.staged = append(f.staged, f.rangeOf(s.data))
	}
	return f, nil
}

const (
	// scanRows is about how many rows of a data file one goroutine looks through.
	scanRows = 500_000
	// scanBytes is the memory that it takes for that.
	scanBytes = 2 * parquetfile.PieceBytes
)

// all returns the rows of the table whose keys are staged, without those that
// are deleted already.
func (f *keyFinder) all(ctx context.Context, set *liveSet) ([]*keyHits, error) {
	files := f.candidates(set)
	if err := f.scan(ctx, files); err != nil {
		return nil, err
	}
	var found []*keyHits
	for _, file := range files {
		hits := f.u.scanned[file.data.FilePath()]
		if len(hits) == 0 {
			continue
		}
		var deleted parquetfile.Positions
		if len(file.deletes)+len(set.shared)+len(file.older) > 0 {
			var err error
			if deleted, err = f.u.t.deleted(ctx, file, set.shared); err != nil {
				return nil, err
			}
		}
		for _, h := range hits {
			found = append(found, h.live(file, deleted))
		}
	}
	return found, nil
}

// candidates are the files that can hold a staged key.
func (f *keyFinder) candidates(set *liveSet) []*liveFile {
	var files []*liveFile
	for _, file := range set.files {
		if f.mayHold(file.data) {
			files = append(files, file)
		}
	}
	return files
}

// scan looks through the files that no attempt has looked through yet.
func (f *keyFinder) scan(ctx context.Context, files []*liveFile) error {
	files = slices.DeleteFunc(slices.Clone(files), func(file *liveFile) bool {
		_, ok := f.u.scanned[file.data.FilePath()]
		return ok
	})
	var mu sync.Mutex
	found, rows := map[string][]*keyHits{}, 0
	take := func(h *keyHits) error {
		mu.Lock()
		defer mu.Unlock()
		path := h.file.data.FilePath()
		if f.u.spilled != nil {
			return f.u.spilled.add(path, h.block)
		}
		found[path] = append(found[path], h)
		if rows += len(h.slots); int64(rows) > f.u.rows+scanRows {
			return errManyHits
		}
		return nil
	}
	scan, sctx := errgroup.WithContext(ctx)
	scan.SetLimit(runtime.GOMAXPROCS(0))
	for _, file := range files {
		parts := int(max(1, file.data.Count()/scanRows))
		for part := range parts {
			scan.Go(protocol.Recovered(func() error {
				end, err := f.u.t.opts.Memory.Begin(sctx, scanBytes)
				if err != nil {
					return err
				}
				defer end()
				return f.find(sctx, file, part, parts, take)
			}))
		}
	}
	if err := scan.Wait(); err != nil {
		return err
	}
	for _, file := range files {
		path := file.data.FilePath()
		f.u.scanned[path] = found[path]
	}
	return nil
}

// find looks through one part of a data file.
func (f *keyFinder) find(ctx context.Context, live *liveFile, part, parts int, take func(*keyHits) error) error {
	r, err := parquetfile.Open(f.u.t.files, live.data, f.u.t.opts.Memory)
	if err != nil {
		return err
	}
	defer r.Close()
	columns, missing := r.Columns(f.ids[:f.keys], f.names)
	if missing {
		return nil // the key is null in every row of the file
	}
	cursor, noCursor := r.Columns(f.ids[f.keys:], f.names[f.keys:])
	var hashes []xxh3.Uint128
	for p, err := range r.PiecesOfPart(part, parts, slices.Concat(columns, cursor)) {
		if err != nil {
			return err
		}
		keys, err := r.Read(ctx, p, columns)
		if err != nil {
			return err
		}
		hashes = slices.Grow(hashes[:0], keys[0].Len())[:keys[0].Len()]
		if err := hashKeys(keys, hashes); err != nil {
			return err
		}
		h := &keyHits{file: live, block: &keyBlock{}}
		hits := f.u.staged(hashes, h)
		if len(hits) == 0 {
			continue
		}
		for _, i := range hits {
			h.block.rows = append(h.block.rows, p.First+int64(i))
		}
		var cursors arrow.Array
		if !noCursor && len(cursor) > 0 {
			got, err := r.Read(ctx, p, cursor)
			if err != nil {
				return err
			}
			cursors = got[0]
		}
		if err := h.block.appendCursors(cursors, slices.Values(hits)); err != nil {
			return err
		}
		if err := take(h); err != nil {
			return err
		}
	}
	return nil
}

// staged adds to h what is known of keys that are staged, and returns which
// of the keys are.
func (u *upsert) staged(keys []xxh3.Uint128, h *keyHits) (hits []int) {
	for i, hash := range keys {
		if u.spilled != nil {
			if u.spilled.filter.mayHave(hash) {
				hits = append(hits, i)
				h.block.hashes = append(h.block.hashes, hash)
			}
		} else if slot, found := u.win.find(hash); found {
			hits = append(hits, i)
			h.slots = append(h.slots, slot)
		}
	}
	return hits
}

// live returns the hits on rows that are not deleted.
func (h *keyHits) live(file *liveFile, deleted parquetfile.Positions) *keyHits {
	l := &keyHits{file: file, slots: h.slots, block: h.block, deleted: deleted}
	if deleted == nil {
		return l
	}
	l.slots, l.block = nil, &keyBlock{texts: h.block.texts}
	for i, row := range h.block.rows {
		if deleted.Has(row) {
			continue
		}
		l.slots, l.block.rows = append(l.slots, h.slots[i]), append(l.block.rows, row)
		l.block.cursors, l.block.flags = append(l.block.cursors, h.block.cursors[i]), append(l.block.flags, h.block.flags[i])
	}
	return l
}
