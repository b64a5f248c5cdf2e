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

// A limiter counts the requests of an app, that is of all tokens of all its
// members together, against WHOOP's two limits. WHOOP does not say whether its
// windows are fixed or sliding; the profile does. Refused requests do not count.
type limiter struct {
	clock             *Clock
	perMinute, perDay int // where the profile does not say

	mu          sync.Mutex
	minute, day window
}

// A window holds the instants of the requests that count, oldest first.
type window struct {
	length time.Duration
	limit  int // negative: none
	taken  []time.Time
	opened time.Time // if it is fixed
}

func newLimiter(cfg Config) *limiter {
	return &limiter{
		clock:     cfg.LimitClock,
		perMinute: cmp.Or(cfg.RequestsPerMinute, 100),
		perDay:    cmp.Or(cfg.RequestsPerDay, 10_000),
		minute:    window{length: time.Minute},
		day:       window{length: 24 * time.Hour},
	}
}

// pass forgets the requests that no longer count.
func (w *window) pass(now time.Time, sliding bool) {
	if sliding {
		i := slices.IndexFunc(w.taken, func(t time.Time) bool { return now.Before(t.Add(w.length)) })
		if i < 0 {
			i = len(w.taken)
		}
		w.taken = slices.Delete(w.taken, 0, i)
		return
	}
	if !now.Before(w.opened.Add(w.length)) {
		w.taken, w.opened = w.taken[:0], now
	}
}

// ends is when the window has room again for what counts now.
func (w *window) ends(now time.Time, sliding bool) time.Time {
	if !sliding {
		return w.opened.Add(w.length)
	}
	if len(w.taken) == 0 {
		return now
	}
	return w.taken[0].Add(w.length)
}

func (w *window) left() int { return max(0, w.limit-len(w.taken)) }

// take counts one request and sets the headers that tell how many are left. It
// reports whether the request may go on.
func (l *limiter) take(h http.Header, p Profile) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.Now()
	l.minute.limit = cmp.Or(p.RequestsPerMinute, l.perMinute)
	l.day.limit = cmp.Or(p.RequestsPerDay, l.perDay)
	windows := slices.DeleteFunc([]*window{&l.minute, &l.day}, func(w *window) bool { return w.limit < 0 })
	if len(windows) == 0 {
		return true
	}
	allowed := true
	for _, w := range windows {
		w.pass(now, p.SlidingWindows)
		allowed = allowed && w.left() > 0
	}
	if allowed {
		for _, w := range windows {
			w.taken = append(w.taken, now)
		}
	}
	// The headers speak of the window that the client is closest to filling.
	nearest := slices.MinFunc(windows, func(a, b *window) int {
		return cmp.Or(cmp.Compare(a.left(), b.left()), b.ends(now, p.SlidingWindows).Compare(a.ends(now, p.SlidingWindows)))
	})
	reset := strconv.Itoa(int((nearest.ends(now, p.SlidingWindows).Sub(now) + time.Second - 1) / time.Second))
	if !allowed && p.RetryAfter {
		h.Set("Retry-After", reset)
	}
	switch p.RateHeaders {
	case RateHeadersSent:
		policies := []string{strconv.Itoa(nearest.limit)}
		for _, w := range windows {
			policies = append(policies, fmt.Sprintf("%d;window=%d", w.limit, int(w.length.Seconds())))
		}
		h.Set("X-RateLimit-Limit", strings.Join(policies, ", "))
		h.Set("X-RateLimit-Remaining", strconv.Itoa(nearest.left()))
		h.Set("X-RateLimit-Reset", reset)
	case RateHeadersMalformed:
		h.Set("X-RateLimit-Limit", "100;;window=sixty")
		h.Set("X-RateLimit-Remaining", "-")
		h.Set("X-RateLimit-Reset", "soon")
	}
	return allowed
}
