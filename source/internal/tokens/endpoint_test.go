package tokens

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/internal/redact"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/whoop"
)

const pair = `{"access_token":"access-1","refresh_token":"refresh-1","expires_in":3600}`

// answering writes one answer.
func answering(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		w.Write([]byte(body)) //nolint:errcheck // a test
	}
}

// The old refresh token is spent by then, so nothing that is odd about a new pair may keep it from being stored.
func TestAPairIsTakenWhateverIsOddAboutIt(t *testing.T) {
	beside := func(members string) http.HandlerFunc {
		return answering(200, `{`+members+`,"access_token":"access-1","refresh_token":"refresh-1"}`)
	}
	const hour = time.Hour
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		life   time.Duration // of the access token; 0: not known
	}{
		"as it should be":        {answering(200, pair), hour},
		"another success":        {answering(201, pair), hour},
		"expiry as text":         {beside(`"expires_in":"3600"`), hour},
		"expiry with a fraction": {beside(`"expires_in":3600.5`), hour},
		"no expiry":              {beside(`"token_type":"bearer"`), 0},
		"expiry of null":         {beside(`"expires_in":null`), 0},
		"expiry of zero":         {beside(`"expires_in":0`), 0},
		"negative expiry":        {beside(`"expires_in":-3600`), 0},
		"huge expiry":            {beside(`"expires_in":1e18`), 0},
		"expiry beyond numbers":  {beside(`"expires_in":1e999`), 0},
		"expiry of a word":       {beside(`"expires_in":"soon"`), 0},
		"expiry of an object":    {beside(`"expires_in":{"seconds":3600}`), 0},
		"type in capitals":       {beside(`"expires_in":3600,"token_type":"BEARER"`), hour},
		"type of a number":       {beside(`"expires_in":3600,"token_type":7`), hour},
		"scopes in a list":       {beside(`"expires_in":3600,"scope":["offline"]`), hour},
		"an error beside it":     {beside(`"expires_in":3600,"error":"invalid_grant"`), hour},
		"an empty error":         {beside(`"expires_in":3600,"error":""`), hour},
		"a byte-order mark":      {answering(200, "\ufeff"+pair), hour},
		"called HTML": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			answering(200, pair)(w, r)
		}, hour},
		"more behind it":      {answering(200, pair+"<!-- served by 7 -->"), hour},
		"cut behind the pair": {answering(200, strings.SplitAfter(pair, "refresh-1\"")[0]), 0},
		"cut in the expiry":   {answering(200, pair[:len(pair)-2]), hour / 10}, // too early does no harm
		"longer than is read": {answering(200, pair[:len(pair)-1]+`,"more":"`+strings.Repeat("x", 2*largestAnswer)+`"}`), hour},
		"shorter than it says": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			answering(200, pair)(w, r)
		}, hour},
		"compressed":              {compressed(pair), hour},
		"without a refresh token": {answering(200, `{"access_token":"access-1","expires_in":3600}`), hour},
		"an empty refresh token":  {answering(200, `{"access_token":"access-1","expires_in":3600,"refresh_token":""}`), hour},
		"a refresh token of null": {answering(200, `{"access_token":"access-1","expires_in":3600,"refresh_token":null}`), hour},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(tt.answer)
			defer server.Close()
			var kept Credentials
			k := New(Config{Store: NewConfigStore(stored("0", time.Time{}), listening, func(c Credentials) error { kept = c; return nil }), TokenURL: server.URL, Log: slog.New(slog.DiscardHandler)})
			asked := time.Now()
			if got, err := k.TokenInsteadOf(t.Context(), "access-0", nowhere); err != nil || got != "access-1" {
				t.Fatalf("%s, %v", got, err)
			}
			refresh := "refresh-1"
			if strings.Contains(name, "refresh token") {
				refresh = "refresh-0" // which OAuth says stays good
			}
			if kept.AccessToken != "access-1" || kept.RefreshToken != refresh {
				t.Errorf("stored: %+v", kept)
			}
			switch expires := kept.ExpiresAt; {
			case tt.life == 0 && !expires.IsZero():
				t.Errorf("it expires at %v, which nobody has said", expires)
			case tt.life != 0 && (expires.Before(asked.Add(tt.life-2*time.Second)) || expires.After(time.Now().Add(tt.life))):
				t.Errorf("it expires at %v", expires)
			}
		})
	}
}

func compressed(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.WriteHeader(http.StatusNotAcceptable)
			return
		}
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write([]byte(body)) //nolint:errcheck // into memory
		z.Close()
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
		w.Write(b.Bytes()) //nolint:errcheck // a test
	}
}

// What is no pair leaves the stored one as it is, is asked again where that can help, and is told without what may be secret in it.
func TestAnswersWithoutAPair(t *testing.T) {
	kind := func(err error) string {
		var revoked *RevokedError
		var client *ClientError
		switch {
		case errors.As(err, &revoked):
			return "revoked"
		case errors.As(err, &client):
			return "client"
		}
		return "other"
	}
	long := strings.Repeat("x", longestReason-len("refresh-open"))
	html := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=opensesame")
			answering(status, "<html>opensesame</html>")(w, r)
		}
	}
	for name, tt := range map[string]struct {
		answer   http.HandlerFunc
		requests int
		kind     string
		want     string // in the error
	}{
		"spent":                      {answering(400, `{"error":"invalid_grant","error_description":"it is spent"}`), 1, "revoked", "it is spent"},
		"spent, with status 200":     {answering(200, `{"error":"invalid_grant"}`), 1, "revoked", "invalid_grant"},
		"spent, with status 401":     {answering(401, `{"error":"invalid_grant"}`), 1, "revoked", "invalid_grant"},
		"inactive":                   {answering(401, `{"error":"token_inactive","error_description":"Token is inactive because it is malformed, expired or otherwise invalid."}`), 1, "revoked", "token_inactive"},
		"inactive, with status 400":  {answering(400, `{"error":"token_inactive"}`), 1, "revoked", "token_inactive"},
		"expired":                    {answering(400, `{"error":"token_expired"}`), 1, "revoked", "token_expired"},
		"withdrawn":                  {answering(403, `{"error":"access_denied"}`), 1, "revoked", "access_denied"},
		"another scope":              {answering(400, `{"error":"invalid_scope"}`), 1, "revoked", "invalid_scope"},
		"not now":                    {answering(400, `{"error":"temporarily_unavailable"}`), 1, "other", "temporarily_unavailable"},
		"out of order":               {answering(400, `{"error":"server_error"}`), 1, "other", "server_error"},
		"inactive, with status 500":  {answering(500, `{"error":"token_inactive"}`), attempts, "other", "token_inactive"},
		"a gateway's status":         {answering(401, `{"status":401,"error":"Unauthorized"}`), 1, "other", "Unauthorized"},
		"wrong secret":               {answering(401, `{"error":"invalid_client","hint":"opensesame"}`), 1, "client", "invalid_client"},
		"wrong secret, status 200":   {answering(200, `{"error":"unauthorized_client"}`), 1, "client", "unauthorized_client"},
		"another error":              {answering(400, `{"error":"invalid_request"}`), 1, "revoked", "invalid_request"},
		"an error that is no text":   {answering(400, `{"error":{"code":1}}`), 1, "other", "400 Bad Request"},
		"a secret in a long reason":  {answering(400, `{"error":"invalid_grant","error_description":"`+long+`refresh-opensesame"}`), 1, "revoked", "****"},
		"a secret behind a long one": {answering(400, `{"error":"`+strings.Repeat("odd ", 50_000)+`","access_token":"opensesame"}`), 1, "other", "odd"},
		"400 without JSON":           {answering(400, `opensesame`), 1, "other", "400 Bad Request"},
		"a pair with status 400":     {answering(400, `{"access_token":"opensesame","refresh_token":"opensesame"}`), 1, "other", "400 Bad Request"},
		"403 of what stands before":  {html(403), 1, "other", "403 Forbidden, text/html"},
		"404":                        {html(404), 1, "other", "404 Not Found"},
		"a redirect":                 {http.RedirectHandler("http://whoop.invalid/opensesame", http.StatusFound).ServeHTTP, 1, "other", "302 Found\" \"redirects are not followed"},
		"429":                        {answering(429, ``), 2, "other", "the request quota is used up until"},
		"500":                        {answering(500, strings.Repeat("opensesame", 100_000)), attempts, "other", "500 Internal Server Error"},
		"503 in HTML":                {html(503), attempts, "other", "503 Service Unavailable, text/html"},
		"HTML":                       {html(200), attempts, "other", "(200 OK, text/html) cannot be read: it is not a JSON object"},
		"an empty body":              {answering(200, ``), attempts, "other", "(200 OK) cannot be read: it is empty"},
		"no content":                 {answering(204, ``), attempts, "other", "(204 No Content) cannot be read: it is empty"},
		"an empty object":            {answering(200, `{}`), attempts, "other", "has no access_token"},
		"null":                       {answering(200, `null`), attempts, "other", "it is not a JSON object"},
		"a list":                     {answering(200, `[`+pair+`]`), attempts, "other", "it is not a JSON object"},
		"text":                       {answering(200, `"opensesame"`), attempts, "other", "it is not a JSON object"},
		"a token that is no text":    {answering(200, `{"access_token":42}`), attempts, "other", "has no access_token"},
		"cut in the pair":            {answering(200, `{"access_token":"opensesame-1","refresh_token":"opens`), attempts, "other", "it is broken JSON"},
		"broken JSON":                {answering(200, `{"access_token":opensesame}`), attempts, "other", "it is broken JSON"},
		"too long":                   {answering(200, `{"more":"`+strings.Repeat("opensesame", largestAnswer/8)), attempts, "other", "it is broken JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := stored("opensesame", time.Time{})
				var secrets redact.Redactor
				secrets.Add(c.Secrets()...)
				requests := 0
				k := New(Config{
					Store:    NewConfigStore(c, listening, func(c Credentials) error { t.Errorf("stored: %+v", c); return nil }),
					TokenURL: "http://whoop.invalid/token", Excerpt: secrets.Excerpt,
					HTTP: roundTrip(func(r *http.Request) (*http.Response, error) {
						requests++
						w := httptest.NewRecorder()
						tt.answer(w, r)
						return w.Result(), nil
					}),
				})
				_, err := k.TokenInsteadOf(t.Context(), c.AccessToken, nowhere)
				switch {
				case err == nil, kind(err) != tt.kind, requests != tt.requests, !strings.Contains(err.Error(), tt.want):
					t.Errorf("%v, after %d requests", err, requests)
				case strings.Contains(err.Error(), "opens"), len(err.Error()) > 3*longestReason:
					t.Errorf("it is not for everybody to read: %v", err)
				}
				before := requests
				if _, err := k.TokenInsteadOf(t.Context(), c.AccessToken, nowhere); kind(err) == "revoked" && requests != before {
					t.Error("a token known to be spent was sent again")
				}
			})
		})
	}
}

func TestAnEndpointThatRecoversGivesAPair(t *testing.T) {
	for name, failing := range map[string]http.HandlerFunc{
		"500": answering(500, ``), "503": answering(503, `<html>`), "HTML": answering(200, `<html>`), "empty": answering(200, ``),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &authority{}
				requests := 0
				a.answer = func(w http.ResponseWriter) bool {
					requests++
					if requests < attempts {
						failing(w, nil)
					}
					return requests < attempts
				}
				k := keeper(NewConfigStore(a.credentials(), listening, func(Credentials) error { return nil }), a)
				if got, err := k.TokenInsteadOf(t.Context(), "access-0", nowhere); err != nil || got != "access-1" || a.replays != 0 {
					t.Errorf("%s, %v, %d replays", got, err, a.replays)
				}
			})
		})
	}
}

// limited answers 429 with a header.
func limited(name, value string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(name, value)
		w.WriteHeader(http.StatusTooManyRequests)
	}
}

// A 429 says how long to wait, and that the token was not used, so it is none of the attempts that may have used it.
func TestARefreshWaitsForQuota(t *testing.T) {
	closed := errors.New("broken pipe")
	type outcome struct {
		token    string
		requests int
		waits    int
		took     time.Duration // at least, and ten seconds more at most
	}
	for name, tt := range map[string]struct {
		answers []http.HandlerFunc // before the pair
		waiting error
		stop    time.Duration // after which the run is told to stop
		want    outcome
		err     func(error) bool
	}{
		"seconds":         {answers: []http.HandlerFunc{limited("Retry-After", "40")}, want: outcome{"access-1", 2, 1, 40 * time.Second}},
		"twice":           {answers: []http.HandlerFunc{limited("Retry-After", "40"), limited("Retry-After", "30")}, want: outcome{"access-1", 3, 2, 70 * time.Second}},
		"WHOOP's header":  {answers: []http.HandlerFunc{limited("X-RateLimit-Reset", "50")}, want: outcome{"access-1", 2, 1, 50 * time.Second}},
		"no header":       {answers: []http.HandlerFunc{answering(429, ``)}, want: outcome{"access-1", 2, 1, time.Minute}},
		"no time":         {answers: []http.HandlerFunc{limited("Retry-After", "0"), limited("Retry-After", "0"), limited("Retry-After", "0")}, want: outcome{"access-1", 4, 3, 7 * time.Second}},
		"before outages":  {answers: []http.HandlerFunc{limited("Retry-After", "9"), answering(503, ``), answering(503, ``), limited("Retry-After", "9"), answering(503, ``)}, want: outcome{"access-1", 6, 2, 25 * time.Second}},
		"the day's quota": {answers: []http.HandlerFunc{limited("X-RateLimit-Reset", "3600")}, want: outcome{"", 1, 0, 0}, err: func(err error) bool { return errors.As(err, new(*whoop.QuotaError)) }},
		"again and again": {
			answers: []http.HandlerFunc{limited("Retry-After", "40"), limited("Retry-After", "40"), limited("Retry-After", "40")}, want: outcome{"", 3, 2, 80 * time.Second},
			err: func(err error) bool { return errors.As(err, new(*whoop.QuotaError)) },
		},
		"nobody is told": {answers: []http.HandlerFunc{limited("Retry-After", "40")}, waiting: closed, want: outcome{"", 1, 1, 0}, err: func(err error) bool { return errors.Is(err, closed) }},
		"stopped in an outage": {
			answers: []http.HandlerFunc{answering(503, ``), answering(503, ``)}, stop: 500 * time.Millisecond, want: outcome{"", 1, 0, 0},
			err: func(err error) bool { return errors.Is(err, context.Canceled) },
		},
		"stopped": {
			answers: []http.HandlerFunc{limited("Retry-After", "40")}, stop: 5 * time.Second, want: outcome{"", 1, 1, 5 * time.Second},
			err: func(err error) bool { return errors.Is(err, context.Canceled) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &authority{}
				var got outcome
				a.answer = func(w http.ResponseWriter) bool {
					got.requests++
					if got.requests > len(tt.answers) {
						return false
					}
					tt.answers[got.requests-1](w, nil)
					return true
				}
				k := New(Config{
					Store: NewConfigStore(a.credentials(), listening, func(Credentials) error { return nil }), TokenURL: "http://whoop.invalid/token", HTTP: a, Log: slog.New(slog.DiscardHandler),
					Waiting: func(until time.Time) error {
						if got.waits++; until.Before(time.Now()) || until.After(time.Now().Add(longestWait)) {
							t.Errorf("it waits until %v", until)
						}
						return tt.waiting
					},
				})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.stop > 0 {
					time.AfterFunc(tt.stop, cancel)
				}
				began := time.Now()
				var err error
				got.token, err = k.TokenInsteadOf(ctx, "access-0", nowhere)
				took := time.Since(began)
				if got.took = tt.want.took; got != tt.want || took < tt.want.took || took > tt.want.took+10*time.Second || (err != nil) != (tt.err != nil) || err != nil && !tt.err(err) {
					t.Errorf("%+v, %v, after %v; want %+v", got, err, took, tt.want)
				}
				a.want(t, min(1, len(got.token)), 0)
			})
		})
	}
}

// An endpoint that does not rotate says so by leaving the refresh token out, or by giving it again.
func TestARefreshTokenThatStaysIsUsedAgain(t *testing.T) {
	for _, answer := range []string{`{"access_token":"access-%d"}`, `{"access_token":"access-%d","refresh_token":"refresh-0"}`} {
		synctest.Test(t, func(t *testing.T) {
			a := &authority{}
			requests := 0
			a.answer = func(w http.ResponseWriter) bool {
				requests++
				fmt.Fprintf(w, answer, requests)
				return true
			}
			k := keeper(NewConfigStore(a.credentials(), listening, func(Credentials) error { return nil }), a)
			for n := range 3 {
				if got, err := k.TokenInsteadOf(t.Context(), fmt.Sprintf("access-%d", n), nowhere); err != nil || got != fmt.Sprintf("access-%d", n+1) {
					t.Errorf("%s: %s, %v", answer, got, err)
				}
				time.Sleep(2 * justIssued)
			}
		})
	}
}

// A refresh token that comes alone is the only good one.
func TestARefreshTokenAloneIsKept(t *testing.T) {
	a := &authority{}
	path := filled(t, inFile, a.credentials()).Path
	a.answer = func(w http.ResponseWriter) bool {
		a.answer = nil
		a.generation++
		fmt.Fprintf(w, `{"refresh_token":%q,"expires_in":3600}`, a.name("refresh"))
		return true
	}
	k := keeper(NewFileStore(path), a)
	if got, err := k.TokenInsteadOf(t.Context(), "access-0", nowhere); !errors.Is(err, errNoAccessToken) {
		t.Errorf("%s, %v", got, err)
	}
	if c, err := NewFileStore(path).Load(t.Context()); err != nil || c.RefreshToken != "refresh-1" {
		t.Errorf("stored: %+v, %v", c, err)
	}
	for _, k := range []*Keeper{k, keeper(NewFileStore(path), a)} { // the next request of this process, and of another
		if got, err := k.Token(t.Context()); err != nil || got != "access-2" || a.replays != 0 {
			t.Errorf("%s, %v, %d replays", got, err, a.replays)
		}
	}
}

func TestRedirectsOfTheTokenEndpointAreNotFollowed(t *testing.T) {
	followed := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed = true }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.RedirectHandler(other.URL, status))
		e := Endpoint{URL: server.URL}
		_, refreshed := e.refresh(t.Context(), stored("0", time.Now()))
		_, exchanged := e.Exchange(t.Context(), stored("0", time.Now()), "code", "verifier", "http://127.0.0.1/back")
		if refreshed == nil || exchanged == nil || followed {
			t.Errorf("%d: followed %t, %v, %v", status, followed, refreshed, exchanged)
		}
		server.Close()
	}
}

// Whatever the refusal is called, it is the code that is no good any more.
func TestACodeThatIsRefused(t *testing.T) {
	for _, answer := range []http.HandlerFunc{answering(400, `{"error":"invalid_grant"}`), answering(401, `{"error":"token_inactive"}`)} {
		e := Endpoint{URL: "http://whoop.invalid", HTTP: roundTrip(func(r *http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			answer(w, r)
			return w.Result(), nil
		})}
		if _, err := e.Exchange(t.Context(), stored("0", time.Now()), "code", "verifier", "http://127.0.0.1/back"); !isRevoked(err) {
			t.Errorf("%v", err)
		}
	}
}

func TestACodeIsSentOnce(t *testing.T) {
	for _, answer := range []http.HandlerFunc{answering(500, ``), answering(200, `<html>`), answering(200, `{"refresh_token":"r"}`)} {
		requests := 0
		e := Endpoint{URL: "http://whoop.invalid", HTTP: roundTrip(func(r *http.Request) (*http.Response, error) {
			requests++
			w := httptest.NewRecorder()
			answer(w, r)
			return w.Result(), nil
		})}
		if got, err := e.Exchange(t.Context(), stored("0", time.Now()), "code", "verifier", "http://127.0.0.1/back"); err == nil || requests != 1 {
			t.Errorf("%+v, %v after %d requests", got, err, requests)
		}
	}
}

// A code that was not looked at is still good.
func TestACodeWaitsForQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests, waits := 0, 0
		e := Endpoint{
			URL: "http://whoop.invalid",
			HTTP: roundTrip(func(r *http.Request) (*http.Response, error) {
				requests++
				w := httptest.NewRecorder()
				if requests < 3 {
					w.Header().Set("Retry-After", "7")
					answering(429, ``)(w, r)
				} else {
					answering(200, `{"access_token":"a","refresh_token":"r"}`)(w, r)
				}
				return w.Result(), nil
			}),
			Waiting: func(time.Time) error { waits++; return nil },
		}
		begun := time.Now()
		got, err := e.Exchange(t.Context(), stored("0", begun), "code", "verifier", "http://127.0.0.1/back")
		if err != nil || got.RefreshToken != "r" || requests != 3 || waits != 2 || time.Since(begun) < 14*time.Second {
			t.Errorf("%+v, %v after %d requests and %v", got, err, requests, time.Since(begun))
		}
	})
}

func FuzzParseAnswer(f *testing.F) {
	f.Add([]byte(`{"access_token":"a","expires_in":"3600","refresh_token":null}`))
	f.Add([]byte(`{"error":"invalid_grant"}`))
	f.Add([]byte(`{"access_token":"a","refresh_token":"r","expires_in":36`))
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := parseAnswer(body)
		if a.ExpiresIn < 0 {
			t.Errorf("%s expires before it begins: %+v", body, a)
		}
		var whole map[string]json.RawMessage
		if json.Unmarshal(body, &whole) == nil && whole != nil && err != nil {
			t.Errorf("%s is an object: %v", body, err)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
