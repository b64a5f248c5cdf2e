package sandbox

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member/membertest"
)

// A demonstration shows over HTTP what a scenario does. It begins before the
// scenario does.
type demonstration func(t *testing.T, b *bench, play func())

func TestEveryScenarioDoesWhatItSays(t *testing.T) {
	t.Parallel()
	shown := map[string]demonstration{}
	for _, group := range []map[string]demonstration{
		consentDemonstrations, tokenDemonstrations, pageDemonstrations, pagingDemonstrations, recordDemonstrations, limitDemonstrations, wireDemonstrations, slowDemonstrations,
	} {
		maps.Copy(shown, group)
	}
	listed := parse[[]Scenario](t, newBench(t, Config{}).request(t, "GET", "/sandbox/scenarios", "").body)
	for _, s := range listed {
		show := shown[s.Name]
		delete(shown, s.Name)
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			if show == nil || s.About == "" {
				t.Fatal("is not described or not shown")
			}
			if slowDemonstrations[s.Name] != nil {
				synctest.Test(t, func(t *testing.T) { demonstrate(t, newVirtualBench, s, show) })
			} else {
				demonstrate(t, newBench, s, show)
			}
		})
	}
	for name := range shown {
		t.Errorf("there is no scenario %s to show", name)
	}
}

// demonstrate shows a scenario. What comes to pass in it leaves the past alone,
// and the API and the oracle tell the same.
func demonstrate(t *testing.T, newBench func(*testing.T, Config) *bench, s Scenario, show demonstration) {
	t.Helper()
	cfg := Config{Seed: 5, Clock: NewClock(noon.Add(-45 * day)), LimitClock: NewClock(noon)}
	if slices.Contains([]string{"old-record-edited", "no-legacy-ids", "missing-values-absent"}, s.Name) { // rare or long ago
		cfg.Years = 1
	}
	b := newBench(t, cfg)
	b.pass(noon.Sub(b.Now()))
	play := func() { b.play(t, fmt.Sprintf(`{"name":%q}`, s.Name)) }
	if len(s.Events) == 0 && s.Profile.Shape == (member.Shape{}) {
		show(t, b, play)
		return
	}
	past := noon.Add(-time.Millisecond)
	before := b.truth(past)
	show(t, b, play)
	if diff := cmp.Diff(before, b.truth(past)); diff != "" {
		t.Errorf("the past changed (-before +after):\n%s", diff)
	}
	b.play(t, `{}`)
	b.checkTruth(t)
}

func (b *bench) play(t *testing.T, scenario string) {
	t.Helper()
	if got := b.control(t, "/sandbox/scenario", scenario); got.status != http.StatusNoContent {
		t.Fatalf("playing %s: %d %s", scenario, got.status, got.body)
	}
}

// pass lets time pass and gets a token that lives.
func (b *bench) pass(d time.Duration) {
	b.clock.Advance(d)
	b.tokens = b.Issue()
}

var collectionPaths = map[string]string{
	"cycles": "/v2/cycle", "recovery": "/v2/recovery", "sleep": "/v2/activity/sleep", "workout": "/v2/activity/workout",
}

// truth is what the oracle says, by stream and key. The streams left out hold
// what others do.
func (b *bench) truth(at time.Time) map[string]string {
	all := map[string]string{}
	for _, stream := range []string{"profile", "body_measurement", "cycles", "recovery", "sleep", "workout", "sleep_for_cycle"} {
		for key, record := range b.Oracle().Records(stream, at) {
			all[stream+" "+key] = string(record)
		}
	}
	return all
}

// checkTruth compares what the API shows with what the oracle says.
func (b *bench) checkTruth(t *testing.T) {
	t.Helper()
	b.tokens = b.Issue()
	for stream, path := range collectionPaths {
		got := map[string]string{}
		for _, record := range b.walk(t, path, url.Values{"limit": {"25"}}) {
			got[parse[membertest.Item](t, string(record)).Key()] = string(record)
		}
		if diff := cmp.Diff(texts(b.Oracle().Records(stream, b.Now())), got); diff != "" {
			t.Errorf("%s (-oracle +api):\n%s", stream, diff)
		}
	}
}

func TestScenariosAreRefusedWholeOrExplained(t *testing.T) {
	b := newBench(t, Config{Years: 1})
	for scenario, reason := range map[string]string{
		`{"name":"nothing"}`:                                          `no scenario is called "nothing"`,
		`{"profile":{"last_token":"none"}}`:                           `last_token cannot be "none"`,
		`{"profile":{"lst_token":""}}`:                                `unknown field "lst_token"`,
		`{"profile":{"tick":"long"}}`:                                 `invalid duration "long"`,
		`{"faults":[{"action":"explode"}]}`:                           `fault 0: no action is called "explode"`,
		`{"faults":[{"dely":"1s"}]}`:                                  `unknown field "dely"`,
		`{"events":[{"do":"vanish"}]}`:                                `event 0: no event is called "vanish"`,
		`{"events":[{"do":"insert","stream":"cycles"}]}`:              `event 0: insert is not for stream "cycles"`,
		`{"events":[{"do":"revoke","stream":"sleep"}]}`:               `event 0: revoke is not for a stream`,
		`{"events":[{"do":"state","stream":"sleep"}]}`:                `event 0: state needs a state`,
		`{"events":[{"do":"revoke","member":1}]}`:                     `event 0: there is no member 1, only 1 of them`,
		`{"events":[{"do":"revoke","at":"2026-01-15T11:00:00Z"}]}`:    `event 0: 2026-01-15T11:00:00Z is in the past`,
		`{"events":[{"do":"delete","stream":"sleep","key":"x"}]}`:     `there is no record of sleep with key "x"`,
		`{"events":[{"do":"delete","stream":"sleep","age":"9000h"}]}`: `age 9000h0m0s to delete`,
		`{"events":[{"do":"insert","stream":"sleep","age":"9000h"}]}`: `no cycle yet`,
	} {
		if got := b.control(t, "/sandbox/scenario", scenario); got.status != http.StatusBadRequest || !strings.Contains(got.body, reason) {
			t.Errorf("%s: %d %s, want %s", scenario, got.status, got.body, reason)
		}
	}
	b.checkTruth(t)
}

func TestAScenarioOfOnesOwnIsPlayedOverTheServersProfile(t *testing.T) {
	b := newBench(t, Config{Years: 1, Profile: Profile{LastToken: LastTokenEmpty, WithheldScopes: []string{"offline"}}})
	b.play(t, `{
		"profile": {"limit_refused": true, "withheld_scopes": ["read:sleep"]},
		"faults": [{"path": "/developer/v2/user", "action": "replace", "status": 502}],
		"events": [{"at": "2026-01-15T13:00:00Z", "do": "insert", "stream": "workout", "age": "1h"}]
	}`)
	if got := b.statuses(t, profilePath, 2); got[0] != 502 || got[1] != 200 {
		t.Errorf("faults: %v", got)
	}
	if got := b.get(t, "/v2/cycle?limit=26").status; got != http.StatusBadRequest {
		t.Errorf("limit of 26: %d", got)
	}
	if got := b.get(t, "/v2/cycle?end=2001-01-01T00:00:00Z").body; got != `{"records":[],"next_token":""}` {
		t.Errorf("last page: %s", got)
	}
	before := len(b.Oracle().Records("workout", noon.Add(time.Hour-1)))
	if after := len(b.Oracle().Records("workout", noon.Add(time.Hour))); after != before+1 {
		t.Errorf("%d workouts became %d", before, after)
	}
	b.play(t, `{}`)
	if got, want := b.Profile(), (Profile{LastToken: LastTokenEmpty, WithheldScopes: []string{"offline"}}); !cmp.Equal(got, want) {
		t.Errorf("the server went back to %+v", got)
	}
}

// A soak of what Random draws: the API shows what the oracle says, and what it
// said of an instant it never takes back.
func TestRandomScenarios(t *testing.T) {
	t.Parallel()
	b := newBench(t, Config{Seed: 3, Years: 1})
	rng, twin := rand.New(rand.NewPCG(7, 7)), rand.New(rand.NewPCG(7, 7))
	seen := map[string]bool{}
	truths := map[time.Time]map[string]string{}
	for n := range 240 {
		s := Random(rng, 300*day)
		if other := Random(twin, 300*day); !cmp.Equal(s, other) {
			t.Fatalf("one seed drew %+v and %+v", s, other)
		}
		for _, f := range s.Faults {
			seen["fault "+string(f.Action)+" "+fmt.Sprint(f.Status)] = true
			if f.Path == tokenPath && f.Served || !strings.HasPrefix(f.Path, apiPath) && f.Path != tokenPath {
				t.Errorf("a fault that ends the connection: %+v", f)
			}
		}
		for _, e := range s.Events {
			seen["event "+string(e.Do)] = true
		}
		seen["profile "+string(encode(s.Profile))] = true
		if err := b.Play(s); err != nil {
			t.Fatal(err)
		}
		now := b.clock.Advance(90 * time.Minute)
		if n%80 == 79 {
			if err := b.Play(Scenario{}); err != nil {
				t.Fatal(err)
			}
			b.checkTruth(t)
			before := now.Add(-time.Millisecond) // what comes next may still be now
			truths[before] = b.truth(before)
		}
	}
	for at, want := range truths {
		if diff := cmp.Diff(want, b.truth(at)); diff != "" {
			t.Errorf("truth of %s (-then +now):\n%s", stamp(at), diff)
		}
	}
	for _, s := range Scenarios() {
		for _, f := range s.Faults {
			if what := "fault " + string(f.Action) + " " + fmt.Sprint(f.Status); !s.Ends && !seen[what] {
				t.Errorf("%s: never drawn: %s", s.Name, what)
			}
		}
		for _, e := range s.Events {
			if !s.Ends && !seen["event "+string(e.Do)] {
				t.Errorf("%s: never drawn: %s", s.Name, e.Do)
			}
		}
	}
	if len(seen) < 40 {
		t.Errorf("only %d different things were drawn", len(seen))
	}
}

func TestMembersOfAnAppAreApartButShareItsQuota(t *testing.T) {
	b := newBench(t, Config{Seed: 1, Years: 1, Members: 3, RequestsPerMinute: 30, LimitClock: NewClock(noon)})
	tokens := []Tokens{b.IssueFor(0), b.IssueFor(1), b.IssueFor(2)}
	for n, tok := range tokens {
		got := parse[page](t, b.request(t, "GET", "/developer/v2/cycle", tok.AccessToken).body)
		oracle := b.OracleOf(n).Records("cycles", noon)
		for _, record := range got.Records {
			if key := parse[membertest.Item](t, string(record)).Key(); string(oracle[key]) != string(record) {
				t.Errorf("member %d is shown %s", n, record)
			}
		}
		over := parse[map[string]json.RawMessage](t, b.request(t, "GET", fmt.Sprintf("/sandbox/oracle/cycles?member=%d", n), "").body)
		if diff := cmp.Diff(texts(oracle), texts(over)); diff != "" {
			t.Errorf("member %d (-oracle +http):\n%s", n, diff)
		}
	}
	if got := b.request(t, "GET", "/sandbox/oracle/cycles?member=3", "").status; got != http.StatusNotFound {
		t.Errorf("oracle of no member: %d", got)
	}
	before := b.truth(noon)
	if err := b.Schedule(member.Event{Member: 1, Do: member.Delete, Stream: "workout"}, member.Event{Member: 2, Do: member.Revoke}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, b.truth(noon)); diff != "" {
		t.Errorf("another member's event changed the first one:\n%s", diff)
	}
	if b.request(t, "DELETE", "/developer/v2/user/access", tokens[1].AccessToken).status != http.StatusNoContent {
		t.Error("the second member cannot revoke")
	}
	if !b.alive(t, tokens[0].AccessToken) || b.alive(t, tokens[1].AccessToken) || b.alive(t, tokens[2].AccessToken) {
		t.Error("only the first member's consent should stand")
	}
	for range 40 {
		b.request(t, "GET", profilePath, tokens[0].AccessToken)
	}
	if got := b.request(t, "GET", profilePath, b.IssueFor(2).AccessToken).status; got != http.StatusTooManyRequests {
		t.Errorf("the third member after the first one spent the quota: %d", got)
	}
}

func TestMemberIsChosenOnTheConsentPage(t *testing.T) {
	b := newBench(t, Config{Seed: 1, Years: 1, Members: 2})
	shown := b.request(t, "GET", "/oauth/oauth2/auth?"+authorization().Encode(), "").body
	if !strings.Contains(shown, `<label for="member">`) || strings.Count(shown, "<option") != 2 {
		t.Errorf("no members to choose from: %s", shown)
	}
	params := authorization()
	params.Set("member", "1")
	tokens := parse[Tokens](t, b.post(t, "/oauth/oauth2/token", exchange(b.code(t, params))).body)
	got := b.request(t, "GET", profilePath, tokens.AccessToken).body
	for _, want := range b.OracleOf(1).Records("profile", noon) {
		if got != string(want) {
			t.Errorf("the token is of %s, want %s", got, want)
		}
	}
	params.Set("decision", "authorize")
	params.Set("member", "2")
	if got := b.post(t, "/oauth/oauth2/auth", params).status; got != http.StatusBadRequest {
		t.Errorf("consent of no member: %d", got)
	}
}

func TestLargeIDsDoNotFitIntoAFloat(t *testing.T) {
	b := newBench(t, Config{Years: 1, LargeIDs: true})
	record := b.page(t, "/v2/cycle", nil).Records[1]
	c := parse[struct {
		ID     int64 `json:"id"`
		UserID int64 `json:"user_id"`
	}](t, string(record))
	if c.ID <= 1<<53 || c.UserID <= 1<<53 {
		t.Errorf("ids %d and %d", c.ID, c.UserID)
	}
	if got := b.get(t, fmt.Sprintf("/v2/cycle/%d", c.ID)); got.body != string(record) {
		t.Errorf("by id: %s, want %s", got.body, record)
	}
	b.play(t, `{"events":[{"do":"recreate","stream":"sleep","age":"48h"}]}`)
	b.checkTruth(t)
}
