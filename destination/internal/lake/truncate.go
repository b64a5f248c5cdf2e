package lake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
)

// Truncate keeps the first rows of what one writer has staged, in the order
// they were written, and deletes the rest: rows that no state covers must not
// become visible, since they come again with the next run. It returns nil when
// nothing is left.
func (t *Table) Truncate(ctx context.Context, s *Staged, rows int64) (*Staged, error) {
	kept := &Staged{}
	for _, f := range s.files {
		count := f.data.Count()
		keep := min(rows, count)
		rows -= keep
		if keep == count {
			kept.files = append(kept.files, f)
			continue
		}
		if keep > 0 {
			short, err := t.head(ctx, f, keep)
			if err != nil {
				return nil, err
			}
			kept.files = append(kept.files, short)
		}
		if err := t.files.Remove(f.data.FilePath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("removing %s: %w", f.data.FilePath(), err)
		}
	}
	if len(kept.files) == 0 {
		return nil, nil
	}
	return kept, nil
}

// head copies the first rows of a staged file into a new one.
func (t *Table) head(ctx context.Context, f *stagedFile, rows int64) (*stagedFile, error) {
	gone := newPositions(f.data.Count())
	for i := rows; i < f.data.Count(); i++ {
		gone.add(i)
	}
	r := rewriter{t: t, c: &change{}, target: math.MaxInt64}
	if err := errors.Join(r.copy(ctx, f.data, gone), r.close()); err != nil {
		return nil, errors.Join(err, t.removeAll(r.c.made))
	}
	if len(r.c.add) != 1 {
		return nil, errors.Join(fmt.Errorf("shortening %s: %d files came of it", f.data.FilePath(), len(r.c.add)), t.removeAll(r.c.made))
	}
	short := &stagedFile{data: r.c.add[0]}
	for _, b := range f.keys {
		if rows > 0 {
			n := int(min(rows, int64(len(b.hashes))))
			short.keys = append(short.keys, &keyBlock{
				hashes: b.hashes[:n], orders: b.orders[:n], cursors: b.cursors[:n], texts: b.texts, flags: b.flags[:n],
			})
			rows -= int64(n)
		}
	}
	return short, nil
}
