package changes

import (
	"slices"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/iblt"
)

// A Tracker compares the rows that a sync reads with the state of the stream. It
// does no input or output.
type Tracker struct {
	lookback          time.Duration
	state             State             // without Recent
	recent            map[string]*entry // rows in the window
	seenOutsideWindow map[string]uint64 // fingerprints of other rows that this sync has read

	// windowStart is where the window began when the sync did. An older row that
	// is not in recent is in the sketch: whether it changed, only a full walk can tell.
	windowStart time.Time

	// The rest is for a full walk.
	full             bool
	knownFrom        time.Time  // the stream began here so far; what is older is new to it
	emitAll          bool       // every row is emitted
	sketchDifference iblt.Table // the old rows of the state, less those that this sync has read
	sketchSeen       iblt.Table // the old rows that it has read
}

// New starts from a state; a stream without one has the zero State. A full walk
// reads the stream from start, which may be earlier than the state's.
func New(s State, lookback time.Duration, full bool, start time.Time) *Tracker {
	t := &Tracker{
		lookback: lookback, state: s, recent: map[string]*entry{}, seenOutsideWindow: map[string]uint64{},
		windowStart: s.WindowStart, full: full, knownFrom: s.Start, emitAll: full && s.EmitAll,
	}
	t.state.Start = start
	for _, e := range s.Recent {
		e.moved = slices.Contains(s.Moved, e.key)
		t.recent[e.key] = &e
	}
	if full {
		t.sketchDifference = s.Older
	}
	t.state.Version, t.state.Recent, t.state.Moved = StateVersion, nil, nil
	return t
}

// Oldest is when the oldest row known began; zero if there is none.
func (t *Tracker) Oldest() time.Time { return t.state.Oldest }

// Knows reports whether the version of a row in the window is the one that was emitted.
func (t *Tracker) Knows(r Record) bool {
	e, ok := t.recent[r.Key]
	return ok && e.fingerprint == r.Fingerprint
}

// Observe takes a row that the sync has read and reports whether to emit it:
// whether it is new or has changed, and was not emitted before. Whoever emits it then
// calls [Tracker.Emitted]. If nobody does, the next sync observes a row of the window as a
// change again. Which old rows have changed, only [Tracker.Unresolved] can tell, once a
// full walk has observed all.
func (t *Tracker) Observe(r Record) (emit bool) {
	if e, ok := t.recent[r.Key]; ok {
		switch {
		case e.seen && !e.owed: // it came before in this sync, in another slice
			return false
		case e.fingerprint == r.Fingerprint && !t.emitAll: // the version that was emitted last
			if !e.owed { // else a newer version has come, and this answer is out of date
				t.remember(r)
			}
			return false
		}
		e.seen, e.owed = true, true
		return true
	}
	_, seen := t.seenOutsideWindow[r.Key]
	switch {
	case seen:
		return false
	case r.Time.Before(t.windowStart): // an old row, of which the state has no more than the sketch
		t.seenOutsideWindow[r.Key] = r.Fingerprint
		if !t.full {
			return false
		}
		t.sketchSeen.Insert(r.pair())
		if r.Time.Before(t.knownFrom) { // then it is not in the state's sketch
			return true
		}
		t.sketchDifference.Delete(r.pair())
		return t.emitAll
	default:
		t.recent[r.Key] = &entry{key: r.Key, time: r.Time, seen: true, owed: true, moved: t.mayHaveMoved(r)}
		return true
	}
}

// Emitted records that this version of a row was emitted. Of a row from before the
// window Observe has taken all that is kept.
func (t *Tracker) Emitted(r Record) {
	if _, ok := t.recent[r.Key]; ok {
		t.remember(r)
	}
}

func (t *Tracker) remember(r Record) {
	known := t.recent[r.Key]
	t.recent[r.Key] = &entry{
		key: r.Key, time: r.Time, fingerprint: r.Fingerprint, updated: r.Updated,
		open: r.Open, unsettled: r.Unsettled, seen: true, moved: known != nil && known.moved,
	}
	if t.state.Oldest.IsZero() || r.Time.Before(t.state.Oldest) {
		t.state.Oldest = r.Time
	}
}

// Advance records that everything before an instant has been read, and moves the
// window up to it. In a full walk both wait for Finish.
func (t *Tracker) Advance(to time.Time) {
	if t.full {
		return
	}
	if to.After(t.state.Until) {
		t.state.Until = to
	}
	start := t.nextWindowStart()
	t.state.WindowStart = start
	for key, e := range t.recent {
		if e.seen && !e.owed && !e.open && e.time.Before(start) && (!e.moved || e.time.Before(start.Add(-maxStretch))) {
			t.state.Older.Insert(e.pair())
			t.seenOutsideWindow[key] = e.fingerprint
			delete(t.recent, key)
		}
	}
}

// nextWindowStart is a lookback before the end, and further back for rows that must stay
// in the window and for those that WHOOP does not have yet. It never moves backwards.
func (t *Tracker) nextWindowStart() time.Time {
	start := t.state.Until.Add(-max(t.lookback, minWindow))
	earliest := t.state.Until.Add(-max(t.lookback, maxStretch))
	newest := earliest
	for _, e := range t.recent {
		if e.time.After(newest) {
			newest = e.time
		}
		// The window keeps a row that this sync has not read yet, because a sync that
		// resumes from here reads from its start. An open one comes with every window.
		if e.time.Before(start) && !e.open && (!e.seen || e.unsettled && !e.time.Before(earliest)) {
			start = e.time
		}
	}
	if newest.Before(start) { // what comes after it is new, whenever it comes
		start = newest
	}
	if start.Before(t.state.WindowStart) {
		return t.state.WindowStart
	}
	return start
}

// Finish ends a sync that has read everything up to an instant. EmitAll makes the
// next one a full walk that emits every row.
func (t *Tracker) Finish(end time.Time, emitAll bool) {
	if t.full {
		t.state.Older, t.state.Walked, t.state.EmitAll = t.sketchSeen, end, emitAll
		t.full = false
		for _, e := range t.recent {
			e.moved = false // the new sketch has no row of the window
		}
	}
	t.Advance(end)
}
