package main

import (
	"encoding/json"
	"maps"
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

// appendTables are what a destination in append mode keeps: the rows of a stream that
// came before its last STATE, and nothing else.
type appendTables struct {
	staged    map[string][]json.RawMessage // by stream: what came after its last STATE
	committed map[string]map[string]string // by stream and key: the last version
}

func newAppendTables() *appendTables {
	return &appendTables{committed: map[string]map[string]string{}}
}

// begin begins a run: what the one before left without a STATE is dropped.
func (a *appendTables) begin() { a.staged = map[string][]json.RawMessage{} }

func (a *appendTables) stage(stream string, data json.RawMessage) {
	a.staged[stream] = append(a.staged[stream], data)
}

// commit keeps what is staged of a stream. A version of a row must not come again
// before another one has, unless every row is emitted again. A record that cannot be
// tracked comes with every sync.
func (a *appendTables) commit(t *testing.T, stream string, emitAll bool) {
	t.Helper()
	rows := a.committed[stream]
	if rows == nil {
		rows = map[string]string{}
		a.committed[stream] = rows
	}
	for _, data := range a.staged[stream] {
		version := string(data)
		key, deleted := keyIn(t, stream, data)
		switch {
		case deleted:
			version = "deleted"
		case changes.ParseRecord(data, streamNamed(stream).key).Untracked != "":
			continue
		}
		if rows[key] == version && !emitAll {
			t.Errorf("%s: the same version came twice: %s", stream, data)
		}
		rows[key] = version
	}
	delete(a.staged, stream)
}

// run takes the messages of a run, up to where it is cut.
func (a *appendTables) run(t *testing.T, messages []protocoltest.Message) {
	t.Helper()
	a.begin()
	for _, m := range messages {
		a.take(t, m)
	}
}

// take takes one message of a run.
func (a *appendTables) take(t *testing.T, m protocoltest.Message) {
	t.Helper()
	switch {
	case m.Record != nil:
		a.stage(m.Record.Stream, m.Record.Data)
	case m.Type == "STATE":
		s, err := protocol.ParseState(m.State)
		if err != nil {
			t.Fatal(err)
		}
		a.commit(t, s.Stream.Name, false)
	}
}

func (a *appendTables) clone() *appendTables {
	c := newAppendTables()
	for stream, rows := range a.committed {
		c.committed[stream] = maps.Clone(rows)
	}
	return c
}

// An append table cannot take a row back. So wherever a run is cut, the one that
// resumes from the last states brings no version of a row that is committed, and all
// others.
func TestAppendGetsNoVersionTwice(t *testing.T) {
	daysBack := func(n int) string { return opening.Add(-time.Duration(n) * day).Format(time.RFC3339) }
	for name, tt := range map[string]struct {
		years   int
		config  map[string]any
		streams []string
		before  func(*world) // what happens between the first sync and the one that is cut; nil: the first is cut
	}{
		"first sync": {4, nil, []string{"workout", "sleep_for_cycle"}, nil},
		"first sync, with requests, under a tight limit": {
			1,
			map[string]any{"drilldowns": config.Request, "start_date": daysBack(70)},
			[]string{"recovery_for_cycle", "workout_by_id"},
			func(w *world) {
				w.states = nil
				w.limit(10)
			},
		},
		"full walk of several slices": {
			4,
			map[string]any{"start_date": daysBack(100)},
			[]string{"workout", "recovery"},
			func(w *world) { w.config["start_date"] = daysBack(1300) },
		},
		"full walk with edits and deletions, under a tight limit": {
			1,
			map[string]any{"reconcile_every_days": 1},
			[]string{"workout", "workout_by_id"},
			func(w *world) {
				w.clock.Advance(2 * day)
				happens := func(do member.EventType, daysAgo int) {
					if err := w.server.Schedule(member.Event{Do: do, Stream: "workout", Age: member.Duration(time.Duration(daysAgo) * day)}); err != nil {
						w.t.Fatal(err)
					}
				}
				happens(member.Rescore, 3)
				happens(member.Rescore, 100)
				happens(member.Delete, 150)
				happens(member.Rescore, 200)
				happens(member.Delete, 300)
				w.limit(3)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, sandbox.Config{Seed: 2, Years: tt.years}, tt.config)
				chosen := catalog(t, protocol.Incremental, tt.streams...)
				tables := newAppendTables()
				if tt.before != nil {
					r := w.sync(chosen)
					if tt.before(w); w.states != nil {
						tables.run(t, r.Messages)
					}
				}
				start := w.states
				cut := w.read(chosen)
				if cut.Code != 0 {
					t.Fatalf("exit code %d: %v", cut.Code, cut.Errors())
				}
				uncut := tables.clone()
				uncut.run(t, cut.Messages)
				kept := tables.clone() // of the run up to where it is cut
				kept.begin()
				states := 0
				for i, m := range cut.Messages {
					kept.take(t, m)
					if m.Type != "STATE" { // a cut here leaves the same as one at the last STATE
						continue
					}
					if states++; states%testsize.Of(3, 1) > 0 {
						continue
					}
					resumed := kept.clone()
					w.states = start
					w.keepStates(cut.Messages[:i+1])
					again := w.read(chosen)
					if again.Code != 0 {
						t.Fatalf("resumed from message %d: exit code %d: %v", i, again.Code, again.Errors())
					}
					resumed.run(t, again.Messages)
					for _, stream := range tt.streams {
						if got, want := resumed.committed[stream], uncut.committed[stream]; !maps.Equal(got, want) || len(want) == 0 {
							t.Errorf("%s: %d rows, want the %d of the run that was not cut, or other versions", stream, len(got), len(want))
						}
					}
					if t.Failed() {
						t.Fatalf("resumed from message %d: %s", i, m.State)
					}
				}
			})
		})
	}
}

// limit lets WHOOP answer only so many requests in a minute.
func (w *world) limit(perMinute int) {
	w.t.Helper()
	if err := w.server.SetProfile(sandbox.Profile{RequestsPerMinute: perMinute, RequestsPerDay: -1}); err != nil {
		w.t.Fatal(err)
	}
}
