package main

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
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
	"github.com/ingest-connectors/whoop-iceberg/source/internal/tokens"
)

// Whatever WHOOP does, once it is over the next full walk ends with the truth.
func TestNoScenarioLosesAnything(t *testing.T) {
	t.Parallel()
	for i, sc := range sandbox.Scenarios() {
		if sc.Ends || sc.Profile.Consent != "" || len(sc.Profile.WithheldScopes) > 0 {
			continue // no client can go on, or it is about a consent
		}
		if i%testsize.Of(10, 1) > 0 {
			continue // scenarios of a kind are listed side by side
		}
		t.Run(sc.Name, func(t *testing.T) {
			t.Parallel()
			mode := config.Derive
			if i%4 == 0 {
				mode = config.Request
			}
			synctest.Test(t, func(t *testing.T) {
				days := 50
				for _, e := range sc.Events { // some are of an old record
					days = max(days, 50+int(time.Duration(e.Age)/day))
				}
				since := func(daysAgo int) time.Time { return opening.Add(time.Duration(days-daysAgo) * day) }
				w := young(t, 4, days, map[string]any{"drilldowns": mode, "start_date": since(10).Format(time.RFC3339)})
				all := catalog(t, protocol.Incremental)
				w.sync(all)
				if err := w.server.Play(sc); err != nil {
					t.Fatal(err)
				}
				w.config["start_date"] = since(30).Format(time.RFC3339) // so that there are pages to read
				for range 2 {
					w.clock.Advance(time.Hour)
					w.keep(w.read(all).Messages)
				}
				if err := w.server.Play(sandbox.Scenario{}); err != nil {
					t.Fatal(err)
				}
				w.clock.Advance(8 * day)
				w.sync(all)
				w.sync(all) // where everything had changed, it comes now
				w.wantTruthSince(since(30))
			})
		})
	}
}

// Where WHOOP ends the connection, a run says how to get a new one, and with it
// everything goes on.
func TestScenariosThatEndAConnectionAskForConsent(t *testing.T) {
	t.Parallel()
	ends := 0
	for _, sc := range sandbox.Scenarios() {
		if !sc.Ends {
			continue
		}
		if ends++; ends%testsize.Of(2, 1) > 0 {
			continue
		}
		t.Run(sc.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := young(t, 4, 40, map[string]any{"start_date": opening.Add(20 * day).Format(time.RFC3339)})
				all := catalog(t, protocol.Incremental)
				w.sync(all)
				if err := w.server.Play(sc); err != nil {
					t.Fatal(err)
				}
				asked := false
				for range 4 {
					w.clock.Advance(31 * day)
					r := w.read(all)
					w.keep(r.Messages)
					for _, e := range r.Errors() {
						asked = asked || e.FailureType == protocol.ConfigError && strings.Contains(e.Message, "consent again")
					}
					if asked {
						break
					}
				}
				if !asked {
					t.Error("no run asked for a new consent")
				}
				if err := w.server.Play(sandbox.Scenario{}); err != nil {
					t.Fatal(err)
				}
				w.config["credentials"] = credentialsOf(w.server.Issue())
				w.sync(all)
				w.sync(all)
				w.wantTruthSince(opening.Add(20 * day))
			})
		})
	}
}

// wantTruthSince compares the tables with what is true of what began at an
// instant or later: those of the chosen streams, or all.
func (w *world) wantTruthSince(first time.Time, chosen ...string) {
	w.t.Helper()
	for _, s := range streams {
		if !s.incremental() || len(chosen) > 0 && !slices.Contains(chosen, s.name) {
			continue
		}
		want := map[string]string{}
		for key, raw := range w.server.Oracle().Records(s.name, w.clock.Now()) {
			r := changes.ParseRecord(raw, s.key)
			if r.Untracked != "" {
				w.t.Fatal(r.Untracked)
			}
			if !r.Time.Before(first) {
				want[key] = string(raw)
			}
		}
		got := map[string]string{}
		for key, raw := range w.tables[s.name] {
			got[key] = string(raw)
		}
		wantEqual(w.t, s.name, got, want)
	}
}

// After a full refresh no later sync looks again, and neither does one without full walks
// look at old records: a record that vanishes between two pages must not take another one
// with it.
func TestReadsAgainWhatMovedUnderIt(t *testing.T) {
	t.Parallel()
	noFullWalks := map[string]any{"reconcile_every_days": 0}
	for mode, config := range map[protocol.SyncMode]map[string]any{protocol.FullRefresh: nil, protocol.Incremental: noFullWalks} {
		t.Run(string(mode), func(t *testing.T) { readsAgainWhatMoved(t, mode, config) })
	}
}

func readsAgainWhatMoved(t *testing.T, mode protocol.SyncMode, config map[string]any) {
	for name, e := range map[string]member.Event{
		"delete": {Do: member.Delete, Stream: "workout", Age: member.Duration(2 * day)},
		"insert": {Do: member.Insert, Stream: "workout", Age: member.Duration(2 * day)},
		"move":   {Do: member.Edit, Stream: "workout", Age: member.Duration(2 * day), Shift: member.Duration(-90 * day)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, sandbox.Config{Seed: 4, Years: 1}, config)
				e.After = member.Duration(45 * time.Second) // after some pages
				if err := w.server.Play(sandbox.Scenario{Profile: sandbox.Profile{Tick: member.Duration(5 * time.Second)}, Events: []member.Event{e}}); err != nil {
					t.Fatal(err)
				}
				before := w.server.Oracle().Records("workout", w.clock.Now())
				r := w.read(catalog(t, mode, "workout"))
				after := w.server.Oracle().Records("workout", w.clock.Now())
				got := map[string]bool{}
				for _, data := range r.Records(protocol.StreamID{Name: "workout"}) {
					key, _ := keyIn(t, "workout", data)
					got[key] = true
				}
				for key := range after {
					if before[key] != nil && !got[key] {
						t.Errorf("workout %s was there all the time and is missing", key)
					}
				}
			})
		})
	}
}

// Slices whose pages do not lead on are halved until they fit.
func TestPagesThatLeadNowhereAreNotNeeded(t *testing.T) {
	t.Parallel()
	for name, profile := range map[string]sandbox.Profile{
		"repeated": {RepeatedToken: true},
		"expired":  {PageTokenTTL: member.Duration(time.Nanosecond)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, sandbox.Config{Seed: 4, Years: testsize.Of(1, 2), Profile: profile}, nil)
				w.sync(catalog(t, protocol.Incremental))
				w.wantTruth()
			})
		})
	}
}

// A state is repeated unless a record came after it: whoever resumed from it would
// get that record again.
func TestWaitsRepeatTheLastStates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sandbox.Config{Seed: 1, Years: 1}, nil)
		all := catalog(t, protocol.Incremental)
		w.sync(all)
		if err := w.server.SetProfile(sandbox.Profile{RequestsPerMinute: 4, RequestsPerDay: -1}); err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(day)
		r := w.read(all)
		limited, repeated := 0, 0
		last := map[string]string{} // by stream; no state once a record came after it
		for _, raw := range w.states {
			s, err := protocol.ParseState(raw)
			if err != nil {
				t.Fatal(err)
			}
			last[s.Stream.Name] = string(s.StreamState())
		}
		for i, m := range r.Messages {
			if m.Record != nil {
				delete(last, m.Record.Stream)
			}
			if m.Type == "STATE" {
				s, err := protocol.ParseState(m.State)
				if err != nil {
					t.Fatal(err)
				}
				if raw := string(s.StreamState()); last[s.Stream.Name] == raw {
					repeated++
				} else {
					last[s.Stream.Name] = raw
				}
			}
			if m.Trace == nil || m.Trace.StreamStatus == nil || len(m.Trace.StreamStatus.Reasons) == 0 {
				continue
			}
			limited++
			name := m.Trace.StreamStatus.Stream.Name
			if isState := r.Messages[i+1].Type == "STATE"; isState != (last[name] != "") {
				t.Errorf("%s waits, and the next message is %s", name, r.Messages[i+1].Raw)
			}
		}
		if limited == 0 || repeated < limited {
			t.Errorf("%d reports of a wait, %d states repeated", limited, repeated)
		}
	})
}

// The token endpoint has no quota left, and says for how long.
func TestAWaitForQuotaOfTheTokenEndpointIsReported(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := young(t, 1, 30, nil)
		all := catalog(t, protocol.Incremental)
		w.sync(all)
		w.clock.Advance(day)
		w.server.SetFaults(sandbox.Fault{Path: "/oauth/oauth2/token", Times: 2, Action: sandbox.Replace, Status: 429, Header: map[string]string{"Retry-After": "40"}})
		limited := map[string]int{}
		for _, m := range w.sync(all).Messages {
			if m.Trace != nil && m.Trace.StreamStatus != nil && len(m.Trace.StreamStatus.Reasons) > 0 {
				limited[m.Trace.StreamStatus.Stream.Name]++
			}
		}
		for _, s := range streams {
			if limited[s.name] != 2 {
				t.Errorf("%s reports %d waits, want 2", s.name, limited[s.name])
			}
		}
		w.wantTruth()
		w.clock.Advance(day)
		w.server.SetFaults(sandbox.Fault{Path: "/oauth/oauth2/token", Times: 1, Action: sandbox.Replace, Status: 429, Header: map[string]string{"Retry-After": "3600"}})
		errs := w.read(all).Errors()
		if len(errs) != 1 || errs[0].FailureType != protocol.TransientError || !strings.Contains(errs[0].Message, "request quota is used up") {
			t.Errorf("%+v", errs)
		}
		w.sync(all)
		if a := w.server.Audit(); a.Refreshes != 2 || a.SpentReplays != 0 {
			t.Errorf("%d refreshes and %d replays", a.Refreshes, a.SpentReplays)
		}
	})
}

// A run may emit a version and die before its state goes out. The tombstone of
// the row must win against that version, too.
func TestTombstoneIsNewerThanWhatAKilledRunSaid(t *testing.T) {
	w := young(t, 4, 60, nil)
	workouts := catalog(t, protocol.Incremental, "workout")
	w.sync(workouts)
	happen := func(deed member.EventType) json.RawMessage {
		w.clock.Advance(time.Minute)
		if err := w.server.Schedule(member.Event{Do: deed, Stream: "workout", Age: member.Duration(2 * day)}); err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(time.Minute)
		records := w.read(workouts).Records(protocol.StreamID{Name: "workout"})
		if len(records) != 1 {
			t.Fatalf("%d records of one event", len(records))
		}
		return records[0]
	}
	said, tombstone := happen(member.Rescore), happen(member.Delete) // neither state is kept
	var version, grave struct {
		ID      string    `json:"id"`
		Updated time.Time `json:"updated_at"`
		Deleted time.Time `json:"_ab_cdc_deleted_at"`
	}
	for raw, into := range map[*json.RawMessage]any{&said: &version, &tombstone: &grave} {
		if err := json.Unmarshal(*raw, into); err != nil {
			t.Fatal(err)
		}
	}
	if grave.ID != version.ID || grave.Deleted.IsZero() || !grave.Updated.After(version.Updated) {
		t.Errorf("the tombstone %s is no newer than %s", tombstone, said)
	}
}

// A stream of which there is nothing to read is complete all the same.
func TestNothingToReadIsComplete(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]map[string]any{
		"start date of the future": {"start_date": opening.Add(365 * day).Format(time.RFC3339)},
		"no lookback":              {"lookback_days": 0},
	} {
		for _, mode := range []protocol.SyncMode{protocol.Incremental, protocol.FullRefresh} {
			t.Run(name+", "+string(mode), func(t *testing.T) {
				w := young(t, 1, 40, config)
				all := catalog(t, mode)
				for range 3 { // twice at the same instant
					w.sync(all)
				}
				w.clock.Advance(day)
				w.sync(all)
				if name == "no lookback" && len(w.tables["cycles"]) < 35 {
					t.Errorf("%d cycles of 41 days", len(w.tables["cycles"]))
				}
			})
		}
	}
}

// A few minutes back are between two machines of WHOOP; a state is not of the
// future for that.
func TestClockThatGoesBackALittleStopsNothing(t *testing.T) {
	w := young(t, 1, 40, nil)
	all := catalog(t, protocol.Incremental)
	w.sync(all)
	w.clock.Advance(-10 * time.Minute)
	w.sync(all)
	w.clock.Advance(3 * time.Hour)
	w.sync(all)
	w.wantTruth()
}

// The real program, its token file, and kill -9.
func TestKilledProcessesLoseNothing(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("source")
	if err != nil {
		t.Fatal(err)
	}
	w := young(t, 6, 60, nil)
	server := httptest.NewServer(w.server)
	defer server.Close()
	dir := t.TempDir()
	path := filepath.Join(dir, "tokens.json")
	consent := func() {
		issued := w.server.Issue()
		raw, err := json.Marshal(tokens.Credentials{ClientID: "sandbox-client", ClientSecret: "sandbox-secret", AccessToken: issued.AccessToken, RefreshToken: issued.RefreshToken})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	consent()
	w.config["credentials"] = map[string]any{"auth_type": config.File, "path": path}
	w.config["api_url"] = server.URL
	all := catalog(t, protocol.Incremental)
	rng := rand.New(rand.NewPCG(6, 6))
	kills, lost := 0, 0
	read := func(mercy time.Duration) *protocoltest.Run {
		states := w.states
		if states == nil {
			states = []json.RawMessage{}
		}
		r := &protocoltest.Run{Args: []string{"read", "--config", protocoltest.File(t, w.config), "--catalog", protocoltest.File(t, all), "--state", protocoltest.File(t, states)}}
		var stdout, stderr bytes.Buffer
		cmd := exec.Command(program, r.Args...)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if mercy > 0 {
			time.AfterFunc(mercy, func() { cmd.Process.Kill() }) //nolint:errcheck // it may be over
		}
		_ = cmd.Wait() // the code tells
		r.Code, r.Stdout, r.Stderr = cmd.ProcessState.ExitCode(), stdout.Bytes(), stderr.Bytes()
		r.Check(t)
		if r.Code < 0 {
			kills++
		}
		for _, e := range r.Errors() {
			if strings.Contains(e.Message, "refresh token") {
				lost++ // between WHOOP's answer and the file: nothing can help
				consent()
			}
		}
		w.keep(r.Messages)
		return r
	}
	took := time.Now()
	read(0)
	most := max(time.Since(took), 40*time.Millisecond)
	for range 15 {
		w.clock.Advance(2 * time.Hour) // the access token dies
		read(time.Millisecond + time.Duration(rng.Int64N(int64(most))))
	}
	w.clock.Advance(8 * day)
	for range 3 {
		if r := read(0); r.Code == 0 {
			break
		}
	}
	w.wantTruth()
	if a := w.server.Audit(); a.SpentReplays > 2*lost || lost > kills {
		t.Errorf("%d spent tokens sent again, %d connections lost, %d kills", a.SpentReplays, lost, kills)
	}
	if files, err := os.ReadDir(dir); err != nil || !slices.ContainsFunc(files, func(f os.DirEntry) bool { return f.Name() == "tokens.json" }) {
		t.Errorf("the token file is gone (%v)", err)
	}
	t.Logf("%d kills, %d connections lost", kills, lost)
}

// A run that is interrupted between two streams of a collection leaves one with
// a full walk and one without. The next one is made for both.
func TestStreamsOfACollectionAreWalkedTogether(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{config.Derive, config.Request} {
		t.Run(mode, func(t *testing.T) {
			w := young(t, 3, 90, map[string]any{"drilldowns": mode})
			both := catalog(t, protocol.Incremental, "sleep", "sleep_by_id")
			w.sync(both)
			w.clock.Advance(8 * day)
			w.sync(catalog(t, protocol.Incremental, "sleep"))
			w.clock.Advance(time.Hour)
			w.sync(both)
			w.wantTruth("sleep", "sleep_by_id")
			for _, raw := range w.states {
				s, err := protocol.ParseState(raw)
				if err != nil {
					t.Fatal(err)
				}
				kept, _ := changes.ParseState(s.StreamState())
				if kept.Walked.Before(w.clock.Now()) {
					t.Errorf("%s was walked at %v, not now", s.Stream, kept.Walked)
				}
			}
		})
	}
}
