package member

import (
	"slices"
	"time"
)

// history makes a version of every change. See tells what a record is from an
// instant on; a version without show is a deletion.
func history(changes []time.Time, see func(changed time.Time) Version) []Version {
	slices.SortFunc(changes, time.Time.Compare)
	changes = slices.Compact(changes)
	versions := make([]Version, 0, len(changes))
	for _, t := range changes {
		v := see(t)
		v.from = t
		versions = append(versions, v)
	}
	return versions
}

// versionsOf is the history of an activity; show gives its record as of a change.
func versionsOf(a activity, show func(changed time.Time) any) []Version {
	return history(a.changes(), func(changed time.Time) Version {
		if !a.exists(changed) {
			return Version{}
		}
		start, end := a.bounds(changed)
		return Version{Start: start, End: end, show: func(time.Time) any { return show(changed) }}
	})
}

// lastV1 is when WHOOP announced to stop sending v1 ids.
var lastV1 = time.Date(2025, 9, 1, 0, 0, 0, 0, time.UTC)

// v1ID is the integer id that a sleep or workout had in the API's first version:
// unique, too large for 32 bits, and 0 for those that came too late for one.
func (l life) v1ID(a activity) int64 {
	if !a.start.Before(lastV1) || a.nth >= byNature {
		return 0
	}
	slot := map[string]int{"workout": 0, "sleep": 4, "nap": 5, "sleep again": 6}[a.kind] + a.nth
	return 2_400_000_000 + int64(a.day)*8 + int64(slot)
}

// Cycle ids grow with the days and fit the magnitude of real ones.
const (
	firstCycleID   = 900_000_000
	cycleIDsPerDay = 50_000
	firstCycleDay  = 15_340 // in 2012
)

func (l life) cycleID(d int) int64 {
	return l.ids + firstCycleID + int64(d-firstCycleDay)*cycleIDsPerDay + int64(l.dice("cycle id", d).IntN(cycleIDsPerDay))
}

func (l life) dayOfCycle(id int64) int {
	return firstCycleDay + int((id-l.ids-firstCycleID)/cycleIDsPerDay)
}

func (m *Member) sleep(a activity, zone time.Duration, changed time.Time) sleep {
	start, end := a.bounds(changed)
	s := sleep{
		ID:             m.id(a),
		CycleID:        m.cycleID(a.day),
		V1ID:           m.v1ID(a),
		UserID:         m.userID(),
		CreatedAt:      stamp(a.created),
		UpdatedAt:      stamp(changed),
		Start:          stamp(start),
		End:            stamp(end),
		TimezoneOffset: offsetText(zone),
		Nap:            a.kind == "nap",
		ScoreState:     a.state(changed),
	}
	s.Score = scoreIn(s.ScoreState, m.nulls(a.day), func() sleepScore {
		return m.sleepScore(a, start, end, a.start.Sub(m.joined))
	})
	return s
}

func (m *Member) workout(a activity, zone time.Duration, changed time.Time) workout {
	start, end := a.bounds(changed)
	sport := m.sport(a)
	w := workout{
		ID:             m.id(a),
		V1ID:           m.v1ID(a),
		UserID:         m.userID(),
		CreatedAt:      stamp(a.created),
		UpdatedAt:      stamp(changed),
		Start:          stamp(start),
		End:            stamp(end),
		TimezoneOffset: offsetText(zone),
		SportName:      sport.name,
		ScoreState:     a.state(changed),
	}
	if !m.dice("no sport id", a.day*8+a.nth).chance(0.05) {
		w.SportID = some(sport.id)
	}
	w.Score = scoreIn(w.ScoreState, m.nulls(a.day), func() workoutScore { return m.workoutScore(a, start, end) })
	return w
}

// recoveryLag is how long after its sleep a recovery is scored.
const recoveryLag = 2 * time.Minute

// recoveryVersions is the history of a night's recovery. It is deleted with its
// sleep, and exists again when the member enters the sleep again.
func (m *Member) recoveryVersions(n night) []Version {
	if !n.worn || n.sleeps[0].unscorable && m.dice("no recovery", n.day).chance(0.5) {
		return nil
	}
	var changes []time.Time
	var based []activity // the recovery as an activity, for each of its sleeps
	for _, a := range n.sleeps {
		a.scored = a.scored.Add(recoveryLag)
		if !a.edited.IsZero() {
			a.rescored = a.rescored.Add(recoveryLag)
		}
		based = append(based, a)
		changes = append(changes, a.changes()...)
	}
	return history(changes, func(changed time.Time) Version {
		i := slices.IndexFunc(based, func(a activity) bool { return a.exists(changed) })
		if i < 0 {
			return Version{}
		}
		start, end := based[i].bounds(changed)
		return Version{Start: start, End: end, show: func(time.Time) any { return m.recovery(based[i], changed) }}
	})
}

func (m *Member) recovery(a activity, changed time.Time) recovery {
	r := recovery{
		CycleID:    m.cycleID(a.day),
		SleepID:    m.id(a),
		UserID:     m.userID(),
		CreatedAt:  stamp(a.created),
		UpdatedAt:  stamp(changed),
		ScoreState: a.state(changed),
	}
	r.Score = scoreIn(r.ScoreState, m.nulls(a.day), func() recoveryScore {
		edits := 0
		if a.isEdited(changed) {
			edits = 1
		}
		return m.recoveryScore(a, edits, a.start.Sub(m.joined))
	})
	return r
}

// cycleVersions is the history of the cycle that begins with a night and ends
// with the next. It closes when WHOOP learns of the next night, and moves when
// the member corrects one of the two sleeps.
func (m *Member) cycleVersions(n, next night) []Version {
	r := m.dice("cycle", n.day)
	closed := next.created
	final := closed.Add(r.between(5*time.Minute, 40*time.Minute))
	never := !n.worn || r.chance(0.008)
	changes := []time.Time{n.created, n.scored, closed, final}
	for _, night := range []night{n, next} {
		if night.worn && !night.sleeps[0].edited.IsZero() && !night.sleeps[0].newStart.Equal(night.onset) {
			changes = append(changes, night.sleeps[0].edited)
		}
	}
	return history(changes, func(changed time.Time) Version {
		c := cycle{
			ID:             m.cycleID(n.day),
			UserID:         m.userID(),
			CreatedAt:      stamp(n.created),
			Start:          stamp(n.start(changed)),
			TimezoneOffset: offsetText(n.zone),
			ScoreState:     scored,
		}
		v := Version{Start: n.start(changed)}
		if changed.Before(closed) {
			c.End.null = !m.dice("end absent", n.day).chance(0.2)
		} else {
			v.End = next.start(changed)
			c.End = some(stamp(v.End))
		}
		switch {
		case never && !changed.Before(final):
			c.ScoreState = Unscorable
		case never, changed.Before(n.scored), !changed.Before(closed) && changed.Before(final):
			c.ScoreState = pending
		}
		v.open = v.End.IsZero() && c.ScoreState == scored
		v.show = func(at time.Time) any {
			c, updated, share := c, changed, 1.0
			if v.open {
				updated = m.heard(changed, at)
				passed := updated.Sub(v.Start)
				share = float64(passed) / float64(passed+6*time.Hour)
			}
			c.UpdatedAt = stamp(updated)
			c.Score = scoreIn(c.ScoreState, m.nulls(n.day), func() cycleScore { return m.cycleScore(n.day, share) })
			return c
		}
		return v
	})
}

// heardEvery is how often the strain of an open cycle is brought up to date.
const heardEvery = 10 * time.Minute

// heard is when WHOOP last heard from the strap since an instant, seen at t.
func (l life) heard(since, t time.Time) time.Time {
	steps := t.Sub(since) / heardEvery
	if from, _, away := l.outage(since.Add(steps * heardEvery)); away {
		steps = max(0, from.Sub(since)/heardEvery)
	}
	return since.Add(steps * heardEvery)
}

// nulls reports whether records of day d say null for a score that is not there;
// others leave it out.
func (l life) nulls(d int) bool { return l.dice("null score", d).chance(0.3) }

// scoreIn is the score of a record in a state.
func scoreIn[T any](state string, null bool, score func() T) optional[T] {
	if state != scored {
		return optional[T]{null: null}
	}
	return some(score())
}
