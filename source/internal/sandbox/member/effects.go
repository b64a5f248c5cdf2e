package member

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"time"
)

// insert adds a workout or a nap that appears with the event.
func (m *Member) insert(k Kind, start time.Time, waiting time.Duration, e Event) error {
	a := m.entry("workout", dayOf(start), e.At, waiting)
	a.start, a.end = start, start.Add(time.Duration(cmp.Or(e.Length, Duration(45*time.Minute))))
	a.unscorable = e.State == Unscorable
	var r *record
	if k == Workouts {
		zone := m.offset(a.day)
		r = m.addActivity(Workouts, a, func(changed time.Time) any { return m.workout(a, zone, changed) })
	} else {
		d, ok := m.cycleDay(start, e.At)
		if !ok {
			return errors.New("there was no cycle yet to have a nap in")
		}
		a.kind, a.day = "nap", d
		r = m.addSleep(a, m.night(d))
	}
	if e.State != "" && e.State != scored && e.State != Unscorable {
		r.revise(a.scored, 0, revision{state: e.State})
	}
	return nil
}

// byNature is more than any number that an activity has by nature.
const byNature = 1 << 40

// entry is an activity that comes from an event, with an id of its own.
func (m *Member) entry(kind string, d int, at time.Time, waiting time.Duration) activity {
	m.entered++
	return activity{kind: kind, day: d, nth: m.entered * byNature, created: at, scored: at.Add(waiting)}
}

// cycleDay returns the day whose cycle an instant lies in, as known at another.
func (m *Member) cycleDay(instant, at time.Time) (d int, ok bool) {
	var latest time.Time
	for _, r := range m.collections[Cycles].records {
		if v := r.at(at); v != nil && !v.Start.After(instant) && v.Start.After(latest) {
			latest = v.Start
			d, ok = m.dayOfCycle(v.show(at).(cycle).ID), true
		}
	}
	return d, ok
}

// move shifts the bounds of an activity. Cycles begin and end with main sleeps.
func (m *Member) move(r *record, was Version, e Event, waiting time.Duration, by revision) {
	by.start, by.end = time.Duration(e.Shift), time.Duration(e.Shift)
	r.revise(e.At, waiting, by)
	s, ok := was.show(e.At).(sleep)
	if !ok || s.Nap {
		return
	}
	if recovery := m.recoveryOf(s, e.At); recovery != nil {
		recovery.revise(e.At, waiting, by)
	}
	if e.Shift == 0 {
		return
	}
	for _, c := range m.collections[Cycles].records {
		v := c.at(e.At)
		switch {
		case v == nil:
		case c.key == strconv.FormatInt(s.CycleID, 10):
			c.revise(e.At, waiting, revision{updated: by.updated, start: by.start, again: true})
		case v.End.Equal(was.Start):
			c.revise(e.At, waiting, revision{updated: by.updated, end: by.end, again: true})
		}
	}
}

// recoveryOf returns the recovery that is shown for a main sleep, or nil.
func (m *Member) recoveryOf(s sleep, at time.Time) *record {
	r := m.collections[Recoveries].byKey[strconv.FormatInt(s.CycleID, 10)]
	if r == nil || s.Nap || r.at(at) == nil {
		return nil
	}
	return r
}

// remove deletes a record and the records that depend on it.
func (m *Member) remove(k Kind, r *record, shown any, at time.Time) {
	switch s := shown.(type) {
	case cycle:
		for _, other := range m.collections[Sleeps].records {
			if v := other.at(at); v != nil && v.show(at).(sleep).CycleID == s.ID {
				other.end(at)
			}
		}
		m.removeSleep(r.key, at)
	case sleep:
		if !s.Nap {
			m.removeSleep(strconv.FormatInt(s.CycleID, 10), at)
		}
	}
	r.end(at)
}

// removeSleep deletes the main sleep of a cycle, also one that was to be
// entered again, and the recovery.
func (m *Member) removeSleep(cycle string, at time.Time) {
	for _, r := range m.sleepsOf[cycle] {
		if v := r.at(at); v == nil || !v.show(at).(sleep).Nap {
			r.end(at)
		}
	}
	if r := m.collections[Recoveries].byKey[cycle]; r != nil {
		r.end(at)
	}
}

// recreate replaces a main sleep.
func (m *Member) recreate(s sleep, e Event, waiting time.Duration) {
	cycle := strconv.FormatInt(s.CycleID, 10)
	m.removeSleep(cycle, e.At)
	d := m.dayOfCycle(s.CycleID)
	a := m.entry("sleep again", d, e.At, waiting)
	a.start, a.end = instant(s.Start), instant(s.End)
	a.unscorable = e.State == Unscorable
	n := m.night(d)
	n.worn, n.sleeps = true, []activity{a}
	m.sleepsOf[cycle] = append(m.sleepsOf[cycle], m.addSleep(a, n))
	again := m.recoveryVersions(n)
	if r := m.collections[Recoveries].byKey[cycle]; r != nil {
		r.versions = append(r.versions[:len(r.versions)-1:len(r.versions)-1], again...)
	} else {
		m.add(Recoveries, cycle, again)
	}
}

// flip makes a nap a main sleep of its cycle, or the reverse.
func (m *Member) flip(r *record, s sleep, at time.Time, by revision) {
	cycle := strconv.FormatInt(s.CycleID, 10)
	if s.Nap && !slices.Contains(m.sleepsOf[cycle], r) {
		m.sleepsOf[cycle] = append(m.sleepsOf[cycle], r)
	}
	if recovery := m.recoveryOf(s, at); recovery != nil {
		recovery.end(at)
	}
	r.revise(at, 0, by)
}

func instant(stamp string) time.Time {
	t, err := time.Parse(time.RFC3339, stamp)
	if err != nil {
		panic("sandbox: " + err.Error()) // all stamps are ours
	}
	return t
}
