package lake

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/apache/iceberg-go"
	"github.com/zeebo/xxh3"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
)

// spilledTable does for keys in runs what a key table does for those in memory:
// runs of staged keys and of keys of the table are merged, so that all rows of a
// key meet, however many keys there are.
type spilledTable struct {
	filter keyFilter            // of the staged keys; nil until files are scanned
	hits   *keyIndex            // rows of the table that the filter has let pass
	found  map[string]*fileKeys // by data file
}

func newSpilledTable(t *Table) *spilledTable {
	return &spilledTable{hits: &keyIndex{t: t}, found: map[string]*fileKeys{}}
}

// add adds rows of a data file of the table.
func (s *spilledTable) add(path string, rows *keyBlock) error {
	if s.found[path] == nil {
		s.found[path] = &fileKeys{}
	}
	return s.hits.add(s.found[path], rows)
}

// errManyHits says that there are more rows of staged keys in the table than
// there is memory for.
var errManyHits = errors.New("the table has many rows of a key")

// supersededBySpilled is superseded for keys in runs.
func (u *upsert) supersededBySpilled(ctx context.Context, schema *iceberg.Schema, set *liveSet) (map[*liveFile]parquetfile.Positions, error) {
	staged, err := u.spillAll(ctx)
	if err != nil {
		return nil, err
	}
	s := u.spilled
	if len(staged) > 0 && len(set.files) > 0 {
		finder, err := newKeyFinder(u, schema)
		if err != nil {
			return nil, err
		}
		if err := finder.scan(ctx, finder.candidates(set)); err != nil {
			return nil, fmt.Errorf("looking for keys in table %s: %w", u.t, err)
		}
		if err := s.hits.spill(); err != nil {
			return nil, err
		}
	}
	for _, keys := range s.found {
		keys.rows, keys.gone = 0, nil // until its file is seen to be in the table still
	}
	for _, f := range set.files {
		keys := s.found[f.data.FilePath()]
		if keys == nil {
			continue
		}
		keys.rows, keys.sequence = f.data.Count(), f.sequence
		if keys.deleted = nil; len(f.deletes)+len(set.shared)+len(f.older) > 0 {
			if keys.deleted, err = u.t.deleted(ctx, f, set.shared); err != nil {
				return nil, err
			}
		}
	}
	if err := u.merge(ctx, staged, s.hits.runs); err != nil {
		return nil, fmt.Errorf("merging keys of table %s: %w", u.t, err)
	}
	gone := map[*liveFile]parquetfile.Positions{}
	for _, f := range set.files {
		if keys := s.found[f.data.FilePath()]; keys != nil && keys.gone != nil {
			for row := range keys.deleted.All() {
				keys.gone.Add(row)
			}
			gone[f] = keys.gone
		}
	}
	return gone, nil
}

// spillAll moves all staged keys to runs, and makes the filter of them.
func (u *upsert) spillAll(ctx context.Context) ([]*keyRun, error) {
	var runs []*keyRun
	for _, x := range u.indexes {
		if err := x.spill(); err != nil {
			return nil, err
		}
		runs = append(runs, x.runs...)
	}
	if u.spilled.filter != nil {
		return runs, nil
	}
	u.spilled.filter = newKeyFilter(u.rows)
	for _, run := range runs {
		m, err := u.t.mergeKeys([]*keyRun{run})
		err = cmp.Or(err, ctx.Err())
		for err == nil && m.key() != nil {
			u.spilled.filter.add(m.key().hash)
			err = m.skip()
		}
		if err != nil {
			return nil, err
		}
	}
	return runs, nil
}

// merge marks the rows that lose, of staged files and of files of the table.
func (u *upsert) merge(ctx context.Context, staged, hits []*keyRun) error {
	for _, f := range u.files {
		f.keys.gone = nil
	}
	rows, err := u.t.mergeKeys(staged)
	if err != nil {
		return err
	}
	old, err := u.t.mergeKeys(hits)
	if err != nil {
		return err
	}
	var winner, best spilledKey
	for n := 0; rows.key() != nil; n++ {
		if n%(1<<16) == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		hash := rows.key().hash
		won, erased, err := rows.winner(&winner)
		if err != nil {
			return err
		}
		if !won {
			continue
		}
		if winner.flags&tombstone != 0 && !u.keepsTombstones() {
			winner.lose()
		}
		found, err := old.best(hash, &best, erased)
		switch {
		case err != nil:
			return err
		case !found:
		case compareCursors(&best.candidate, &winner.candidate) > 0:
			winner.lose()
		default:
			best.lose()
		}
	}
	return nil
}

// winner reads the staged rows of one key, all but the winner losing, and tells
// whether there is a winner, and a tombstone without a cursor.
func (m *keyMerge) winner(w *spilledKey) (won, erased bool, err error) {
	var until uint64 // the arrival of the last such tombstone
	hash := m.key().hash
	for k := m.key(); k != nil && k.hash == hash; k = m.key() {
		switch {
		case !k.counts():
		case won && k.loses(&w.candidate, until):
			k.lose()
		default:
			if won {
				w.lose()
			}
			w.set(k)
			won = true
			if k.flags.erases() {
				erased, until = true, k.order
			}
		}
		if err := m.skip(); err != nil {
			return false, false, err
		}
	}
	return won, erased, nil
}

// best reads the table's rows of one key, all but the best losing, or all if
// they are erased.
func (m *keyMerge) best(hash xxh3.Uint128, b *spilledKey, erased bool) (found bool, err error) {
	for k := m.key(); k != nil && compareKeys(k.hash, 0, hash, 0) <= 0; k = m.key() {
		switch {
		case k.hash != hash || !k.counts():
		case erased:
			k.lose()
		case !found:
			b.set(k)
			found = true
		case cmp.Or(compareCursors(&k.candidate, &b.candidate), cmp.Compare(k.file.sequence, b.file.sequence), cmp.Compare(k.row, b.row)) < 0:
			k.lose()
		default:
			b.lose()
			b.set(k)
		}
		if err := m.skip(); err != nil {
			return false, err
		}
	}
	return found, nil
}
