package sandbox

import (
	"sync"
	"time"
)

// A Clock says what time it is in the sandbox. It stands still until it is
// moved, or runs on with the machine's clock from where it was set. All
// methods may be called from any goroutine.
type Clock struct {
	mu      sync.Mutex
	base    time.Time
	set     time.Time // when base was true, on the machine's clock
	running bool
}

// NewClock returns a clock that stands at t.
func NewClock(t time.Time) *Clock {
	return &Clock{base: t.UTC()}
}

// NewRunningClock returns a clock that shows t now and runs on.
func NewRunningClock(t time.Time) *Clock {
	return &Clock{base: t.UTC(), set: time.Now(), running: true}
}

// Now returns the clock's time, in UTC.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now()
}

func (c *Clock) now() time.Time {
	if !c.running {
		return c.base
	}
	return c.base.Add(time.Since(c.set))
}

// Set moves the clock to t, which may lie in its past.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base, c.set = t.UTC(), time.Now()
}

// Advance moves the clock by d and returns its new time.
func (c *Clock) Advance(d time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base, c.set = c.now().Add(d), time.Now()
	return c.base
}
