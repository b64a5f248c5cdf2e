package main

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/changes"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member"
)

// Between any two syncs the settings change, and so do the records, the streams that are
// read and how WHOOP pages; some syncs are cut. After each full walk and in the end the
// tables are the truth since the start of their streams, and no version came twice.
func TestSettingsThatChangeLoseNothing(t *testing.T) {
	t.Parallel()
	for seed := range testsize.Of(2, 100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(uint64(seed), 0))
				l := &life{young(t, rng.Int64N(7), 40+rng.IntN(80), nil), rng, newAppendTables()}
				l.live()
			})
		})
	}
}

// A life is what a member, WHOOP and the user do while the source syncs.
type life struct {
	*world
	rng      *rand.Rand
	appended *appendTables
}

func (l *life) live() {
	for range 10 {
		if l.rng.IntN(2) == 0 {
			l.changeSettings()
		}
		calm, chosen := l.happen(), l.choose()
		switch l.rng.IntN(6) {
		case 0, 1:
			l.syncCut(chosen)
		case 2:
			l.refresh(chosen)
		default:
			l.syncWhole(chosen, calm)
		}
		if l.t.Failed() {
			return
		}
	}
	if l.rng.IntN(2) == 0 {
		delete(l.config, "start_date")
	}
	l.config["reconcile_every_days"] = 1
	l.page(sandbox.Profile{})
	l.clock.Advance(9 * day)
	l.syncWhole(nil, true)
	for _, s := range streams {
		if s.incremental() {
			l.wantRows(s.name, l.state(s.name).Start)
		}
	}
}

func (l *life) changeSettings() {
	l.config["lookback_days"] = pick(l.rng, 0, 1, 3, 14, 40)
	l.config["reconcile_every_days"] = pick(l.rng, 0, 1, 7)
	l.config["drilldowns"] = pick(l.rng, config.Derive, config.Request)
	switch l.rng.IntN(5) {
	case 0:
		delete(l.config, "start_date")
	case 1:
		l.config["start_date"] = daysBefore(l.clock.Now(), -l.rng.IntN(400))
	default:
		l.config["start_date"] = daysBefore(l.clock.Now(), l.rng.IntN(60))
	}
}

func pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

// happen lets time pass, records change and WHOOP page in another way or have little quota.
// It reports whether the next sync can read everything, and nothing happens meanwhile.
func (l *life) happen() (calm bool) {
	way := pick(l.rng,
		sandbox.Profile{}, sandbox.Profile{}, sandbox.Profile{},
		sandbox.Profile{KeysetTokens: true},
		sandbox.Profile{EmptyPages: true, WindowBoundTokens: true},
		sandbox.Profile{ShortPages: true},
		sandbox.Profile{RepeatedToken: true},
		sandbox.Profile{ExclusiveStart: true, TokenAfterFullPage: true},
		sandbox.Profile{InclusiveEnd: true},
		sandbox.Profile{Tick: member.Duration(time.Second)},
		sandbox.Profile{RequestsPerDay: 40},
	)
	l.page(way)
	l.clock.Advance(pick(l.rng, time.Minute, 5*time.Hour, day, 3*day, 9*day, 40*day))
	for range l.rng.IntN(4) {
		e := member.Event{
			Do:     pick(l.rng, member.Insert, member.Twin, member.Edit, member.Rescore, member.Delete, member.Recreate, member.FlipNap),
			Stream: pick(l.rng, "cycles", "recovery", "sleep", "workout"),
			Age:    member.Duration(l.rng.Int64N(int64(60 * day))),
			After:  way.Tick * member.Duration(l.rng.IntN(60)),
		}
		furthest := int64(2 * time.Hour) // or a night would lie before the one before it
		if e.Stream == "workout" {
			furthest = int64(10 * day)
		}
		e.Shift = min(e.Age, member.Duration(l.rng.Int64N(2*furthest)-furthest))
		_ = l.server.Schedule(e) // not every event is one of every stream, and not every record is there
	}
	return way.Tick == 0 && way.RequestsPerDay == 0
}

func (l *life) page(way sandbox.Profile) {
	way.RequestsPerMinute, way.RequestsPerDay = -1, cmp.Or(way.RequestsPerDay, -1)
	if err := l.server.SetProfile(way); err != nil {
		l.t.Fatal(err)
	}
}

// choose chooses streams, at least one.
func (l *life) choose() []string {
	chosen := []string{streams[2+l.rng.IntN(len(streams)-2)].name}
	for _, s := range streams {
		if s.incremental() && l.rng.IntN(3) > 0 {
			chosen = append(chosen, s.name)
		}
	}
	return chosen
}

// syncWhole syncs to the end, or to that of the quota. If all is calm, the streams that were walked are the truth.
func (l *life) syncWhole(chosen []string, calm bool) {
	walked := map[string]time.Time{}
	for _, s := range streams {
		walked[s.name] = l.walked(s.name)
	}
	l.take(l.covered(l.messages(protocol.Incremental, chosen)))
	for _, s := range streams {
		if st := l.state(s.name); calm && !st.Walked.Equal(walked[s.name]) && !st.EmitAll && st.HasBegun() {
			l.wantRows(s.name, st.Start)
		}
	}
}

// syncCut syncs until the process is killed. The destination keeps what a state covers.
func (l *life) syncCut(chosen []string) {
	messages := l.messages(protocol.Incremental, chosen)
	l.take(l.covered(messages[:l.rng.IntN(len(messages))]))
}

// refresh replaces streams in full refresh and overwrite mode, and goes on incrementally.
func (l *life) refresh(chosen []string) {
	l.page(sandbox.Profile{})
	messages := l.messages(protocol.FullRefresh, chosen)
	for _, name := range chosen {
		delete(l.tables, name)
		delete(l.appended.committed, name)
	}
	l.keep(messages)
	start, _ := time.Parse(time.RFC3339, fmt.Sprint(l.config["start_date"])) // zero if there is none
	for _, name := range chosen {
		l.wantRows(name, start)
	}
	l.syncWhole(chosen, true)
}

// wantRows compares the rows of a stream that begins at an instant with the truth. A
// recovery whose sleep began before that and that was made after it may be there or not.
func (l *life) wantRows(stream string, start time.Time) {
	l.t.Helper()
	truth := l.server.Oracle().Records(stream, l.clock.Now())
	for key, want := range truth {
		if l.tables[stream][key] == nil && !l.began(stream, want).Before(start) {
			l.t.Errorf("%s from %v on: row %s is missing, want %s", stream, start, key, want)
		}
	}
	for key, row := range l.tables[stream] {
		want := truth[key]
		if changes.ParseRecord(want, streamNamed(stream).key).Time.Before(start) {
			want = nil
		}
		if !bytes.Equal(row, want) {
			l.t.Errorf("%s from %v on: row %s is %s, want %s", stream, start, key, row, want)
		}
	}
}

func (l *life) messages(mode protocol.SyncMode, chosen []string) []protocoltest.Message {
	l.rng.Shuffle(len(l.states), func(i, k int) { l.states[i], l.states[k] = l.states[k], l.states[i] })
	r := l.read(catalog(l.t, mode, chosen...))
	if r.Code != 0 && l.server.Profile().RequestsPerDay < 0 {
		l.t.Fatalf("errors %+v", r.Errors())
	}
	return r.Messages
}

// take keeps messages in both kinds of tables.
func (l *life) take(messages []protocoltest.Message) {
	l.keep(messages)
	l.appended.begin()
	for _, m := range messages {
		if m.Record == nil || streamNamed(m.Record.Stream).incremental() {
			l.appended.take(l.t, m)
		}
	}
}

// covered is what a destination keeps of messages: no record after the last state of its
// stream.
func (l *life) covered(messages []protocoltest.Message) (kept []protocoltest.Message) {
	last := map[string]int{} // the last state of each stream
	for i, m := range messages {
		if m.Type == "STATE" {
			last[l.parseState(m.State).Stream.Name] = i
		}
	}
	for i, m := range messages {
		if m.Record == nil || i < last[m.Record.Stream] {
			kept = append(kept, m)
		}
	}
	return kept
}
