package member

import (
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// A life is what happens to a member: when they sleep, where they are, when
// the strap lies in a drawer. It is a pure function of the seed, and any day of
// it can be computed without the days before. Days are numbered from
// 1970-01-01.
type life struct {
	seed uint64
	ids  int64 // added to the ids of cycles and the user
}

// Dice decide about one thing in a life. Each thing has its own, so that a
// decision added later leaves all others as they were.
type dice struct{ *rand.Rand }

func (l life) dice(what string, n int) dice {
	h := fnv.New64a()
	var number [8]byte
	binary.LittleEndian.PutUint64(number[:], uint64(n))
	h.Write(number[:])
	h.Write([]byte(what))
	return dice{rand.New(rand.NewPCG(l.seed, h.Sum64()))}
}

func (d dice) chance(p float64) bool { return d.Float64() < p }

// between returns a duration in [lo, hi), in whole milliseconds.
func (d dice) between(lo, hi time.Duration) time.Duration {
	return (lo + time.Duration(d.Int64N(int64(hi-lo)))).Truncate(time.Millisecond)
}

func (d dice) number(lo, hi float64) float64 { return lo + (hi-lo)*d.Float64() }

const day = 24 * time.Hour

func midnight(d int) time.Time { return time.Unix(int64(d)*86400, 0).UTC() }

func dayOf(t time.Time) int { return int(t.Unix() / 86400) }

// A zone is a place's offset from UTC in winter and in summer.
type zone struct{ winter, summer time.Duration }

const halfHour = 30 * time.Minute

// homes are where members live; the seed chooses one.
var homes = []zone{
	{0, time.Hour},
	{-5 * time.Hour, -4 * time.Hour},
	{time.Hour, 2 * time.Hour},
	{5*time.Hour + halfHour, 5*time.Hour + halfHour},
	{-8 * time.Hour, -7 * time.Hour},
}

// destinations are visited in turn, so that two years see them all.
var destinations = []time.Duration{
	5*time.Hour + halfHour, -8 * time.Hour, 0, 9 * time.Hour, -(3*time.Hour + halfHour), 4 * time.Hour,
}

// daysBetweenTrips is how often a member travels.
const daysBetweenTrips = 60

func (l life) home(d int) time.Duration {
	h := homes[l.seed%uint64(len(homes))]
	t := midnight(d)
	if t.Before(lastSunday(t.Year(), time.March)) || !t.Before(lastSunday(t.Year(), time.October)) {
		return h.winter
	}
	return h.summer
}

func lastSunday(year int, m time.Month) time.Time {
	last := time.Date(year, m+1, 0, 0, 0, 0, 0, time.UTC)
	return last.AddDate(0, 0, -int(last.Weekday()))
}

// offset is the offset from UTC that the member's devices show on day d.
func (l life) offset(d int) time.Duration {
	trip := d / daysBetweenTrips
	r := l.dice("trip", trip)
	first := trip*daysBetweenTrips + 1 + r.IntN(daysBetweenTrips-14)
	if last := first + 3 + r.IntN(9); d >= first && d <= last {
		return destinations[trip%len(destinations)]
	}
	return l.home(d)
}

// onset is when the member falls asleep in the night before day d. Nobody
// jumps more than half a day on the way: crossing the date line changes the
// local date, not the order of nights.
func (l life) onset(d int) time.Time {
	shift := l.offset(d) - l.home(d)
	if shift > day/2 {
		shift -= day
	} else if shift < -day/2 {
		shift += day
	}
	late := l.dice("onset", d).between(-110*time.Minute, 80*time.Minute)
	return midnight(d).Add(late - shift - l.home(d))
}

// worn reports whether the strap was worn in the night before day d. Now and
// then it stays off for up to a week, or for a single night.
func (l life) worn(d int) bool {
	const every = 40
	r := l.dice("strap off", d/every)
	if r.chance(0.7) {
		first := d/every*every + 1 + r.IntN(every-8)
		if d >= first && d <= first+r.IntN(6) {
			return false
		}
	}
	return !l.dice("night missed", d).chance(0.012)
}

// synced is when WHOOP receives what the strap records at t: at once,
// except when the phone was away for hours or days. It is strictly increasing.
func (l life) synced(t time.Time) time.Time {
	if from, to, away := l.outage(t); away {
		return to.Add((t.Sub(from) / 1000).Truncate(time.Millisecond))
	}
	return t
}

// outage returns the time without a phone in which t lies, if any.
func (l life) outage(t time.Time) (from, to time.Time, away bool) {
	const every = 19
	n := dayOf(t) / every
	r := l.dice("phone away", n)
	if !r.chance(0.6) {
		return from, to, false
	}
	from = midnight(n * every).Add(r.between(0, (every-3)*day))
	to = from.Add(r.between(4*time.Hour, 50*time.Hour))
	return from, to, !t.Before(from) && t.Before(to)
}

// startsCycle reports whether a physiological cycle begins on day d. A strap that
// stays off for days leaves one long cycle without a sleep.
func (l life) startsCycle(d int) bool { return l.worn(d) || l.worn(d-1) }

// A night is the beginning of a cycle: its sleep, or the time when one was due
// but the strap was off.
type night struct {
	day             int
	zone            time.Duration
	worn            bool
	onset           time.Time
	created, scored time.Time // of the cycle
	// sleeps holds the main sleep and, if the member deleted it and entered it
	// again, the second one. It is empty when the strap was off.
	sleeps []activity
}

func (l life) night(d int) night {
	n := night{day: d, zone: l.offset(d), worn: l.worn(d), onset: l.onset(d)}
	if !n.worn {
		n.created = l.synced(n.onset.Add(14 * time.Hour))
		n.scored = n.created
		return n
	}
	r := l.dice("night", d)
	wake := n.onset.Add(r.between(5*time.Hour+20*time.Minute, 9*time.Hour+10*time.Minute))
	if latest := l.onset(d + 1).Add(-3 * time.Hour); wake.After(latest) {
		wake = latest
	}
	main := l.happens(r, n.onset, wake, odds{edited: 0.025, deleted: 0.016, unscorable: 0.015, shift: 45 * time.Minute})
	main.day, main.kind = d, "sleep"
	n.sleeps = append(n.sleeps, main)
	n.created, n.scored = main.created, main.scored
	if !main.deleted.IsZero() && r.chance(0.6) {
		again := activity{day: d, kind: "sleep again", start: main.start, end: main.end.Add(r.between(-20*time.Minute, 20*time.Minute))}
		again.created = main.deleted.Add(r.between(4*time.Minute, 40*time.Minute))
		again.scored = again.created.Add(r.between(2*time.Minute, 20*time.Minute))
		n.sleeps = append(n.sleeps, again)
	}
	return n
}

// start is when the cycle begins, as known at t: the member may have corrected
// the sleep.
func (n night) start(t time.Time) time.Time {
	if !n.worn {
		return n.onset
	}
	start, _ := n.sleeps[0].bounds(t)
	return start
}

// waking returns what the member does between the sleep of day d and the next:
// naps and workouts, which never overlap.
func (l life) waking(d int) (naps, workouts []activity) {
	n := l.night(d)
	if !n.worn {
		return nil, nil
	}
	const parts = 4
	from := n.sleeps[0].end.Add(time.Hour)
	part := l.onset(d+1).Add(-time.Hour).Sub(from) / parts
	if part < 90*time.Minute {
		return nil, nil // a day lost to travel
	}
	r := l.dice("waking", d)
	nap := -1
	if r.chance(0.13) {
		nap = 1 + r.IntN(2)
	}
	for i := range parts {
		start := from.Add(time.Duration(i)*part + r.between(10*time.Minute, part/4))
		end := start.Add(r.between(20*time.Minute, part/2))
		switch {
		case i == nap:
			a := l.happens(r, start, end, odds{edited: 0.02, deleted: 0.03, unscorable: 0.03, shift: 6 * time.Minute})
			a.day, a.kind = d, "nap"
			naps = append(naps, a)
		case r.chance(0.27):
			a := l.happens(r, start, end, odds{entered: 0.025, edited: 0.025, deleted: 0.02, unscorable: 0.02, shift: 6 * time.Minute})
			a.day, a.kind, a.nth = d, "workout", i
			workouts = append(workouts, a)
		}
	}
	return naps, workouts
}
