package main

import (
	"bytes"
	"encoding/json"
	"regexp"
	"testing"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member"
)

func daysBefore(now time.Time, days int) string {
	return now.Add(-time.Duration(days) * day).Format(time.RFC3339)
}

// A start_date that is moved to a later date leaves a stream where it began: no row is
// removed, and old changes are still found.
func TestALaterStartDateLeavesTheStreamAsItIs(t *testing.T) {
	t.Parallel()
	w := young(t, 1, 60, nil)
	since := w.clock.Now().Add(-50 * day)
	w.config["start_date"] = since.Format(time.RFC3339)
	chosen := catalog(t, protocol.Incremental, "workout")
	w.sync(chosen)
	w.config["start_date"] = daysBefore(w.clock.Now(), 10)
	for _, do := range []member.EventType{member.Rescore, member.Delete} {
		if err := w.server.Schedule(member.Event{Do: do, Stream: "workout", Age: member.Duration(30 * day)}); err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(8 * day)
		w.sync(chosen)
		w.wantTruthSince(since, "workout")
	}
}

// A start_date of the future, as of a mistyped year, is corrected like any other: what
// comes after that is read by each sync, not only by full walks.
func TestAStartDateOfTheFutureCanBeCorrected(t *testing.T) {
	t.Parallel()
	w := young(t, 1, 60, map[string]any{"reconcile_every_days": 0})
	w.config["start_date"] = daysBefore(w.clock.Now(), -365)
	chosen := catalog(t, protocol.Incremental, "workout", "recovery")
	w.sync(chosen)
	since := w.clock.Now().Add(-30 * day)
	w.config["start_date"] = since.Format(time.RFC3339)
	for range 3 {
		w.sync(chosen)
		w.wantTruthSince(since, "workout", "recovery")
		if n := len(w.sync(chosen).Records(protocol.StreamID{Name: "workout"})); n > 0 {
			t.Errorf("%d records come twice", n)
		}
		w.clock.Advance(2 * day)
	}
}

// Whoever wants everything may write any early start_date. The time before the member's
// history takes no requests.
func TestAStartLongBeforeTheHistoryCostsNothing(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{config.Derive, config.Request} {
		cost := func(start string) int {
			w := young(t, 1, 20, map[string]any{"drilldowns": mode, "start_date": start})
			w.sync(catalog(t, protocol.Incremental))
			w.wantTruth()
			return requests(w.server)
		}
		most := cost("") + 2
		for _, start := range []string{"2010-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "0001-01-01T00:00:01Z"} {
			if n := cost(start); n > most {
				t.Errorf("%s from %s on: %d requests, want at most %d", mode, start, n, most)
			}
		}
	}
}

// WHOOP's clock was far ahead in a first sync that was cut. The full walks that follow do
// not wait until that time comes.
func TestFullWalksComeAfterASyncWithAWrongClock(t *testing.T) {
	t.Parallel()
	w := young(t, 1, 60, map[string]any{"drilldowns": config.Request}) // in many slices
	chosen := catalog(t, protocol.Incremental, "workout_by_id")
	if err := w.server.SetProfile(sandbox.Profile{Skew: member.Duration(300 * day), RequestsPerMinute: -1, RequestsPerDay: -1}); err != nil {
		t.Fatal(err)
	}
	r := w.read(chosen)
	for i, m := range r.Messages {
		if m.Type == "STATE" {
			w.keep(r.Messages[:i+1])
			break
		}
	}
	if err := w.server.SetProfile(sandbox.Profile{RequestsPerMinute: -1, RequestsPerDay: -1}); err != nil {
		t.Fatal(err)
	}
	w.config["drilldowns"] = config.Derive
	w.sync(chosen)
	if err := w.server.Schedule(member.Event{Do: member.Rescore, Stream: "workout", Age: member.Duration(30 * day)}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w.clock.Advance(8 * day)
		w.sync(chosen)
	}
	w.wantTruth("workout_by_id")
}

// A row that moves to before the start of its stream is none of its rows any more.
func TestARowThatMovesOutOfTheStreamHasATombstone(t *testing.T) {
	t.Parallel()
	w := young(t, 1, 60, nil)
	since := w.clock.Now().Add(-30 * day)
	w.config["start_date"] = since.Format(time.RFC3339)
	chosen := catalog(t, protocol.Incremental, "workout")
	w.sync(chosen)
	rows := len(w.tables["workout"])
	if err := w.server.Schedule(member.Event{Do: member.Edit, Stream: "workout", Age: member.Duration(2 * day), Shift: member.Duration(-40 * day)}); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Hour)
	if w.sync(chosen); len(w.tables["workout"]) != rows-1 {
		t.Errorf("%d rows, want one less than %d", len(w.tables["workout"]), rows)
	}
	w.wantTruthSince(since, "workout")
}

// WHOOP's clock can be ahead of that of its records: a tombstone is not older than the
// version that it deletes.
func TestATombstoneIsNotOlderThanItsRow(t *testing.T) {
	t.Parallel()
	w := young(t, 1, 40, nil)
	const later = "2027-01-01T00:00:00.000Z"
	updated := regexp.MustCompile(`"updated_at":"[^"]*"`)
	w.source.http = rewriting{w.source.http, func(path string, body []byte) []byte {
		return updated.ReplaceAll(body, []byte(`"updated_at":"`+later+`"`))
	}}
	chosen := catalog(t, protocol.Incremental, "workout")
	w.sync(chosen)
	if err := w.server.Schedule(member.Event{Do: member.Delete, Stream: "workout", Age: member.Duration(2 * day)}); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Hour)
	records := w.sync(chosen).Records(protocol.StreamID{Name: "workout"})
	var grave struct {
		Updated time.Time `json:"updated_at"`
		Deleted time.Time `json:"_ab_cdc_deleted_at"`
	}
	if len(records) != 1 || json.Unmarshal(records[0], &grave) != nil {
		t.Fatalf("the records are %s", records)
	}
	if got := grave.Updated.Format(time.RFC3339); grave.Deleted.IsZero() || got != "2027-01-01T00:00:00Z" {
		t.Errorf("the tombstone is %s", records[0])
	}
}

// A list can be older than the record under its key. The state knows the one that was
// emitted, so that it does not come again when the list has it, too.
func TestTheStateHasTheVersionThatWasEmitted(t *testing.T) {
	t.Parallel()
	w := young(t, 1, 40, map[string]any{"drilldowns": config.Request})
	stale := true
	w.source.http = rewriting{w.source.http, func(path string, body []byte) []byte {
		if stale && path == workoutsPath {
			return bytes.ReplaceAll(body, []byte(`"SCORED"`), []byte(`"PENDING_SCORE"`))
		}
		return body
	}}
	chosen := catalog(t, protocol.Incremental, "workout_by_id")
	w.sync(chosen)
	w.wantTruth("workout_by_id")
	stale = false
	if again := w.sync(chosen).Records(protocol.StreamID{Name: "workout_by_id"}); len(again) != 0 {
		t.Errorf("%d records come twice, the first is %s", len(again), again[0])
	}
}

// writerFunc is a writer that is a function.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// While a state is written, a wait for quota may not repeat the one before it.
func TestAStateIsWrittenUnderTheLock(t *testing.T) {
	r := &run{}
	written := 0
	r.session = &session{out: protocol.NewEmitter(writerFunc(func(p []byte) (int, error) {
		if bytes.Contains(p, []byte(`"STATE"`)) {
			written++
			if r.mu.TryLock() {
				t.Error("a state is written without the lock")
				r.mu.Unlock()
			}
		}
		return len(p), nil
	}), protocol.EmitterOptions{})}
	rd := newReader(r, streamNamed("workout"), protocol.Incremental)
	if err := r.session.out.Status(rd.stream.id(), protocol.Started); err != nil {
		t.Fatal(err)
	}
	r.readers = []*reader{rd}
	if err := rd.emitState(json.RawMessage(`{}`)); err != nil {
		t.Fatal(err)
	}
	if err := r.rateLimited(opening); err != nil {
		t.Error(err)
	}
	if written != 2 {
		t.Errorf("%d states were written, want 2", written)
	}
}
