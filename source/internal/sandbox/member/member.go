// Package member is the life of a made-up WHOOP member, as WHOOP records it. What
// it shows is a function of a seed, of the day of joining, of the events that were
// applied, and of the instant at which one looks. It knows no HTTP and no clock.
//
// Glossary:
//   - version: what a record is from one instant until its next version.
//   - event: something scripted that happens to a member, such as an edit or a deletion.
//   - shape: how records are written, such as whether a missing score is null or absent.
//   - oracle: what a stream shows at an instant, told without the API.
package member

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"
)

// A Kind is one of the four collections of the API.
type Kind int

// The collections.
const (
	Cycles Kind = iota
	Recoveries
	Sleeps
	Workouts
	kinds
)

// A record is one key of a collection and everything it ever is.
type record struct {
	key      string
	versions []Version // by from, ascending
}

// A Version is what a record is from an instant on, until the next version.
type Version struct {
	from       time.Time
	Start, End time.Time // what start and end of a request are compared with; end is zero while open
	// show returns the record as the API gives it at an instant of the
	// version's life. It is nil when the record is deleted.
	show func(at time.Time) any
	// open says that what is shown depends on the instant: the strain of a cycle
	// grows until it ends.
	open bool
}

// at returns the version that the API shows, or nil.
func (r *record) at(t time.Time) *Version {
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

// A Listed is a record in its version of an instant.
type Listed struct {
	Key string
	*Version
}

// A collection holds the records of one kind that were generated so far.
type collection struct {
	records []*record
	byKey   map[string]*record

	// The latest answer of list, true in [from, until).
	listed      []Listed
	from, until time.Time
}

// A Member is a life as WHOOP records it, from the day of joining on. It is
// generated as far as somebody asks.
type Member struct {
	life
	joined time.Time

	mu          sync.Mutex
	nextDay     int // the first day that is not generated yet
	collections [kinds]collection
	sleepsOf    map[string][]*record // main sleeps by cycle, and those that were once
	mapping     map[int64]string     // v1 id to UUID
	shapes      []reshaping
	texts       map[*Version]text // as they were last encoded; none of open ones
	entered     int               // records that events added
}

// Options are how a member's records are written.
type Options struct {
	LargeIDs bool // ids of cycles and users do not fit into a float64
	Shape    Shape
}

// New returns the member of a seed, who joined at an instant.
func New(seed int64, joined time.Time, o Options) *Member {
	m := &Member{
		life:     life{seed: uint64(seed)},
		joined:   joined,
		nextDay:  dayOf(joined),
		sleepsOf: map[string][]*record{},
		mapping:  map[int64]string{},
		shapes:   []reshaping{{Shape: o.Shape}},
		texts:    map[*Version]text{},
	}
	if o.LargeIDs {
		m.ids = 1<<53 + 1
	}
	for k := range m.collections {
		m.collections[k].byKey = map[string]*record{}
	}
	return m
}

// generate makes everything that is visible at t. Callers hold the lock.
func (m *Member) generate(t time.Time) {
	for ; !t.Before(m.generatedUntil()); m.nextDay++ {
		m.generateDay(m.nextDay)
	}
}

// generatedUntil is the instant up to which everything is there: nobody falls
// asleep more than a day before the day begins in UTC.
func (m *Member) generatedUntil() time.Time { return midnight(m.nextDay - 1) }

func (m *Member) generateDay(d int) {
	if !m.startsCycle(d) {
		return
	}
	n := m.night(d)
	if n.onset.Before(m.joined) || len(m.collections[Cycles].records) == 0 && !n.worn {
		return
	}
	next := d + 1
	for !m.startsCycle(next) {
		next++
	}
	key := strconv.FormatInt(m.cycleID(d), 10)
	m.add(Cycles, key, m.cycleVersions(n, m.night(next)))
	for _, a := range n.sleeps {
		m.sleepsOf[key] = append(m.sleepsOf[key], m.addSleep(a, n))
	}
	if v := m.recoveryVersions(n); len(v) > 0 {
		m.add(Recoveries, key, v)
	}
	naps, exercise := m.waking(d)
	for _, a := range naps {
		m.addSleep(a, n)
	}
	for _, a := range exercise {
		m.addActivity(Workouts, a, func(changed time.Time) any { return m.workout(a, n.zone, changed) })
	}
}

func (m *Member) add(k Kind, key string, versions []Version) *record {
	for i, v := range versions { // bounds are compared as they are shown
		versions[i].Start, versions[i].End = v.Start.Truncate(time.Millisecond), v.End.Truncate(time.Millisecond)
	}
	r := &record{key, versions}
	c := &m.collections[k]
	c.records = append(c.records, r)
	c.byKey[key] = r
	return r
}

func (m *Member) addSleep(a activity, n night) *record {
	return m.addActivity(Sleeps, a, func(changed time.Time) any { return m.sleep(a, n.zone, changed) })
}

func (m *Member) addActivity(k Kind, a activity, show func(changed time.Time) any) *record {
	if v1 := m.v1ID(a); v1 != 0 {
		m.mapping[v1] = m.id(a)
	}
	return m.add(k, m.id(a), versionsOf(a, show))
}

// List returns all records of a kind that the API shows at t, newest start
// first.
func (m *Member) List(k Kind, t time.Time) []Listed {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &m.collections[k]
	if c.listed != nil && !t.Before(c.from) && t.Before(c.until) {
		return c.listed
	}
	m.generate(t)
	c.from, c.until = t, m.generatedUntil()
	c.listed = make([]Listed, 0, len(c.records))
	for _, r := range c.records {
		if v := r.at(t); v != nil {
			c.listed = append(c.listed, Listed{r.key, v})
		}
		if next := r.next(t); !next.IsZero() && next.Before(c.until) {
			c.until = next
		}
	}
	slices.SortStableFunc(c.listed, NewestFirst)
	return c.listed
}

// NewestFirst is the order of collections.
func NewestFirst(a, b Listed) int {
	return cmp.Or(b.Start.Compare(a.Start), cmp.Compare(b.Key, a.Key))
}

// Find returns one record as the API shows it at t, or nil.
func (m *Member) Find(k Kind, key string, t time.Time) *Version {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.generate(t)
	if r := m.collections[k].byKey[key]; r != nil {
		return r.at(t)
	}
	return nil
}

// SleepFor returns the main sleep of a cycle, or nil.
func (m *Member) SleepFor(cycleKey string, t time.Time) *Version {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.generate(t)
	for _, r := range m.sleepsOf[cycleKey] {
		if v := r.at(t); v != nil && !v.show(t).(sleep).Nap {
			return v
		}
	}
	return nil
}

// Mapped returns the UUID of the sleep or workout that had this id in v1.
func (m *Member) Mapped(v1 int64, t time.Time) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.generate(t)
	id, ok := m.mapping[v1]
	if !ok {
		return "", false
	}
	for _, k := range []Kind{Sleeps, Workouts} {
		if r := m.collections[k].byKey[id]; r != nil && r.at(t) != nil {
			return id, true
		}
	}
	return "", false
}

// Body returns the body measurement; a member has none in the first hour.
func (m *Member) Body(t time.Time) (bodyMeasurement, bool) {
	return m.bodyMeasurement(dayOf(t)), !t.Before(m.joined.Add(time.Hour))
}

// encode panics on what cannot be JSON, because all values are ours.
func encode(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("member: encoding %T: %v", v, err))
	}
	return text
}
