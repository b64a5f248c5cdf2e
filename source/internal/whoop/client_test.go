package whoop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// inProcess is a transport that calls a handler and notes when.
type inProcess struct {
	handler http.HandlerFunc

	mu             sync.Mutex
	at             []time.Time
	underWay, most int
}

func (p *inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	p.mu.Lock()
	p.at = append(p.at, time.Now())
	p.underWay++
	p.most = max(p.most, p.underWay)
	p.mu.Unlock()
	w := httptest.NewRecorder()
	p.handler(w, req)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.underWay--
	return w.Result(), nil
}

// fixedTokens gives token and, once it is refused, next.
type fixedTokens struct {
	token, next string
	renewed     int
}

func (f *fixedTokens) Token(context.Context) (string, error) { return f.token, nil }
func (f *fixedTokens) TokenInsteadOf(context.Context, string, func(context.Context) (bool, error)) (string, error) {
	f.renewed++
	f.token = f.next
	return f.token, nil
}

func client(handler http.HandlerFunc, adjust func(*Config)) (*Client, *inProcess) {
	p := &inProcess{handler: handler}
	c := Config{
		Excerpt: func(text string, most int) string { return text[:min(len(text), most)] },
		URL:     "http://whoop.invalid", Tokens: &fixedTokens{"a", "a", 0}, RequestsPerSecond: 2,
		UserAgent: "test/1", HTTP: p, Log: slog.New(slog.DiscardHandler),
	}
	if adjust != nil {
		adjust(&c)
	}
	return New(c), p
}

func TestRequestsCarryTokenAndAgentAndBytesPassUntouched(t *testing.T) {
	const body = "{\"id\": 93845,\n \"strain\": 5.0, \"n\":1e2}"
	c, _ := client(func(w http.ResponseWriter, r *http.Request) {
		if got := r.URL.Path + " " + r.Header.Get("Authorization") + " " + r.Header.Get("User-Agent"); got != "/developer/v2/cycle/93845 Bearer a test/1" {
			t.Errorf("request %q", got)
		}
		fmt.Fprint(w, body)
	}, nil)
	got, err := c.Get(t.Context(), "/v2/cycle/93845")
	if err != nil || string(got) != body {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestStatusesBecomeErrors(t *testing.T) {
	for _, test := range []struct {
		status   int
		body     string
		requests int
		check    func(error) bool
	}{
		{404, "", 1, func(err error) bool { var s *StatusError; return errors.As(err, &s) && s.NotFound() }},
		{403, "no", 1, func(err error) bool { var s *StatusError; return errors.As(err, &s) && Refused(err) && s.Body == "no" }},
		{404, "<html>", 1, func(err error) bool { var s *StatusError; return errors.As(err, &s) && !s.NotFound() }},
		{403, "error code: 1010", attempts, unavailable},
		{408, "", attempts, unavailable},
		{401, "Authorization was not valid", 2, Refused},
		{400, "bad", 1, func(err error) bool { var s *StatusError; return errors.As(err, &s) && s.Status == 400 }},
		{204, "", attempts, unavailable},
		{206, `{"records":[]}`, attempts, func(err error) bool { return unavailable(err) && !strings.Contains(err.Error(), "records") }},
		{302, "", 1, func(err error) bool { return !unavailable(err) }},
		{500, "oops", attempts, unavailable},
		{520, "<html>", attempts, unavailable},
		{200, "", attempts, unavailable},
		{200, "<html>", attempts, unavailable},
		{200, `{"id":`, attempts, unavailable},
		{200, "null", attempts, unavailable},
		{200, "[]", attempts, unavailable},
		{200, ` "x"`, attempts, unavailable},
		{200, "{\"sport_name\":\"\xff\"}", attempts, unavailable},
		{429, "", refusals, unavailable},
	} {
		t.Run(fmt.Sprintf("%d %s", test.status, test.body), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := client(func(w http.ResponseWriter, _ *http.Request) {
					w.WriteHeader(test.status)
					fmt.Fprint(w, test.body)
				}, nil)
				_, err := c.Get(t.Context(), "/v2/x")
				if err == nil || !test.check(err) {
					t.Errorf("error %v", err)
				}
				if len(p.at) != test.requests {
					t.Errorf("%d requests, want %d", len(p.at), test.requests)
				}
			})
		})
	}
}

// An answer that cannot be read may hold a member's records. Errors go into logs, which
// others read: they say what is wrong and show nothing of it, but a page that is not WHOOP's.
func TestErrorsShowNothingOfAMember(t *testing.T) {
	for body, want := range map[string]string{
		`{"email":"ann@example.com"`:                "broken JSON, or was cut off",
		"{\"email\":\"ann@example.com\xff\"}":       "not in UTF-8",
		`[{"email":"ann@example.com"}]`:             "a list, not an object",
		`[{"email":"ann@example.com"`:               "broken JSON, or was cut off",
		`{"email":"ann@example.com","first":"Ann"}`: "it has no records, but email, first",
		`{"records":{"email":"ann@example.com"}}`:   "records is not a list",
		`{"records":["ann@example.com"]}`:           "one of its records is not an object",
		`<html>We will be back soon.</html>`:        "We will be back soon.",
	} {
		synctest.Test(t, func(t *testing.T) {
			c, _ := client(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }, nil)
			_, err := c.NewestBefore(t.Context(), "/v2/x", time.Now())
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "ann") {
				t.Errorf("%s: error %v, want %s", body, err, want)
			}
		})
	}
}

func unavailable(err error) bool {
	var u *UnavailableError
	return errors.As(err, &u)
}

// What stands in front of WHOOP refuses with a page for people; the next request
// may fare better.
func TestFrontDoorsRefusalIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		c, _ := client(func(w http.ResponseWriter, _ *http.Request) {
			if n++; n == 1 {
				w.Header().Set("Content-Type", "text/html; charset=UTF-8")
				w.WriteHeader(http.StatusForbidden)
				fmt.Fprint(w, "<html>Attention Required!</html>")
				return
			}
			fmt.Fprint(w, "{}")
		}, nil)
		if _, err := c.Get(t.Context(), "/v2/x"); err != nil || n != 2 {
			t.Errorf("%v after %d requests", err, n)
		}
	})
}

// A server that refuses every token it issues is not asked for ever.
func TestEndlessRefusalsEnd(t *testing.T) {
	tokens := &endlessTokens{}
	c, p := client(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		func(c *Config) { c.Tokens, c.RequestsPerSecond = tokens, 1e6 })
	_, err := c.Get(t.Context(), "/v2/x")
	if !Refused(err) || len(p.at) > renewals+1 {
		t.Errorf("error %v after %d requests", err, len(p.at))
	}
}

type endlessTokens struct{ n int }

func (e *endlessTokens) Token(context.Context) (string, error) { return "first", nil }
func (e *endlessTokens) TokenInsteadOf(context.Context, string, func(context.Context) (bool, error)) (string, error) {
	e.n++
	return strconv.Itoa(e.n), nil
}

func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	tokens := &fixedTokens{token: "old", next: "new"}
	c, p := client(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer new" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Write([]byte("{}")) //nolint:errcheck // a recorder
	}, func(c *Config) { c.Tokens, c.RequestsPerSecond = tokens, 1000 })
	if _, err := c.Get(t.Context(), "/v2/x"); err != nil {
		t.Error(err)
	}
	if tokens.renewed != 1 || len(p.at) != 2 {
		t.Errorf("%d renewals and %d requests, want 1 and 2", tokens.renewed, len(p.at))
	}
}

func TestRateNeverExceedsTheCeiling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		c, p := client(func(w http.ResponseWriter, _ *http.Request) {
			if n++; n%7 == 0 {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			if n == 30 {
				w.Header().Set("Retry-After", "3")
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			w.Write([]byte("{}")) //nolint:errcheck // a recorder
		}, nil)
		for range 200 {
			if _, err := c.Get(t.Context(), "/v2/x"); err != nil {
				t.Fatal(err)
			}
		}
		wantPace(t, p.at, 2)
	})
}

// limits is WHOOP's limiter with one window.
func limits(limit int, window time.Duration) http.HandlerFunc {
	var mu sync.Mutex
	var used int
	var ends time.Time
	return func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); !now.Before(ends) {
			used, ends = 0, now.Add(window)
		}
		refused := used >= limit
		if !refused {
			used++
		}
		w.Header().Set("X-RateLimit-Limit", fmt.Sprintf("%d, %d;window=%d", limit, limit, int(window.Seconds())))
		w.Header().Set("X-RateLimit-Remaining", strconv.Itoa(limit-used))
		w.Header().Set("X-RateLimit-Reset", strconv.Itoa(int(time.Until(ends).Seconds())+1))
		if refused {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		w.Write([]byte("{}")) //nolint:errcheck // a recorder
	}
}

func TestFullMinuteIsWaitedOutAndReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var waits []time.Time
		server := limits(100, time.Minute)
		refused := 0
		c, _ := client(func(w http.ResponseWriter, r *http.Request) {
			server(w, r)
			if w.(*httptest.ResponseRecorder).Code == http.StatusTooManyRequests {
				refused++
			}
		}, func(c *Config) {
			c.RequestsPerSecond = 50
			c.Waiting = func(until time.Time) error { waits = append(waits, until); return nil }
		})
		began := time.Now()
		for range 300 {
			if _, err := c.Get(t.Context(), "/v2/x"); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took > 3*time.Minute+10*time.Second {
			t.Errorf("300 requests of 100 a minute took %v", took)
		}
		if refused > 3 {
			t.Errorf("%d requests were refused", refused)
		}
		if len(waits) == 0 {
			t.Error("no wait was reported")
		}
	})
}

func TestSpentDayIsAnErrorThatSaysWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := client(limits(5, 24*time.Hour), nil)
		began := time.Now()
		var err error
		for range 6 {
			_, err = c.Get(t.Context(), "/v2/x")
		}
		var quota *QuotaError
		if !errors.As(err, &quota) {
			t.Fatalf("error %v", err)
		}
		if left := quota.Until.Sub(began); left < 23*time.Hour || left > 25*time.Hour {
			t.Errorf("continues in %v", left)
		}
		if len(p.at) != 5 {
			t.Errorf("%d requests; the sixth was known to be refused", len(p.at))
		}
	})
}

// tell lets a pacer learn from an answer to a request that went just now.
func tell(p *pacer, status int, h http.Header) {
	p.places <- struct{}{}
	p.answered(time.Now(), status, h)
}

func TestRateIsHalvedByRefusalsAndRegained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(2, func(time.Time) error { return nil })
		for range 3 {
			tell(p, http.StatusTooManyRequests, http.Header{})
			time.Sleep(time.Second)
		}
		if p.rate != 0.25 {
			t.Errorf("rate %v after three refusals of 2 a second, want 0.25", p.rate)
		}
		tell(p, http.StatusOK, http.Header{})
		if p.rate <= 0.25 || p.rate > 0.5 {
			t.Errorf("rate %v after one answer", p.rate)
		}
		for range regain {
			tell(p, http.StatusOK, http.Header{})
		}
		if p.rate != 2 {
			t.Errorf("rate %v in the end, want the ceiling", p.rate)
		}
	})
}

// The user's pace is never exceeded, least of all because WHOOP says no.
func TestRefusalsNeverRaiseTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, ceiling := range []float64{0.001, slowest / 2, slowest, 2 * slowest, 1000} {
			p := newPacer(ceiling, func(time.Time) error { return nil })
			for range 20 {
				before := p.rate
				time.Sleep(time.Second)
				if tell(p, http.StatusTooManyRequests, http.Header{}); p.rate > before || p.rate < min(slowest, ceiling) {
					t.Errorf("of %v a second: %v became %v", ceiling, before, p.rate)
				}
			}
		}
	})
}

// Four requests that went at one rate and are refused say one thing, not four.
func TestRefusalsOfOneRateHalveItOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(2, func(time.Time) error { return nil })
		sent := time.Now()
		time.Sleep(time.Second)
		for range atOnce {
			p.places <- struct{}{}
		}
		for range atOnce {
			p.answered(sent, http.StatusTooManyRequests, http.Header{})
		}
		if p.rate != 1 {
			t.Errorf("rate %v, want 1", p.rate)
		}
	})
}

func TestMalformedHeadersAreIgnored(t *testing.T) {
	for _, h := range []http.Header{
		{"X-Ratelimit-Remaining": {"x"}, "X-Ratelimit-Reset": {"3"}},
		{"X-Ratelimit-Remaining": {"-5"}, "X-Ratelimit-Reset": {"3"}},
		{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {"NaN"}},
		{"X-Ratelimit-Remaining": {"0"}},
	} {
		p := newPacer(2, func(time.Time) error { return nil })
		tell(p, http.StatusOK, h)
		if p.gap != 0 || !p.spent.IsZero() || !p.next.IsZero() {
			t.Errorf("%v led to gap %v, spent %v, next %v", h, p.gap, p.spent, p.next)
		}
	}
}

// answersTakingTime answers each request after a while.
func answersTakingTime(d time.Duration, answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer(w, r)
		time.Sleep(d)
	}
}

// Many at once, with answers that take their time, under WHOOP's limits of a
// minute and a day: never faster than the pace, never more than four under way,
// never refused.
func TestManyAtOnceKeepThePaceAndTheLimits(t *testing.T) {
	for name, latency := range map[string]time.Duration{"at once": 0, "slow": 1700 * time.Millisecond, "very slow": 20 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				minute := limits(100, time.Minute)
				var refused atomic.Int32
				c, p := client(answersTakingTime(latency, func(w http.ResponseWriter, r *http.Request) {
					minute(w, r)
					if w.(*httptest.ResponseRecorder).Code == http.StatusTooManyRequests {
						refused.Add(1)
					}
				}), nil)
				began := time.Now()
				var all sync.WaitGroup
				for range 20 {
					all.Go(func() {
						for range 15 {
							if _, err := c.Get(t.Context(), "/v2/x"); err != nil {
								t.Error(err)
							}
						}
					})
				}
				all.Wait()
				wantPace(t, p.at, 2)
				if n := refused.Load(); n > 3 {
					t.Errorf("%d requests were refused, want 3 at most", n)
				}
				if p.most > atOnce {
					t.Errorf("%d requests were under way at once", p.most)
				}
				if least := 300 * latency / atOnce; time.Since(began) > max(4*time.Minute, least+least/10) {
					t.Errorf("300 requests took %v", time.Since(began))
				}
				if wide := c.Width(); latency == 0 && wide != 1 || latency > time.Second && wide != atOnce {
					t.Errorf("width %d with answers after %v", wide, latency)
				}
			})
		})
	}
}

// wantPace checks that no two seconds see more than twice the rate.
func wantPace(t *testing.T, at []time.Time, perSecond int) {
	t.Helper()
	for i, first := range at {
		n := 0
		for _, other := range at[i:] {
			if other.Sub(first) < 2*time.Second {
				n++
			}
		}
		if n > 2*perSecond {
			t.Fatalf("%d requests in the 2 s from %v", n, first)
		}
	}
}

func TestLongWaitsAreReportedAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []time.Time
		c, _ := client(limits(1, 4*time.Minute+30*time.Second), func(c *Config) {
			c.Waiting = func(time.Time) error { told = append(told, time.Now()); return nil }
		})
		for range 2 {
			if _, err := c.Get(t.Context(), "/v2/x"); err != nil {
				t.Fatal(err)
			}
		}
		for i := range len(told) - 1 {
			if d := told[i+1].Sub(told[i]); d > heartbeat {
				t.Errorf("%v without a report", d)
			}
		}
		if len(told) < 3 {
			t.Errorf("%d reports of a wait of 4 minutes and a half", len(told))
		}
	})
}

func TestCancellationEndsAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := client(limits(1, time.Minute), nil)
		if _, err := c.Get(t.Context(), "/v2/x"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Get(ctx, "/v2/x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

func TestClockIsTheServers(t *testing.T) {
	date := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	c, _ := client(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", date.Format(http.TimeFormat))
		w.Write([]byte("{}")) //nolint:errcheck // a recorder
	}, nil)
	if _, known := c.Skew(); known {
		t.Error("the skew is known before any answer")
	}
	if _, err := c.Get(t.Context(), "/v2/x"); err != nil {
		t.Fatal(err)
	}
	if d := c.Now().Sub(date); d < 0 || d > time.Minute {
		t.Errorf("it is %v", c.Now())
	}
}

// collection serves records in pages, by the offset in the token, which needs
// escaping.
func collection(records []string, last string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		offset, err := strconv.Atoi(strings.TrimPrefix(q.Get("nextToken"), "+/="))
		if err != nil && q.Get("nextToken") != "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		limit, err := strconv.Atoi(q.Get("limit"))
		if err != nil || limit > 25 || q.Get("end") == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		rest := records[offset:]
		next := last
		if len(rest) > limit {
			rest = rest[:limit]
			next = fmt.Sprintf(`,"next_token":"+/=%d"`, offset+limit)
		}
		fmt.Fprintf(w, `{"records":[%s]%s}`, strings.Join(rest, ","), next)
	}
}

func TestPagesReadsAll(t *testing.T) {
	for _, n := range []int{0, 1, 25, 26, 50, 133} {
		for _, last := range []string{"", `,"next_token":null`, `,"next_token":""`} {
			var records []string
			for i := range n {
				records = append(records, fmt.Sprintf(`{"id": %d.0}`, i))
			}
			c, _ := client(collection(records, last), func(c *Config) { c.RequestsPerSecond = 1e6 })
			var got []string
			for page, err := range c.Pages(t.Context(), "/v2/cycle", time.Time{}, time.Now()) {
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range page.Records {
					got = append(got, string(r))
				}
			}
			if !slices.Equal(got, records) {
				t.Errorf("%d records, last page with %q: got %v", n, last, got)
			}
		}
	}
}

func TestPagesRepeatsTheWindowOnEveryPage(t *testing.T) {
	from, to := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 2, 1, 0, 0, 0, 5e6, time.UTC)
	requests := 0
	c, _ := client(func(w http.ResponseWriter, r *http.Request) {
		requests++
		q := r.URL.Query()
		q.Del("nextToken")
		if want := (url.Values{"limit": {"25"}, "start": {"2026-01-01T00:00:00.000Z"}, "end": {"2026-02-01T00:00:00.005Z"}}); q.Encode() != want.Encode() {
			t.Errorf("query %s", r.URL.RawQuery)
		}
		if requests < 3 {
			fmt.Fprintf(w, `{"records":[],"next_token":"t%d"}`, requests)
			return
		}
		w.Write([]byte(`{}`)) //nolint:errcheck // a recorder
	}, func(c *Config) { c.RequestsPerSecond = 1e6 })
	for _, err := range c.Pages(t.Context(), "/v2/cycle", from, to) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if requests != 3 {
		t.Errorf("%d requests; a page without records is not the last", requests)
	}
}

func TestPageTokensThatLeadNowhereAreTold(t *testing.T) {
	for name, second := range map[string]func(http.ResponseWriter){
		"the same again": func(w http.ResponseWriter) { fmt.Fprint(w, `{"records":[{"id":1}],"next_token":"a+/="}`) },
		"refused":        func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadRequest) },
	} {
		t.Run(name, func(t *testing.T) {
			c, p := client(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("nextToken") == "a+/=" {
					second(w)
					return
				}
				fmt.Fprint(w, `{"records":[{"id":1}],"next_token":"a+/="}`)
			}, func(c *Config) { c.RequestsPerSecond = 1e6 })
			var last error
			for _, err := range c.Pages(t.Context(), "/v2/cycle", time.Time{}, time.Now()) {
				last = err
			}
			var paging *PagingError
			if !errors.As(last, &paging) || len(p.at) != 2 {
				t.Errorf("error %v after %d requests", last, len(p.at))
			}
		})
	}
}

func TestWhatIsNoPageIsNotAnEmptyOne(t *testing.T) {
	for body, page := range map[string]bool{
		`{}`: true, `{"records":[]}`: true, `{"records":null,"next_token":null}`: true, `{"next_token":"x"}`: true,
		`{"message":"busy"}`: false, `{"records":{}}`: false, `{"records":[],"next_token":5}`: false,
		`{"records":[null]}`: false, `{"records":[{"id":1},7]}`: false, `{"records":[[]]}`: false,
	} {
		if _, _, err := (&Client{}).parsePage("/v2/cycle", []byte(body)); (err == nil) != page {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func FuzzParsePage(f *testing.F) {
	for _, seed := range []string{`{"records":[{"id":1}],"next_token":"x"}`, `{"records":null}`, `{"records":[],"next_token":""}`, `[]`, `{"records":{}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if !json.Valid(body) || !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
			return // get has let none pass
		}
		page, _, err := (&Client{}).parsePage("/v2/cycle", body)
		if err != nil && !unavailable(err) {
			t.Errorf("error %v", err)
		}
		for _, r := range page.Records {
			if !json.Valid(r) {
				t.Errorf("record %s out of %s", r, body)
			}
		}
	})
}

// Over a real connection: an answer that breaks off, and one that never comes.
func TestBrokenConnectionsAreTriedAgain(t *testing.T) {
	n := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close") // one that is kept would keep time from passing
		switch n++; n {
		case 1:
			w.Header().Set("Content-Length", "100")
			w.Write([]byte(`{"id":1}`)) //nolint:errcheck // the test tells
		case 2:
			panic(http.ErrAbortHandler)
		default:
			w.Write([]byte(`{"id":1}`)) //nolint:errcheck // the test tells
		}
	}))
	defer server.Close()
	synctest.Test(t, func(t *testing.T) {
		c := New(Config{URL: server.URL, Tokens: &fixedTokens{token: "a"}, RequestsPerSecond: 1000, Log: slog.New(slog.DiscardHandler)})
		if got, err := c.Get(t.Context(), "/v2/x"); err != nil || string(got) != `{"id":1}` || n != 3 {
			t.Errorf("got %s, %v after %d requests", got, err, n)
		}
	})
}

// Page tokens that go on for ever, each a new one, end in an error.
func TestPagesWithoutEnd(t *testing.T) {
	n := 0
	c := New(Config{URL: "https://whoop.invalid", Tokens: fixedToken{}, RequestsPerSecond: 1e9, HTTP: pageless(func() string { n++; return fmt.Sprint(n) })})
	to := time.Date(2026, 1, 15, 0, 0, 0, 0, time.UTC)
	var last error
	for _, err := range c.Pages(t.Context(), "/v2/cycle", to.AddDate(0, 0, -30), to) {
		last = err
	}
	var e *UnavailableError
	if !errors.As(last, &e) || !strings.Contains(last.Error(), "130 pages") {
		t.Errorf("after %d pages: %v", n, last)
	}
}

type fixedToken struct{}

func (fixedToken) Token(context.Context) (string, error) { return "a", nil }
func (fixedToken) TokenInsteadOf(context.Context, string, func(context.Context) (bool, error)) (string, error) {
	return "a", nil
}

type pageless func() string

func (p pageless) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"records":[],"next_token":"` + p() + `"}`))}, nil
}
