package main

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/changes"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member"
)

const workoutsPath = "/developer/v2/activity/workout"

// notYet is the fault of a row that WHOOP lists and does not yet know by its key.
func notYet(key string, times int) sandbox.Fault {
	return sandbox.Fault{Path: workoutsPath + "/" + key, Times: times, Action: sandbox.Replace, Status: http.StatusNotFound}
}

// WHOOP may list a row before it knows it by its key. Such a row is requested again in
// the same sync.
func TestAListedRowThatIsUnknownOnceArrives(t *testing.T) {
	t.Parallel()
	for _, mode := range []protocol.SyncMode{protocol.FullRefresh, protocol.Incremental} {
		w := young(t, 1, 40, map[string]any{"drilldowns": config.Request})
		w.server.SetFaults(notYet("", 3))
		r := w.sync(catalog(t, mode, "workout_by_id"))
		w.wantTruth("workout_by_id")
		if n := count(r.Messages)["workout_by_id"]; n != len(w.tables["workout_by_id"]) || n < 4 {
			t.Errorf("%s: %d records of %d rows", mode, n, len(w.tables["workout_by_id"]))
		}
	}
}

// A row that is listed and unknown for a whole sync has no tombstone, and the next sync
// requests it again, even if it is not in the lookback any more.
func TestAListedRowThatStaysUnknownIsRequestedByTheNextSync(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		daysAgo int
		known   bool // an earlier sync has emitted a version
		pause   time.Duration
	}{
		"new, in the lookback":              {daysAgo: 2, pause: time.Hour},
		"new, before the lookback":          {daysAgo: 30, pause: time.Hour},
		"changed, in the lookback":          {daysAgo: 2, known: true, pause: time.Hour},
		"changed, then before the lookback": {daysAgo: 10, known: true, pause: 6 * day},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := young(t, 1, 40, map[string]any{"drilldowns": config.Request})
				chosen := catalog(t, protocol.Incremental, "workout_by_id")
				sample := member.Event{Do: member.Rescore, Stream: "workout", Age: member.Duration(time.Duration(tt.daysAgo) * day)}
				before := w.server.Oracle().Records("workout", w.clock.Now())
				if tt.known {
					w.sync(chosen)
				}
				if err := w.server.Schedule(sample); err != nil {
					t.Fatal(err)
				}
				w.clock.Advance(time.Second)
				truth := w.server.Oracle().Records("workout", w.clock.Now())
				keys := slices.DeleteFunc(slices.Collect(maps.Keys(truth)), func(key string) bool { return string(truth[key]) == string(before[key]) })
				if len(keys) != 1 {
					t.Fatalf("%d workouts have changed", len(keys))
				}
				w.server.SetFaults(notYet(keys[0], -1))
				w.sync(chosen)
				if got, want := len(w.tables["workout_by_id"]) == len(truth), tt.known; got != want {
					t.Errorf("%d rows of %d", len(w.tables["workout_by_id"]), len(truth))
				}
				w.server.SetFaults()
				w.clock.Advance(tt.pause)
				r := w.sync(chosen)
				w.wantTruth("workout_by_id")
				if n := len(r.Records(protocol.StreamID{Name: "workout_by_id"})); tt.pause == time.Hour && n != 1 {
					t.Errorf("%d records, want the one that was missing", n)
				}
				if again := w.sync(chosen); len(again.Records(protocol.StreamID{Name: "workout_by_id"})) != 0 {
					t.Error("a row comes again")
				}
			})
		})
	}
}

// A row that is gone before it could ever be read has no tombstone.
func TestARowThatWasNeverEmittedHasNoTombstone(t *testing.T) {
	w := young(t, 1, 40, map[string]any{"drilldowns": config.Request})
	chosen := catalog(t, protocol.Incremental, "workout_by_id")
	keys := slices.Sorted(maps.Keys(w.server.Oracle().Records("workout", w.clock.Now())))
	w.server.SetFaults(notYet(keys[0], -1))
	w.sync(chosen)
	if err := w.server.Schedule(member.Event{Do: member.Delete, Stream: "workout", Key: keys[0]}); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Second)
	for range 2 {
		if r := w.sync(chosen); len(r.Records(protocol.StreamID{Name: "workout_by_id"})) != 0 {
			t.Errorf("records of a row that never was: %s", r.Records(protocol.StreamID{Name: "workout_by_id"}))
		}
	}
	w.wantTruth("workout_by_id")
}

// A walk whose only stream has failed reads no more of its collection.
func TestAWalkEndsWithItsLastReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sandbox.Config{Seed: 4, Years: 1}, map[string]any{
			"drilldowns": config.Request, "start_date": opening.Add(-360 * day).Format(time.RFC3339),
		})
		w.server.SetFaults(sandbox.Fault{Path: workoutsPath + "/", Times: -1, Action: sandbox.Replace, Status: http.StatusInternalServerError})
		r := w.read(catalog(t, protocol.Incremental, "workout_by_id"))
		if len(r.Errors()) != 1 {
			t.Fatalf("the errors are %+v", r.Errors())
		}
		// Slices may have been fetched before their turn.
		if n := w.server.Audit().Requests["GET "+workoutsPath]; n > 8 {
			t.Errorf("%d pages were read of a collection that nobody needs any more", n)
		}
	})
}

// A nap that becomes a sleep gives its cycle a second one; WHOOP shows one.
func TestCycleShowsOneOfItsSleeps(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{config.Request, config.Derive} {
		t.Run(mode, func(t *testing.T) {
			w := young(t, 4, 60, map[string]any{"drilldowns": mode})
			chosen := catalog(t, protocol.Incremental, "sleep_for_cycle")
			w.sync(chosen)
			flips, err := sandbox.Named("nap-flips")
			if err != nil {
				t.Fatal(err)
			}
			if err := w.server.Play(flips); err != nil {
				t.Fatal(err)
			}
			several := false
			for range 5 {
				w.clock.Advance(40 * time.Minute)
				w.sync(chosen)
				w.wantTruth("sleep_for_cycle")
				mains := 0
				for _, raw := range w.server.Oracle().Records("sleep", w.clock.Now()) {
					if !changes.ParseRecord(raw, "id").Nap {
						mains++
					}
				}
				several = several || mains > len(w.tables["sleep_for_cycle"])
			}
			if !several {
				t.Error("no cycle had two sleeps")
			}
		})
	}
}

// The slice that is read need not hold both sleeps of a cycle. WHOOP still shows only
// one of them, which may have begun before the lookback or in the slice before.
func TestCycleShowsOneOfItsSleepsAcrossSlices(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		mode   protocol.SyncMode
		synced bool // there is a sync before the nap becomes a sleep
	}{
		"before the lookback":               {mode: protocol.Incremental, synced: true},
		"in the slice before, first sync":   {mode: protocol.Incremental},
		"in the slice before, full refresh": {mode: protocol.FullRefresh},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sandbox.Config{Seed: 4, Years: 1}, map[string]any{"lookback_days": 3})
			first, nap := w.napAfterASleep(opening.Add(-30 * day))
			boundary := nap.Time.Add(-time.Minute)
			chosen := catalog(t, tt.mode, "sleep_for_cycle")
			since := boundary.Add(-sliceLength)
			w.config["start_date"] = since.Format(time.RFC3339Nano)
			if tt.synced {
				w.clock.Advance(boundary.Add(3 * day).Sub(w.clock.Now())) // the lookback begins at the boundary
				w.sync(chosen)
			}
			if err := w.server.Schedule(member.Event{Do: member.FlipNap, Stream: "sleep", Key: strings.Trim(nap.Key, `"`)}); err != nil {
				t.Fatal(err)
			}
			w.clock.Advance(time.Second)
			w.sync(chosen)
			rows := w.tables["sleep_for_cycle"]
			if rows[strings.Trim(first.Key, `"`)] == nil || rows[strings.Trim(nap.Key, `"`)] != nil {
				t.Errorf("the rows of cycle %s are wrong", nap.Cycle)
			}
			w.wantTruthSince(since, "sleep_for_cycle")
			if again := w.sync(catalog(t, protocol.Incremental, "sleep_for_cycle")); tt.synced && len(again.Records(protocol.StreamID{Name: "sleep_for_cycle"})) != 0 {
				t.Errorf("a row comes again: %s", again.Stdout)
			}
		})
	}
}

// WHOOP does not document which of its sleeps a cycle shows: it can be the one in the
// later slice.
func TestCycleShowsItsLaterSleepAcrossSlices(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Config{Seed: 4, Years: 1}, nil)
	first, nap := w.napAfterASleep(opening.Add(-30 * day))
	w.config["start_date"] = nap.Time.Add(-time.Minute - sliceLength).Format(time.RFC3339Nano)
	if err := w.server.Schedule(member.Event{Do: member.FlipNap, Stream: "sleep", Key: strings.Trim(nap.Key, `"`)}); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Second)
	shown := w.server.Oracle().Records("sleep", w.clock.Now())[strings.Trim(nap.Key, `"`)]
	w.source.http = rewriting{w.source.http, func(path string, body []byte) []byte {
		if path == "/developer/v2/cycle/"+nap.Cycle+"/sleep" {
			return shown
		}
		return body
	}}
	for _, mode := range []protocol.SyncMode{protocol.Incremental, protocol.FullRefresh} {
		w.tables = tables{}
		w.sync(catalog(t, mode, "sleep_for_cycle"))
		rows := w.tables["sleep_for_cycle"]
		if rows[strings.Trim(first.Key, `"`)] != nil || rows[strings.Trim(nap.Key, `"`)] == nil {
			t.Errorf("%s: the rows of cycle %s are wrong", mode, nap.Cycle)
		}
	}
}

// What the state knows need not be requested to be derived.
func TestKnownSleepsOfCyclesAreNotRequested(t *testing.T) {
	t.Parallel()
	w := young(t, 4, 60, nil)
	chosen := catalog(t, protocol.Incremental, "sleep_for_cycle")
	w.sync(chosen)
	before := w.server.Audit().Requests["GET /developer/v2/cycle/{cycleId}/sleep"]
	for range 24 {
		w.clock.Advance(time.Hour)
		w.sync(chosen)
	}
	if asked := w.server.Audit().Requests["GET /developer/v2/cycle/{cycleId}/sleep"] - before; asked > 1 {
		t.Errorf("%d requests in a day", asked)
	}
	w.wantTruth("sleep_for_cycle")
}

// napAfterASleep returns the first nap after an instant whose cycle has a main sleep that
// ended before it.
func (w *world) napAfterASleep(after time.Time) (first, nap changes.Record) {
	w.t.Helper()
	sleeps := w.server.Oracle().Records("sleep", w.clock.Now())
	for _, key := range slices.Sorted(maps.Keys(sleeps)) {
		n := changes.ParseRecord(sleeps[key], "id")
		if !n.Nap || n.Time.Before(after) || nap.Key != "" && nap.Time.Before(n.Time) {
			continue
		}
		for _, raw := range sleeps {
			if s := changes.ParseRecord(raw, "id"); !s.Nap && s.Cycle == n.Cycle && s.End.Before(n.Time.Add(-time.Hour)) {
				first, nap = s, n
			}
		}
	}
	if nap.Key == "" {
		w.t.Fatal("no cycle has a nap")
	}
	return first, nap
}
