package whoop

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// longestWait is how long a full window may be waited out. The window of a
	// minute passes; that of a day does not.
	longestWait = 5 * time.Minute
	// scarce is the number of requests left in a window from which on they are
	// spread over its rest.
	scarce = 20
	// slowest is the rate, in requests per second, that refusals can lead to.
	slowest = 0.1
)

// A pacer decides when the next request may go. The rate starts at the ceiling,
// is halved by every 429 and regained slowly by answers (additive increase,
// multiplicative decrease). What the headers say of the windows comes on top.
type pacer struct {
	ceiling float64               // requests per second
	waiting func(until time.Time) // told of waits for quota

	mu    sync.Mutex
	rate  float64
	next  time.Time     // no request before
	gap   time.Duration // between requests, as the headers ask
	spent time.Time     // until then a window too long to wait for is full
}

func newPacer(ceiling float64, waiting func(time.Time)) *pacer {
	return &pacer{ceiling: ceiling, rate: ceiling, waiting: waiting}
}

// wait returns when the next request may go, or a QuotaError.
func (p *pacer) wait(ctx context.Context) error {
	p.mu.Lock()
	now := time.Now()
	if now.Before(p.spent) {
		p.mu.Unlock()
		return &QuotaError{p.spent}
	}
	at := p.next
	if at.Before(now) {
		at = now
	}
	step := max(p.gap, time.Duration(float64(time.Second)/p.rate))
	p.next = at.Add(step)
	p.mu.Unlock()

	if d := at.Sub(now); d > max(step, time.Second) {
		p.waiting(at) // more than pace: a window is full
	}
	return sleep(ctx, at.Sub(now))
}

// answered learns from an answer.
func (p *pacer) answered(status int, h http.Header) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	remaining, haveRemaining := headerNumber(h, "X-RateLimit-Remaining")
	seconds, haveReset := headerNumber(h, "X-RateLimit-Reset")
	reset := time.Duration(seconds * float64(time.Second))
	p.gap = 0
	switch {
	case status == http.StatusTooManyRequests:
		p.rate = max(p.rate/2, slowest)
		if after, ok := retryAfter(h, now); ok {
			reset, haveReset = after, true
		}
		if !haveReset { // then the minute has to turn
			reset = now.Truncate(time.Minute).Add(time.Minute).Sub(now)
		}
		p.hold(now, reset)
		return
	case haveRemaining && haveReset && remaining <= 0:
		p.hold(now, reset)
	case haveRemaining && haveReset && remaining <= scarce && reset <= longestWait:
		p.gap = time.Duration(float64(reset) / remaining)
	}
	p.rate = min(p.ceiling, p.rate+p.ceiling/50)
}

// hold lets no request go for a while.
func (p *pacer) hold(now time.Time, d time.Duration) {
	if d > longestWait {
		p.spent = now.Add(d)
		return
	}
	// Others wait for the same instant.
	at := now.Add(d + rand.N(500*time.Millisecond))
	if at.After(p.next) {
		p.next = at
	}
}

func headerNumber(h http.Header, name string) (float64, bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(h.Get(name)), 64)
	return n, err == nil && n >= 0 && n < 1e9
}

// retryAfter reads a header that WHOOP does not document, in either form.
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	if n, ok := headerNumber(h, "Retry-After"); ok {
		return time.Duration(n * float64(time.Second)), true
	}
	if at, err := http.ParseTime(h.Get("Retry-After")); err == nil {
		return max(0, at.Sub(now)), true
	}
	return 0, false
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
