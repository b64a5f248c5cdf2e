package sandbox

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// spend makes a number of requests and returns the last answer.
func (b *bench) spend(t *testing.T, requests int) reply {
	t.Helper()
	var last reply
	for range requests {
		last = b.get(t, "/v2/user/profile/basic")
	}
	return last
}

func limitHeaders(r reply) []string {
	h := r.header
	return []string{h.Get("X-RateLimit-Limit"), h.Get("X-RateLimit-Remaining"), h.Get("X-RateLimit-Reset")}
}

func TestDocumentedLimits(t *testing.T) {
	wall := NewClock(noon)
	b := newBench(t, Config{RequestsPerMinute: 100, LimitClock: wall})
	got := limitHeaders(b.spend(t, 2))
	if diff := cmp.Diff([]string{"100, 100;window=60, 10000;window=86400", "98", "60"}, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	wall.Advance(57*time.Second + time.Millisecond)
	if got := limitHeaders(b.spend(t, 98)); got[1] != "0" || got[2] != "3" {
		t.Errorf("at the limit: %v", got)
	}
	refused := b.spend(t, 3)
	if refused.status != http.StatusTooManyRequests || refused.header.Get("Retry-After") != "" {
		t.Errorf("over the limit: %d %v", refused.status, refused.header)
	}
	if got := limitHeaders(refused); got[1] != "0" || got[2] != "3" {
		t.Errorf("over the limit: %v", got)
	}
	if got := b.Audit().RateLimited; got != 3 {
		t.Errorf("audit counts %d, want 3", got)
	}
	wall.Advance(3 * time.Second)
	if got := b.spend(t, 1); got.status != http.StatusOK || got.header.Get("X-RateLimit-Remaining") != "99" {
		t.Errorf("in the next minute: %d %v", got.status, got.header)
	}
}

func TestLimitsAreSharedByAllTokens(t *testing.T) {
	b := newBench(t, Config{RequestsPerMinute: 2, LimitClock: NewClock(noon)})
	b.spend(t, 2)
	b.tokens = b.Issue()
	if got := b.spend(t, 1); got.status != http.StatusTooManyRequests {
		t.Errorf("another token of the client: %d", got.status)
	}
}

func TestDayWindowSpeaksWhenItIsTheNearest(t *testing.T) {
	wall := NewClock(noon)
	b := newBench(t, Config{RequestsPerMinute: 5, RequestsPerDay: 6, LimitClock: wall})
	b.spend(t, 5)
	wall.Advance(time.Minute)
	got := limitHeaders(b.spend(t, 1))
	if diff := cmp.Diff([]string{"6, 5;window=60, 6;window=86400", "0", strconv.Itoa(86400 - 60)}, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	wall.Advance(time.Hour)
	if got := b.spend(t, 1); got.status != http.StatusTooManyRequests || got.header.Get("X-RateLimit-Reset") != strconv.Itoa(86400-3660) {
		t.Errorf("an hour later: %d %v", got.status, limitHeaders(got))
	}
	wall.Advance(23 * time.Hour)
	if got := b.spend(t, 1); got.status != http.StatusOK {
		t.Errorf("a day later: %d", got.status)
	}
}

func TestDeadTokensAndTheTokenEndpointAreNotCounted(t *testing.T) {
	b := newBench(t, Config{RequestsPerMinute: 1, LimitClock: NewClock(noon)})
	for range 3 {
		b.request(t, "GET", "/developer/v2/cycle", "dead.token")
		b.tokens = parse[Tokens](t, b.refresh(t, b.tokens.RefreshToken).body)
	}
	if got := b.spend(t, 1); got.status != http.StatusOK {
		t.Errorf("first counted request: %d", got.status)
	}
}

func TestNoLimitMeansNoHeaders(t *testing.T) {
	b := newBench(t, Config{RequestsPerMinute: -1, RequestsPerDay: -1})
	if got := b.spend(t, 150); got.status != http.StatusOK || got.header.Get("X-RateLimit-Limit") != "" {
		t.Errorf("unlimited: %d %v", got.status, limitHeaders(got))
	}
}
