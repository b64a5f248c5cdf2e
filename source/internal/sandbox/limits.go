package sandbox

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A limiter counts the requests of a client, that is of all its tokens together,
// against WHOOP's two limits. WHOOP does not say whether its windows are fixed or
// sliding; these are fixed and open with the first request. Refused requests do
// not count, and neither do those to the token endpoint.
type limiter struct {
	clock *Clock

	mu      sync.Mutex
	windows []*window
}

type window struct {
	limit  int
	length time.Duration
	used   int
	ends   time.Time
}

func newLimiter(cfg Config) *limiter {
	l := &limiter{clock: cfg.LimitClock}
	for _, w := range []window{
		{limit: cmp.Or(cfg.RequestsPerMinute, 100), length: time.Minute},
		{limit: cmp.Or(cfg.RequestsPerDay, 10_000), length: day},
	} {
		if w.limit > 0 {
			l.windows = append(l.windows, &w)
		}
	}
	return l
}

// take counts one request and sets the headers that tell how many are left. It
// reports whether the request may go on.
func (l *limiter) take(h http.Header) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.windows) == 0 {
		return true
	}
	now := l.clock.Now()
	allowed := true
	for _, w := range l.windows {
		if !now.Before(w.ends) {
			w.used, w.ends = 0, now.Add(w.length)
		}
		allowed = allowed && w.used < w.limit
	}
	if allowed {
		for _, w := range l.windows {
			w.used++
		}
	}
	// The headers speak of the window that the client is closest to filling.
	nearest := slices.MinFunc(l.windows, func(a, b *window) int {
		return cmp.Or(cmp.Compare(a.limit-a.used, b.limit-b.used), b.ends.Compare(a.ends))
	})
	policies := []string{strconv.Itoa(nearest.limit)}
	for _, w := range l.windows {
		policies = append(policies, fmt.Sprintf("%d;window=%d", w.limit, int(w.length.Seconds())))
	}
	reset := (nearest.ends.Sub(now) + time.Second - 1) / time.Second
	h.Set("X-RateLimit-Limit", strings.Join(policies, ", "))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(nearest.limit-nearest.used))
	h.Set("X-RateLimit-Reset", strconv.Itoa(int(reset)))
	return allowed
}
