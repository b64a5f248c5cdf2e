package sandbox

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// WHOOP documents a default of 10 records a page and never gives more than 25.
// What it does with a higher limit is not documented; here it means 25.
const defaultLimit, maxLimit = 10, 25

// A query is what a client may ask of a collection.
type query struct {
	start, end time.Time // start is zero when there is no lower bound
	limit      int
	offset     int
}

// getCollection serves one page. A record belongs to the window if it ends at
// or after its start and begins before its end; one that is still open ends
// never. Both bounds may cut through a record.
func (s *Server) getCollection(k kind) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		now := s.clock.Now()
		q, err := parseQuery(r.URL, now)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var page [][]byte
		var matched int
		for _, v := range s.member.list(k, now) {
			if !v.start.Before(q.end) || !v.end.IsZero() && v.end.Before(q.start) {
				continue
			}
			if matched++; matched > q.offset+q.limit {
				break
			}
			if matched > q.offset {
				page = append(page, v.encoded(now))
			}
		}
		body := append([]byte(`{"records":[`), bytes.Join(page, []byte(","))...)
		body = append(body, ']')
		switch {
		case matched > q.offset+q.limit:
			body = fmt.Appendf(body, `,"next_token":%q`, tokenFor(r.URL.Path, q.offset+q.limit))
		case k == cycles || k == sleeps:
			body = append(body, `,"next_token":null`...) // others leave it out; both occur
		}
		writeJSON(w, append(body, '}'))
	}
}

func parseQuery(u *url.URL, now time.Time) (query, error) {
	q := query{end: now, limit: defaultLimit}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return q, fmt.Errorf("reading the query: %w", err)
	}
	for name, bound := range map[string]*time.Time{"start": &q.start, "end": &q.end} {
		if text := values.Get(name); text != "" {
			if *bound, err = time.Parse(time.RFC3339, text); err != nil {
				return q, fmt.Errorf("%s is not a date-time: %w", name, err)
			}
		}
	}
	if text := values.Get("limit"); text != "" {
		limit, err := strconv.ParseInt(text, 10, 32)
		if err != nil || limit < 1 {
			return q, fmt.Errorf("limit %q is not a positive number", text)
		}
		q.limit = min(int(limit), maxLimit)
	}
	if token := values.Get("nextToken"); token != "" {
		if q.offset, err = offsetIn(u.Path, token); err != nil {
			return q, err
		}
	}
	return q, nil
}

// A position is what a page token holds: WHOOP's own sample decodes to
// {"$":"o@1","o":10}, an offset. Records that appear or vanish between two
// requests therefore shift the pages.
type position struct {
	Kind   string `json:"$"`
	Offset int    `json:"o"`
}

const offsetKind = "o@1"

// tokenFor seals an offset, so that a token of another collection or one mangled
// on the way (a + that was not escaped) is recognised.
func tokenFor(path string, offset int) string {
	text := encode(position{offsetKind, offset})
	return base64.StdEncoding.EncodeToString(append(seal(path, text), text...))
}

const sealLength = 12

func seal(path string, text []byte) []byte {
	sum := sha256.Sum256(append([]byte(path), text...))
	return sum[:sealLength]
}

func offsetIn(path, token string) (int, error) {
	sealed, err := base64.StdEncoding.DecodeString(token)
	if err != nil || len(sealed) < sealLength {
		return 0, fmt.Errorf("nextToken %q is malformed", token)
	}
	text := sealed[sealLength:]
	var p position
	if !bytes.Equal(seal(path, text), sealed[:sealLength]) || json.Unmarshal(text, &p) != nil || p.Kind != offsetKind {
		return 0, fmt.Errorf("nextToken %q is not one of this collection", token)
	}
	return p.Offset, nil
}
