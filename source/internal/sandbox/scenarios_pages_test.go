package sandbox

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member/membertest"
)

const workoutPath = "/v2/activity/workout"

func keysIn(t *testing.T, p page) []string {
	t.Helper()
	var keys []string
	for _, record := range p.Records {
		keys = append(keys, parse[membertest.Item](t, string(record)).Key())
	}
	return keys
}

// keys walks the workouts with a limit.
func (b *bench) keys(t *testing.T, limit int) []string {
	t.Helper()
	query := url.Values{"limit": {fmt.Sprint(limit)}, "end": {stamp(noon.Add(day))}}
	return keysIn(t, page{Records: b.walk(t, workoutPath, query)})
}

// endsWith looks at the page that ends each collection.
func endsWith(want string) demonstration {
	return func(t *testing.T, b *bench, play func()) {
		play()
		for _, path := range collectionPaths {
			if got := b.get(t, path+"?end=2001-01-01T00:00:00Z").body; got != `{"records":[]`+want+`}` {
				t.Errorf("%s: %s", path, got)
			}
		}
	}
}

// boundary asks for workouts in a window that only touches one.
func boundary(window func(start, end time.Time) url.Values, before, after bool) demonstration {
	return func(t *testing.T, b *bench, play func()) {
		w := parse[membertest.Item](t, string(b.page(t, workoutPath, nil).Records[3]))
		query := window(w.Start, *w.End)
		if got := slices.Contains(keysIn(t, b.page(t, workoutPath, query)), w.Key()); got != before {
			t.Errorf("before: included is %v", got)
		}
		play()
		if got := slices.Contains(keysIn(t, b.page(t, workoutPath, query)), w.Key()); got != after {
			t.Errorf("included is %v", got)
		}
	}
}

// turns shows a request that has another status with the scenario than before.
func turns(before, after int, ask func(t *testing.T, b *bench) string) demonstration {
	return func(t *testing.T, b *bench, play func()) {
		path := ask(t, b)
		if got := b.get(t, path).status; got != before {
			t.Errorf("before: %d", got)
		}
		play()
		if got := b.get(t, path).status; got != after {
			t.Errorf("GET %s: %d, want %d", path, got, after)
		}
	}
}

var pageDemonstrations = map[string]demonstration{
	"keyset-tokens": func(t *testing.T, b *bench, play func()) {
		all := b.keys(t, 25)
		play()
		query := url.Values{"limit": {"5"}}
		first := b.page(t, workoutPath, query)
		b.play(t, `{"profile":{"keyset_tokens":true},"events":[{"do":"delete","stream":"workout"}]}`)
		query.Set("nextToken", *first.NextToken)
		if diff := cmp.Diff(all[5:10], keysIn(t, b.page(t, workoutPath, query))); diff != "" {
			t.Errorf("second page after a delete on the first (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(all[1:], b.keys(t, 7)); diff != "" {
			t.Errorf("all pages (-want +got):\n%s", diff)
		}
	},
	"last-token-omitted": endsWith(``),
	"last-token-null":    endsWith(`,"next_token":null`),
	"last-token-empty":   endsWith(`,"next_token":""`),
	"token-after-full-page": func(t *testing.T, b *bench, play func()) {
		query := url.Values{"limit": {"25"}, "start": {stamp(noon.Add(-6 * day))}}
		want := b.page(t, workoutPath, query)
		play()
		query.Set("limit", fmt.Sprint(len(want.Records)))
		full := b.page(t, workoutPath, query)
		if len(full.Records) != len(want.Records) || full.NextToken == nil {
			t.Fatalf("full page: %d records, next %v", len(full.Records), full.NextToken)
		}
		query.Set("nextToken", *full.NextToken)
		if last := b.page(t, workoutPath, query); len(last.Records) > 0 || last.NextToken != nil {
			t.Errorf("page after it: %d records, next %v", len(last.Records), last.NextToken)
		}
	},
	"empty-pages": func(t *testing.T, b *bench, play func()) {
		all := b.keys(t, 25)
		play()
		query := url.Values{"limit": {"5"}}
		for n, want := range [][]string{all[:5], nil, all[5:10], nil, all[10:15]} {
			p := b.page(t, workoutPath, query)
			if diff := cmp.Diff(want, keysIn(t, p)); diff != "" || p.NextToken == nil {
				t.Fatalf("page %d (-want +got), next %v:\n%s", n, p.NextToken, diff)
			}
			query.Set("nextToken", *p.NextToken)
		}
		if diff := cmp.Diff(all, b.keys(t, 25)); diff != "" {
			t.Errorf("all pages (-want +got):\n%s", diff)
		}
	},
	"short-pages": func(t *testing.T, b *bench, play func()) {
		all := b.keys(t, 25)
		play()
		if p := b.page(t, workoutPath, url.Values{"limit": {"20"}}); len(p.Records) != 10 || p.NextToken == nil {
			t.Errorf("page: %d records, next %v", len(p.Records), p.NextToken)
		}
		if diff := cmp.Diff(all, b.keys(t, 25)); diff != "" {
			t.Errorf("all pages (-want +got):\n%s", diff)
		}
	},
	"repeated-token": func(t *testing.T, b *bench, play func()) {
		play()
		query := url.Values{}
		query.Set("nextToken", *b.page(t, workoutPath, query).NextToken)
		second := b.page(t, workoutPath, query)
		for range 3 {
			if again := b.page(t, workoutPath, query); *again.NextToken != query.Get("nextToken") || !cmp.Equal(keysIn(t, again), keysIn(t, second)) {
				t.Errorf("next %s after %s", *again.NextToken, query.Get("nextToken"))
			}
		}
	},
	"page-tokens-expire": func(t *testing.T, b *bench, play func()) {
		play()
		path := workoutPath + "?nextToken=" + url.QueryEscape(*b.page(t, workoutPath, nil).NextToken)
		b.clock.Advance(59 * time.Second)
		young := b.get(t, path).status
		b.clock.Advance(time.Second)
		if old := b.get(t, path); young != http.StatusOK || old.status != http.StatusBadRequest || !strings.Contains(old.body, "expired") {
			t.Errorf("%d, then %d %s", young, old.status, old.body)
		}
	},
	"page-token-refused": func(t *testing.T, b *bench, play func()) {
		play()
		query := url.Values{"limit": {"5"}}
		for range 3 {
			query.Set("nextToken", *b.page(t, workoutPath, query).NextToken)
		}
		if got := b.get(t, workoutPath+"?"+query.Encode()).status; got != http.StatusBadRequest {
			t.Errorf("third token: %d", got)
		}
		b.page(t, workoutPath, query)
	},
	"window-bound-tokens": turns(200, 400, func(t *testing.T, b *bench) string {
		token := *b.page(t, workoutPath, url.Values{"start": {stamp(noon.Add(-90 * day))}}).NextToken
		return workoutPath + "?start=2025-12-01T00:00:00Z&nextToken=" + url.QueryEscape(token)
	}),
	"limit-refused": turns(200, 400, func(*testing.T, *bench) string { return workoutPath + "?limit=26" }),
	"dates-ignored": func(t *testing.T, b *bench, play func()) {
		turns(400, 200, func(*testing.T, *bench) string { return workoutPath + "?start=yesterday&end=2026-01-01" })(t, b, play)
		if got, want := b.get(t, workoutPath+"?start=2030").body, b.get(t, workoutPath).body; len(got) != len(want) {
			t.Errorf("a start that is ignored: %s, want %s", got, want)
		}
	},
	"exclusive-start": boundary(func(_, end time.Time) url.Values {
		return url.Values{"start": {stamp(end)}, "limit": {"25"}}
	}, true, false),
	"inclusive-end": boundary(func(start, _ time.Time) url.Values {
		return url.Values{"start": {stamp(start.Add(-day))}, "end": {stamp(start)}}
	}, false, true),
}
