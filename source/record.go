package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/changes"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/whoop"
)

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
	id := changes.ParseRecord(profile, "user_id").Key
	if id == "" {
		return nil, &whoop.UnavailableError{Path: whoop.ProfilePath, Err: errors.New("the answer has no user_id")}
	}
	return json.RawMessage(id), nil
}
