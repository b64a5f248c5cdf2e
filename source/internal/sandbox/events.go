package sandbox

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// A Deed is what happens in an event.
type Deed string

const (
	Insert   Deed = "insert"   // a workout or nap appears that began Age before and lasted Length
	Twin     Deed = "twin"     // a workout or nap appears that began with the chosen one, to the millisecond
	Edit     Deed = "edit"     // the bounds move by Shift and the score is made anew; a main sleep takes its cycles and recovery along
	Rescore  Deed = "rescore"  // another score, at once
	Zero     Deed = "zero"     // a score of zeros, at once
	SetState Deed = "state"    // the score's state becomes State
	Delete   Deed = "delete"   // a main sleep takes its recovery along, a cycle also its sleeps
	Recreate Deed = "recreate" // a main sleep gives way to another with a new id under its cycle; the recovery changes over to it
	FlipNap  Deed = "flip_nap" // a nap becomes a sleep, a sleep a nap, which has no recovery
	Revoke   Deed = "revoke"   // the member withdraws every consent
)

// An Event happens to a member at an instant of the server's clock. In JSON,
// fields may be left out.
type Event struct {
	At    time.Time `json:"at,omitzero"`    // zero: After the event was scripted
	After Duration  `json:"after,omitzero"` // 0: at once

	Member int    `json:"member,omitzero"` // the nth, from 0 on
	Do     Deed   `json:"do"`
	Stream string `json:"stream,omitzero"` // cycles, recovery, sleep or workout; not for Revoke
	// Key chooses a record. If it is empty, the latest record of the stream that
	// began at least Age before the event is chosen; for Recreate, it is a main sleep.
	Key string   `json:"key,omitzero"`
	Age Duration `json:"age,omitzero"`

	Length  Duration `json:"length,omitzero"`  // of what appears; 0: 45 minutes
	Shift   Duration `json:"shift,omitzero"`   // forward if positive
	Pending Duration `json:"pending,omitzero"` // before a new record or new bounds are scored; 0: 5 minutes
	// State is the score's, once it is not pending: UNSCORABLE, or one that no
	// document names. Empty means SCORED where there is anything to score.
	State  string `json:"state,omitzero"`
	Silent bool   `json:"silent,omitzero"` // updated_at does not move
}

// kindsOf are the streams that events can change.
var kindsOf = map[string]kind{"cycles": cycles, "recovery": recoveries, "sleep": sleeps, "workout": workouts}

// deedsFor are the kinds that a deed can befall; nil is for a deed without a record.
var deedsFor = map[Deed][]kind{
	Insert:   {sleeps, workouts},
	Twin:     {sleeps, workouts},
	Edit:     {sleeps, workouts},
	Rescore:  {cycles, recoveries, sleeps, workouts},
	Zero:     {cycles, recoveries, sleeps, workouts},
	SetState: {cycles, recoveries, sleeps, workouts},
	Delete:   {cycles, recoveries, sleeps, workouts},
	Recreate: {sleeps},
	FlipNap:  {sleeps},
	Revoke:   nil,
}

func (e Event) check(members int) error {
	able, known := deedsFor[e.Do]
	k, stream := kindsOf[e.Stream]
	switch {
	case !known:
		return fmt.Errorf("no deed is called %q", e.Do)
	case e.Member < 0 || e.Member >= members:
		return fmt.Errorf("there is no member %d, only %d of them", e.Member, members)
	case able == nil && e.Stream != "":
		return fmt.Errorf("%s is not for a stream", e.Do)
	case able != nil && !(stream && slices.Contains(able, k)):
		return fmt.Errorf("%s is not for stream %q", e.Do, e.Stream)
	case e.Do == SetState && e.State == "":
		return fmt.Errorf("%s needs a state", e.Do)
	}
	return nil
}

// Schedule makes events part of what will happen; what was true before now stays
// so. Events cannot be withdrawn. If one is in the past or finds no record to
// change, those before it stand.
func (s *Server) Schedule(events ...Event) error {
	now := s.Now()
	timed := slices.Clone(events)
	for i, e := range timed {
		if err := e.check(len(s.members)); err != nil {
			return fmt.Errorf("event %d: %w", i, err)
		}
		if e.At.IsZero() {
			timed[i].At = now.Add(time.Duration(e.After))
		}
		if timed[i].At.Before(now) {
			return fmt.Errorf("event %d: %s is in the past", i, stamp(timed[i].At))
		}
	}
	slices.SortStableFunc(timed, func(a, b Event) int { return a.At.Compare(b.At) })
	for _, e := range timed {
		m := s.members[e.Member]
		if e.Do == Revoke {
			s.grants.withdraw(m, e.At, now)
			continue
		}
		if err := m.meet(e); err != nil {
			return fmt.Errorf("event at %s: %w", stamp(e.At), err)
		}
	}
	return nil
}

// meet lets an event happen.
func (m *member) meet(e Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tell(e.At)
	defer func() {
		for k := range m.collections {
			m.collections[k].listed = nil
		}
	}()
	k, waiting := kindsOf[e.Stream], time.Duration(cmp.Or(e.Pending, Duration(5*time.Minute)))
	if e.Do == Insert {
		return m.insert(k, e.At.Add(-time.Duration(e.Age)), waiting, e)
	}
	r, v := m.choose(k, e)
	if r == nil {
		return fmt.Errorf("there is no record of %s with key %q and age %s to %s", e.Stream, e.Key, time.Duration(e.Age), e.Do)
	}
	by := revision{state: e.State}
	if !e.Silent {
		by.updated = stamp(e.At)
	}
	switch e.Do {
	case Twin:
		return m.insert(k, v.start, waiting, e)
	case Edit:
		by.again = true
		m.move(r, *v, e, waiting, by)
	case Rescore:
		by.again = true
		r.revise(e.At, 0, by)
	case Zero:
		by.zero = true
		r.revise(e.At, 0, by)
	case SetState:
		r.revise(e.At, 0, by)
	case Delete:
		m.remove(k, r, v.show(e.At), e.At)
	case Recreate:
		m.recreate(v.show(e.At).(sleep), e, waiting)
	case FlipNap:
		by.flip = true
		m.flip(r, v.show(e.At).(sleep), e.At, by)
	}
	return nil
}

// choose returns the record that an event is about and its version then.
func (m *member) choose(k kind, e Event) (*record, *version) {
	var chosen *record
	var latest *version
	for _, r := range m.collections[k].records {
		v := r.at(e.At)
		if v == nil || e.Key != "" && r.key != e.Key {
			continue
		}
		if e.Key == "" && (v.start.After(e.At.Add(-time.Duration(e.Age))) || latest != nil && !v.start.After(latest.start)) {
			continue
		}
		if e.Do == Recreate && v.show(e.At).(sleep).Nap {
			continue
		}
		chosen, latest = r, v
	}
	return chosen, latest
}
