package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/rawjson"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/whoop"
)

// A record is one of WHOOP's, as its bytes and what must be known of it.
type record struct {
	raw  json.RawMessage
	hash uint64

	key     string    // the stream's key, as JSON text
	cycle   string    // that it belongs to, as JSON text; empty: it does not say
	time    time.Time // when it began; a recovery has no beginning: when it was made
	end     time.Time // zero: it is open, or has no end
	updated time.Time // rounded up to microseconds; zero: not told
	nap     bool
	open    bool // it began and has not ended
	// unsettled says that more is to come: it is open, or its score is pending.
	unsettled bool
	// untracked says why what is known of the record is not enough to tell
	// whether it changed or vanished; "": it is.
	untracked string
}

// parseRecord reads what must be known. Field is the stream's key; raw is valid
// JSON. WHOOP may write anything as an id or a time: a record is one all the
// same.
func parseRecord(raw json.RawMessage, field string) record {
	r := record{raw: raw, hash: fingerprint(raw)}
	var began, made bool
	var created time.Time
	for name, value := range rawjson.Members(raw) {
		if value[0] == 'n' { // null is as good as nothing
			continue
		}
		instant := func(into *time.Time) bool {
			t, err := parseTime(value)
			if err != nil {
				r.untracked = fmt.Sprintf("its %s is %s", name, value)
			}
			*into = t
			return err == nil
		}
		switch string(name) {
		case field:
			r.key = string(value)
			if field == "cycle_id" {
				r.cycle = r.key
			}
		case "cycle_id":
			r.cycle = string(value)
		case "start":
			began = instant(&r.time)
		case "end":
			instant(&r.end)
		case "created_at":
			made = instant(&created)
		case "updated_at":
			instant(&r.updated)
		case "nap":
			r.nap = value[0] == 't'
		case "score_state":
			r.unsettled = string(value) == `"PENDING_SCORE"`
		}
	}
	switch {
	case began:
		r.open = r.end.IsZero() && r.untracked == ""
		r.unsettled = r.unsettled || r.open
	case made:
		r.time = created
	case r.untracked == "":
		r.untracked = "it has neither start nor created_at"
	}
	if _, err := packKey(r.key); err != nil {
		r.untracked = fmt.Sprintf("its %s is %s", field, cmp.Or(r.key, "missing"))
	}
	r.updated = r.updated.Add(time.Microsecond - 1).Truncate(time.Microsecond)
	return r
}

// parseTime reads an instant, one without a zone as UTC. In UTC too it is in a
// year that can be written and is not before the zero time.
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

// fingerprint tells versions of a record apart. WHOOP does not promise that
// updated_at moves with every change, so it is of all the bytes.
func fingerprint(raw json.RawMessage) uint64 {
	sum := sha256.Sum256(raw)
	return binary.BigEndian.Uint64(sum[:])
}

// at puts a key into a path of the API.
func at(path, key string) string {
	return strings.Replace(path, "{}", url.PathEscape(strings.Trim(key, `"`)), 1)
}

// sameID tells whether two keys are one to WHOOP, however they are written.
func sameID(a, b string) bool {
	return strings.EqualFold(strings.Trim(a, `"`), strings.Trim(b, `"`))
}

// tombstone is the record that says that another one is gone. It has a cursor of
// its own: a destination orders the versions of a row by it, and one without
// would be older than the row it deletes.
func tombstone(field, key string, updated, now time.Time) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{%q:%s,%q:%q,%q:%q}`, field, key,
		cursor, updated.UTC().Format(time.RFC3339Nano), deletedAt, now.UTC().Format(time.RFC3339Nano)))
}

// withMember puts a member's id and an instant in front of an object that has
// neither.
func withMember(object json.RawMessage, userID json.RawMessage, now time.Time) (json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(object, &fields); err != nil {
		return nil, fmt.Errorf("reading an object of WHOOP: %w", err)
	}
	rest := bytes.TrimSpace(object)[1:] // without its {
	var b []byte
	b = append(b, '{')
	if _, ok := fields["user_id"]; !ok {
		b = append(append(append(b, `"user_id":`...), userID...), ',')
	}
	b = fmt.Appendf(b, `"observed_at":%q`, now.UTC().Format(time.RFC3339))
	if len(fields) > 0 {
		b = append(b, ',')
	}
	return append(b, rest...), nil
}

// userID reads the member's id out of the profile.
func userID(profile json.RawMessage) (json.RawMessage, error) {
	id := parseRecord(profile, "user_id").key
	if id == "" {
		return nil, &whoop.UnavailableError{Path: profilePath, Err: errors.New("the answer has no user_id")}
	}
	return json.RawMessage(id), nil
}
