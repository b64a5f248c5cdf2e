package sandbox

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member"
)

// WHOOP documents a default of 10 records a page and never gives more than 25.
const defaultLimit, maxLimit = 10, 25

// A query is what a client may ask of a collection.
type query struct {
	start, end time.Time // start is zero when there is no lower bound
	window     string    // stands for both
	limit      int
	position   *position // nil: the first page
	token      string    // the position as the client sent it
}

// getCollection serves one page. A record belongs to the window if it ends at
// or after its start and begins before its end; one that is still open ends
// never. Both bounds may cut through a record.
func (s *Server) getCollection(k member.Kind) operation {
	return func(w http.ResponseWriter, r *http.Request, m *member.Member) {
		now, profile := s.Now(), s.Profile()
		q, err := parseQuery(r.URL, now, profile)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		window := m.List(k, now)
		matched := make([]member.Listed, 0, len(window))
		for _, v := range window {
			if q.includes(v.Version, profile) {
				matched = append(matched, v)
			}
		}
		page, next := q.cut(matched, profile)
		records := make([][]byte, 0, len(page))
		for _, v := range page {
			records = append(records, m.EncodeVersion(v.Version, now))
		}
		nextToken := lastToken(k, profile.LastToken)
		if next != nil {
			next.Window, next.Issued = q.window, now.Unix()
			token := next.token(r.URL.Path)
			if profile.RepeatedToken && q.position != nil {
				token = q.token
			}
			nextToken = encode(token)
		}
		writeJSON(w, profile.Extend(envelope(records, nextToken)))
	}
}

// envelope is the JSON of a page. Its parts are JSON already, which encoding/json would go
// through once more.
func envelope(records [][]byte, nextToken json.RawMessage) json.RawMessage {
	text := slices.Concat([]byte(`{"records":[`), bytes.Join(records, []byte(",")), []byte("]"))
	if nextToken != nil {
		text = slices.Concat(text, []byte(`,"next_token":`), nextToken)
	}
	return append(text, '}')
}

// lastToken is the next_token of a page after which nothing comes.
func lastToken(k member.Kind, as LastToken) json.RawMessage {
	switch {
	case as == LastTokenEmpty:
		return json.RawMessage(`""`)
	case as == LastTokenNull, as == LastTokenVaries && (k == member.Cycles || k == member.Sleeps):
		return json.RawMessage("null")
	}
	return nil
}

func (q query) includes(v *member.Version, p Profile) bool {
	begins := v.Start.Before(q.end) || p.InclusiveEnd && v.Start.Equal(q.end)
	ends := v.End.IsZero() || v.End.After(q.start) || !p.ExclusiveStart && v.End.Equal(q.start)
	return begins && ends
}

// cut returns the page that was asked for and the position of the next one, nil
// if this is the last.
func (q query) cut(matched []member.Listed, p Profile) (page []member.Listed, next *position) {
	from, empty := 0, p.EmptyPages && q.position != nil
	if q.position != nil {
		from = q.position.in(matched)
		empty = empty && !q.position.AfterEmpty
	}
	if empty {
		same := *q.position
		same.AfterEmpty = true
		return nil, &same
	}
	limit := q.limit
	if p.ShortPages {
		limit = max(1, limit/2)
	}
	to := min(from+limit, len(matched))
	page = matched[from:to]
	if to == len(matched) && !(p.TokenAfterFullPage && len(page) == limit) {
		return page, nil
	}
	if p.KeysetTokens {
		last := page[len(page)-1]
		return page, &position{Kind: keysetKind, Start: last.Start.UnixMilli(), Key: last.Key}
	}
	return page, &position{Kind: offsetKind, Offset: to}
}

func parseQuery(u *url.URL, now time.Time, p Profile) (query, error) {
	q := query{limit: defaultLimit}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return q, fmt.Errorf("reading the query: %w", err)
	}
	for name, bound := range map[string]*time.Time{"start": &q.start, "end": &q.end} {
		text := values.Get(name)
		if text == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, text)
		switch {
		case err == nil:
			*bound = t
		case !p.DatesIgnored:
			return q, fmt.Errorf("%s is not a date-time: %w", name, err)
		}
	}
	q.window = windowOf(q.start, q.end)
	if q.end.IsZero() {
		q.end = now
	}
	if text := values.Get("limit"); text != "" {
		limit, err := strconv.ParseInt(text, 10, 32)
		if err != nil || limit < 1 || limit > maxLimit && p.LimitRefused {
			return q, fmt.Errorf("limit %q is not a number from 1 to %d", text, maxLimit)
		}
		q.limit = min(int(limit), maxLimit)
	}
	if q.token = values.Get("nextToken"); q.token == "" {
		return q, nil
	}
	if q.position, err = positionIn(u.Path, q.token); err != nil {
		return q, err
	}
	ttl := time.Duration(cmp.Or(p.PageTokenTTL, member.Duration(1<<62)))
	switch {
	case now.Sub(time.Unix(q.position.Issued, 0)) >= ttl:
		return q, fmt.Errorf("nextToken %q has expired", q.token)
	case p.WindowBoundTokens && q.position.Window != q.window:
		return q, fmt.Errorf("nextToken %q belongs to another start or end", q.token)
	}
	return q, nil
}
