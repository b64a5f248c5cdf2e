package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/changes"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/whoop"
)

// pathOf puts a key into a path of the API.
func pathOf(path, key string) string {
	return strings.Replace(path, "{}", url.PathEscape(strings.Trim(key, `"`)), 1)
}

// sameID reports whether two keys are the same to WHOOP, however they are written.
func sameID(a, b string) bool {
	return strings.EqualFold(strings.Trim(a, `"`), strings.Trim(b, `"`))
}

// tombstone is the record that deletes a row. It has a cursor, because a
// destination orders the versions of a row by it: without one, the tombstone would
// be older than the row.
func tombstone(field, key string, updated, now time.Time) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{%q:%s,%q:%q,%q:%q}`, field, key,
		cursor, updated.UTC().Format(time.RFC3339Nano), deletedAt, now.UTC().Format(time.RFC3339Nano)))
}

// withMember adds an instant to an object, and the member's id if it has none.
func withMember(object json.RawMessage, userID json.RawMessage, now time.Time) (json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(object, &fields); err != nil {
		return nil, fmt.Errorf("reading WHOOP's answer: %w", err)
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

// readObject reads a stream that is one object.
func (rd *reader) readObject(ctx context.Context) error {
	session := rd.run.session
	raw, err := session.profile.raw, session.profile.err
	var member json.RawMessage
	if err == nil {
		member, err = userID(raw)
	}
	if err == nil && rd.stream.object != whoop.ProfilePath {
		if raw, err = session.client.Get(ctx, rd.stream.object); missing(err) { // a member without a body measurement
			return rd.complete(json.RawMessage(fullRefreshDone))
		}
		if err == nil {
			raw, err = withMember(raw, member, session.client.Now())
		}
	}
	if err != nil {
		return err
	}
	if err := rd.emit(raw); err != nil {
		return err
	}
	return rd.complete(json.RawMessage(fullRefreshDone))
}
