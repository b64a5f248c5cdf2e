// Package progress shows people how a run goes.
package progress

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
	"github.com/ingest-connectors/whoop-iceberg/internal/redact"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
)

// Progress tells a person on standard error how a run goes: what has happened as lines
// that stay, and in between what is under way. It is shown at a terminal, and elsewhere
// if --progress asks for it. A nil *Progress shows nothing.
//
// What is under way is one line that changes, if this program has the terminal for
// itself. In a pipe such as `source read | destination write` both programs write to one
// terminal, and neither knows where the other has left the cursor. There they write
// whole lines, and few.
type Progress struct {
	screen  *terminal.Screen
	program string
	clean   *redact.Redactor
	every   time.Duration // between two lines of what is under way

	records atomic.Int64

	mu        sync.Mutex
	began     time.Time
	counts    []count // of all but records
	doing     string
	reason    string    // to wait
	until     time.Time // for which to wait
	samples   []sample  // of the last seconds, oldest first
	lastText  string    // the last line of what is under way, without times and rates
	lastShown time.Time

	ended   sync.Once
	stop    chan struct{}
	stopped <-chan error
}

type count struct {
	what  string // in the plural
	n, of int64  // of is 0 if nobody knows how many there will be
}

type sample struct {
	at      time.Time
	records int64
}

const (
	liveInterval     = 250 * time.Millisecond // of a line that changes
	terminalInterval = 5 * time.Second        // of lines that stay
	plainInterval    = 10 * time.Second       // where nobody may be looking
	repeatInterval   = time.Minute            // after which text is shown again that has not changed
	rateWindow       = 10 * time.Second
)

// New returns the progress of a run that begins now, and shows it until End.
func New(screen *terminal.Screen, program string, clean *redact.Redactor) *Progress {
	p := &Progress{screen: screen, program: program, clean: clean, began: time.Now(), every: plainInterval, stop: make(chan struct{})}
	p.samples = []sample{{at: p.began}}
	p.lastShown = p.began
	switch {
	case screen.Live():
		p.every = liveInterval
	case screen.IsTerminal():
		p.every = terminalInterval
	}
	p.stopped = goroutine.Start(func() error {
		tick := time.NewTicker(p.every)
		defer tick.Stop()
		for {
			select {
			case <-p.stop:
				return nil
			case <-tick.C:
				p.show()
			}
		}
	})
	return p
}

// Records adds to the number of records. It costs one atomic addition.
func (p *Progress) Records(n int64) {
	if p != nil {
		p.records.Add(n)
	}
}

// Add adds to the number of something else, such as "requests".
func (p *Progress) Add(what string, n int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count(what).n += n
}

// Expect says how many of something there will be.
func (p *Progress) Expect(what string, of int) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count(what).of = int64(of)
}

func (p *Progress) count(what string) *count {
	for i := range p.counts {
		if p.counts[i].what == what {
			return &p.counts[i]
		}
	}
	p.counts = append(p.counts, count{what: what})
	return &p.counts[len(p.counts)-1]
}

// Doing says what is under way, such as "reading sleep"; "" for nothing in particular.
func (p *Progress) Doing(what string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doing = what
}

// Waiting says, once, what the run waits for, and until when at the latest.
func (p *Progress) Waiting(reason string, until time.Time) {
	if p == nil {
		return
	}
	p.mu.Lock()
	known := p.reason == reason && until.Sub(p.until).Abs() < time.Second
	p.reason, p.until = reason, until
	text := p.wait(time.Now())
	p.mu.Unlock()
	if !known && !p.screen.Live() {
		p.Print("%s", text)
	}
}

// wait says what the run waits for; "" if it does not.
func (p *Progress) wait(now time.Time) string {
	if !now.Before(p.until) {
		return ""
	}
	return fmt.Sprintf("waiting for %s until %s", p.reason, p.until.Local().Format(time.TimeOnly))
}

// Print writes a line about what has happened.
func (p *Progress) Print(format string, args ...any) {
	if p == nil {
		return
	}
	text := terminal.OneLine(p.clean.Clean(fmt.Sprintf(format, args...)))
	fmt.Fprintf(p.screen, "%s %s\n", p.screen.Styled(p.program+":", terminal.Quiet), text)
}

// show writes what is under way, unless that has not changed since it was last shown.
func (p *Progress) show() {
	p.mu.Lock()
	now := time.Now()
	text, rate := p.underWay(now), p.rate(now)
	if !p.screen.Live() {
		if text == p.lastText && now.Sub(p.lastShown) < repeatInterval {
			p.mu.Unlock()
			return
		}
		p.lastText, p.lastShown = text, now
	}
	elapsed := now.Sub(p.began)
	p.mu.Unlock()
	if text == "" {
		return
	}
	line := clock(elapsed) + " " + text
	if rate > 0 {
		line = strings.Replace(line, " records", fmt.Sprintf(" records (%s/s)", terminal.Number(rate)), 1)
	}
	if p.screen.Live() {
		p.screen.Show(p.program + ": " + terminal.OneLine(p.clean.Clean(line)))
		return
	}
	p.Print("%s", line)
}

// underWay says what is under way, without times and rates.
func (p *Progress) underWay(now time.Time) string {
	parts := p.counted()
	if wait := p.wait(now); wait != "" {
		parts = append(parts, wait)
	} else if p.doing != "" {
		parts = append(parts, p.doing)
	}
	return strings.Join(parts, ", ")
}

func (p *Progress) counted() (parts []string) {
	if n := p.records.Load(); n > 0 {
		parts = append(parts, terminal.Counted(n, "records"))
	}
	for _, c := range p.counts {
		switch {
		case c.of > 0:
			parts = append(parts, fmt.Sprintf("%s of %s", terminal.Number(c.n), terminal.Counted(c.of, c.what)))
		case c.n > 0:
			parts = append(parts, terminal.Counted(c.n, c.what))
		}
	}
	return parts
}

// rate returns the records of a second in the last seconds.
func (p *Progress) rate(now time.Time) int64 {
	p.samples = append(p.samples, sample{now, p.records.Load()})
	for len(p.samples) > 2 && now.Sub(p.samples[1].at) >= rateWindow {
		p.samples = p.samples[1:]
	}
	first, last := p.samples[0], p.samples[len(p.samples)-1]
	seconds := last.at.Sub(first.at).Seconds()
	if seconds <= 0 {
		return 0
	}
	return int64(float64(last.records-first.records) / seconds)
}

// End erases the line that changes, before a result is printed. Only Print writes after it.
func (p *Progress) End() {
	if p == nil {
		return
	}
	p.ended.Do(func() {
		close(p.stop)
		if err := <-p.stopped; err != nil {
			panic(err) // it panicked, in its own goroutine
		}
		p.screen.Show("")
	})
}

// Finish says how a run ended.
func (p *Progress) Finish(ctx context.Context, err error) {
	if p == nil {
		return
	}
	p.End()
	how := "done in"
	switch {
	case ctx.Err() != nil && err != nil:
		how = "interrupted after"
	case err != nil:
		how = "failed after"
	}
	took := time.Since(p.began)
	text := clock(took)
	if took < 10*time.Second {
		text = fmt.Sprintf("%.1fs", took.Seconds())
	}
	p.mu.Lock()
	counted := strings.Join(p.counted(), ", ")
	p.mu.Unlock()
	if counted != "" {
		text += ": " + counted
	}
	p.Print("%s %s", how, text)
}

func clock(d time.Duration) string {
	s := int64(d / time.Second)
	if s < 3600 {
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}
