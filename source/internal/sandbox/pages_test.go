package sandbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member/membertest"
)

func TestPageSizes(t *testing.T) {
	b := newBench(t, Config{Years: 1})
	for limit, want := range map[string]int{"": 10, "1": 1, "25": 25, "26": 25, "1000": 25} {
		p := b.page(t, "/v2/activity/sleep", url.Values{"limit": {limit}})
		if len(p.Records) != want || p.NextToken == nil {
			t.Errorf("limit %q: %d records, next %v", limit, len(p.Records), p.NextToken)
		}
	}
}

func TestBadParametersAreRefused(t *testing.T) {
	b := newBench(t, Config{Years: 1})
	token := *b.page(t, "/v2/cycle", nil).NextToken
	for _, query := range []string{
		"limit=0", "limit=-1", "limit=x", "limit=99999999999",
		"start=yesterday", "end=2026-01-01", "start=2026-01-01T00:00:00", "start=%zz",
		"nextToken=garbled", "nextToken=" + url.QueryEscape(token[1:]), "nextToken=eyIkIjoib0AxIiwibyI6MTB9",
	} {
		if got := b.get(t, "/v2/cycle?"+query); got.status != http.StatusBadRequest {
			t.Errorf("%s: %d", query, got.status)
		}
	}
	if got := b.get(t, "/v2/recovery?nextToken="+url.QueryEscape(token)); got.status != http.StatusBadRequest {
		t.Errorf("token of another collection: %d", got.status)
	}
	if got := b.get(t, "/v2/cycle?next_token="+url.QueryEscape(token)); got.body != b.get(t, "/v2/cycle").body {
		t.Error("next_token is the response's spelling; in a request it means nothing")
	}
}

func TestTimesAreAcceptedWithAndWithoutFraction(t *testing.T) {
	b := newBench(t, Config{Years: 1})
	want := b.get(t, "/v2/cycle?start=2025-12-01T00:00:00.000Z").body
	for _, start := range []string{"2025-12-01T00:00:00Z", "2025-12-01T01:00:00%2B01:00"} {
		if got := b.get(t, "/v2/cycle?start="+start); got.body != want {
			t.Errorf("start=%s: %d %s", start, got.status, got.body)
		}
	}
}

func TestSomePageTokensNeedEscaping(t *testing.T) {
	var tokens strings.Builder
	for _, path := range []string{"/developer/v2/cycle", "/developer/v2/recovery", "/developer/v2/activity/sleep", "/developer/v2/activity/workout"} {
		for page := range 20 {
			p := position{Kind: offsetKind, Offset: 25 * (page + 1)}
			tokens.WriteString(p.token(path))
		}
	}
	for _, special := range "+/=" {
		if !strings.ContainsRune(tokens.String(), special) {
			t.Errorf("no token of the first pages contains %q", special)
		}
	}
}

func TestRecordsComeNewestFirst(t *testing.T) {
	b := newBench(t, Config{Seed: 5, Years: 1})
	started := map[string]time.Time{}
	for path, stream := range map[string]string{"/v2/cycle": "", "/v2/activity/sleep": "sleep", "/v2/activity/workout": ""} {
		var last time.Time
		for _, record := range b.walk(t, path, url.Values{"limit": {"25"}}) {
			i := parse[membertest.Item](t, string(record))
			if stream == "sleep" {
				started[i.Key()] = i.Start
			}
			if !last.IsZero() && i.Start.After(last) {
				t.Fatalf("%s: %s after %s", path, i.Start, last)
			}
			last = i.Start
		}
	}
	var last time.Time
	for _, record := range b.walk(t, "/v2/recovery", url.Values{"limit": {"25"}}) {
		start := started[parse[membertest.Item](t, string(record)).SleepID]
		if start.IsZero() || !last.IsZero() && start.After(last) {
			t.Fatalf("recovery of a sleep at %s after one at %s", start, last)
		}
		last = start
	}
}

// bounds are those by which a record of each collection is found.
func (b *bench) bounds(t *testing.T, stream string) map[string][2]time.Time {
	t.Helper()
	found := map[string][2]time.Time{}
	slept := map[string]json.RawMessage{}
	if stream == "recovery" {
		slept = b.Oracle().Records("sleep", b.clock.Now())
	}
	for key, record := range b.Oracle().Records(stream, b.clock.Now()) {
		i := parse[membertest.Item](t, string(record))
		if stream == "recovery" {
			i = parse[membertest.Item](t, string(slept[i.SleepID]))
		}
		end := time.Time{}
		if i.End != nil {
			end = *i.End
		}
		found[key] = [2]time.Time{i.Start, end}
	}
	return found
}

func TestWindowsKeepWhatOverlapsThem(t *testing.T) {
	b := newBench(t, Config{Seed: 8, Clock: NewClock(noon)})
	b.clock.Advance(30 * day)
	b.tokens = b.Issue()
	for path, stream := range map[string]string{
		"/v2/cycle": "cycles", "/v2/recovery": "recovery", "/v2/activity/sleep": "sleep", "/v2/activity/workout": "workout",
	} {
		bounds := b.bounds(t, stream)
		windows := [][2]time.Time{{noon.Add(3 * day), noon.Add(9 * day)}, {noon.Add(29 * day), noon.Add(60 * day)}}
		for _, r := range bounds { // borders that touch and cut through records
			start, end := r[0], r[1]
			if end.IsZero() {
				end = b.clock.Now()
			}
			windows = append(windows, [2]time.Time{end, end.Add(day)}, [2]time.Time{start.Add(-day), start},
				[2]time.Time{start.Add(time.Second), end.Add(-time.Second)})
			if len(windows) > 20 {
				break
			}
		}
		for _, w := range windows {
			var want []string
			for key, r := range bounds {
				if r[0].Before(w[1]) && (r[1].IsZero() || !r[1].Before(w[0])) {
					want = append(want, key)
				}
			}
			var got []string
			for _, record := range b.walk(t, path, url.Values{"start": {stamp(w[0])}, "end": {stamp(w[1])}, "limit": {"3"}}) {
				got = append(got, parse[membertest.Item](t, string(record)).Key())
			}
			slices.Sort(want)
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s from %s to %s (-want +got):\n%s", path, stamp(w[0]), stamp(w[1]), diff)
			}
		}
	}
}

func TestAdjacentWindowsMissNothing(t *testing.T) {
	b := newBench(t, Config{Seed: 6, Years: 1})
	got := map[string]bool{}
	for from := noon.AddDate(-1, 0, -2); from.Before(noon); from = from.Add(30 * day) {
		for _, record := range b.walk(t, "/v2/cycle", url.Values{"start": {stamp(from)}, "end": {stamp(from.Add(30 * day))}, "limit": {"25"}}) {
			got[parse[membertest.Item](t, string(record)).Key()] = true
		}
	}
	for key := range b.Oracle().Records("cycles", noon) {
		if !got[key] {
			t.Errorf("cycle %s is in no window", key)
		}
	}
}

func TestEndOfACollection(t *testing.T) {
	b := newBench(t, Config{Years: 1})
	exactly := len(b.page(t, "/v2/activity/workout", url.Values{"limit": {"25"}, "start": {stamp(noon.Add(-6 * day))}}).Records)
	last := b.page(t, "/v2/activity/workout", url.Values{"limit": {fmt.Sprint(exactly)}, "start": {stamp(noon.Add(-6 * day))}})
	if len(last.Records) != exactly || last.NextToken != nil {
		t.Errorf("full last page: %d of %d, next %v", len(last.Records), exactly, last.NextToken)
	}
	if got := b.get(t, "/v2/activity/workout?start=2030-01-01T00:00:00Z").body; got != `{"records":[]}` {
		t.Errorf("empty collection that leaves the token out: %s", got)
	}
	if got := b.get(t, "/v2/cycle?end=2001-01-01T00:00:00Z").body; got != `{"records":[],"next_token":null}` {
		t.Errorf("empty collection with a null token: %s", got)
	}
}

// Pages are offsets into what is there at the moment of the request.
func TestRecordThatAppearsBetweenPagesShiftsThem(t *testing.T) {
	b := newBench(t, Config{Seed: 1, Years: 1})
	query := url.Values{"limit": {"5"}, "end": {stamp(noon.Add(30 * day))}}
	first := b.page(t, "/v2/cycle", query)
	for len(b.Oracle().Records("cycles", b.clock.Now())) == len(b.Oracle().Records("cycles", noon)) {
		b.clock.Advance(time.Hour)
	}
	b.tokens = b.Issue()
	query.Set("nextToken", *first.NextToken)
	second := b.page(t, "/v2/cycle", query)
	key := func(p page, i int) string { return parse[membertest.Item](t, string(p.Records[i])).Key() }
	if got, want := key(second, 0), key(first, 4); got != want {
		t.Errorf("second page begins with %s, want %s again", got, want)
	}
}

func FuzzQuery(f *testing.F) {
	for _, p := range []position{{Kind: offsetKind, Offset: 50}, {Kind: keysetKind, Start: noon.UnixMilli(), Key: "1"}} {
		f.Add("limit=25&start=2026-01-01T00:00:00Z&nextToken="+url.QueryEscape(p.token("/p")), false)
	}
	f.Add("nextToken=%00&end=", true)
	f.Fuzz(func(t *testing.T, raw string, lenient bool) {
		u, profile := &url.URL{Path: "/p", RawQuery: raw}, Profile{DatesIgnored: lenient}
		q, err := parseQuery(u, noon, profile)
		if err != nil {
			return
		}
		if q.limit < 1 || q.limit > maxLimit || q.end.IsZero() {
			t.Errorf("%q became %+v", raw, q)
		}
		records := []member.Listed{{Key: "1", Version: &member.Version{Start: noon}}, {Key: "0", Version: &member.Version{Start: noon.Add(-day)}}}
		if page, next := q.cut(records, profile); len(page) > q.limit || len(page) == len(records) && next != nil {
			t.Errorf("%q gave %d records and %+v", raw, len(page), next)
		}
	})
}
