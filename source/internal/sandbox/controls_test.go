package sandbox

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member"
)

func (b *bench) control(t *testing.T, path, body string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", b.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return b.send(t, r)
}

func TestClockIsMovedFromOutside(t *testing.T) {
	b := newBench(t, Config{})
	for _, move := range []struct{ body, want string }{
		{`{"advance":"24h"}`, `{"now":"2026-01-16T12:00:00Z"}`},
		{`{"advance":"-90m"}`, `{"now":"2026-01-16T10:30:00Z"}`},
		{`{"set":"2026-02-01T01:00:00+01:00"}`, `{"now":"2026-02-01T00:00:00Z"}`},
	} {
		if got := b.control(t, "/sandbox/clock", move.body); got.body != move.want {
			t.Errorf("%s: %d %s, want %s", move.body, got.status, got.body, move.want)
		}
	}
	if got := b.request(t, "GET", "/sandbox/clock", "").body; got != `{"now":"2026-02-01T00:00:00Z"}` {
		t.Errorf("now: %s", got)
	}
}

func TestMisspeltControlsAreRefused(t *testing.T) {
	b := newBench(t, Config{})
	for _, c := range []struct{ path, body string }{
		{"/sandbox/clock", `{"advanced":"24h"}`},
		{"/sandbox/clock", `{"advance":"a day"}`},
		{"/sandbox/clock", `{}`},
		{"/sandbox/clock", ``},
		{"/sandbox/faults", `[{"action":"explode"}]`},
		{"/sandbox/faults", `[{"statis":500}]`},
		{"/sandbox/faults", `[{"delay":"long"}]`},
		{"/sandbox/faults", `{}`},
	} {
		if got := b.control(t, c.path, c.body); got.status != http.StatusBadRequest || got.body == "" {
			t.Errorf("%s %s: %d %s", c.path, c.body, got.status, got.body)
		}
	}
	if now := b.clock.Now(); !now.Equal(noon) {
		t.Errorf("the clock moved to %s", now)
	}
}

func TestFaultsAreScriptedFromOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newVirtualBench(t, Config{})
		script := `[{"path":"/developer","action":"replace","status":503,"header":{"X-A":"b"},"body":"no","times":1,"delay":"20ms"}]`
		if got := b.control(t, "/sandbox/faults", script); got.status != http.StatusNoContent {
			t.Fatalf("scripting: %d %s", got.status, got.body)
		}
		before := time.Now()
		got, took := b.get(t, "/v2/cycle"), time.Since(before)
		if got.status != 503 || got.header.Get("X-A") != "b" || got.body != "no" || took != 20*time.Millisecond {
			t.Errorf("%+v after %v", got, took)
		}
	})
}

func TestRevokingFromOutside(t *testing.T) {
	b := newBench(t, Config{})
	if got := b.control(t, "/sandbox/revoke", ""); got.status != http.StatusNoContent {
		t.Fatalf("revoking: %d", got.status)
	}
	if b.alive(t, b.tokens.AccessToken) {
		t.Error("the token still works")
	}
	if !b.alive(t, b.Issue().AccessToken) {
		t.Error("a new consent does not work")
	}
}

func TestAuditCountsByRoute(t *testing.T) {
	b := newBench(t, Config{})
	b.get(t, "/v2/cycle/1")
	b.get(t, "/v2/cycle/2")
	b.get(t, "/v2/nothing")
	b.request(t, "GET", "/developer/v2/cycle", "x")
	b.refresh(t, b.tokens.RefreshToken)
	want := Audit{
		Requests: map[string]int{
			"GET /developer/v2/cycle/{cycleId}": 2, "GET /developer/v2/cycle": 1,
			"POST /oauth/oauth2/token": 1, "unknown": 1,
		},
		Refreshes: 1, UnknownTokens: 1,
	}
	got := parse[Audit](t, b.request(t, "GET", "/sandbox/audit", "").body)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
}

func TestOracleAnswersOverHTTP(t *testing.T) {
	t.Parallel()
	b := newBench(t, Config{Seed: 3, Clock: NewClock(noon.Add(-100 * day))})
	b.pass(100 * day)
	oracle := b.Oracle()
	before := noon.Add(-30 * day)
	for _, stream := range member.Streams {
		got := parse[map[string]json.RawMessage](t, b.request(t, "GET", "/sandbox/oracle/"+stream, "").body)
		if diff := cmp.Diff(texts(oracle.Records(stream, noon)), texts(got)); diff != "" {
			t.Errorf("%s (-oracle +http):\n%s", stream, diff)
		}
		past := b.request(t, "GET", "/sandbox/oracle/"+stream+"?at="+stamp(before), "")
		if diff := cmp.Diff(texts(oracle.Records(stream, before)), texts(parse[map[string]json.RawMessage](t, past.body))); diff != "" {
			t.Errorf("%s a month ago (-oracle +http):\n%s", stream, diff)
		}
		want := oracle.Changes(stream, before, noon)
		changes := parse[member.Changes](t, b.request(t, "GET", "/sandbox/oracle/"+stream+"?since="+stamp(before), "").body)
		if diff := cmp.Diff(texts(want.Upserted), texts(changes.Upserted)) + cmp.Diff(want.Deleted, changes.Deleted); diff != "" {
			t.Errorf("%s since then (-oracle +http):\n%s", stream, diff)
		}
	}
	for path, status := range map[string]int{"/sandbox/oracle/steps": 404, "/sandbox/oracle/sleep?at=now": 400} {
		if got := b.request(t, "GET", path, ""); got.status != status {
			t.Errorf("%s: %d, want %d", path, got.status, status)
		}
	}
}
