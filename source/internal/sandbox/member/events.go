package member

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// An EventType is what happens in an event.
type EventType string

const (
	Insert   EventType = "insert"   // a workout or nap appears that began Age before and lasted Length
	Twin     EventType = "twin"     // a workout or nap appears that began in the same millisecond as the chosen record
	Edit     EventType = "edit"     // start and end move by Shift and the score is computed again; the edit of a main sleep also changes its cycles and recovery
	Rescore  EventType = "rescore"  // the score changes, at once
	Zero     EventType = "zero"     // every value of the score becomes zero, at once
	SetState EventType = "state"    // the score's state becomes State
	Delete   EventType = "delete"   // the record is deleted; with a main sleep its recovery, with a cycle also its sleeps
	Recreate EventType = "recreate" // a main sleep is replaced by one with a new id in the same cycle; the recovery then refers to that one
	FlipNap  EventType = "flip_nap" // a nap becomes a main sleep, or a main sleep a nap, which has no recovery
	Revoke   EventType = "revoke"   // the member withdraws every consent
)

// An Event happens to a member at an instant of the server's clock. In JSON,
// fields may be left out.
type Event struct {
	At    time.Time `json:"at,omitzero"`    // zero: After the event was scripted
	After Duration  `json:"after,omitzero"` // 0: at once

	Member int       `json:"member,omitzero"` // the nth, from 0 on
	Do     EventType `json:"do"`
	Stream string    `json:"stream,omitzero"` // cycles, recovery, sleep or workout; not for Revoke
	// Key chooses a record. If it is empty, the latest record of the stream that
	// began at least Age before the event is chosen; for Recreate, it is a main sleep.
	Key string   `json:"key,omitzero"`
	Age Duration `json:"age,omitzero"`

	Length  Duration `json:"length,omitzero"`  // of what appears; 0: 45 minutes
	Shift   Duration `json:"shift,omitzero"`   // forward if positive
	Pending Duration `json:"pending,omitzero"` // until a new or edited record is scored; 0: 5 minutes
	// State is that of the score once it is not pending: UNSCORABLE, or an
	// undocumented one. Empty means SCORED if there is anything to score.
	State  string `json:"state,omitzero"`
	Silent bool   `json:"silent,omitzero"` // updated_at does not move
}

// kindsOf are the streams that events can change.
var kindsOf = map[string]Kind{"cycles": Cycles, "recovery": Recoveries, "sleep": Sleeps, "workout": Workouts}

// kindsFor are the kinds that an event can change; nil: it changes no record.
var kindsFor = map[EventType][]Kind{
	Insert:   {Sleeps, Workouts},
	Twin:     {Sleeps, Workouts},
	Edit:     {Sleeps, Workouts},
	Rescore:  {Cycles, Recoveries, Sleeps, Workouts},
	Zero:     {Cycles, Recoveries, Sleeps, Workouts},
	SetState: {Cycles, Recoveries, Sleeps, Workouts},
	Delete:   {Cycles, Recoveries, Sleeps, Workouts},
	Recreate: {Sleeps},
	FlipNap:  {Sleeps},
	Revoke:   nil,
}

// Check returns an error for an event that cannot happen to any of so many members.
func (e Event) Check(members int) error {
	able, known := kindsFor[e.Do]
	k, stream := kindsOf[e.Stream]
	switch {
	case !known:
		return fmt.Errorf("no event is called %q", e.Do)
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

// Apply applies an event to the member.
func (m *Member) Apply(e Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.generate(e.At)
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
		return m.insert(k, v.Start, waiting, e)
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
func (m *Member) choose(k Kind, e Event) (*record, *Version) {
	var chosen *record
	var latest *Version
	for _, r := range m.collections[k].records {
		v := r.at(e.At)
		if v == nil || e.Key != "" && r.key != e.Key {
			continue
		}
		if e.Key == "" && (v.Start.After(e.At.Add(-time.Duration(e.Age))) || latest != nil && !v.Start.After(latest.Start)) {
			continue
		}
		if e.Do == Recreate && v.show(e.At).(sleep).Nap {
			continue
		}
		chosen, latest = r, v
	}
	return chosen, latest
}
