package sandbox

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// pageOfCloudflare shows a page for people at the second request.
func pageOfCloudflare(status int) demonstration {
	return func(t *testing.T, b *bench, play func()) {
		play()
		b.get(t, "/v2/cycle")
		got := b.get(t, "/v2/cycle")
		if got.status != status || !strings.HasPrefix(got.header.Get("Content-Type"), "text/html") || !strings.Contains(got.body, "Cloudflare Ray ID") {
			t.Errorf("%d %v %s", got.status, got.header, got.body)
		}
		b.page(t, "/v2/cycle", nil)
	}
}

// breaks shows a request that fails on the way, and one that then does not.
func breaks(skip, status int, check func(err error) bool) demonstration {
	return func(t *testing.T, b *bench, play func()) {
		play()
		for range skip {
			b.page(t, "/v2/cycle", nil)
		}
		ctx, cancel := context.WithTimeout(t.Context(), clientTimeout)
		defer cancel()
		if got, _, err := b.try(ctx, profilePath); got != status || !check(err) {
			t.Errorf("%d %v", got, err)
		}
		b.page(t, "/v2/cycle", nil)
	}
}

// errorLooks asks for a cycle that is not there.
func errorLooks(contentType, body string) demonstration {
	return func(t *testing.T, b *bench, play func()) {
		play()
		if got := b.get(t, "/v2/cycle/1"); got.status != 404 || got.header.Get("Content-Type") != contentType || got.body != body {
			t.Errorf("%d %v %s", got.status, got.header, got.body)
		}
	}
}

var limitDemonstrations = map[string]demonstration{
	"day-spent": func(t *testing.T, b *bench, play func()) {
		play()
		spent := b.spend(t, 20)
		b.wall.Advance(2 * time.Hour)
		refused := b.spend(t, 1)
		if want := strconv.Itoa(22 * 3600); spent.status != 200 || refused.status != 429 || refused.header.Get("X-RateLimit-Reset") != want {
			t.Errorf("%d, then %d %v", spent.status, refused.status, limitHeaders(refused))
		}
	},
	"sliding-windows": func(t *testing.T, b *bench, play func()) {
		play()
		b.spend(t, 60)
		b.wall.Advance(30 * time.Second)
		b.spend(t, 40)
		full := b.spend(t, 1)
		b.wall.Advance(30 * time.Second)
		sixty, refused := b.spend(t, 60), b.spend(t, 1)
		if full.status != 429 || sixty.status != 200 || refused.status != 429 || refused.header.Get("X-RateLimit-Reset") != "30" {
			t.Errorf("%d %d %d %v", full.status, sixty.status, refused.status, limitHeaders(refused))
		}
	},
	"retry-after": func(t *testing.T, b *bench, play func()) {
		play()
		fine := b.spend(t, 10)
		b.wall.Advance(18 * time.Second)
		if got := b.spend(t, 1); fine.header.Get("Retry-After") != "" || got.status != 429 || got.header.Get("Retry-After") != "42" {
			t.Errorf("%v, then %d %v", fine.header, got.status, got.header)
		}
	},
	"rate-headers-missing": func(t *testing.T, b *bench, play func()) {
		play()
		fine, refused := b.spend(t, 10), b.spend(t, 1)
		if fine.status != 200 || refused.status != 429 || strings.Join(append(limitHeaders(fine), limitHeaders(refused)...), "") != "" {
			t.Errorf("%v, then %d %v", limitHeaders(fine), refused.status, limitHeaders(refused))
		}
	},
	"rate-headers-malformed": func(t *testing.T, b *bench, play func()) {
		play()
		for _, got := range []reply{b.spend(t, 10), b.spend(t, 1)} {
			for i, header := range limitHeaders(got)[1:] {
				if _, err := strconv.Atoi(header); err == nil || header == "" {
					t.Errorf("header %d is %q", i, header)
				}
			}
		}
	},
	"token-requests-count": func(t *testing.T, b *bench, play func()) {
		play()
		b.spend(t, 9)
		b.tokens = parse[Tokens](t, b.refresh(t, b.tokens.RefreshToken).body)
		if got := b.refresh(t, b.tokens.RefreshToken); got.status != 429 || b.Audit().Refreshes != 1 {
			t.Errorf("%d %+v", got.status, b.Audit())
		}
	},
	"burst-429": func(t *testing.T, b *bench, play func()) {
		play()
		b.spend(t, 2)
		if got := b.spend(t, 5); got.status != 429 || limitHeaders(got)[1] != "97" {
			t.Errorf("%d %v", got.status, limitHeaders(got))
		}
		answersAs(200)(t, b, func() {})
	},
	"burst-429-bare": func(t *testing.T, b *bench, play func()) {
		answersAs(200, 200, 429, 429, 429, 429)(t, b, play)
		if got := b.spend(t, 1); got.status != 429 || limitHeaders(got)[0] != "" || got.header.Get("Retry-After") != "" {
			t.Errorf("%d %v", got.status, got.header)
		}
	},
}

// slowDemonstrations are shown under virtual time.
var slowDemonstrations = map[string]demonstration{
	"slow-answer": func(t *testing.T, b *bench, play func()) {
		play()
		before := time.Now()
		if got, took := b.get(t, "/v2/cycle").status, time.Since(before); got != 200 || took != 500*time.Millisecond {
			t.Errorf("%d after %v", got, took)
		}
	},
	"slow-drip": func(t *testing.T, b *bench, play func()) {
		want := b.get(t, "/v2/user/profile/basic").body
		play()
		before := time.Now()
		if got, took := b.get(t, "/v2/user/profile/basic").body, time.Since(before); got != want || took < 200*time.Millisecond {
			t.Errorf("%s after %v", got, took)
		}
	},
	"hang":                 breaks(1, 0, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }),
	"refresh-hangs":        refreshesAs(0, 200),
	"refresh-answer-hangs": refreshesAs(0, 400),
}

var wireDemonstrations = map[string]demonstration{
	"burst-500":      answersAs(200, 200, 500, 500, 500, 200),
	"burst-502":      answersAs(200, 200, 502, 502, 502, 200),
	"burst-503":      answersAs(200, 200, 503, 503, 503, 200),
	"burst-504":      answersAs(200, 200, 504, 504, 504, 200),
	"cloudflare-403": pageOfCloudflare(403),
	"cloudflare-520": pageOfCloudflare(520),
	"cloudflare-522": pageOfCloudflare(522),
	"cloudflare-524": pageOfCloudflare(524),
	"flaky-page": func(t *testing.T, b *bench, play func()) {
		play()
		path := "/v2/activity/sleep?nextToken=" + url.QueryEscape(*b.page(t, "/v2/activity/sleep", nil).NextToken)
		if once, again := b.get(t, path).status, b.get(t, path).status; once != 500 || again != 200 {
			t.Errorf("second page: %d, then %d", once, again)
		}
	},
	"stream-down": func(t *testing.T, b *bench, play func()) {
		play()
		for range 5 {
			if down, up := b.get(t, workoutPath).status, b.get(t, "/v2/activity/sleep").status; down != 500 || up != 200 {
				t.Errorf("workouts %d, sleep %d", down, up)
			}
		}
	},
	"truncated": func(t *testing.T, b *bench, play func()) {
		want := b.get(t, "/v2/cycle").body
		play()
		if got := b.get(t, "/v2/cycle"); got.body != want[:50] || got.header.Get("Content-Length") != "50" {
			t.Errorf("%v %s", got.header, got.body)
		}
	},
	"cut":    breaks(0, 200, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }),
	"reset":  breaks(0, 0, func(err error) bool { return err != nil && !errors.Is(err, context.DeadlineExceeded) }),
	"goaway": goesAway,
	"invalid-utf8": func(t *testing.T, b *bench, play func()) {
		want := b.get(t, "/v2/cycle").body
		play()
		if got := b.get(t, "/v2/cycle"); got.status != 200 || utf8.ValidString(got.body) || len(got.body) != len(want) {
			t.Errorf("%d %q", got.status, got.body)
		}
	},
	"html-200": func(t *testing.T, b *bench, play func()) {
		play()
		if got := b.get(t, "/v2/cycle"); got.status != 200 || got.header.Get("Content-Type") != "text/html" || !strings.HasPrefix(got.body, "<html>") {
			t.Errorf("%d %v %s", got.status, got.header, got.body)
		}
	},
	"empty-200": func(t *testing.T, b *bench, play func()) {
		play()
		if got := b.get(t, "/v2/cycle"); got.status != 200 || got.body != "" {
			t.Errorf("%d %s", got.status, got.body)
		}
	},
	"no-date": func(t *testing.T, b *bench, play func()) {
		before := b.get(t, "/v2/cycle").header.Get("Date")
		play()
		if got := b.get(t, "/v2/cycle"); before == "" || got.header.Values("Date") != nil {
			t.Errorf("%s, then %v", before, got.header)
		}
	},
	"default-agents-blocked": func(t *testing.T, b *bench, play func()) {
		play()
		for agent, want := range map[string]int{"": 403, "Go-http-client/1.1": 403, "python-requests/2.32": 403, "whoop-source/1.0": 200} {
			r, err := http.NewRequestWithContext(t.Context(), "GET", b.url+profilePath, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("User-Agent", agent)
			r.Header.Set("Authorization", "Bearer "+b.tokens.AccessToken)
			if got := b.send(t, r); got.status != want || (want == 403) != strings.Contains(got.body, "Cloudflare") {
				t.Errorf("%q: %d %s", agent, got.status, got.body)
			}
		}
	},
	"gzip": func(t *testing.T, b *bench, play func()) {
		want := b.get(t, "/v2/cycle").body
		play()
		if got := b.get(t, "/v2/cycle").body; got != want { // net/http unpacks what it asked for itself
			t.Errorf("unpacked: %s", got)
		}
		r, err := http.NewRequestWithContext(t.Context(), "GET", b.url+"/developer/v2/cycle", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+b.tokens.AccessToken)
		r.Header.Set("Accept-Encoding", "gzip")
		got := b.send(t, r)
		z, err := gzip.NewReader(strings.NewReader(got.body))
		if err != nil || got.header.Get("Content-Encoding") != "gzip" {
			t.Fatalf("%v: %v", got.header, err)
		}
		if text, err := io.ReadAll(z); err != nil || string(text) != want {
			t.Errorf("%v: %s", err, text)
		}
		r.Header.Set("Accept-Encoding", "identity")
		if got := b.send(t, r); got.body != want {
			t.Errorf("for a client that does not unpack: %q", got.body)
		}
	},
	"errors-empty": errorLooks("", ""),
	"errors-text":  errorLooks("text/plain;charset=UTF-8", "Not Found"),
	"errors-json":  errorLooks("application/json", `{"code":404,"message":"Not Found"}`),
	"errors-html":  errorLooks("text/html", "<html><body><h1>Not Found</h1></body></html>"),
}

// goesAway shows over HTTP/2 that the answer comes whole and that the next
// request needs another connection.
func goesAway(t *testing.T, b *bench, play func()) {
	server := httptest.NewUnstartedServer(b.Server)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	reused := func() (again bool) {
		trace := &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) { again = got.Reused }}
		r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", server.URL+profilePath, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+b.tokens.AccessToken)
		answer, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil || answer.Proto != "HTTP/2.0" || !bytes.Contains(body, []byte(`"user_id"`)) {
			t.Errorf("%s %v: %s", answer.Proto, err, body)
		}
		return again
	}
	if reused() || !reused() {
		t.Error("a connection is not used again anyway")
	}
	play()
	reused()
	for reused() { // until the frame has arrived; a connection that lives on ends the test by its timeout
		time.Sleep(time.Millisecond)
	}
	if !reused() {
		t.Error("the new connection is not used again")
	}
}
