package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/iblt"
)

// A tracker finds out what changed in a stream since its state, from the rows
// that a sync reads. It does no input or output of its own.
type tracker struct {
	lookback time.Duration
	state    state             // but for Recent
	recent   map[string]*entry // rows in the window
	passed   map[string]uint64 // rows seen in this sync that are not in recent, with their fingerprints

	// from is where the window began. A row from before it that is not in
	// recent is one of the sketch's, and says nothing.
	from time.Time

	// The rest is for a full walk.
	full  bool
	since time.Time       // when the stream began so far: what is older is new to it
	anew  bool            // every row is emitted
	begun json.RawMessage // the state to go back to if it is interrupted
	left  iblt.Table      // the old rows that have not come yet
	fresh iblt.Table      // the old rows that have come
}

// newTracker starts from a state, or afresh when the state is zero. Full means
// that the sync will read from the beginning of the stream, which may then lie
// before that of the state.
func newTracker(s state, lookback time.Duration, full bool, start time.Time) (*tracker, error) {
	t := &tracker{
		lookback: lookback, state: s, recent: map[string]*entry{}, passed: map[string]uint64{},
		from: s.WindowStart, full: full, since: s.Start, anew: full && s.Anew,
	}
	t.state.Start = start
	for _, e := range s.Recent {
		t.recent[e.key] = &e
	}
	if full {
		t.left = s.Older
		var err error
		if t.begun, err = json.Marshal(s); err != nil {
			return nil, fmt.Errorf("keeping a state: %w", err)
		}
	}
	t.state.Version, t.state.Recent = stateVersion, nil
	return t, nil
}

// consider takes note of a row and tells whether it is to be emitted.
func (t *tracker) consider(r record) bool {
	if e, ok := t.recent[r.key]; ok {
		if e.seen {
			return false
		}
		changed := e.hash != r.hash
		t.note(r)
		return changed || t.anew
	}
	_, passed := t.passed[r.key]
	switch {
	case passed:
		return false
	case r.time.Before(t.from):
		t.passed[r.key] = r.hash
		if !t.full {
			return false
		}
		t.fresh.Insert(r.pair())
		if r.time.Before(t.since) {
			return true
		}
		t.left.Delete(r.pair())
		return t.anew
	default:
		t.note(r)
		return true
	}
}

// note remembers a row as it is emitted, or as it was.
func (t *tracker) note(r record) {
	t.recent[r.key] = &entry{key: r.key, time: r.time, hash: r.hash, updated: r.updated, open: r.open, unsettled: r.unsettled, seen: true}
	if t.state.Oldest.IsZero() || r.time.Before(t.state.Oldest) {
		t.state.Oldest = r.time
	}
}

// advance takes note that everything before an instant has been read, and moves
// the window. In a full walk both wait for its end.
func (t *tracker) advance(to time.Time) {
	if t.full {
		return
	}
	if to.After(t.state.Until) {
		t.state.Until = to
	}
	until := t.state.Until
	start := until.Add(-t.lookback)
	farthest := until.Add(-max(t.lookback, maxStretch))
	for _, e := range t.recent {
		// A row that has not come yet can only be missed while it is listed, and
		// an open one comes with every window.
		if e.time.Before(start) && !e.open && (!e.seen || e.unsettled && !e.time.Before(farthest)) {
			start = e.time
		}
	}
	if start.Before(t.state.WindowStart) {
		start = t.state.WindowStart
	}
	t.state.WindowStart = start
	for key, e := range t.recent {
		if e.seen && !e.open && e.time.Before(start) {
			t.state.Older.Insert(e.pair())
			t.passed[key] = e.hash
			delete(t.recent, key)
		}
	}
}

// A finding is a row that must be asked for by its key: it did not come, or it
// came from before the window and may be new or different.
type finding struct {
	key string
	old bool // from before the window
}

// mostFindings are worth a request each; beyond that all pages cost less.
const mostFindings = 100

// findings lists, at the end of a sync, what must be asked for. More is true if
// a full walk found more differences than that; lost, if it cannot even tell
// which rows are gone.
func (t *tracker) findings() (list []finding, more, lost bool) {
	for key, e := range t.recent {
		if !e.seen {
			list = append(list, finding{key: key})
		}
	}
	if t.full {
		old, complete := t.oldFindings()
		more = !t.anew && (!complete || len(old) > mostFindings)
		lost = !complete
		for _, f := range old {
			// What is emitted anyway need not be asked for.
			if _, came := t.passed[f.key]; !came || !t.anew && !more {
				list = append(list, f)
			}
		}
	}
	slices.SortFunc(list, func(a, b finding) int { return cmp.Compare(a.key, b.key) })
	return list, more, lost
}

// oldFindings compares the rows from before the window with the sketch.
func (t *tracker) oldFindings() (list []finding, complete bool) {
	gone, came, complete := t.left.ListKeys()
	for _, k := range gone {
		key := unpackKey(k)
		_, isRecent := t.recent[key]
		if _, isOld := t.passed[key]; !isRecent && !isOld {
			list = append(list, finding{key, true})
		}
	}
	isNew := map[string]bool{}
	for _, k := range came {
		key := unpackKey(k)
		isNew[key] = true
		list = append(list, finding{key, true})
	}
	if !complete {
		return list, false
	}
	var rows []iblt.Pair
	for key, hash := range t.passed {
		if !isNew[key] {
			rows = append(rows, pairOf(key, hash))
		}
	}
	for _, k := range t.left.Changed(rows, slices.Concat(gone, came)) {
		list = append(list, finding{unpackKey(k), true})
	}
	return list, true
}

// resolve settles a finding with the row that WHOOP has under its key, or nil,
// and tells whether that row is to be emitted. Of a row that is gone it tells
// when the version in the state was made, if that is known.
func (t *tracker) resolve(f finding, r *record) (emit bool, updated time.Time) {
	if !f.old {
		e := t.recent[f.key]
		if r == nil {
			delete(t.recent, f.key)
			return false, e.updated
		}
		t.note(*r)
		return e.hash != r.hash, updated
	}
	hash, came := t.passed[f.key]
	if came {
		t.fresh.Delete(pairOf(f.key, hash))
	}
	if r == nil {
		return false, updated
	}
	t.fresh.Insert(r.pair())
	t.passed[f.key] = r.hash
	return true, updated
}

// forget stops tracking the row of a finding.
func (t *tracker) forget(f finding) {
	if hash, came := t.passed[f.key]; came && f.old {
		t.fresh.Delete(pairOf(f.key, hash))
	}
	delete(t.recent, f.key)
}

// finish ends a sync that has read everything up to an instant. More asks the
// next one to emit everything.
func (t *tracker) finish(end time.Time, more bool) {
	if t.full {
		t.state.Older, t.state.Walked, t.state.Anew = t.fresh, end, more
		t.full = false
	}
	t.advance(end)
}

// checkpoint is the state as it is now.
func (t *tracker) checkpoint() (json.RawMessage, error) {
	if t.full {
		return t.begun, nil
	}
	s := t.state
	s.Recent = make([]entry, 0, len(t.recent))
	for _, e := range t.recent {
		s.Recent = append(s.Recent, *e)
	}
	slices.SortFunc(s.Recent, func(a, b entry) int {
		return cmp.Or(a.time.Compare(b.time), cmp.Compare(a.key, b.key))
	})
	raw, err := json.Marshal(&s)
	if err != nil {
		return nil, fmt.Errorf("making a state: %w", err)
	}
	return raw, nil
}

func (r record) pair() iblt.Pair { return pairOf(r.key, r.hash) }
func (e entry) pair() iblt.Pair  { return pairOf(e.key, e.hash) }

func pairOf(key string, hash uint64) iblt.Pair { return iblt.Pair{Key: mustPack(key), Value: hash} }

// mustPack is for keys that packKey has accepted before.
func mustPack(key string) iblt.Key {
	packed, err := packKey(key)
	if err != nil {
		panic(err)
	}
	return packed
}
