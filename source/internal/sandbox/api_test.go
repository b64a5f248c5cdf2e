package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member/membertest"
)

const (
	day     = 24 * time.Hour
	scored  = "SCORED"
	pending = "PENDING_SCORE"
)

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

var noon = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

const redirectURI = "http://127.0.0.1:9999/callback"

// A bench is a sandbox behind a connection and a client with a token.
type bench struct {
	*Server
	url    string
	dial   func(ctx context.Context, network, address string) (net.Conn, error) // nil: TCP
	clock  *Clock
	wall   *Clock // of the rate limits; nil: the machine's
	tokens Tokens
}

// newBench makes a bench whose connections are real.
func newBench(t *testing.T, cfg Config) *bench {
	t.Helper()
	b := newSandbox(cfg)
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

// newVirtualBench makes a bench for a test under virtual time: its connections
// are in memory, since no clock runs while somebody waits for a real one.
func newVirtualBench(t *testing.T, cfg Config) *bench {
	t.Helper()
	b := newSandbox(cfg)
	open, cancel := context.WithCancel(t.Context())
	l := pipeListener{make(chan net.Conn), open, cancel}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: b}}
	server.Start()
	t.Cleanup(server.Close)
	b.url, b.dial = server.URL, l.dial
	return b
}

// A pipeListener accepts connections in memory.
type pipeListener struct {
	conns chan net.Conn
	open  context.Context
	close func()
}

func (l pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.open.Done():
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.open.Done():
		return nil, net.ErrClosed
	}
}

func (l pipeListener) Close() error   { l.close(); return nil }
func (l pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func newSandbox(cfg Config) *bench {
	if cfg.Clock == nil {
		cfg.Clock = NewClock(noon)
	}
	if cfg.RequestsPerMinute == 0 {
		cfg.RequestsPerMinute, cfg.RequestsPerDay = -1, -1
	}
	cfg.ClientID, cfg.ClientSecret, cfg.RedirectURIs = "client", "secret", []string{redirectURI}
	s := New(cfg)
	return &bench{Server: s, clock: cfg.Clock, wall: cfg.LimitClock, tokens: s.Issue()}
}

// transport returns one that uses no connection twice.
func (b *bench) transport() *http.Transport {
	return &http.Transport{DisableKeepAlives: true, DialContext: b.dial}
}

type reply struct {
	status int
	header http.Header
	body   string
}

func (b *bench) request(t *testing.T, method, path, token string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, b.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return b.send(t, r)
}

func (b *bench) send(t *testing.T, r *http.Request) reply {
	t.Helper()
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if b.dial != nil {
		client.Transport = b.transport()
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{answer.StatusCode, answer.Header, string(body)}
}

// get asks the API with the bench's token.
func (b *bench) get(t *testing.T, path string) reply {
	t.Helper()
	return b.request(t, "GET", "/developer"+path, b.tokens.AccessToken)
}

type page struct {
	Records   []json.RawMessage `json:"records"`
	NextToken *string           `json:"next_token"`
}

func (b *bench) page(t *testing.T, path string, query url.Values) page {
	t.Helper()
	got := b.get(t, path+"?"+query.Encode())
	if got.status != http.StatusOK {
		t.Fatalf("GET %s?%s: %d %s", path, query.Encode(), got.status, got.body)
	}
	return parse[page](t, got.body)
}

// walk reads all pages of a query.
func (b *bench) walk(t *testing.T, path string, query url.Values) []json.RawMessage {
	t.Helper()
	var all []json.RawMessage
	for {
		p := b.page(t, path, query)
		all = append(all, p.Records...)
		if p.NextToken == nil {
			return all
		}
		query.Set("nextToken", *p.NextToken)
	}
}

func parse[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("parsing %s: %v", text, err)
	}
	return v
}

// texts makes records comparable: go-cmp would go through them byte by byte.
func texts(records map[string]json.RawMessage) map[string]string {
	all := map[string]string{}
	for key, record := range records {
		all[key] = string(record)
	}
	return all
}

func TestCollectionsShowExactlyWhatTheOracleKnows(t *testing.T) {
	b := newBench(t, Config{Seed: 7, Years: 1})
	for path, stream := range map[string]string{
		"/v2/cycle": "cycles", "/v2/recovery": "recovery", "/v2/activity/sleep": "sleep", "/v2/activity/workout": "workout",
	} {
		got := map[string]string{}
		for _, record := range b.walk(t, path, url.Values{"limit": {"25"}}) {
			got[parse[membertest.Item](t, string(record)).Key()] = string(record)
		}
		want := texts(b.Oracle().Records(stream, noon))
		if len(want) < 200 {
			t.Errorf("%s: only %d records in a year", stream, len(want))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-oracle +api):\n%s", path, diff)
		}
	}
}

func TestDrillDownsGiveTheRecordOfTheCollection(t *testing.T) {
	b := newBench(t, Config{Seed: 3, Years: 1})
	oracle := b.Oracle()
	for stream, path := range map[string]string{
		"cycle_by_id": "/v2/cycle/%s", "recovery_for_cycle": "/v2/cycle/%s/recovery",
		"sleep_by_id": "/v2/activity/sleep/%s", "workout_by_id": "/v2/activity/workout/%s",
	} {
		n := 0
		for key, want := range oracle.Records(stream, noon) {
			if got := b.get(t, fmt.Sprintf(path, key)); got.status != http.StatusOK || got.body != string(want) {
				t.Fatalf("%s %s: %d %s, want %s", stream, key, got.status, got.body, want)
			}
			if n++; n == 50 {
				break
			}
		}
	}
	found, missing := map[string]string{}, 0
	for key := range oracle.Records("cycles", noon) {
		sleep := b.get(t, "/v2/cycle/"+key+"/sleep")
		recovery := b.get(t, "/v2/cycle/"+key+"/recovery")
		switch sleep.status {
		case http.StatusOK:
			found[parse[membertest.Item](t, sleep.body).Key()] = sleep.body
		case http.StatusNotFound:
			if missing++; recovery.status != http.StatusNotFound {
				t.Errorf("cycle %s has a recovery (%d) and no sleep", key, recovery.status)
			}
		default:
			t.Fatalf("sleep of cycle %s: %d", key, sleep.status)
		}
	}
	if missing == 0 {
		t.Error("every cycle has a sleep; some should not")
	}
	if diff := cmp.Diff(texts(oracle.Records("sleep_for_cycle", noon)), found); diff != "" {
		t.Errorf("sleeps of cycles (-oracle +api):\n%s", diff)
	}
}

func TestSingleObjects(t *testing.T) {
	b := newBench(t, Config{Years: 1})
	for path, stream := range map[string]string{
		"/v2/user/profile/basic": "profile", "/v2/user/measurement/body": "body_measurement",
	} {
		got := b.get(t, path)
		for _, want := range b.Oracle().Records(stream, noon) {
			if got.status != http.StatusOK || got.body != string(want) {
				t.Errorf("%s: %d %s, want %s", path, got.status, got.body, want)
			}
		}
	}
}

func TestNewMemberHasNothingYet(t *testing.T) {
	b := newBench(t, Config{Clock: NewClock(noon.Truncate(day))})
	if got := b.get(t, "/v2/user/measurement/body"); got.status != http.StatusNotFound {
		t.Errorf("body measurement: %d %s", got.status, got.body)
	}
	if got := b.get(t, "/v2/cycle"); got.body != `{"records":[],"next_token":null}` {
		t.Errorf("cycles: %s", got.body)
	}
	b.clock.Advance(4 * day)
	if got := b.Oracle().Records("cycles", b.clock.Now()); len(got) < 1 {
		t.Error("no cycle after four days")
	}
}

func TestActivityMappingNeedsNoToken(t *testing.T) {
	b := newBench(t, Config{Seed: 1, Years: 2})
	mapped := 0
	for _, stream := range []string{"sleep", "workout"} {
		for key, record := range b.Oracle().Records(stream, noon) {
			v1 := parse[membertest.Item](t, string(record)).V1ID
			if v1 == 0 {
				continue // recorded after v1
			}
			mapped++
			if mapped%20 != 0 {
				continue
			}
			got := b.request(t, "GET", fmt.Sprintf("/developer/v1/activity-mapping/%d", v1), "")
			if want := fmt.Sprintf(`{"v2_activity_id":%q}`, key); got.body != want {
				t.Fatalf("mapping of %d: %d %s, want %s", v1, got.status, got.body, want)
			}
		}
	}
	if mapped == 0 {
		t.Fatal("no record has a v1 id")
	}
	if got := b.request(t, "GET", "/developer/v1/activity-mapping/12", ""); got.status != http.StatusNotFound {
		t.Errorf("unknown id: %d", got.status)
	}
}

func TestAnswersToBadRequests(t *testing.T) {
	b := newBench(t, Config{Years: 1})
	for _, test := range []struct {
		name, path, token string
		status            int
		body              string
	}{
		{"no token", "/v2/cycle", "", 401, "Authorization was not valid"},
		{"unknown token", "/v2/cycle", "a.b", 401, "Authorization was not valid"},
		{"unknown path comes before the token", "/v2/recovery/12", "", 404, "404 page not found\n"},
		{"path of the first version", "/v1/recovery", "", 404, "404 page not found\n"},
		{"path without developer", "/../v2/cycle", "", 404, "404 page not found\n"},
		{"unknown cycle", "/v2/cycle/1", b.tokens.AccessToken, 404, ""},
		{"unknown sleep", "/v2/activity/sleep/00000000-0000-4000-8000-000000000000", b.tokens.AccessToken, 404, ""},
		{"cycle id that is no number", "/v2/cycle/x", b.tokens.AccessToken, 400, "cycleId is malformed\n"},
		{"cycle id of a sleep that is no number", "/v2/cycle/x/sleep", b.tokens.AccessToken, 400, "cycleId is malformed\n"},
		{"sleep id that is no UUID", "/v2/activity/sleep/12", b.tokens.AccessToken, 400, "sleepId is malformed\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), "GET", b.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.URL.Path = strings.TrimPrefix("/developer"+test.path, "/developer/..")
			if test.token != "" {
				r.Header.Set("Authorization", "Bearer "+test.token)
			}
			if got := b.send(t, r); got.status != test.status || got.body != test.body {
				t.Errorf("got %d %q, want %d %q", got.status, got.body, test.status, test.body)
			}
		})
	}
}

func TestEveryEndpointAsksForItsScope(t *testing.T) {
	b := newBench(t, Config{Seed: 2, Years: 1})
	cycle := b.page(t, "/v2/cycle", url.Values{"end": {stamp(noon.Add(-5 * day))}}).Records[0]
	id := parse[membertest.Item](t, string(cycle)).Key()
	for path, scope := range map[string]string{
		"/v2/user/profile/basic":        "read:profile",
		"/v2/user/measurement/body":     "read:body_measurement",
		"/v2/cycle":                     "read:cycles",
		"/v2/cycle/" + id:               "read:cycles",
		"/v2/cycle/" + id + "/sleep":    "read:sleep",
		"/v2/cycle/" + id + "/recovery": "read:recovery",
		"/v2/recovery":                  "read:recovery",
		"/v2/activity/sleep":            "read:sleep",
		"/v2/activity/workout":          "read:workout",
	} {
		with := b.Issue(scope).AccessToken
		if got := b.request(t, "GET", "/developer"+path, with); got.status != http.StatusOK {
			t.Errorf("%s with %s: %d", path, scope, got.status)
		}
		var others []string
		for _, other := range scopes {
			if other != scope {
				others = append(others, other)
			}
		}
		without := b.Issue(others...).AccessToken
		if got := b.request(t, "GET", "/developer"+path, without); got.status != http.StatusUnauthorized {
			t.Errorf("%s without %s: %d", path, scope, got.status)
		}
	}
	if got := b.Audit().MissingScopes; got != 9 {
		t.Errorf("audit counts %d missing scopes, want 9", got)
	}
}

func TestMemberRevokesAccess(t *testing.T) {
	b := newBench(t, Config{})
	if got := b.request(t, "DELETE", "/developer/v2/user/access", b.tokens.AccessToken); got.status != http.StatusNoContent {
		t.Fatalf("revoking: %d", got.status)
	}
	if got := b.get(t, "/v2/user/profile/basic"); got.status != http.StatusUnauthorized {
		t.Errorf("request after it: %d", got.status)
	}
	if got := b.refresh(t, b.tokens.RefreshToken); got.status != http.StatusBadRequest {
		t.Errorf("refresh after it: %d", got.status)
	}
}

func TestManyClientsReadWhileTheClockMoves(t *testing.T) {
	b := newBench(t, Config{Years: 1, Profile: Profile{AccessTokenTTL: 1000 * hours}})
	for _, path := range []string{"/v2/cycle", "/v2/recovery", "/v2/activity/sleep", "/v2/activity/workout"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			for range 30 {
				if p := b.page(t, path, url.Values{"limit": {"25"}}); len(p.Records) != 25 {
					t.Errorf("%d records", len(p.Records))
				}
				b.clock.Advance(time.Hour)
			}
		})
	}
}
