//go:build acceptance

package acceptance

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// ACCEPTANCE_KILLS is how many processes these tests kill at random, 40 unless set; ACCEPTANCE_SEED
// repeats the choices of an earlier run, as far as time allows.
func kills(t *testing.T, share float64) (int, *rand.Rand) {
	t.Helper()
	all, seed := 40, uint64(time.Now().UnixNano())
	var err error
	if text := os.Getenv("ACCEPTANCE_KILLS"); text != "" {
		if all, err = strconv.Atoi(text); err != nil {
			t.Fatalf("ACCEPTANCE_KILLS: %v", err)
		}
	}
	if text := os.Getenv("ACCEPTANCE_SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("ACCEPTANCE_SEED: %v", err)
		}
	}
	t.Logf("ACCEPTANCE_SEED=%d", seed)
	return max(1, int(float64(all)*share)), rand.New(rand.NewPCG(seed, 0))
}

// randomStop is anywhere in a feed: at a byte, some milliseconds after an echo, when the next commit
// is on its way, in the last commit, in maintenance, or at a time. Some of the stops are asked for.
func randomStop(random *rand.Rand) stop {
	milliseconds := func(most int64) time.Duration { return time.Duration(random.Int64N(most * int64(time.Millisecond))) }
	var s stop
	switch random.IntN(6) {
	case 0, 1:
		s = stop{bytes: 1 + random.Int64N(16<<20)}
	case 2:
		s = stop{echoes: 1 + random.IntN(60), delay: milliseconds(60)}
	case 3:
		s = stop{fed: true, delay: milliseconds(400)}
	case 4:
		s = stop{last: true, delay: milliseconds(400)}
	default:
		s = stop{after: milliseconds(3000)}
	}
	if random.IntN(5) == 0 {
		s.by = syscall.SIGTERM
	}
	return s
}

// smallCommits commits every 5000 rows of the five streams of the feed, into tables of all kinds.
var smallCommits = map[string]any{
	"commit": map[string]any{"max_rows": 1000},
	"streams": []any{
		map[string]any{"name": "log", "partition_by": []string{"bucket(3, id)"}},
		map[string]any{"name": "journal", "sort_by": []string{"version desc"}},
		map[string]any{"name": "members", "partition_by": []string{"bucket(2, id)"}, "sort_by": []string{"version"}},
	},
}

func TestKilledFeedResumedFromItsTablesHasEveryRowOnce(t *testing.T) {
	t.Parallel()
	killed(t, 0.4, true)
}

func TestKilledFeedResumedFromEchoesHasEveryRow(t *testing.T) {
	t.Parallel()
	killed(t, 0.3, false)
}

// killed ends the destination before its time again and again until the feed comes to its end, and
// starts again until that was done often enough.
func killed(t *testing.T, share float64, exact bool) {
	left, random := kills(t, share)
	for left > 0 {
		l := newLake(t, t.TempDir(), smallCommits)
		old, f := olderFeed, newerFeed
		if a := old.try(l, old.configure(l), nil, stop{}); a.run.Code != 0 {
			t.Fatalf("exit code %d: %s", a.run.Code, a.run.Stdout)
		}
		catalog := f.configure(l)
		p := newProgress(old, f, exact)
		from := map[string]int{}
		left -= f.stopped(l, catalog, random, from, func(a *attempt) {
			positions := l.positions(catalog)
			p.want(l, a.echoed, positions)
			if exact {
				clear(from)
				maps.Copy(from, positions)
			} else {
				maps.Copy(from, a.echoed)
			}
		})
		if t.Failed() {
			return
		}
		l.wantWhole(f, exact)
		if t.Failed() {
			return
		}
	}
}

// stopped has the feed written from some positions, and the destination stopped at random and started again until it
// comes to the end. After each stop next checks what is there, and sets the positions of the next start. It returns
// how often the destination was killed.
func (f feed) stopped(l *lake, catalog string, random *rand.Rand, from map[string]int, next func(*attempt)) (killed int) {
	l.t.Helper()
	over := false
	for round := 0; !l.t.Failed(); round++ {
		at := stop{}
		if round < 6 && !over {
			at = randomStop(random)
		}
		a := f.try(l, catalog, from, at)
		if a.run.Code == 0 {
			break
		}
		if !a.ended {
			l.t.Fatalf("exit code %d: %s", a.run.Code, last(a.run.Stdout, 4000))
		}
		if at.by == 0 {
			killed++
		}
		over = f.over(a.echoed)
		l.t.Logf("%v: after %d bytes, from %v to %v", at, len(a.run.Input), from, a.echoed)
		next(a)
		delete(from, "totals") // a full refresh starts over
	}
	return killed
}

// A destination told to stop commits what states cover, and no more, echoes the states, and dies of
// the signal, as its callers expect.
func TestTerminatedDestinationKeepsWhatStatesCover(t *testing.T) {
	t.Parallel()
	l := newLake(t, t.TempDir(), nil) // nothing is due before the end
	f := feed{lengths: map[string]int{"log": 50_000, "accounts": 20_000, "totals": 2000}, version: 1}
	catalog := f.configure(l)
	a := newAttempt(l, catalog)
	to, from := a.start(t)
	defer to.Close()
	listened := make(chan struct{})
	go func() {
		defer close(listened)
		a.listen(from, func(int) {})
	}()
	var whole bytes.Buffer
	if err := f.write(&whole, nil); err != nil {
		t.Fatal(err)
	}
	// All states of the first half; what follows fills the pipe and what a reader reads ahead, so
	// that those have been taken when the write returns.
	half := bytes.LastIndex(whole.Bytes()[:whole.Len()/2], []byte(`{"type":"STATE"`))
	half += bytes.IndexByte(whole.Bytes()[half:], '\n') + 1
	input := bytes.Clone(whole.Bytes()[:half])
	covered := map[string]int{}
	for line := range bytes.Lines(input) {
		if bytes.HasPrefix(line, []byte(`{"type":"STATE"`)) {
			var m struct{ State feedPosition }
			unmarshal(t, line, &m)
			covered[m.State.Stream.Descriptor.Name] = m.State.Stream.State.N
		}
	}
	next := covered["log"]
	for len(input) < half+8<<20 {
		input = fmt.Appendf(input, `{"type":"RECORD","record":{"stream":"log","emitted_at":1767225600000,"data":%s}}`+"\n", f.record("log", next))
		next++
	}
	if _, err := a.passed.Write(input); err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-listened
	a.end(t)
	if s := a.cmd.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() || s.Signal() != syscall.SIGTERM {
		t.Errorf("the destination ended with %v, want the signal", a.cmd.ProcessState)
	}
	delete(covered, "totals") // an overwrite that is not complete changes nothing
	if !maps.Equal(a.echoed, covered) {
		t.Errorf("echoed %v, want %v", a.echoed, covered)
	}
	if got := l.positions(catalog); !maps.Equal(got, covered) {
		t.Errorf("the tables are at %v, want %v", got, covered)
	}
	newProgress(feed{}, f, true).want(l, a.echoed, covered)
	if again := f.try(l, catalog, covered, stop{}); again.run.Code != 0 {
		t.Fatalf("exit code %d: %s", again.run.Code, last(again.run.Stdout, 4000))
	}
	l.wantWhole(f, true)
}

// The real source, and either side killed.
func TestKilledPipeResumedFromItsTablesHoldsWhatTheOracleSays(t *testing.T) {
	t.Parallel()
	for _, mode := range []protocol.DestinationSyncMode{protocol.Append, protocol.AppendDedup, protocol.Overwrite} {
		t.Run(string(mode), func(t *testing.T) {
			left, random := kills(t, 0.1)
			dir := t.TempDir()
			m := newMember(t, dir, nil, "--seed", "11", "--token-file", filepath.Join(dir, "tokens.json"))
			c := connect(t, m, newLake(t, dir, map[string]any{"commit": map[string]any{"max_rows": 40}}), mode)
			c.kill(left, random)
			c.sync()
			c.wantTruth(c.previews())
			if mode != protocol.AppendDedup {
				return // a changed row is one more, or everything comes again
			}
			m.pass(40 * 24 * time.Hour)
			// Tokens are renewed now: a kill between WHOOP's answer and the durable write is the one
			// that no connection survives.
			speak(t, source, "check", "--config", m.config)
			c.kill(2, random)
			c.sync()
			c.wantTruth(c.previews())
			c.wantReadings()
		})
	}
}

// kill runs the pipe again and again, resumed from the tables, and kills the sides in turn, so many
// times, somewhere in what there is left to read.
func (c *connection) kill(times int, random *rand.Rand) {
	c.t.Helper()
	for times > 0 {
		state, _ := c.lake.state(c.catalog)
		rest := len(run(c.t, source, "read", "--config", c.member.config, "--catalog", c.catalog, "--state", state))
		at := &cut{side: []string{"source", "destination"}[times%2], after: 1 + random.IntN(rest), lineEnd: random.IntN(2) == 0}
		s := c.pipe(at)
		c.t.Logf("%+v of %d bytes: killed %q, exit code of the destination %d", *at, rest, s.killed, s.write.Code)
		if s.killed != "" {
			times--
		}
		complete := 0
		for _, m := range s.read.Messages {
			if m.Trace != nil && m.Trace.StreamStatus != nil && m.Trace.StreamStatus.Status == protocol.Complete {
				complete++
			}
		}
		if complete < len(c.streams) && s.write.Code == 0 {
			c.t.Errorf("the destination took %d of %d streams for all", complete, len(c.streams))
		}
		c.wantCovered(s)
	}
}

// wantCovered checks that a reader sees each record that an echoed state covers, and no row twice.
func (c *connection) wantCovered(s synced) {
	c.t.Helper()
	if _, err := os.Stat(filepath.Join(c.lake.dir, "catalog.db")); err != nil {
		if os.IsNotExist(err) && len(s.write.States()) == 0 {
			return
		}
		c.t.Fatal(err)
	}
	queries := map[string]string{}
	for _, stream := range c.streams {
		queries[stream.Stream.Name] = fmt.Sprintf("SELECT count(*), count(DISTINCT %s) FROM t", stream.key())
	}
	seen := c.lake.ask(queries)
	covered := covered(c.t, s)
	for _, stream := range c.streams {
		name := stream.Stream.Name
		rows, keys := 0, 0
		for _, answer := range seen[name] {
			rows, keys = answer[0], answer[1]
		}
		if rows != keys {
			c.t.Errorf("stream %s: %d rows with %d keys", name, rows, keys)
		}
		if rows < covered[name] {
			c.t.Errorf("stream %s: states that cover %d records were echoed, a reader sees %d rows", name, covered[name], rows)
		}
	}
}

// covered counts, by stream, the records that echoed states cover, tombstones aside.
func covered(t testing.TB, s synced) map[string]int {
	t.Helper()
	echoes := map[string]int{}
	for _, state := range s.write.States() {
		echoes[state.Stream.Name]++
	}
	records, covered := map[string]int{}, map[string]int{}
	for _, m := range s.read.Messages {
		switch {
		case m.Record != nil && !bytes.Contains(m.Record.Data, []byte(`"_ab_cdc_deleted_at":"`)):
			records[m.Record.Stream]++
		case m.Type == "STATE":
			state, err := protocol.ParseState(m.State)
			if err != nil {
				t.Fatal(err)
			}
			name := state.Stream.Name
			if echoes[name] == 0 {
				continue
			}
			echoes[name]--
			covered[name] += records[name]
			records[name] = 0
		}
	}
	return covered
}
