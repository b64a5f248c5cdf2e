package changes

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/internal/rawjson"
)

// A Record is one of WHOOP's records: its bytes, and what must be known about it.
type Record struct {
	Raw         json.RawMessage
	Fingerprint uint64 // of the bytes; see fingerprint

	Key     string    // the stream's key, as JSON text
	Cycle   string    // the cycle it belongs to, as JSON text; empty: it does not say
	Created time.Time // when WHOOP recorded it; zero: it does not say
	Time    time.Time // when it began; when it was made, if it has no beginning (a recovery)
	End     time.Time // zero: it is open, or has no end
	Updated time.Time // rounded up to microseconds; zero: it does not say
	Nap     bool
	Open    bool // it began and has not ended
	// Unsettled means that it will change: it is open, or its score is pending.
	Unsettled bool
	// Untracked says why the record lacks what a tracker needs. It is empty for
	// a record that can be tracked.
	Untracked string
}

// ParseRecord reads what must be known of raw, which is valid JSON. KeyField is
// the stream's key. Whatever WHOOP writes as an id or a time, the result is a
// record.
func ParseRecord(raw json.RawMessage, keyField string) Record {
	r := Record{Raw: raw, Fingerprint: fingerprint(raw)}
	var began, made bool
	for name, value := range rawjson.Members(raw) {
		if value[0] == 'n' { // null means absent
			continue
		}
		instant := func(into *time.Time) bool {
			t, err := parseTime(value)
			if err != nil {
				r.Untracked = fmt.Sprintf("its %s is %s", name, Shown(string(value)))
			}
			*into = t
			return err == nil
		}
		switch string(name) {
		case keyField:
			r.Key = string(value)
			if keyField == "cycle_id" {
				r.Cycle = r.Key
			}
		case "cycle_id":
			r.Cycle = string(value)
		case "start":
			began = instant(&r.Time)
		case "end":
			instant(&r.End)
		case "created_at":
			made = instant(&r.Created)
		case "updated_at":
			instant(&r.Updated)
		case "nap":
			r.Nap = value[0] == 't'
		case "score_state":
			r.Unsettled = string(value) == `"PENDING_SCORE"`
		}
	}
	switch {
	case began:
		r.Open = r.End.IsZero() && r.Untracked == ""
		r.Unsettled = r.Unsettled || r.Open
	case made:
		r.Time = r.Created
	case r.Untracked == "":
		r.Untracked = "it has neither start nor created_at"
	}
	if _, err := packKey(r.Key); err != nil {
		r.Untracked = fmt.Sprintf("its %s is %s", keyField, cmp.Or(Shown(r.Key), "missing"))
	}
	r.Updated = r.Updated.Add(time.Microsecond - 1).Truncate(time.Microsecond)
	return r
}

// Shown is an id or a time for a message, where WHOOP may have sent anything.
func Shown(value string) string {
	const maxShown = 60 // bytes
	if len(value) <= maxShown {
		return value
	}
	return strings.ToValidUTF8(value[:maxShown], "") + "…"
}

// parseTime reads an instant. Without a zone it is in UTC. Its year in UTC is from
// 1 to 9999, so that it can be written and is not before the zero time.
func parseTime(text json.RawMessage) (time.Time, error) {
	var t time.Time
	err := t.UnmarshalJSON(text)
	if err != nil {
		t, err = time.Parse(`"2006-01-02T15:04:05.999999999"`, string(text))
	}
	t = t.UTC()
	if err == nil && (t.Year() < 1 || t.Year() > 9999) {
		err = fmt.Errorf("%s is in no year from 1 to 9999", text)
	}
	return t, err
}

// fingerprint tells versions of a record apart. It covers all bytes, because
// WHOOP does not promise that updated_at moves with every change.
func fingerprint(raw json.RawMessage) uint64 {
	sum := sha256.Sum256(raw)
	return binary.BigEndian.Uint64(sum[:])
}
