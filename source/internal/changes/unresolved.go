package changes

import (
	"cmp"
	"slices"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/iblt"
)

// An UnresolvedRow must be read by its key, because it did not come with its
// collection, or is an old one that may be new or different.
type UnresolvedRow struct {
	Key         string
	old         bool   // it began before the window
	fingerprint uint64 // of an old row that did not come: the state's; 0: not known
}

// maxUnresolved old rows are worth a request each. Beyond that, reading all pages
// again costs less.
const maxUnresolved = 100

// MaxVanished is how many old rows can vanish or appear between two full walks, for
// the second one to tell which. A state of constant size cannot hold the keys of more.
const MaxVanished = iblt.Capacity

// Unresolved lists the rows to read by key once everything else has been read.
// TooMany means that a full walk found more than maxUnresolved, so the next sync
// must emit the whole stream. Lost means that it cannot even tell which rows are
// gone, because they are more than MaxVanished: no later sync can either.
func (t *Tracker) Unresolved() (rows []UnresolvedRow, tooMany, lost bool) {
	for key, e := range t.recent {
		if !e.seen {
			rows = append(rows, UnresolvedRow{Key: key})
		}
	}
	if t.full {
		old, complete := t.unresolvedOld()
		tooMany = !t.emitAll && (!complete || len(old) > maxUnresolved)
		lost = !complete
		for _, u := range old {
			// A row that came and is emitted anyway need not be read by key.
			if _, came := t.seenOutsideWindow[u.Key]; !came || !t.emitAll && !tooMany {
				rows = append(rows, u)
			}
		}
	}
	slices.SortFunc(rows, func(a, b UnresolvedRow) int { return cmp.Compare(a.Key, b.Key) })
	return rows, tooMany, lost
}

// unresolvedOld compares the rows from before the window with the sketch.
func (t *Tracker) unresolvedOld() (rows []UnresolvedRow, complete bool) {
	gone, came, complete := t.sketchDifference.ListKeys()
	isNew := map[string]bool{}
	for _, k := range came {
		key := unpackKey(k)
		isNew[key] = true
		rows = append(rows, UnresolvedRow{Key: key, old: true})
	}
	var inState map[iblt.Key]uint64 // fingerprints, by key
	if complete {
		var known []iblt.Pair
		for key, fingerprint := range t.seenOutsideWindow {
			if !isNew[key] {
				known = append(known, pairOf(key, fingerprint))
			}
		}
		var changed []iblt.Key
		changed, inState = t.sketchDifference.Changed(known, slices.Concat(gone, came))
		for _, k := range changed {
			rows = append(rows, UnresolvedRow{Key: unpackKey(k), old: true})
		}
	}
	for _, k := range gone {
		key := unpackKey(k)
		_, isRecent := t.recent[key]
		if _, isOld := t.seenOutsideWindow[key]; !isRecent && !isOld {
			rows = append(rows, UnresolvedRow{Key: key, old: true, fingerprint: inState[k]})
		}
	}
	return rows, complete
}

// Resolve takes what WHOOP has under the key of an unresolved row, nil if there
// is none, and reports whether to emit it: the record, or that the row is gone. For a
// row that is gone it returns when the version in the state was updated, if that is
// known.
func (t *Tracker) Resolve(u UnresolvedRow, r *Record) (emit bool, updated time.Time) {
	if !u.old {
		e := t.recent[u.Key]
		if r == nil {
			delete(t.recent, u.Key)
			return e.fingerprint != 0, e.updated // without one, no version was ever emitted
		}
		t.remember(*r)
		return e.fingerprint != r.Fingerprint, updated
	}
	fingerprint, came := t.seenOutsideWindow[u.Key]
	if came {
		t.sketchSeen.Delete(pairOf(u.Key, fingerprint))
	}
	if r == nil {
		return true, updated
	}
	if r.Time.Before(t.windowStart) {
		t.sketchSeen.Insert(r.pair())
		t.seenOutsideWindow[u.Key] = r.Fingerprint
	} else {
		delete(t.seenOutsideWindow, u.Key)
		t.remember(*r)
	}
	return t.emitAll || r.Fingerprint != u.fingerprint, updated
}

// Forget stops tracking an unresolved row.
func (t *Tracker) Forget(u UnresolvedRow) {
	if fingerprint, came := t.seenOutsideWindow[u.Key]; came && u.old {
		t.sketchSeen.Delete(pairOf(u.Key, fingerprint))
	}
	delete(t.recent, u.Key)
}
