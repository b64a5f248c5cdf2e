package member

import (
	"fmt"
	"slices"
	"time"
)

// The states of a score.
const (
	scored     = "SCORED"
	pending    = "PENDING_SCORE"
	Unscorable = "UNSCORABLE"
)

// An activity is a sleep, a nap or a workout, and everything that happens to it.
// A zero time means never.
type activity struct {
	kind     string
	day, nth int // names it among its kind

	start, end       time.Time // as first recorded
	created, scored  time.Time
	edited, rescored time.Time
	newStart, newEnd time.Time // from edited on
	deleted          time.Time
	unscorable       bool
}

// Odds are the probabilities of what can happen to an activity.
type odds struct {
	entered    float64 // by hand, days later
	edited     float64
	deleted    float64
	unscorable float64
	shift      time.Duration // how far an edit moves a bound at most
}

// happens decides what happens to an activity.
func (l life) happens(r dice, start, end time.Time, o odds) activity {
	a := activity{start: start, end: end}
	a.created = l.synced(end.Add(r.between(4*time.Minute, 40*time.Minute)))
	if r.chance(o.entered) {
		a.created = end.Add(r.between(2*day, 30*day))
	}
	a.scored = a.created.Add(r.between(2*time.Minute, 40*time.Minute))
	if r.chance(0.08) {
		a.scored = a.created.Add(r.between(time.Hour, 14*time.Hour))
	}
	a.unscorable = r.chance(o.unscorable)
	switch fate := r.Float64(); {
	case fate < o.deleted:
		a.deleted = a.scored.Add(r.between(2*time.Hour, 20*day))
	case fate < o.deleted+o.edited:
		a.edited = a.scored.Add(r.between(time.Hour, 12*day))
		if r.chance(0.1) {
			a.edited = a.scored.Add(r.between(150*day, 260*day))
		}
		a.rescored = a.edited.Add(r.between(2*time.Minute, 15*time.Minute))
		a.newStart, a.newEnd = start, end.Add(r.between(-o.shift, o.shift))
		if r.chance(0.6) {
			a.newStart = start.Add(r.between(-o.shift, o.shift))
		}
	}
	return a
}

// changes returns the instants at which the record changes, in order.
func (a activity) changes() []time.Time {
	all := []time.Time{a.created, a.scored, a.edited, a.rescored, a.deleted}
	return slices.DeleteFunc(all, time.Time.IsZero)
}

func (a activity) exists(t time.Time) bool {
	return !t.Before(a.created) && (a.deleted.IsZero() || t.Before(a.deleted))
}

func (a activity) isEdited(t time.Time) bool { return !a.edited.IsZero() && !t.Before(a.edited) }

func (a activity) bounds(t time.Time) (start, end time.Time) {
	if a.isEdited(t) {
		return a.newStart, a.newEnd
	}
	return a.start, a.end
}

func (a activity) state(t time.Time) string {
	switch {
	case t.Before(a.scored), a.isEdited(t) && t.Before(a.rescored):
		return pending
	case a.unscorable:
		return Unscorable
	}
	return scored
}

// id is the activity's UUID.
func (l life) id(a activity) string {
	r := l.dice(a.kind+" id", a.day*8+a.nth)
	hi, lo := r.Uint64(), r.Uint64()
	hi = hi&^0xf000 | 0x4000
	lo = lo&^(3<<62) | 2<<62
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", hi>>32, hi>>16&0xffff, hi&0xffff, lo>>48, lo&(1<<48-1))
}
