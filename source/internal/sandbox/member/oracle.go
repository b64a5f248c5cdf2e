package member

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Streams are those of the source, whose records the oracle knows.
var Streams = []string{
	"profile", "body_measurement", "cycles", "recovery", "sleep", "workout",
	"cycle_by_id", "recovery_for_cycle", "sleep_for_cycle", "sleep_by_id", "workout_by_id",
}

// An Oracle knows what is true of a member at every instant on the server's
// clock, past and future, without a request, a token or a limit. The future is
// the one in which no further event is scripted and no profile set.
type Oracle struct{ member *Member }

// Oracle returns the member's oracle.
func (m *Member) Oracle() *Oracle { return &Oracle{m} }

// Records returns what the API shows in a stream at an instant: primary key as
// text to the record's bytes. The body measurement has no key in the API; it is
// under the member's user id. Records panics on a name that is not a stream.
func (o *Oracle) Records(stream string, at time.Time) map[string]json.RawMessage {
	m := o.member
	user := strconv.FormatInt(m.userID(), 10)
	switch stream {
	case "profile":
		return map[string]json.RawMessage{user: m.Encode(m.Person(), at)}
	case "body_measurement":
		records := map[string]json.RawMessage{}
		if body, ok := m.Body(at); ok {
			records[user] = m.Encode(body, at)
		}
		return records
	case "cycles", "cycle_by_id":
		return o.all(Cycles, at)
	case "recovery", "recovery_for_cycle":
		return o.all(Recoveries, at)
	case "sleep", "sleep_by_id":
		return o.all(Sleeps, at)
	case "workout", "workout_by_id":
		return o.all(Workouts, at)
	case "sleep_for_cycle":
		records := map[string]json.RawMessage{}
		for _, c := range m.List(Cycles, at) {
			if v := m.SleepFor(c.Key, at); v != nil {
				records[v.show(at).(sleep).ID] = m.EncodeVersion(v, at)
			}
		}
		return records
	}
	panic(fmt.Sprintf("sandbox: no stream is called %q", stream))
}

func (o *Oracle) all(k Kind, at time.Time) map[string]json.RawMessage {
	records := map[string]json.RawMessage{}
	for _, v := range o.member.List(k, at) {
		records[v.Key] = o.member.EncodeVersion(v.Version, at)
	}
	return records
}

// Changes are the differences between what is shown at two instants. A record
// that came and went in between is in neither.
type Changes struct {
	Upserted map[string]json.RawMessage `json:"upserted"` // new or different, as of the later instant
	Deleted  []string                   `json:"deleted"`  // keys of deleted records, sorted
}

// Changes compares a stream at two instants.
func (o *Oracle) Changes(stream string, from, to time.Time) Changes {
	before, after := o.Records(stream, from), o.Records(stream, to)
	c := Changes{Upserted: map[string]json.RawMessage{}, Deleted: []string{}}
	for key, record := range after {
		if !bytes.Equal(before[key], record) {
			c.Upserted[key] = record
		}
	}
	for key := range before {
		if _, ok := after[key]; !ok {
			c.Deleted = append(c.Deleted, key)
		}
	}
	slices.Sort(c.Deleted)
	return c
}
