package changes

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// history is what WHOOP has, and a stream that follows it.
type history struct {
	rows map[string]Record
	tr   *Tracker
}

// sixtyDays has a row a day; row n began n days and an hour before the opening.
func sixtyDays(t *testing.T) *history {
	t.Helper()
	h := &history{rows: map[string]Record{}, tr: New(State{}, 14*day, false, time.Time{})}
	for n := range 60 {
		h.put(rec(n, opening.Add(-time.Duration(n)*day-time.Hour), 1))
	}
	h.sync(t, opening, false)
	return h
}

// put has WHOOP show a row, which it has had since the row ended.
func (h *history) put(r Record) {
	r.Created = r.End
	if known, ok := h.rows[r.Key]; ok {
		r.Created = known.Created
	}
	h.rows[r.Key] = r
}

// sync reads up to an instant. It returns the keys of rows that are emitted, those that are
// told to be gone, and those that were read by key.
func (h *history) sync(t *testing.T, end time.Time, full bool) (emitted, gone, asked []string) {
	t.Helper()
	from := h.tr.state.WindowStart
	if !h.tr.state.Until.IsZero() {
		h.tr = again(t, h.tr, full)
	}
	for key, r := range h.rows {
		if (full || !r.End.Before(from)) && observe(h.tr, r) {
			emitted = append(emitted, key)
		}
	}
	list, tooMany, lost := h.tr.Unresolved()
	if tooMany || lost {
		t.Errorf("at %v: too many %v, lost %v", end, tooMany, lost)
	}
	for _, u := range list {
		asked = append(asked, u.Key)
		r, there := h.rows[u.Key]
		if !there {
			if emit, _ := h.tr.Resolve(u, nil); emit {
				gone = append(gone, u.Key)
			}
		} else if emit, _ := h.tr.Resolve(u, &r); emit {
			emitted = append(emitted, u.Key)
		}
	}
	h.tr.Finish(end, tooMany)
	slices.Sort(emitted)
	return emitted, gone, asked
}

func (h *history) follows(t *testing.T, key string) bool {
	t.Helper()
	return slices.ContainsFunc(checkpointed(t, h.tr).Recent, func(e entry) bool { return e.key == key })
}

// The sketch has a row that an edit moved into the window. The row does not come into the
// sketch a second time when it leaves the window: if it then vanished, the sketch could tell
// nothing of all that vanished.
func TestARowThatMovedIntoTheWindowLeavesItOnce(t *testing.T) {
	for name, walked := range map[string]bool{"before a full walk": false, "after a full walk": true} {
		t.Run(name, func(t *testing.T) {
			h := sixtyDays(t)
			h.put(rec(14, opening.Add(-14*day+time.Hour), 2)) // it had begun an hour before the window
			emitted, _, _ := h.sync(t, opening, false)
			wantEqual(t, "emitted", emitted, []string{"14"})
			if walked {
				h.sync(t, opening, true)
			}
			emitted, gone, _ := h.sync(t, opening.Add(day), false)
			if len(emitted)+len(gone) > 0 {
				t.Errorf("then %v are emitted, %v gone", emitted, gone)
			}
			if walked == h.follows(t, "14") {
				t.Errorf("the state follows the row: %v", !walked)
			}

			delete(h.rows, "14")
			delete(h.rows, "30")
			_, first, _ := h.sync(t, opening.Add(2*day), false)
			_, second, _ := h.sync(t, opening.Add(7*day), true)
			gone = slices.Concat(first, second)
			slices.Sort(gone)
			wantEqual(t, "gone", slices.Compact(gone), []string{"14", "30"})
			emitted, gone, _ = h.sync(t, opening.Add(7*day), true)
			if len(emitted)+len(gone) > 0 {
				t.Errorf("in the end %v are emitted, %v gone", emitted, gone)
			}
		})
	}
}

// What is new has not moved: it leaves the window like all other rows, and is not read by its key.
// What has moved is followed until the next full walk, and for a month at most.
func TestOnlyRowsThatMovedAreFollowed(t *testing.T) {
	h := sixtyDays(t)
	late := rec(100, opening.Add(-3*day), 1)
	late.Created = opening.Add(time.Minute)
	h.rows[late.Key] = late
	undated := rec(103, opening.Add(-3*day), 1) // WHOOP does not say when it recorded it
	h.rows[undated.Key] = undated
	h.put(rec(14, opening.Add(-14*day+time.Hour), 2))
	h.put(rec(101, opening.Add(time.Hour), 1))
	h.sync(t, opening.Add(day), false)
	h.put(rec(102, opening.Add(19*day), 1))
	h.sync(t, opening.Add(20*day), false)
	if h.follows(t, "100") || h.follows(t, "101") || h.follows(t, "103") || !h.follows(t, "14") {
		t.Errorf("the state has %+v", checkpointed(t, h.tr).Recent)
	}
	_, _, asked := h.sync(t, opening.Add(20*day), false)
	wantEqual(t, "read by key", asked, []string{"14"})
	h.sync(t, opening.Add(60*day), false)
	if h.follows(t, "14") {
		t.Error("the row is followed for ever")
	}
}

// With a sleep of long ago its recovery is made anew: it has the key of its cycle, which the
// sketch has, and begins now.
func TestARecoveryThatIsMadeAnewLeavesTheWindowOnce(t *testing.T) {
	h := sixtyDays(t)
	recovery := func(n int, created time.Time) Record {
		r := rec(n, created, 1)
		r.Cycle, r.Created = r.Key, r.Time
		return r
	}
	for n := range 60 { // later cycles have higher numbers
		r := recovery(1059-n, opening.Add(-time.Duration(n)*day-time.Hour))
		delete(h.rows, fmt.Sprint(n))
		h.rows[r.Key] = r
	}
	h.tr = New(State{}, 14*day, false, time.Time{})
	h.sync(t, opening, false)

	anew := recovery(1029, opening.Add(time.Hour))
	anew.Fingerprint++
	h.rows["1029"] = anew
	latest := recovery(1060, opening.Add(2*time.Hour))
	h.rows["1060"] = latest
	emitted, _, _ := h.sync(t, opening.Add(day), false)
	wantEqual(t, "emitted", emitted, []string{"1029", "1060"})
	h.rows["1080"] = recovery(1080, opening.Add(19*day))
	h.sync(t, opening.Add(20*day), false) // both leave the window
	if !h.follows(t, "1029") || h.follows(t, "1060") {
		t.Errorf("the state has %+v", checkpointed(t, h.tr).Recent)
	}
	delete(h.rows, "1029")
	delete(h.rows, "1010")
	_, first, _ := h.sync(t, opening.Add(21*day), false)
	_, second, _ := h.sync(t, opening.Add(22*day), true)
	gone := slices.Concat(first, second)
	slices.Sort(gone)
	wantEqual(t, "gone", slices.Compact(gone), []string{"1010", "1029"})
}
