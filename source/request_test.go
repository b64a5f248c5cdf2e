package main

import (
	"maps"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
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
