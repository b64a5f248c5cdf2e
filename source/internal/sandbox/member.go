package sandbox

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"
)

// A kind is one of the four collections of the API.
type kind int

const (
	cycles kind = iota
	recoveries
	sleeps
	workouts
	kinds
)

// A record is one key of a collection and everything it ever is.
type record struct {
	key      string
	versions []version // by from, ascending
}

// A version is what a record is from an instant on, until the next version.
type version struct {
	from       time.Time
	start, end time.Time // what start and end of a request are compared with; end is zero while open
	// show returns the record as the API gives it at an instant of the
	// version's life. It is nil when the record is deleted.
	show func(at time.Time) any
}

// at returns the version that the API shows, or nil.
func (r *record) at(t time.Time) *version {
	for i := len(r.versions) - 1; i >= 0; i-- {
		if v := &r.versions[i]; !t.Before(v.from) {
			if v.show == nil {
				return nil
			}
			return v
		}
	}
	return nil
}

// next returns the first instant after t at which the record changes, or zero.
func (r *record) next(t time.Time) time.Time {
	for _, v := range r.versions {
		if v.from.After(t) {
			return v.from
		}
	}
	return time.Time{}
}

// A shown is a record in the version of an instant.
type shown struct {
	key string
	*version
}

// A collection holds the records of one kind that were told so far.
type collection struct {
	records []*record
	byKey   map[string]*record

	// The latest answer of list, true in [from, until).
	listed      []shown
	from, until time.Time
}

// A member is a life as WHOOP records it, from the day of joining on. It is told
// as far as somebody asks.
type member struct {
	life
	joined time.Time

	mu          sync.Mutex
	told        int // the first day that is not yet told
	collections [kinds]collection
	sleepsOf    map[string][]*record // main sleeps by cycle, and those that were once
	mapping     map[int64]string     // v1 id to UUID
	shapes      []reshaping
	entered     int // records that events added
}

func newMember(seed int64, joined time.Time) *member {
	m := &member{
		life:     life{seed: uint64(seed)},
		joined:   joined,
		told:     dayOf(joined),
		sleepsOf: map[string][]*record{},
		mapping:  map[int64]string{},
		shapes:   []reshaping{{}},
	}
	for k := range m.collections {
		m.collections[k].byKey = map[string]*record{}
	}
	return m
}

// tell makes sure that everything visible at t is there. Callers hold the lock.
func (m *member) tell(t time.Time) {
	for ; !t.Before(m.toldUntil()); m.told++ {
		m.tellDay(m.told)
	}
}

// toldUntil is the instant up to which everything is told: nobody falls asleep
// more than a day before the day begins in UTC.
func (m *member) toldUntil() time.Time { return midnight(m.told - 1) }

func (m *member) tellDay(d int) {
	if !m.startsCycle(d) {
		return
	}
	n := m.night(d)
	if n.onset.Before(m.joined) || len(m.collections[cycles].records) == 0 && !n.worn {
		return
	}
	next := d + 1
	for !m.startsCycle(next) {
		next++
	}
	key := strconv.FormatInt(m.cycleID(d), 10)
	m.add(cycles, key, m.cycleVersions(n, m.night(next)))
	for _, a := range n.sleeps {
		m.sleepsOf[key] = append(m.sleepsOf[key], m.addSleep(a, n))
	}
	if v := m.recoveryVersions(n); len(v) > 0 {
		m.add(recoveries, key, v)
	}
	naps, exercise := m.waking(d)
	for _, a := range naps {
		m.addSleep(a, n)
	}
	for _, a := range exercise {
		m.addActivity(workouts, a, func(changed time.Time) any { return m.workout(a, n.zone, changed) })
	}
}

func (m *member) add(k kind, key string, versions []version) *record {
	for i, v := range versions { // bounds are compared as they are shown
		versions[i].start, versions[i].end = v.start.Truncate(time.Millisecond), v.end.Truncate(time.Millisecond)
	}
	r := &record{key, versions}
	c := &m.collections[k]
	c.records = append(c.records, r)
	c.byKey[key] = r
	return r
}

func (m *member) addSleep(a activity, n night) *record {
	return m.addActivity(sleeps, a, func(changed time.Time) any { return m.sleep(a, n.zone, changed) })
}

func (m *member) addActivity(k kind, a activity, show func(changed time.Time) any) *record {
	if v1 := m.v1ID(a); v1 != 0 {
		m.mapping[v1] = m.id(a)
	}
	return m.add(k, m.id(a), versionsOf(a, show))
}

// list returns all records of a kind that the API shows at t, newest start
// first.
func (m *member) list(k kind, t time.Time) []shown {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &m.collections[k]
	if c.listed != nil && !t.Before(c.from) && t.Before(c.until) {
		return c.listed
	}
	m.tell(t)
	c.from, c.until = t, m.toldUntil()
	c.listed = make([]shown, 0, len(c.records))
	for _, r := range c.records {
		if v := r.at(t); v != nil {
			c.listed = append(c.listed, shown{r.key, v})
		}
		if next := r.next(t); !next.IsZero() && next.Before(c.until) {
			c.until = next
		}
	}
	slices.SortStableFunc(c.listed, newestFirst)
	return c.listed
}

// find returns one record as the API shows it at t, or nil.
func (m *member) find(k kind, key string, t time.Time) *version {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tell(t)
	if r := m.collections[k].byKey[key]; r != nil {
		return r.at(t)
	}
	return nil
}

// sleepFor returns the main sleep of a cycle, or nil.
func (m *member) sleepFor(cycleKey string, t time.Time) *version {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tell(t)
	for _, r := range m.sleepsOf[cycleKey] {
		if v := r.at(t); v != nil && !v.show(t).(sleep).Nap {
			return v
		}
	}
	return nil
}

// mapped returns the UUID of the sleep or workout that had this id in v1.
func (m *member) mapped(v1 int64, t time.Time) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tell(t)
	id, ok := m.mapping[v1]
	if !ok {
		return "", false
	}
	for _, k := range []kind{sleeps, workouts} {
		if r := m.collections[k].byKey[id]; r != nil && r.at(t) != nil {
			return id, true
		}
	}
	return "", false
}

// bodyAt returns the body measurement; a member has none in the first hour.
func (m *member) bodyAt(t time.Time) (bodyMeasurement, bool) {
	return m.bodyMeasurement(dayOf(t)), !t.Before(m.joined.Add(time.Hour))
}

// encode panics on what cannot be JSON: all values are ours.
func encode(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("sandbox: encoding %T: %v", v, err))
	}
	return text
}
