package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/changes"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
)

// The lookback is for what WHOOP changes later. What it did not have yet at the last sync
// comes without one, too: what began in the two days before that sync, and what is newer
// than everything of the stream, such as the nights of a strap that was away for days.
func TestWhatIsNewComesWhateverTheLookback(t *testing.T) {
	t.Parallel()
	for name, changed := range map[string]map[string]any{
		"none":                {"lookback_days": 0},
		"one day":             {"lookback_days": 1},
		"none, with requests": {"lookback_days": 0, "drilldowns": config.Request},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := young(t, 29, 16, changed)       // whose phone is away for two days soon
			w.config["reconcile_every_days"] = 0 // nothing makes up for what is missed
			all := catalog(t, protocol.Incremental)
			w.sync(all)
			next := map[string]window{}
			for _, s := range all.Streams {
				next[s.Stream.Name] = window{}.after(w, s.Stream.Name)
			}
			late := 0
			often := testsize.Of(4, 8) // a day
			for range testsize.Of(7, 200) * often {
				w.clock.Advance(day / time.Duration(often))
				w.sync(all)
				for _, s := range streams {
					if s.incremental() {
						late += next[s.name].check(w, s.name)
						next[s.name] = next[s.name].after(w, s.name)
					}
				}
				if t.Failed() {
					return
				}
			}
			if late == 0 {
				t.Error("nothing came later than two days after it began")
			}
		})
	}
}

// A window is what a sync must find of one stream at least.
type window struct {
	start  time.Time
	synced time.Time       // when the last sync was
	had    map[string]bool // what WHOOP had then
	excuse map[string]bool // what it has shown since, from before the window
}

// after is the window of the next sync.
func (v window) after(w *world, stream string) window {
	now := w.clock.Now()
	next := window{start: v.start, synced: now, had: map[string]bool{}, excuse: v.excuse}
	if next.excuse == nil {
		next.excuse = map[string]bool{}
	}
	var newest time.Time
	for key, raw := range w.server.Oracle().Records(stream, now) {
		next.had[key] = true
		if r := changes.ParseRecord(raw, streamNamed(stream).key); r.Time.After(newest) {
			newest = r.Time
		}
	}
	start := now.Add(-2 * day)
	if newest.Before(start) {
		start = newest
	}
	if limit := now.Add(-30 * day); start.Before(limit) {
		start = limit
	}
	if start.After(next.start) {
		next.start = start
	}
	return next
}

// check compares the rows of the window with what is true, and those of before with their
// keys. It returns how many rows came later than two days after they began.
func (v window) check(w *world, stream string) (late int) {
	w.t.Helper()
	now, rows := w.clock.Now(), w.tables[stream]
	truth := w.server.Oracle().Records(stream, now)
	for key, want := range truth {
		began := w.began(stream, want)
		recent := !began.Before(v.start)
		if !v.had[key] {
			v.excuse[key] = !recent
			if recent && began.Before(v.synced.Add(-2*day)) {
				late++
			}
		}
		if !v.excuse[key] && rows[key] == nil || recent && !bytes.Equal(rows[key], want) {
			w.t.Errorf("%s at %v: row %s, which began at %v, is\n%s, want\n%s", stream, now, key, began, rows[key], want)
		}
	}
	for key, row := range rows {
		if truth[key] == nil && !changes.ParseRecord(row, streamNamed(stream).key).Time.Before(v.start) {
			w.t.Errorf("%s at %v: row %s is not there any more", stream, now, key)
		}
	}
	return late
}

// began is the time by which WHOOP lists a record: for a recovery that of its sleep.
func (w *world) began(stream string, raw json.RawMessage) time.Time {
	s := streamNamed(stream)
	if s.key != "cycle_id" {
		return changes.ParseRecord(raw, s.key).Time
	}
	var recovery struct {
		Sleep string `json:"sleep_id"`
	}
	if err := json.Unmarshal(raw, &recovery); err != nil {
		w.t.Fatal(err)
	}
	sleep := w.server.Oracle().Records("sleep", w.clock.Now())[recovery.Sleep]
	if sleep == nil {
		w.t.Fatal(fmt.Errorf("the recovery %s has no sleep", raw))
	}
	return changes.ParseRecord(sleep, "id").Time
}
