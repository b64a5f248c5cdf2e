package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// A tracker finds out what changed in a stream since its state, from the rows
// that a sync reads. It does no input or output of its own.
type tracker struct {
	lookback time.Duration
	state    state             // but for Recent
	recent   map[string]*entry // rows in the window
	passed   map[string]bool   // rows seen in this sync that are not in recent

	// from is where the window began. A row from before it that is not in
	// recent is one of the sketch's, and says nothing.
	from time.Time

	// The rest is for a full walk.
	full  bool
	begun json.RawMessage // the state to go back to if it is interrupted
	left  sketch          // the old rows that have not come yet
	fresh sketch          // the old rows that have come
}

// newTracker starts from a state, or afresh when the state is zero. Full means
// that the sync will read from the beginning of the stream.
func newTracker(s state, lookback time.Duration, full bool) (*tracker, error) {
	t := &tracker{lookback: lookback, state: s, recent: map[string]*entry{}, passed: map[string]bool{}, from: s.WindowStart, full: full}
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
		return changed
	}
	switch {
	case t.passed[r.key]:
		return false
	case r.time.Before(t.from):
		t.passed[r.key] = true
		if t.full {
			t.left.remove(r.element())
			t.fresh.add(r.element())
		}
		return false
	default:
		t.note(r)
		return true
	}
}

func (t *tracker) note(r record) {
	t.recent[r.key] = &entry{key: r.key, time: r.time, hash: r.hash, unsettled: r.unsettled, seen: true}
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
		// A row that has not come yet can only be missed while it is listed.
		if e.time.Before(start) && (!e.seen || e.unsettled && !e.time.Before(farthest)) {
			start = e.time
		}
	}
	if start.Before(t.state.WindowStart) {
		start = t.state.WindowStart
	}
	t.state.WindowStart = start
	for key, e := range t.recent {
		if e.seen && e.time.Before(start) {
			t.state.Older.add(e.element())
			t.passed[key] = true
			delete(t.recent, key)
		}
	}
}

// A finding is a row that did not come, or that came from before the window and
// is different.
type finding struct {
	key     string
	element element // of an old row
	old     bool
	missing bool // else it is new or different
}

// findings lists, at the end of a sync, what must be asked for by key. More is
// true if a full walk found more differences than can be listed.
func (t *tracker) findings() (list []finding, more bool) {
	for key, e := range t.recent {
		if !e.seen {
			list = append(list, finding{key: key, missing: true})
		}
	}
	if t.full {
		gone, came, complete := t.left.list()
		more = !complete
		for _, e := range came {
			list = append(list, finding{key: unpackKey(e.Key), element: e, old: true})
		}
		for _, e := range gone {
			key := unpackKey(e.Key)
			if _, isRecent := t.recent[key]; !isRecent && !t.passed[key] {
				list = append(list, finding{key: key, element: e, old: true, missing: true})
			}
		}
	}
	slices.SortFunc(list, func(a, b finding) int { return cmp.Compare(a.key, b.key) })
	return list, more
}

// resolve settles a finding with the row that WHOOP has under its key, or nil,
// and tells whether that row is to be emitted, or a tombstone for it.
func (t *tracker) resolve(f finding, r *record) (emit, gone bool) {
	if !f.old {
		e := t.recent[f.key]
		if r == nil {
			delete(t.recent, f.key)
			return false, true
		}
		changed := e.hash != r.hash
		t.note(*r)
		return changed, false
	}
	if !f.missing {
		t.fresh.remove(f.element)
	}
	if r == nil {
		return false, true
	}
	t.fresh.add(r.element())
	return !f.missing || r.hash != f.element.Hash, false
}

// finish ends a sync that has read everything up to an instant.
func (t *tracker) finish(end time.Time, more bool) {
	if t.full {
		t.state.Older, t.state.Walked, t.full = t.fresh, end, false
	}
	t.advance(end)
	if more {
		t.state = state{Version: stateVersion} // and start over
		t.recent = map[string]*entry{}
	}
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

func (e entry) element() element  { return elementOf(e.key, e.hash) }
func (r record) element() element { return elementOf(r.key, r.hash) }

// elementOf is for keys that packKey has accepted before.
func elementOf(key string, hash uint64) element {
	packed, err := packKey(key)
	if err != nil {
		panic(err)
	}
	return element{packed, hash}
}
