package sandbox

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// clientTimeout is how long a client waits for an answer. One that never comes
// is waited for under virtual time.
const clientTimeout = time.Hour

// refreshOnce sends a refresh token over a connection that may break.
func (b *bench) refreshOnce(t *testing.T) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clientTimeout)
	defer cancel()
	form := url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {b.tokens.RefreshToken}, "client_id": {"client"}, "client_secret": {"secret"},
	}
	r, err := http.NewRequestWithContext(ctx, "POST", b.url+tokenPath, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := (&http.Client{Transport: b.transport()}).Do(r)
	if err != nil {
		return 0, ""
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, ""
	}
	return answer.StatusCode, string(text)
}

// refreshesAs refreshes with one token again and again. A status of 0 is an
// answer that never came.
func refreshesAs(statuses ...int) demonstration {
	return func(t *testing.T, b *bench, play func()) {
		play()
		for i, want := range statuses {
			if got, body := b.refreshOnce(t); got != want {
				t.Errorf("refresh %d: %d %s, want %d", i, got, body, want)
			}
		}
	}
}

// asks goes to the authorization endpoint without looking at a page.
func asks(check func(t *testing.T, b *bench, back url.Values)) demonstration {
	return func(t *testing.T, b *bench, play func()) {
		play()
		check(t, b, location(t, b.request(t, "GET", "/oauth/oauth2/auth?"+authorization().Encode(), "")))
	}
}

// grantsOnPage agrees on the page and returns what came of it.
func grantsOnPage(t *testing.T, b *bench, scope string) Tokens {
	t.Helper()
	params := authorization()
	params.Set("scope", scope)
	return parse[Tokens](t, b.post(t, tokenPath, exchange(b.code(t, params))).body)
}

var consentDemonstrations = map[string]demonstration{
	"consent-granted": asks(func(t *testing.T, b *bench, back url.Values) {
		tokens := parse[Tokens](t, b.post(t, tokenPath, exchange(back.Get("code"))).body)
		if back.Get("state") != "12345678" || !b.alive(t, tokens.AccessToken) {
			t.Errorf("came back with %v for %+v", back, tokens)
		}
	}),
	"consent-denied": asks(func(t *testing.T, _ *bench, back url.Values) {
		if back.Get("error") != "access_denied" {
			t.Errorf("came back with %v", back)
		}
	}),
	"consent-forbidden": asks(func(t *testing.T, _ *bench, back url.Values) {
		if back.Get("error") != "request_forbidden" {
			t.Errorf("came back with %v", back)
		}
	}),
	"scopes-withheld": func(t *testing.T, b *bench, play func()) {
		play()
		tokens := grantsOnPage(t, b, "read:cycles read:sleep offline")
		if tokens.Scope != "read:cycles offline" {
			t.Errorf("granted %q", tokens.Scope)
		}
		if got := b.request(t, "GET", "/developer/v2/activity/sleep", tokens.AccessToken).status; got != http.StatusUnauthorized {
			t.Errorf("sleep: %d", got)
		}
	},
	"offline-withheld": func(t *testing.T, b *bench, play func()) {
		play()
		if tokens := grantsOnPage(t, b, "read:profile offline"); tokens.RefreshToken != "" || !b.alive(t, tokens.AccessToken) {
			t.Errorf("granted %+v", tokens)
		}
	},
	"state-forged": func(t *testing.T, b *bench, play func()) {
		play()
		params := authorization()
		params.Set("decision", "authorize")
		if back := location(t, b.post(t, "/oauth/oauth2/auth", params)); back.Get("state") == "12345678" || back.Get("code") == "" {
			t.Errorf("came back with %v", back)
		}
	},
}

var tokenDemonstrations = map[string]demonstration{
	"access-token-expires-while-paging": func(t *testing.T, b *bench, play func()) {
		play()
		b.tokens = b.Issue()
		query := url.Values{"limit": {"5"}}
		for range 4 {
			query.Set("nextToken", *b.page(t, "/v2/cycle", query).NextToken)
		}
		if got := b.get(t, "/v2/cycle?"+query.Encode()).status; got != http.StatusUnauthorized {
			t.Errorf("fifth page: %d", got)
		}
	},
	"reuse-revokes-family": func(t *testing.T, b *bench, play func()) {
		play()
		fresh := parse[Tokens](t, b.refresh(t, b.tokens.RefreshToken).body)
		if b.refresh(t, b.tokens.RefreshToken).status != http.StatusBadRequest || b.alive(t, fresh.AccessToken) {
			t.Error("the newest pair lives on")
		}
	},
	"reuse-grace":         refreshesAs(200, 200),
	"refresh-keeps-token": keepsToken,
	"refresh-loses-token": func(t *testing.T, b *bench, play func()) {
		play()
		if got := b.refresh(t, b.tokens.RefreshToken); got.status != 200 || strings.Contains(got.body, "refresh_token") {
			t.Errorf("refreshed: %d %s", got.status, got.body)
		}
		refreshesAs(400)(t, b, func() {})
	},
	"refresh-token-expires": func(t *testing.T, b *bench, play func()) {
		play()
		for idle, want := range map[time.Duration]int{30*day - time.Second: 200, 30 * day: 400} {
			b.tokens = b.Issue()
			b.clock.Advance(idle)
			if got := b.refresh(t, b.tokens.RefreshToken); got.status != want {
				t.Errorf("after %v: %d %s", idle, got.status, got.body)
			}
		}
	},
	"expires-in-text": func(t *testing.T, b *bench, play func()) {
		play()
		if got := b.refresh(t, b.tokens.RefreshToken).body; !strings.Contains(got, `"expires_in":"3600"`) {
			t.Errorf("refreshed: %s", got)
		}
	},
	"expires-in-missing": func(t *testing.T, b *bench, play func()) {
		play()
		if got := b.refresh(t, b.tokens.RefreshToken).body; strings.Contains(got, "expires_in") {
			t.Errorf("refreshed: %s", got)
		}
	},
	"clock-ahead": func(t *testing.T, b *bench, play func()) {
		b.clock.Advance(50 * time.Minute)
		lived := b.alive(t, b.tokens.AccessToken)
		play()
		if got := b.get(t, "/v2/cycle"); !lived || got.status != 401 || got.header.Get("Date") != "Thu, 15 Jan 2026 13:00:00 GMT" {
			t.Errorf("%v, then %d at %s", lived, got.status, got.header.Get("Date"))
		}
	},
	"clock-behind": func(t *testing.T, b *bench, play func()) {
		b.clock.Advance(time.Hour)
		lived := b.alive(t, b.tokens.AccessToken)
		play()
		if got := b.get(t, "/v2/cycle"); lived || got.status != 200 || got.header.Get("Date") != "Thu, 15 Jan 2026 12:50:00 GMT" {
			t.Errorf("%v, then %d at %s", lived, got.status, got.header.Get("Date"))
		}
	},
	"refresh-500":                  refreshesAs(500, 500, 500, 200),
	"refresh-503":                  refreshesAs(503, 503, 503, 200),
	"refresh-reset":                refreshesAs(0, 200),
	"refresh-answer-lost":          refreshesAs(0, 400),
	"refresh-answer-lost-inactive": refreshesAs(0, 401),
	"refresh-answer-cut":           refreshesAs(0, 400),
	"refresh-answer-503":           refreshesAs(503, 400),
	"refresh-answer-lost-in-grace": refreshesAs(0, 200),
	"consent-revoked": func(t *testing.T, b *bench, play func()) {
		play()
		b.clock.Advance(time.Hour - time.Second)
		if b.tokens = parse[Tokens](t, b.refresh(t, b.tokens.RefreshToken).body); !b.alive(t, b.tokens.AccessToken) {
			t.Error("revoked too early")
		}
		b.clock.Advance(time.Second)
		if b.alive(t, b.tokens.AccessToken) || b.refresh(t, b.tokens.RefreshToken).status != http.StatusBadRequest {
			t.Error("not revoked")
		}
		if !b.alive(t, b.Issue().AccessToken) {
			t.Error("a new consent does not work")
		}
	},
	"good-token-refused": answersAs(200, 401, 200),
	"endpoint-refused": func(t *testing.T, b *bench, play func()) {
		play()
		for range 3 {
			if got := b.get(t, "/v2/recovery"); got.status != http.StatusUnauthorized || got.body != "Unauthorized" {
				t.Errorf("recovery: %d %s", got.status, got.body)
			}
			b.tokens = b.Issue()
		}
		if !b.alive(t, b.tokens.AccessToken) {
			t.Error("the profile is refused too")
		}
	},
	"missing-scope-forbidden": func(t *testing.T, b *bench, play func()) {
		play()
		b.tokens = b.Issue("read:cycles")
		if forbidden, fine := b.get(t, "/v2/recovery").status, b.get(t, "/v2/cycle").status; forbidden != 403 || fine != 200 {
			t.Errorf("without scope %d, with it %d", forbidden, fine)
		}
	},
}

func keepsToken(t *testing.T, b *bench, play func()) {
	play()
	for range 3 {
		got := b.refresh(t, b.tokens.RefreshToken)
		fresh := parse[Tokens](t, got.body)
		if got.status != 200 || strings.Contains(got.body, "refresh_token") || !b.alive(t, fresh.AccessToken) || b.alive(t, b.tokens.AccessToken) {
			t.Errorf("refreshed: %d %s", got.status, got.body)
		}
		b.tokens.AccessToken = fresh.AccessToken
	}
}

// answersAs asks for the profile again and again.
func answersAs(statuses ...int) demonstration {
	return func(t *testing.T, b *bench, play func()) {
		play()
		got := b.statuses(t, profilePath, len(statuses))
		for i, want := range statuses {
			if got[i] != want {
				t.Fatalf("answers %v, want %v", got, statuses)
			}
		}
	}
}
