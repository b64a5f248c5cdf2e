package rowkeys

import (
	"cmp"
	"context"

	"github.com/zeebo/xxh3"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/budget"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
)

// spilledKeys replaces winners when keys are in runs. Runs of staged keys and runs
// of hits are merged, which brings all rows of a key together.
type spilledKeys struct {
	filter keyFilter        // of the staged keys; nil before the first attempt
	hits   *Index           // and rows that the filter took for hits
	found  map[string]*File // by data file
}

func newSpilledKeys(files storage.Scratch, memory *budget.Memory) *spilledKeys {
	return &spilledKeys{hits: NewIndex(files, memory), found: map[string]*File{}}
}

// add adds rows of a data file of the table.
func (s *spilledKeys) add(path string, rows *block) error {
	if s.found[path] == nil {
		s.found[path] = &File{}
	}
	return s.hits.add(s.found[path], rows)
}

// spillStaged moves all staged keys to runs, and makes the filter of them.
func (c *Resolver) spillStaged(ctx context.Context) error {
	for _, x := range c.indexes {
		if err := x.spill(); err != nil {
			return err
		}
	}
	if c.spilled.filter != nil {
		return nil
	}
	filter := newKeyFilter(c.StagedRows())
	for _, run := range c.stagedRuns() {
		m, err := mergeKeys(c.scratch, []*keyRun{run})
		err = cmp.Or(err, ctx.Err())
		for err == nil && m.key() != nil {
			filter.add(m.key().hash)
			err = m.skip()
		}
		if err != nil {
			return err
		}
	}
	c.spilled.filter = filter
	return nil
}

func (c *Resolver) stagedRuns() (runs []*keyRun) {
	for _, x := range c.indexes {
		runs = append(runs, x.runs...)
	}
	return runs
}

// decideSpilled is Decide for keys in runs.
func (c *Resolver) decideSpilled(ctx context.Context, files []TableFile) (map[string]parquetfile.Positions, error) {
	s := c.spilled
	if err := s.hits.spill(); err != nil {
		return nil, err
	}
	for _, keys := range s.found {
		keys.rows, keys.superseded = 0, nil // until its file is seen to be in the table still
	}
	for i, f := range files {
		if keys := s.found[f.Path]; keys != nil {
			keys.rows, keys.place, keys.deleted = f.Rows, i, f.Deleted
		}
	}
	if err := c.merge(ctx, c.stagedRuns(), s.hits.runs); err != nil {
		return nil, err
	}
	deleted := map[string]parquetfile.Positions{}
	for _, f := range files {
		if keys := s.found[f.Path]; keys != nil && keys.superseded != nil {
			for row := range keys.deleted.All() {
				keys.superseded.Add(row)
			}
			deleted[f.Path] = keys.superseded
		}
	}
	return deleted, nil
}

// merge notes the superseded rows in their files, staged ones and those of the
// table.
func (c *Resolver) merge(ctx context.Context, staged, hits []*keyRun) error {
	for _, f := range c.files {
		f.superseded = nil
	}
	rows, err := mergeKeys(c.scratch, staged)
	if err != nil {
		return err
	}
	old, err := mergeKeys(c.scratch, hits)
	if err != nil {
		return err
	}
	var winner, best spilledKey
	for n := 0; rows.key() != nil; n++ {
		if n%(1<<16) == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		hash := rows.key().hash
		won, unversioned, err := rows.winner(&winner)
		if err != nil {
			return err
		}
		if !won {
			continue
		}
		if winner.flags&tombstone != 0 && !c.keepTombstones {
			winner.supersede()
		}
		found, err := old.best(hash, &best, unversioned)
		switch {
		case err != nil:
			return err
		case !found:
		case compareCursors(&best.candidate, &winner.candidate) > 0:
			winner.supersede()
		default:
			best.supersede()
		}
	}
	return nil
}

// winner reads the staged rows of one key and marks all but the winner as
// superseded. It reports whether there is a winner, and whether there is an
// unversioned tombstone.
func (m *keyMerge) winner(w *spilledKey) (won, unversioned bool, err error) {
	var last uint64 // the arrival of the last unversioned tombstone
	hash := m.key().hash
	for k := m.key(); k != nil && k.hash == hash; k = m.key() {
		switch {
		case !k.isPresent():
		case won && k.losesTo(&w.candidate, last):
			k.supersede()
		default:
			if won {
				w.supersede()
			}
			w.set(k)
			won = true
			if k.flags.isUnversionedTombstone() {
				unversioned, last = true, k.arrival
			}
		}
		if err := m.skip(); err != nil {
			return false, false, err
		}
	}
	return won, unversioned, nil
}

// best reads the rows of one key in the table and marks all but the best as
// superseded, or all if the staged rows have an unversioned tombstone.
func (m *keyMerge) best(hash xxh3.Uint128, b *spilledKey, unversioned bool) (found bool, err error) {
	for k := m.key(); k != nil && compareKeys(k.hash, 0, hash, 0) <= 0; k = m.key() {
		switch {
		case k.hash != hash || !k.isPresent():
		case unversioned:
			k.supersede()
		case !found:
			b.set(k)
			found = true
		case cmp.Or(compareCursors(&k.candidate, &b.candidate), cmp.Compare(k.file.place, b.file.place), cmp.Compare(k.row, b.row)) < 0:
			k.supersede()
		default:
			b.supersede()
			b.set(k)
		}
		if err := m.skip(); err != nil {
			return false, err
		}
	}
	return found, nil
}
