package main

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/changes"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member"
)

// An answer that holds no record, where one was asked for, is no row and does not say that one is gone. Its streams fail,
// and go on when WHOOP has come to its senses.
func TestAnAnswerWithoutARecordIsNoRow(t *testing.T) {
	t.Parallel()
	const workouts, cycles = "/developer/v2/activity/workout", "/developer/v2/cycle"
	byWorkout := []string{"workout", "workout_by_id"}
	for name, tt := range map[string]struct {
		path   string
		bodies []string
		failed []string
		config map[string]any
	}{
		"a page": {workouts, []string{`null`, `[]`, `7`, `{"records":[null]}`, `{"records":[7]}`, `{"records":[[]]}`, `{"records":["a"]}`}, byWorkout, nil},
		"a row": {
			workouts + "/",
			[]string{`null`, `[]`, `{}`, `{"records":[]}`, `{"id":null}`, `{"id":"00000000-0000-4000-8000-000000000001","start":"2026-01-01T00:00:00Z"}`},
			byWorkout, nil,
		},
		"a child": {
			cycles + "/",
			[]string{`null`, `[]`, `{}`, `{"records":[]}`},
			[]string{"cycle_by_id", "recovery_for_cycle", "sleep_for_cycle"},
			map[string]any{"drilldowns": config.Request},
		},
		"a profile":          {"/developer/v2/user/profile", []string{`null`, `[]`, `{}`, `{"user_id":null}`}, []string{"profile", "body_measurement"}, nil},
		"a body measurement": {"/developer/v2/user/measurement", []string{`null`, `[]`, `"a"`}, []string{"body_measurement"}, nil},
	} {
		for i, body := range tt.bodies {
			if i%testsize.Of(3, 1) > 0 {
				continue // answers of every path are left
			}
			t.Run(name+" "+body, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := young(t, 1, 12, tt.config)
					all := catalog(t, protocol.Incremental)
					w.sync(all)
					if err := w.server.Schedule(member.Event{Do: member.Delete, Stream: "workout", Age: member.Duration(2 * day)}); err != nil {
						t.Fatal(err)
					}
					w.clock.Advance(day)
					w.config["credentials"] = credentialsOf(w.server.Issue()) // what answers like this does not look at tokens
					w.server.SetFaults(sandbox.Fault{Path: tt.path, Times: -1, Action: sandbox.Replace, Body: body})
					r := w.read(all)
					failed := map[string]protocol.Kind{}
					for _, e := range r.Errors() {
						failed[e.Stream.Name] = e.FailureType
					}
					want := map[string]protocol.Kind{}
					for _, stream := range tt.failed {
						want[stream] = protocol.TransientError
						if got := r.Records(protocol.StreamID{Name: stream}); tt.path != workouts+"/" && len(got) != 0 {
							t.Errorf("%d records of %s, the first %s", len(got), stream, got[0])
						}
					}
					wantEqual(t, "failed", failed, want)
					w.keep(r.Messages)
					w.server.SetFaults()
					w.sync(all)
					w.wantTruth()
				})
			})
		}
	}
}

// A sleep need not say to which cycle it belongs. Nothing can be told of the cycle then, so each is a row.
func TestAMainSleepWithoutItsCycleArrivesAndStays(t *testing.T) {
	w := young(t, 1, 40, nil)
	cycleID := regexp.MustCompile(`"cycle_id":[0-9]+,`)
	w.source.http = rewriting{w.source.http, func(path string, body []byte) []byte {
		if strings.HasPrefix(path, "/developer/v2/activity/sleep") {
			return cycleID.ReplaceAll(body, nil)
		}
		return body
	}}
	mains := 0
	for _, raw := range w.server.Oracle().Records("sleep", w.clock.Now()) {
		if !changes.ParseRecord(raw, "id").Nap {
			mains++
		}
	}
	chosen := catalog(t, protocol.Incremental, "sleep_for_cycle")
	if w.sync(chosen); mains == 0 || len(w.tables["sleep_for_cycle"]) != mains {
		t.Errorf("%d rows, want %d", len(w.tables["sleep_for_cycle"]), mains)
	}
	// The pages have none of them, and each is asked for.
	w.server.SetFaults(sandbox.Fault{Path: "/developer/v2/activity/sleep", Query: "limit", Times: -1, Action: sandbox.Replace, Body: `{"records":[]}`})
	w.clock.Advance(time.Hour)
	if w.sync(chosen); len(w.tables["sleep_for_cycle"]) != mains {
		t.Errorf("%d rows are left of %d", len(w.tables["sleep_for_cycle"]), mains)
	}
}

// A parent without a key is not asked for its child; where it is the child itself, it is the row.
func TestAParentWithoutItsKeyIsNotAskedFor(t *testing.T) {
	w := young(t, 1, 40, map[string]any{"drilldowns": config.Request})
	id := regexp.MustCompile(`"id":[0-9]+,`)
	api := rewriting{w.source.http, func(path string, body []byte) []byte {
		if path == "/developer/v2/cycle" {
			return id.ReplaceAll(body, nil)
		}
		return body
	}}
	w.source.http = transport(func(req *http.Request) (*http.Response, error) {
		if strings.HasPrefix(req.URL.Path, "/developer/v2/cycle/") {
			t.Errorf("GET %s", req.URL)
		}
		return api.RoundTrip(req)
	})
	r := w.read(catalog(t, protocol.FullRefresh, "cycle_by_id", "recovery_for_cycle"))
	if got, want := len(r.Records(protocol.StreamID{Name: "cycle_by_id"})), len(w.server.Oracle().Records("cycles", w.clock.Now())); r.Code != 0 || got != want || want == 0 {
		t.Errorf("exit code %d, %d records of %d cycles, errors %+v", r.Code, got, want, r.Errors())
	}
	warned := map[string]bool{}
	for _, m := range r.Messages {
		for _, stream := range []string{"cycle_by_id", "recovery_for_cycle"} {
			if m.Log != nil && strings.Contains(m.Log.Message, "its id is missing") && strings.Contains(m.Log.Message, stream) {
				warned[stream] = true
			}
		}
	}
	wantEqual(t, "streams warned of", warned, map[string]bool{"cycle_by_id": true, "recovery_for_cycle": true})
}

// The warning about a parent without a key neither promises the row that it keeps out
// nor takes the place of the one about a row that cannot be tracked.
func TestWarningsOfADrilldownSayWhatBecomesOfTheRow(t *testing.T) {
	w := young(t, 1, 40, map[string]any{"drilldowns": config.Request})
	id, created := regexp.MustCompile(`"id":[0-9]+,`), regexp.MustCompile(`"created_at":"[^"]*"`)
	w.source.http = rewriting{w.source.http, func(path string, body []byte) []byte {
		switch {
		case path == "/developer/v2/cycle":
			if first := id.FindIndex(body); first != nil {
				return slices.Concat(body[:first[0]], body[first[1]:])
			}
		case strings.HasSuffix(path, "/recovery"):
			return created.ReplaceAll(body, []byte(`"created_at":"soon"`))
		}
		return body
	}}
	r := w.read(catalog(t, protocol.Incremental, "recovery_for_cycle"))
	if r.Code != 0 {
		t.Fatalf("exit code %d, errors %+v", r.Code, r.Errors())
	}
	var warnings []string
	for _, m := range r.Messages {
		if m.Log != nil && m.Log.Level == "WARN" && strings.Contains(m.Log.Message, "first") {
			warnings = append(warnings, m.Log.Message)
		}
	}
	if len(warnings) != 2 || !strings.Contains(warnings[0], "set drilldowns to derive") || strings.Contains(warnings[0], "emits it again") ||
		!strings.Contains(warnings[1], "every sync that meets it emits it again") {
		t.Errorf("the warnings are %q", warnings)
	}
}

// What a message says of an odd id or time is short, whatever WHOOP sent.
func TestAHugeValueIsNotRepeatedInLogs(t *testing.T) {
	huge := strings.Repeat("x", 1<<16)
	for field, value := range map[string]string{"id": `"` + huge + `"`, "start": `{"at":["` + huge + `"]}`} {
		w := young(t, 1, 40, nil)
		one := regexp.MustCompile(`"` + field + `":"[^"]*"`)
		w.source.http = rewriting{w.source.http, func(path string, body []byte) []byte {
			if path == workoutsPath {
				return one.ReplaceAll(body, []byte(`"`+field+`":`+value))
			}
			return body
		}}
		r := w.read(catalog(t, protocol.FullRefresh, "workout"))
		if r.Code != 0 || len(r.Records(protocol.StreamID{Name: "workout"})) == 0 {
			t.Fatalf("%s: exit code %d, errors %+v", field, r.Code, r.Errors())
		}
		warned := false
		for _, m := range r.Messages {
			if m.Log != nil {
				warned = warned || strings.Contains(m.Log.Message, "cannot be tracked")
				if len(m.Log.Message) > 1000 {
					t.Errorf("%s: a message of %d bytes", field, len(m.Log.Message))
				}
			}
		}
		if !warned {
			t.Errorf("%s: no warning", field)
		}
	}
}

// Who reads that rows are left behind must read how to remove them.
func TestAWalkThatCannotTellWhatVanishedNamesTheRemedy(t *testing.T) {
	w := newWorld(t, sandbox.Config{Seed: 2, Years: 1}, map[string]any{"lookback_days": 3, "reconcile_every_days": 1})
	workouts := catalog(t, protocol.Incremental, "workout")
	w.sync(workouts)
	var gone []member.Event
	for key := range w.tables["workout"] {
		if len(gone) == 2*changes.MaxVanished {
			break
		}
		gone = append(gone, member.Event{Do: member.Delete, Stream: "workout", Key: key})
	}
	if err := w.server.Schedule(gone...); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(2 * day)
	if r := w.sync(workouts); !strings.Contains(string(r.Stdout), "which is about 45") || !strings.Contains(string(r.Stdout), "sync it once in full refresh and overwrite mode") {
		t.Errorf("no warning names limit and remedy: %s", r.Stdout)
	}
	w.tables["workout"] = nil // as overwrite does
	w.sync(catalog(t, protocol.FullRefresh, "workout"))
	w.wantTruth("workout")
	w.sync(workouts)
	w.wantTruth("workout")
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) { return t(req) }

// A time far from all others is one all the same, and neither stops the stream nor makes it read the centuries between.
func TestTimesFarAwayStopNothing(t *testing.T) {
	t.Parallel()
	for i, odd := range []string{"0001-01-01T00:00:00Z", "0000-01-01T00:00:00+01:00", "0001-01-02T00:00:00Z", "1900-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "9999-12-31T23:59:59.9999999Z"} {
		for j, field := range []string{"start", "end", "created_at", "updated_at"} {
			if (i+j)%testsize.Of(3, 1) > 0 {
				continue // every time and every field is left
			}
			t.Run(field+" "+odd, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := young(t, 1, 40, nil)
					all := w.server.Oracle().Records("workout", w.clock.Now())
					victim := slices.Sorted(maps.Keys(all))[0]
					one := regexp.MustCompile(`("id":"` + victim + `"[^{}]*"` + field + `":)"[^"]*"`)
					w.source.http = rewriting{w.source.http, func(_ string, body []byte) []byte {
						return one.ReplaceAll(body, []byte(`$1"`+odd+`"`))
					}}
					chosen := catalog(t, protocol.Incremental, "workout")
					w.sync(chosen)
					if len(w.tables["workout"]) != len(all) || !strings.Contains(string(w.tables["workout"][victim]), odd) {
						t.Fatalf("%d rows of %d, the odd one %s", len(w.tables["workout"]), len(all), w.tables["workout"][victim])
					}
					asked := requests(w.server)
					for _, pause := range []time.Duration{time.Minute, 8 * day, time.Minute} {
						w.clock.Advance(pause)
						r := w.sync(chosen)
						if n := len(r.Records(protocol.StreamID{Name: "workout"})); pause == time.Minute && n > 1 {
							t.Errorf("%d records of a member who did nothing", n)
						}
					}
					want := w.server.Oracle().Records("workout", w.clock.Now())
					if got := w.tables["workout"]; len(got) != len(want) {
						t.Errorf("%d rows, want %d", len(got), len(want))
					}
					if n := requests(w.server) - asked; n > 60 {
						t.Errorf("%d requests for three syncs", n)
					}
				})
			})
		}
	}
}
