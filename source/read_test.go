package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/changes"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/tokens"
)

const day = 24 * time.Hour

func TestFullRefreshReadsWhatIsTrue(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{config.Request, config.Derive} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := young(t, 7, 100, map[string]any{"drilldowns": mode})
			r := w.sync(catalog(t, protocol.FullRefresh))
			w.wantTruth()
			for stream, n := range count(r.Messages) {
				if rows := len(w.tables[stream]); n != rows {
					t.Errorf("%s: %d records for %d rows", stream, n, rows)
				}
			}
		})
	}
}

// Only a body measurement may be missing: a server that knows nothing is not a member of whom there is nothing.
func TestAnotherServerIsNoEmptyMember(t *testing.T) {
	w := young(t, 1, 2, nil)
	w.server.SetFaults(sandbox.Fault{Path: "/developer", Action: sandbox.Replace, Status: 404, Times: -1})
	r := protocoltest.Source(t, w.source, "read", "--config", protocoltest.File(t, w.config), "--catalog", protocoltest.File(t, catalog(t, protocol.FullRefresh)))
	failed := 0
	for _, err := range r.Errors() {
		if err.FailureType == "config_error" && strings.Contains(err.Message, "Check api_url") {
			failed++
		}
	}
	if r.Code != 1 || failed != len(streams) {
		t.Errorf("exit code %d, %d of %d streams failed: %s", r.Code, failed, len(streams), r.Stdout)
	}
}

// A run that is told to stop between two failing streams says so. The failure of a stream
// would be the run's, without the scopes that only the stream has.
func TestAStopIsNotTakenForAFailureOfTheRun(t *testing.T) {
	w := young(t, 1, 2, nil)
	w.server.SetFaults(sandbox.Fault{Path: "/developer", Action: sandbox.Replace, Status: 403, Times: -1})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out bytes.Buffer
	code := cli.RunSource(ctx, w.source, cli.Env{
		Args: []string{"read", "--config", protocoltest.File(t, w.config), "--catalog", protocoltest.File(t, catalog(t, protocol.FullRefresh, "profile", "body_measurement"))},
		Stdout: writerFunc(func(p []byte) (int, error) {
			if bytes.Contains(p, []byte(`"INCOMPLETE"`)) {
				stop()
			}
			return out.Write(p)
		}),
		Stderr: io.Discard,
	})
	var told []string
	messages, err := protocoltest.Parse(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if m.Trace != nil && m.Trace.Error != nil {
			told = append(told, string(m.Trace.Error.FailureType)+": "+m.Trace.Error.Message)
		}
	}
	if code != 1 || len(told) != 2 || !strings.HasPrefix(told[0], "config_error: WHOOP refuses ") || !strings.HasPrefix(told[1], "transient_error: The run was interrupted.") {
		t.Errorf("exit code %d, %q", code, told)
	}
}

// Without a connection a run ends with its first request: it says so once, and not after
// a wait for each stream.
func TestARunWithoutAConnectionEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		paths := map[string]bool{}
		s := &source{http: roundTrip(func(r *http.Request) (*http.Response, error) {
			paths[r.URL.Path] = true
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "whoop.invalid"}}
		})}
		r := protocoltest.Source(t, s, "read", "--config", protocoltest.File(t, map[string]any{"credentials": map[string]any{
			"auth_type": config.OAuth, "client_id": "id-1234", "client_secret": "secret-1234", "access_token": "token-1234", "refresh_token": "refresh-1234",
		}}), "--catalog", protocoltest.File(t, catalog(t, protocol.Incremental)))
		told := r.Errors()
		if r.Code != 1 || len(told) != 1 || told[0].FailureType != protocol.TransientError || !strings.HasPrefix(told[0].Message, "WHOOP cannot be reached: the name whoop.invalid is not known") || len(paths) != 1 {
			t.Errorf("exit code %d, %+v, after requests of %v", r.Code, told, paths)
		}
	})
}

// Somebody who mistypes a year hears of it.
func TestAStartInTheFutureIsTold(t *testing.T) {
	for verb, args := range map[string][]string{"check": nil, "read": {"--catalog", protocoltest.File(t, catalog(t, protocol.Incremental))}} {
		w := young(t, 1, 2, map[string]any{"start_date": opening.Add(1000 * day).Format(time.RFC3339)})
		r := protocoltest.Source(t, w.source, append([]string{verb, "--config", protocoltest.File(t, w.config)}, args...)...)
		told := slices.ContainsFunc(r.Messages, func(m protocoltest.Message) bool {
			return m.Log != nil && m.Log.Level == "WARN" && strings.Contains(m.Log.Message, "start_date is in the future")
		})
		if !told || r.Code != 0 {
			t.Errorf("%s: exit code %d, %s", verb, r.Code, r.Stdout)
		}
	}
}

// A full walk comes when its time has come, however far that is.
func TestAFullWalkComesAfterSoManyDays(t *testing.T) {
	for every, want := range map[int]map[int]bool{ // by the days since the last
		0: {1: false, 10_000: false}, 1: {0: false, 1: true}, 7: {6: false, 7: true, 8: true}, 213_504: {1: false, 10_000: false}, math.MaxInt: {10_000: false},
	} {
		for days, full := range want {
			end := opening.Add(time.Duration(days) * day)
			raw, err := json.Marshal(changes.State{Version: changes.StateVersion, Until: opening, Walked: opening, WindowStart: opening})
			if err != nil {
				t.Fatal(err)
			}
			rd := newReader(&run{end: end, session: &session{out: protocol.NewEmitter(io.Discard, protocol.EmitterOptions{}), config: config.Settings{Config: config.Config{ReconcileEveryDays: every}}}}, streams[2], protocol.Incremental)
			if err := rd.start([]protocol.State{protocol.NewStreamState(rd.stream.id(), raw)}); err != nil || rd.walkDue != full {
				t.Errorf("every %d days, after %d: %t, %v", every, days, rd.walkDue, err)
			}
		}
	}
}

// With a full walk every time, nothing may escape: each sync emits exactly what
// differs since the one before.
func TestIncrementalEmitsExactlyTheChanges(t *testing.T) {
	t.Parallel()
	syncs := testsize.Of(3, 10)
	seed := deleter(t, opening.Add(50*day), opening.Add(60*day))
	for _, mode := range []string{config.Request, config.Derive} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := young(t, seed, 50, map[string]any{"drilldowns": mode, "reconcile_every_days": 1})
			w.sync(catalog(t, protocol.Incremental))
			w.wantTruth()
			for range syncs {
				before := w.clock.Now()
				w.clock.Advance(250 * time.Hour / time.Duration(syncs))
				r := w.sync(catalog(t, protocol.Incremental))
				w.wantTruth()
				for _, s := range streams {
					if !s.incremental() {
						continue
					}
					want := w.server.Oracle().Changes(s.name, before, w.clock.Now())
					got := keysOf(t, r, s)
					wantEqual(t, s.name+": keys emitted", got, slices.Sorted(slices.Values(append(slices.Collect(maps.Keys(want.Upserted)), want.Deleted...))))
				}
				if t.Failed() {
					return
				}
			}
		})
	}
}

// deleter returns the seed of a member who deletes a sleep and a workout between
// two instants.
func deleter(t *testing.T, from, to time.Time) int64 {
	t.Helper()
	for seed := range int64(100) {
		o := sandbox.New(sandbox.Config{Seed: seed, Clock: sandbox.NewClock(opening)}).Oracle()
		if len(o.Changes("sleep", from, to).Deleted) > 0 && len(o.Changes("workout", from, to).Deleted) > 0 {
			return seed
		}
	}
	t.Fatal("no member deletes anything")
	return 0
}

func keysOf(t *testing.T, r *protocoltest.Run, s stream) []string {
	t.Helper()
	var keys []string
	for _, data := range r.Records(s.id()) {
		key, _ := keyIn(t, s.name, data)
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// Between full walks the lookback is read again and nothing else; the full walk
// then brings what it could not see.
func TestLookbackAndFullWalkTogetherFindEverything(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		syncs := testsize.Of(15, 50)
		w := young(t, 11, 60, map[string]any{"lookback_days": 3})
		walks := 0
		for range syncs {
			walked := w.walked("sleep")
			w.sync(catalog(t, protocol.Incremental))
			if w.walked("sleep") != walked {
				walks++
				w.wantTruth()
			}
			for _, raw := range w.states {
				if len(raw) > 8<<10 {
					t.Errorf("a state of %d bytes: %s", len(raw), raw)
				}
			}
			if t.Failed() {
				return
			}
			w.clock.Advance(350 * time.Hour / time.Duration(syncs-1))
		}
		if walks != 3 {
			t.Errorf("%d full walks in 15 days, want the first and two more", walks)
		}
	})
}

func (w *world) state(stream string) changes.State {
	for _, raw := range w.states {
		if s, err := protocol.ParseState(raw); err == nil && s.Stream.Name == stream {
			st, _ := changes.ParseState(s.StreamState())
			return st
		}
	}
	return changes.State{}
}

func (w *world) walked(stream string) time.Time { return w.state(stream).Walked }

func TestSecondSyncOfAnUnchangedMemberIsEmptyAndCheap(t *testing.T) {
	t.Parallel()
	for mode, most := range map[string]int{config.Request: 80, config.Derive: 12} {
		t.Run(mode, func(t *testing.T) {
			w := young(t, 3, 60, map[string]any{"drilldowns": mode})
			w.sync(catalog(t, protocol.Incremental))
			before := requests(w.server)
			r := w.sync(catalog(t, protocol.Incremental))
			wantEqual(t, "records", count(r.Messages), map[string]int{"profile": 1, "body_measurement": 1})
			if n := requests(w.server) - before; n > most {
				t.Errorf("%d requests, want at most %d", n, most)
			}
		})
	}
}

func requests(s *sandbox.Server) int {
	n := 0
	for _, count := range s.Audit().Requests {
		n += count
	}
	return n
}

// Under WHOOP's documented limits, with answers that take their time.
func TestBackfillOfFiveYearsIsCheapAndKeepsThePace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sandbox.Config{Seed: 5, Years: 5, RequestsPerMinute: 100, RequestsPerDay: 10_000}, map[string]any{"requests_per_second": 2})
		slow := &slowly{inProcess{w.server}, 900 * time.Millisecond, sync.Mutex{}, nil}
		w.source.http = slow
		began := time.Now()
		w.sync(catalog(t, protocol.Incremental, "cycles", "recovery", "sleep", "workout"))
		w.wantTruth("cycles", "recovery", "sleep", "workout")
		if n := requests(w.server); n > 300 {
			t.Errorf("%d requests, want at most 300", n)
		}
		if n := w.server.Audit().RateLimited; n > 3 {
			t.Errorf("%d requests were refused, want at most 3", n)
		}
		for i, first := range slow.sent {
			if i+4 < len(slow.sent) && slow.sent[i+4].Sub(first) < 2*time.Second {
				t.Fatalf("more than 4 requests in the 2 s from %v", first)
			}
		}
		if took := time.Since(began); took > 4*time.Minute {
			t.Errorf("it took %v, though several requests can be under way", took)
		}
	})
}

// slowly takes its time for each answer.
type slowly struct {
	http.RoundTripper
	latency time.Duration

	mu   sync.Mutex
	sent []time.Time
}

func (s *slowly) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.sent = append(s.sent, time.Now())
	s.mu.Unlock()
	time.Sleep(s.latency)
	return s.RoundTripper.RoundTrip(req)
}

// Whatever state a destination kept last, the sync that resumes from it ends
// with the truth.
func TestResumesFromEveryState(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sandbox.Config{Seed: 2, Years: 4}, nil)
		chosen := []string{"recovery_for_cycle", "workout", "sleep_for_cycle"}[:testsize.Of(2, 3)]
		first := w.read(catalog(t, protocol.Incremental, chosen...))
		states := 0
		for i, m := range first.Messages {
			if m.Type != "STATE" {
				continue
			}
			if states++; states%testsize.Of(3, 1) > 0 {
				continue
			}
			resumed := *w
			resumed.states, resumed.tables = nil, tables{}
			resumed.keep(first.Messages[:i+1])
			resumed.sync(catalog(t, protocol.Incremental, chosen...))
			resumed.wantTruth(chosen...)
			if t.Failed() {
				t.Fatalf("resumed from message %d: %s", i, m.State)
			}
		}
		if states < 2*len(chosen) {
			t.Errorf("%d states of a four-year backfill of %d streams, want one for each slice", states, len(chosen))
		}
	})
}

func TestDrilldownModesShareTheirState(t *testing.T) {
	t.Parallel()
	w := young(t, 9, 60, nil)
	w.sync(catalog(t, protocol.Incremental))
	w.config["drilldowns"] = config.Request
	r := w.sync(catalog(t, protocol.Incremental))
	wantEqual(t, "records", count(r.Messages), map[string]int{"profile": 1, "body_measurement": 1})
}

func TestStateOfTheFutureReadsNothing(t *testing.T) {
	w := young(t, 1, 40, nil)
	future := `{"version":1,"until":"2999-01-01T00:00:00Z","walked":"2999-01-01T00:00:00Z","window_start":"2998-12-01T00:00:00Z","recent":[],"older":""}`
	for _, s := range streams {
		if s.incremental() {
			w.states = append(w.states, protocol.NewStreamState(s.id(), json.RawMessage(future)).Raw)
		}
	}
	r := w.sync(catalog(t, protocol.Incremental))
	wantEqual(t, "records", count(r.Messages), map[string]int{"profile": 1, "body_measurement": 1})
	if got := len(r.States()); got != len(streams) {
		t.Errorf("%d states, want one for each stream", got)
	}
}

func TestUnknownStatesStartOver(t *testing.T) {
	t.Parallel()
	for name, st := range map[string]string{
		"null":                `null`,
		"empty":               `{}`,
		"full refresh":        fullRefreshDone,
		"no cursor":           `{"__ab_no_cursor_state_message": true}`,
		"another connector's": `{"updated_at":"2026-01-01T00:00:00Z"}`,
		"another version":     `{"version":99,"until":"2026-01-14T00:00:00Z"}`,
		"not an object":       `["a"]`,
		"a broken sketch":     `{"version":1,"until":"2026-01-14T00:00:00Z","older":"AAAA"}`,
		"a broken entry":      `{"version":1,"until":"2026-01-14T00:00:00Z","recent":[["x",1,"00"]]}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := young(t, 1, 40, nil)
			w.states = []json.RawMessage{protocol.NewStreamState(protocol.StreamID{Name: "cycles"}, json.RawMessage(st)).Raw}
			r := w.sync(catalog(t, protocol.Incremental, "cycles"))
			wantWarning := strings.HasPrefix(name, "a") && name != "a broken sketch" || name == "not an object" // version 1 needs nothing of its sketch
			if warned := strings.Contains(string(r.Stdout), "cannot be used: the stream is read from its start"); warned != wantWarning {
				t.Errorf("a warning that it starts over: %t", warned)
			}
			if n, want := count(r.Messages)["cycles"], len(w.server.Oracle().Records("cycles", w.clock.Now())); n != want || want == 0 {
				t.Errorf("%d records, want all %d", n, want)
			}
		})
	}
}

// Whoever stores a state may write it in another form, as Python does.
func TestAStateIsEmptyInWhateverForm(t *testing.T) {
	for raw, want := range map[string]bool{
		``: true, `null`: true, `{}`: true, "{ }\n": true, fullRefreshDone: true, `{"__ab_full_refresh_sync_complete": true}`: true,
		`{"__ab_no_cursor_state_message": true}`: true, `{"until": "2026-01-01"}`: false, `[]`: false, `7`: false,
		`{"__ab_full_refresh_sync_complete": true, "until": "2026-01-01"}`: false,
	} {
		if got := isEmptyState(json.RawMessage(raw)); got != want {
			t.Errorf("%q is empty: %v", raw, got)
		}
	}
}

// Two connections that share tables are given each other's states. Without the check, the
// second one would delete the rows of the first.
func TestAStateOfAnotherMemberIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, other := young(t, 1, 40, nil), young(t, 2, 40, nil)
		w.sync(catalog(t, protocol.Incremental))
		other.states = slices.Clone(w.states) // those of the first
		member := func(w *world) string {
			return slices.Sorted(maps.Keys(w.server.Oracle().Records("profile", w.clock.Now())))[0]
		}
		if member(w) == member(other) {
			t.Fatal("both sandboxes have the same member")
		}
		// The profile says who the member is, or any record; with neither, nothing is emitted either.
		const api, profile = "/developer/v2/", "/developer/v2/user/profile"
		not := fmt.Sprintf("is that of the WHOOP member %s, and the tokens are those of member %s", member(w), member(other))
		for _, tt := range []struct {
			faults []sandbox.Fault
			kind   protocol.Kind
			want   string
		}{
			{nil, protocol.ConfigError, not},
			{[]sandbox.Fault{{Path: profile, Times: -1, Action: sandbox.Replace, Status: 503}}, protocol.ConfigError, not},
			{[]sandbox.Fault{{Path: profile, Times: -1, Action: sandbox.Replace, Status: 401}}, protocol.ConfigError, not},
			{[]sandbox.Fault{{Path: api, Times: -1, Action: sandbox.Replace, Status: 503}}, protocol.TransientError, "does not say whose tokens these are"},
			{[]sandbox.Fault{{Path: api, Times: -1, Action: sandbox.Replace, Status: 401}}, protocol.ConfigError, "the member's consent does not include read:profile"},
		} {
			other.server.SetFaults(tt.faults...)
			r := other.read(catalog(t, protocol.Incremental))
			if errs := r.Errors(); r.Code != 1 || len(errs) != 1 || errs[0].FailureType != tt.kind || !strings.Contains(errs[0].Message, tt.want) {
				t.Errorf("%+v: exit code %d, errors %+v; want one that says %q", tt.faults, r.Code, errs, tt.want)
			}
			wantEqual(t, "records", count(r.Messages), map[string]int{})
		}

		// A state from before it named the member goes on, and then names it.
		for i, raw := range w.states {
			w.states[i] = regexp.MustCompile(`"user_id":\d+,`).ReplaceAll(raw, nil)
		}
		w.sync(catalog(t, protocol.Incremental))
		if last := string(w.states[len(w.states)-1]); !strings.Contains(last, `"user_id":`+member(w)) {
			t.Errorf("the state names no member: %s", last)
		}
	})
}

func TestStartDateLimitsAndAnEarlierOneStartsOver(t *testing.T) {
	w := newWorld(t, sandbox.Config{Seed: 1, Years: 1}, map[string]any{"start_date": opening.Add(-30 * day).Format(time.RFC3339)})
	w.sync(catalog(t, protocol.Incremental, "cycles"))
	if n := len(w.tables["cycles"]); n < 20 || n > 33 {
		t.Errorf("%d cycles of 30 days", n)
	}
	for _, step := range []time.Duration{0, 8 * day} { // the second time with a full walk
		w.clock.Advance(step)
		before := len(w.tables["cycles"])
		r := w.sync(catalog(t, protocol.Incremental, "cycles"))
		if n := len(r.Records(protocol.StreamID{Name: "cycles"})); step == 0 && n > 0 {
			t.Errorf("%d cycles, though nothing has changed", n)
		}
		if n := len(w.tables["cycles"]) - before; n > int(step/day)+3 {
			t.Errorf("%d more cycles after %v", n, step)
		}
	}
	for _, row := range w.tables["cycles"] {
		if r := changes.ParseRecord(row, "id"); r.Time.Before(opening.Add(-30 * day)) {
			t.Errorf("%v: from before the start date", r.Time)
		}
	}
	w.config["start_date"] = opening.Add(-60 * day).Format(time.RFC3339)
	w.sync(catalog(t, protocol.Incremental, "cycles"))
	if n := len(w.tables["cycles"]); n < 45 || n > 72 {
		t.Errorf("%d cycles of 60 days", n)
	}
}

func TestOneStreamsFailureDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	const sleeps = "/developer/v2/activity/sleep"
	for name, fault := range map[string]sandbox.Fault{
		"503":  {Path: sleeps, Times: -1, Action: sandbox.Replace, Status: 503},
		"hang": {Path: sleeps, Times: -1, Action: sandbox.Hang},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := young(t, 1, 40, nil)
				w.server.SetFaults(fault)
				r := w.read(catalog(t, protocol.Incremental))
				if r.Code != 1 {
					t.Errorf("exit code %d, want 1", r.Code)
				}
				failed := map[string]protocol.Kind{}
				for _, e := range r.Errors() {
					if e.Stream == nil {
						t.Fatalf("the run failed: %+v", e)
					}
					failed[e.Stream.Name] = e.FailureType
				}
				wantEqual(t, "failed", failed, map[string]protocol.Kind{
					"sleep": protocol.TransientError, "sleep_by_id": protocol.TransientError, "sleep_for_cycle": protocol.TransientError,
				})
				w.keep(r.Messages)
				w.server.SetFaults()
				w.sync(catalog(t, protocol.Incremental))
				w.wantTruth()
			})
		})
	}
}

func TestFaultsThatPassLeaveNoTrace(t *testing.T) {
	t.Parallel()
	html := sandbox.Fault{Action: sandbox.Replace, Status: 200, Body: "<html>busy</html>"}
	for name, f := range map[string]sandbox.Fault{
		"500":           {Action: sandbox.Replace, Status: 500},
		"HTML":          html,
		"empty":         {Action: sandbox.Replace, Status: 200},
		"truncated":     {Action: sandbox.Truncate, Bytes: 100},
		"reset":         {Action: sandbox.Reset},
		"hang":          {Action: sandbox.Hang},
		"429":           {Action: sandbox.Replace, Status: 429},
		"401 for once":  {Action: sandbox.Replace, Status: 401, Body: "Authorization was not valid", Times: 1},
		"slow":          {Delay: 20 * time.Second},
		"without clock": {Action: sandbox.Alter, Header: map[string]string{"Date": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := young(t, 1, 40, nil)
				f.Path, f.Skip, f.Times = "/developer", 2, cmp.Or(f.Times, 3)
				w.server.SetFaults(f)
				w.sync(catalog(t, protocol.Incremental))
				w.wantTruth()
				if got := w.server.Audit().Faults; got != f.Times {
					t.Errorf("%d faults injected, want %d", got, f.Times)
				}
			})
		})
	}
}

func TestRateLimitIsKeptAndReported(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sandbox.Config{Seed: 1, Years: 1, RequestsPerMinute: 40}, map[string]any{"requests_per_second": 50})
		r := w.sync(catalog(t, protocol.Incremental))
		w.wantTruth()
		if n := w.server.Audit().RateLimited; n > 0 {
			t.Errorf("%d requests were refused, though the headers told", n)
		}
		limited := 0
		for _, m := range r.Messages {
			if m.Trace != nil && m.Trace.StreamStatus != nil && len(m.Trace.StreamStatus.Reasons) > 0 {
				limited++
			}
		}
		if limited == 0 {
			t.Error("no stream reported RATE_LIMITED")
		}
	})
}

func TestSpentDayQuotaEndsTheSyncAndLaterItGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sandbox.Config{Seed: 1, Years: testsize.Of(1, 2), RequestsPerMinute: -1, RequestsPerDay: 45}, nil)
		var last protocoltest.TraceError
		syncs := 0
		for {
			began := time.Now()
			r := w.read(catalog(t, protocol.Incremental))
			w.keep(r.Messages)
			if r.Code == 0 {
				break
			}
			if syncs++; syncs > 10 {
				t.Fatal("no end")
			}
			if waited := time.Since(began); waited > 5*time.Minute {
				t.Fatalf("the sync waited %v for a day to pass", waited)
			}
			last = r.Errors()[0]
			time.Sleep(day)
		}
		w.wantTruth()
		if last.FailureType != protocol.TransientError || !strings.Contains(last.Message, "Start again after 200") {
			t.Errorf("the error is %+v, want a transient one that says when to continue", last)
		}
	})
}

func TestRenewedTokensAreHandedOutBeforeTheirFirstUse(t *testing.T) {
	t.Parallel()
	w := young(t, 1, 40, nil)
	w.sync(catalog(t, protocol.Incremental))
	for range 3 {
		w.clock.Advance(2 * time.Hour) // the access token dies
		r := w.sync(catalog(t, protocol.Incremental))
		isType := func(kind string) func(protocoltest.Message) bool {
			return func(m protocoltest.Message) bool { return m.Type == kind }
		}
		if c := slices.IndexFunc(r.Messages, isType("CONTROL")); c < 0 || c > slices.IndexFunc(r.Messages, isType("RECORD")) {
			t.Errorf("CONTROL is message %d, after the first record", c)
		}
		wantTokensOnlyInControl(t, r)
	}
	w.wantTruth()
	if a := w.server.Audit(); a.Refreshes != 3 || a.SpentReplays != 0 {
		t.Errorf("%d refreshes and %d replays, want 3 and 0", a.Refreshes, a.SpentReplays)
	}
	if w.config["drilldowns"] != config.Derive {
		t.Errorf("the rotated configuration is not whole: %v", w.config)
	}
}

func wantTokensOnlyInControl(t *testing.T, r *protocoltest.Run) {
	t.Helper()
	var secrets []string
	for _, m := range r.Messages {
		if m.Control != nil {
			var c config.Config
			if err := json.Unmarshal(m.Control.ConnectorConfig.Config, &c); err != nil {
				t.Fatal(err)
			}
			secrets = append(secrets, c.Credentials.ClientID, c.Credentials.ClientSecret, c.Credentials.AccessToken, c.Credentials.RefreshToken)
		}
	}
	if len(secrets) != 4 {
		t.Errorf("%d secrets in CONTROL messages, want 4", len(secrets))
	}
	for _, m := range r.Messages {
		for _, s := range secrets {
			if m.Control == nil && bytes.Contains(m.Raw, []byte(s)) {
				t.Errorf("a secret in %s", m.Raw)
			}
		}
	}
}

func TestTokensOfAFileStayInIt(t *testing.T) {
	w := young(t, 1, 10, nil)
	issued := w.server.Issue()
	pair := tokens.Credentials{ClientID: "sandbox-client", ClientSecret: "sandbox-secret", AccessToken: issued.AccessToken, RefreshToken: issued.RefreshToken}
	path := protocoltest.File(t, pair)
	w.config["credentials"] = map[string]any{"auth_type": config.File, "path": path}
	for _, end := range []func(){func() {}, func() { w.clock.Advance(2 * time.Hour) }, func() { w.server.Revoke() }} {
		end()
		r := w.read(catalog(t, protocol.Incremental))
		if bytes.Contains(r.Stderr, []byte("other users of this machine can read the token file")) {
			t.Errorf("a warning of a file that its owner alone can read: %s", r.Stderr)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var now tokens.Credentials
		if err := json.Unmarshal(raw, &now); err != nil {
			t.Fatal(err)
		}
		for _, secret := range append(pair.Secrets(), now.Secrets()...) {
			if bytes.Contains(r.Stdout, []byte(secret)) || bytes.Contains(r.Stderr, []byte(secret)) {
				t.Errorf("a secret in the output: %s%s", r.Stdout, r.Stderr)
			}
		}
		if bytes.Contains(r.Stdout, []byte(`"CONTROL"`)) {
			t.Error("a CONTROL message, though the file keeps the tokens")
		}
		pair = now
	}
	if a := w.server.Audit(); a.Refreshes != 1 || a.SpentReplays != 0 {
		t.Errorf("%d refreshes and %d replays, want 1 and 0", a.Refreshes, a.SpentReplays)
	}
}

func TestATokenFileThatOthersCanReadIsToldOf(t *testing.T) {
	w := young(t, 1, 10, nil)
	issued := w.server.Issue()
	path := protocoltest.File(t, tokens.Credentials{ClientID: "sandbox-client", ClientSecret: "sandbox-secret", AccessToken: issued.AccessToken, RefreshToken: issued.RefreshToken})
	w.config["credentials"] = map[string]any{"auth_type": config.File, "path": path}
	for mode, want := range map[os.FileMode]bool{0o600: false, 0o640: true, 0o604: true} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		r := w.read(catalog(t, protocol.Incremental, "cycles"))
		if told := bytes.Contains(r.Stderr, []byte("other users of this machine can read the token file; restrict it with chmod 600")); told != want {
			t.Errorf("mode %v: told %t\n%s", mode, told, r.Stderr)
		}
	}
}

func TestRevokedConsentEndsTheRun(t *testing.T) {
	w := young(t, 1, 40, nil)
	w.server.Revoke()
	r := w.read(catalog(t, protocol.Incremental))
	errs := r.Errors()
	if r.Code != 1 || len(errs) != 1 || errs[0].FailureType != protocol.ConfigError || !strings.Contains(errs[0].Message, "consent again") {
		t.Errorf("exit code %d, errors %+v", r.Code, errs)
	}
	if a := w.server.Audit(); a.SpentReplays != 0 || a.DeadTokens != len(endpoints()) { // each may be one that the consent covers
		t.Errorf("%d replays, %d requests with a dead token", a.SpentReplays, a.DeadTokens)
	}
}

func TestMissingScopeFailsOnlyItsStreams(t *testing.T) {
	w := young(t, 1, 40, nil)
	w.config["credentials"] = credentialsOf(w.server.Issue("read:cycles", "read:profile", "read:body_measurement", "read:sleep", "read:recovery", "offline"))
	r := w.read(catalog(t, protocol.Incremental))
	var failed []string
	for _, e := range r.Errors() {
		failed = append(failed, e.Stream.Name)
		if e.FailureType != protocol.ConfigError || !strings.Contains(e.Message, "read:workout") {
			t.Errorf("%+v", e)
		}
	}
	wantEqual(t, "failed", failed, []string{"workout", "workout_by_id"})
	if a := w.server.Audit(); a.Refreshes > 0 {
		t.Errorf("%d refreshes for a scope that no refresh brings", a.Refreshes)
	}
}

func TestUnknownStreamAndModeAreNamedAndTheOthersRead(t *testing.T) {
	w := young(t, 1, 40, nil)
	c := catalog(t, protocol.Incremental, "profile", "cycles", "workout")
	c.Streams[0].SyncMode = "mirror"
	c.Streams[2].Stream.Name = "steps"
	r := w.read(c)
	errs := r.Errors()
	if r.Code != 1 || len(errs) != 2 {
		t.Fatalf("exit code %d, errors %+v", r.Code, errs)
	}
	for i, want := range []string{`no sync mode "mirror"`, `no stream "steps"`} {
		if errs[i].FailureType != protocol.ConfigError || !strings.Contains(errs[i].Message, want) {
			t.Errorf("error %+v, want a config error with %s", errs[i], want)
		}
	}
	if len(r.Records(protocol.StreamID{Name: "cycles"})) == 0 {
		t.Error("no cycles were read")
	}
}

// Clients ask for the incremental mode of every stream, PyAirbyte among them.
func TestAStreamWithoutIncrementalModeIsReadInFull(t *testing.T) {
	w := young(t, 1, 40, nil)
	c := catalog(t, protocol.Incremental)
	for i := range c.Streams {
		c.Streams[i].SyncMode = protocol.Incremental
	}
	r := w.read(c)
	if r.Code != 0 {
		t.Fatalf("exit code %d, errors %+v", r.Code, r.Errors())
	}
	said := 0
	for _, m := range r.Messages {
		if m.Log != nil && strings.Contains(m.Log.Message, "has no incremental mode and is read in full") {
			said++
		}
	}
	if said != 2 {
		t.Errorf("it is said of %d streams", said)
	}
	for _, name := range []string{"profile", "body_measurement"} {
		if n := len(r.Records(protocol.StreamID{Name: name})); n != 1 {
			t.Errorf("%d records of %s", n, name)
		}
	}
}

// What stands before WHOOP refuses the agents of libraries, at the token endpoint as well.
func TestNoRequestHasALibrarysAgent(t *testing.T) {
	w := young(t, 1, 40, nil)
	if err := w.server.SetProfile(sandbox.Profile{DefaultAgentsBlocked: true}); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(day) // the access token has expired
	if r := w.read(catalog(t, protocol.Incremental, "profile", "cycles")); r.Code != 0 {
		t.Fatalf("exit code %d, errors %+v", r.Code, r.Errors())
	}
	if a := w.server.Audit(); a.Refreshes == 0 {
		t.Error("no token was refreshed")
	}
}

// rewriting changes the answers of an API.
type rewriting struct {
	http.RoundTripper
	rewrite func(path string, body []byte) []byte
}

func (r rewriting) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.RoundTripper.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(r.rewrite(req.URL.Path, body)))
	resp.ContentLength = -1
	return resp, nil
}

// WHOOP may write ids and times in ways that are not known today. Such a record arrives with the others, is named
// once, and stops nothing; the state does not grow by it.
func TestARecordThatCannotBeTrackedArrives(t *testing.T) {
	t.Parallel()
	upper := regexp.MustCompile(`"id":"[0-9a-f-]{36}"`)
	number := regexp.MustCompile(`"id":([0-9]+)`)
	zone := regexp.MustCompile(`("(?:start|end|created_at|updated_at)":"[^"]*?)Z"`)
	for name, tt := range map[string]struct {
		stream  string
		rewrite func([]byte) []byte
		odd     bool
	}{
		"an upper-case UUID": {"sleep", func(b []byte) []byte {
			return upper.ReplaceAllFunc(b, func(m []byte) []byte { return append([]byte(`"id"`), bytes.ToUpper(m[4:])...) })
		}, true},
		"a quoted id":         {"cycles", func(b []byte) []byte { return number.ReplaceAll(b, []byte(`"id":"$1"`)) }, true},
		"times without zone":  {"cycles", func(b []byte) []byte { return zone.ReplaceAll(b, []byte(`$1"`)) }, false},
		"times that are none": {"workout", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(`"start":"2`), []byte(`"start":"soon 2`)) }, true},
		"no times at all": {"workout", func(b []byte) []byte {
			return bytes.ReplaceAll(bytes.ReplaceAll(b, []byte(`"start":`), []byte(`"from":`)), []byte(`"created_at":`), []byte(`"made":`))
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := young(t, 1, 40, nil)
			plain := len(w.read(catalog(t, protocol.Incremental, tt.stream)).Records(protocol.StreamID{Name: tt.stream}))
			w = young(t, 1, 40, nil)
			w.source.http = rewriting{w.source.http, func(path string, body []byte) []byte {
				if strings.HasPrefix(path, "/developer/v2/cycle") || strings.HasPrefix(path, "/developer/v2/activity") {
					return tt.rewrite(body)
				}
				return body
			}}
			for range 2 {
				r := w.read(catalog(t, protocol.Incremental, tt.stream))
				if got := len(r.Records(protocol.StreamID{Name: tt.stream})); r.Code != 0 || got != plain || plain == 0 {
					t.Fatalf("exit code %d, %d records of %d, errors %+v", r.Code, got, plain, r.Errors())
				}
				warned := 0
				for _, m := range r.Messages {
					if m.Log != nil && strings.Contains(m.Log.Message, "cannot be tracked") {
						warned++
					}
				}
				if want := map[bool]int{true: 1}[tt.odd]; warned != want {
					t.Errorf("%d warnings, want %d", warned, want)
				}
				if states := r.States(); tt.odd && len(states[len(states)-1].Raw) > 1000 {
					t.Errorf("the state has %d bytes", len(states[len(states)-1].Raw))
				}
			}
		})
	}
}

// A cycle that lies across two slices is in both.
func TestAParentIsAskedForItsChildOnce(t *testing.T) {
	t.Parallel()
	for _, mode := range []protocol.SyncMode{protocol.FullRefresh, protocol.Incremental} {
		w := young(t, 1, 100, map[string]any{"drilldowns": config.Request})
		if r := w.read(catalog(t, mode, "sleep_for_cycle")); r.Code != 0 {
			t.Fatalf("exit code %d, errors %+v", r.Code, r.Errors())
		}
		asked, cycles := 0, len(w.server.Oracle().Records("cycles", w.clock.Now()))
		for route, n := range w.server.Audit().Requests {
			if strings.Contains(route, "/cycle/") && strings.HasSuffix(route, "/sleep") {
				asked += n
			}
		}
		if asked == 0 || asked > cycles {
			t.Errorf("%s: %d requests for the children of %d cycles: %v", mode, asked, cycles, w.server.Audit().Requests)
		}
	}
}
