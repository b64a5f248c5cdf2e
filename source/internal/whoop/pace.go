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
	// longestWait is how long the client waits for quota: for a minute's window, but
	// not for a day's.
	longestWait = 5 * time.Minute
	// heartbeat is how often a wait is reported while it lasts.
	heartbeat = 2 * time.Minute
	// scarce is the number of remaining requests at which the client starts to spread
	// them over the rest of the window.
	scarce = 20
	// slowest is the rate, in requests per second, that refusals can lead to.
	slowest = 0.1
	// regain is how many answers bring the rate from nothing to the ceiling.
	// Where no header tells of a limit much below the ceiling, every climb back
	// to it ends with a refusal; this one takes longer than a minute's window.
	regain = 200
	// atOnce is how many requests may run at once.
	atOnce = 4
)

// A pacer decides when the next request may go. The rate starts at the ceiling,
// is halved by a 429 and rises slowly with each answer (additive increase,
// multiplicative decrease). The headers can slow it down further: they describe the
// window that is nearest to its limit, the minute's or the day's.
type pacer struct {
	ceiling float64                     // requests per second
	waiting func(until time.Time) error // called before waits for quota
	turn    chan struct{}               // held by the request that goes next
	places  chan struct{}               // one for each running request

	mu      sync.Mutex
	rate    float64
	next    time.Time     // no request before
	gap     time.Duration // between requests, as the headers ask
	spent   time.Time     // until then a window too long to wait for is full
	slowed  time.Time     // when the rate was halved last
	latency time.Duration // of an answer, averaged
}

func newPacer(ceiling float64, waiting func(time.Time) error) *pacer {
	return &pacer{ceiling: ceiling, rate: ceiling, waiting: waiting, turn: make(chan struct{}, 1), places: make(chan struct{}, atOnce)}
}

// wait returns when a request may go, or a QuotaError, or an error of waiting. The request must then be sent,
// and answered called. Waiting requests go one by one, each a step after the one before
// was really sent, so that two that wake late do not go together.
func (p *pacer) wait(ctx context.Context) (sent time.Time, err error) {
	for _, gate := range []chan struct{}{p.places, p.turn} {
		select {
		case gate <- struct{}{}:
		case <-ctx.Done():
			if gate == p.turn {
				<-p.places
			}
			return sent, ctx.Err()
		}
	}
	defer func() {
		<-p.turn
		if err != nil {
			<-p.places
		}
	}()
	for {
		now, at, step, err := p.leave()
		if err != nil || at.IsZero() {
			return now, err
		}
		if at.Sub(now) > max(step, time.Second) { // more than pace: a window is full
			if err := p.waiting(at); err != nil {
				return now, err
			}
		}
		if err := sleep(ctx, min(at.Sub(now), heartbeat)); err != nil {
			return now, err
		}
	}
}

// leave lets one request go, or returns when to ask again.
func (p *pacer) leave() (now, at time.Time, step time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now = time.Now()
	step = max(p.gap, time.Duration(float64(time.Second)/p.rate))
	switch {
	case now.Before(p.spent):
		return now, at, step, &QuotaError{p.spent}
	case now.Before(p.next):
		return now, p.next, step, nil
	}
	p.next = now.Add(step)
	return now, at, step, nil
}

// width is how many requests must run at once to use the whole rate: more than one
// only while an answer takes longer than the step to the next request.
func (p *pacer) width() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return min(atOnce, 1+int(p.latency.Seconds()*p.rate))
}

// answered updates the rate after a request; status is 0 if no answer came.
func (p *pacer) answered(sent time.Time, status int, h http.Header) {
	<-p.places
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.latency += (now.Sub(sent) - p.latency) / 4
	if status == 0 {
		return
	}
	remaining, haveRemaining := headerNumber(h, "X-RateLimit-Remaining")
	seconds, haveReset := headerNumber(h, "X-RateLimit-Reset")
	reset := time.Duration(seconds * float64(time.Second))
	remaining -= float64(len(p.places)) // those under way may not be counted yet
	p.gap = 0
	switch {
	case status == http.StatusTooManyRequests:
		if sent.After(p.slowed) { // else it went at the rate that has been halved
			p.rate, p.slowed = max(p.rate/2, min(slowest, p.ceiling)), now
		}
		p.hold(now, QuotaReset(h, now))
		return
	case haveRemaining && haveReset && remaining <= 0:
		p.hold(now, reset)
	case haveRemaining && haveReset && remaining <= scarce && reset <= longestWait:
		p.gap = time.Duration(float64(reset) / remaining)
	}
	p.rate = min(p.ceiling, p.rate+p.ceiling/regain)
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

// QuotaReset returns how long it is until there is quota again, as a 429 says.
func QuotaReset(h http.Header, now time.Time) time.Duration {
	if after, ok := retryAfter(h, now); ok {
		return after
	}
	if seconds, ok := headerNumber(h, "X-RateLimit-Reset"); ok {
		return time.Duration(seconds * float64(time.Second))
	}
	return now.Truncate(time.Minute).Add(time.Minute).Sub(now) // the minute has to turn
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
