package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
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
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox"
)

var (
	soakDays = flag.Float64("soak.days", float64(testsize.Of(8, 240))/24, "virtual days of the soak")
	soakSeed = flag.Uint64("soak.seed", 1, "what happens in it")
)

const syncEvery = 15 * time.Minute

// One member is synced every 15 minutes for years: records change and vanish,
// WHOOP fails and behaves in every way that has a name, tokens expire every
// hour, the process dies in the middle. What a destination keeps must be the
// truth, whenever nothing stands in the way of a full walk.
func TestSoak(t *testing.T) {
	t.Parallel()
	began := time.Now()
	var s *soak
	defer func() {
		t.Logf("%.1f virtual days in %v of wall time\n%s", *soakDays, time.Since(began).Round(100*time.Millisecond), s.figures())
	}()
	synctest.Test(t, func(t *testing.T) {
		s = newSoak(t, *soakSeed)
		s.live(time.Duration(*soakDays * float64(day)))
	})
}

type soak struct {
	*world
	rng     *rand.Rand
	began   time.Time
	dir     string
	kept    map[string]map[string]dedupRow
	append  *appendTables
	last    map[string]json.RawMessage // the last state of each stream
	secrets []string
	script  []sandbox.Scenario // every one that has a name comes in turn

	playing string // the scenario
	revoked bool   // WHOOP has a reason to end the connection
	spent   map[string]bool
	checked map[string]bool // streams that were compared with the truth

	figure struct {
		syncs, lines, clean, failed, kills, walks, compared, records, tombstones, states, consents, refused, refusedOf int

		faults map[string]int
	}
}

// A dedupRow is a row as a destination with append_dedup has it: of two versions
// the one with the higher cursor wins, of equal ones the last. That of a row
// that was deleted stays, which is as hard on a source as a destination can be.
type dedupRow struct {
	cursor  time.Time
	data    json.RawMessage
	deleted bool
}

func newSoak(t *testing.T, seed uint64) *soak {
	s := &soak{rng: rand.New(rand.NewPCG(seed, 0)), dir: t.TempDir(), kept: map[string]map[string]dedupRow{}, append: newAppendTables(), spent: map[string]bool{}, checked: map[string]bool{}, last: map[string]json.RawMessage{}}
	s.world = newWorld(t, sandbox.Config{Seed: int64(seed), Years: 1, RequestsPerMinute: 100, RequestsPerDay: 10_000},
		map[string]any{"requests_per_second": 2})
	s.began = s.clock.Now()
	s.figure.faults = map[string]int{}
	for _, sc := range sandbox.Scenarios() {
		if len(sc.Profile.WithheldScopes) == 0 && sc.Profile.Consent == "" { // those are about a consent
			s.script = append(s.script, sc)
		}
	}
	s.consent()
	return s
}

// consent is what a member does when the connection is lost.
func (s *soak) consent() {
	issued := s.server.Issue()
	s.config["credentials"] = credentialsOf(issued)
	s.secrets = append(s.secrets, issued.AccessToken, issued.RefreshToken)
	s.revoked = false
	s.figure.consents++
}

// lost reports whether the answer to a refresh never reached the orchestrator: it
// was lost on the way, or the process died before it could hand it on. Only then
// may a spent token be sent again, and the connection end.
func (s *soak) lost() bool {
	return s.spent[s.config["credentials"].(map[string]any)["refresh_token"].(string)]
}

func (s *soak) live(span time.Duration) {
	all := catalog(s.t, protocol.Incremental)
	for !s.clock.Now().After(s.began.Add(span)) && !s.t.Failed() {
		s.disturb()
		s.run(all, s.plan())
		if s.rng.IntN(3) == 0 { // what stood in the way passes, at times after several syncs
			s.play(sandbox.Scenario{})
		}
		s.pass(syncEvery)
	}
	// In the end everything is right, at the latest after the next full walk.
	s.play(sandbox.Scenario{})
	clear(s.checked)
	for range 9 {
		if s.t.Failed() || len(s.checked) == incrementalStreams() {
			return
		}
		s.pass(day)
		s.run(all, nil)
	}
	s.t.Errorf("in nine days without disturbance only %v were walked and compared", slices.Sorted(maps.Keys(s.checked)))
}

func incrementalStreams() (n int) {
	for _, st := range streams {
		if st.incremental() {
			n++
		}
	}
	return n
}

// pass lets time pass at WHOOP and here.
func (s *soak) pass(d time.Duration) {
	s.clock.Advance(d)
	time.Sleep(d)
}

// disturb lets something happen at WHOOP, in one sync of eight.
func (s *soak) disturb() {
	if s.rng.IntN(8) > 0 {
		return
	}
	if s.rng.IntN(2) == 0 {
		s.play(sandbox.Random(s.rng, s.clock.Now().Sub(s.began)+300*day))
		return
	}
	next := s.script[0]
	s.script = append(s.script[1:], next)
	s.play(next)
}

func (s *soak) play(sc sandbox.Scenario) {
	s.revoked = s.revoked || sc.Ends && len(sc.Faults) == 0
	name := sc.Name
	switch {
	case len(sc.Events) > 0 && name == "":
		name = "random, with an event"
	case len(sc.Faults) > 0 && name == "":
		name = "random"
	}
	s.playing = name
	if name != "" {
		s.figure.faults[name]++
	}
	if err := s.server.Play(sc); err != nil && len(sc.Events) == 0 { // an event may find no record to change
		s.t.Errorf("%s: %v", sc.Name, err)
	}
}

// plan decides whether and when the next process dies; nil: it lives.
func (s *soak) plan() *kill {
	if s.rng.IntN(10) > 0 {
		return nil
	}
	k := &kill{}
	switch s.rng.IntN(3) {
	case 0:
		k.lines = 1 + s.rng.IntN(60)
	case 1:
		k.sent = 1 + s.rng.IntN(10)
	default:
		k.answered = 1 + s.rng.IntN(10)
	}
	return k
}

// A kill cuts a run off from the world, as kill -9 does: after so many lines,
// or when a request is sent, or its answer comes. A zero number never does.
type kill struct {
	lines, sent, answered int

	mu   sync.Mutex
	dead bool
	end  context.CancelFunc
}

var errKilled = errors.New("killed")

func (k *kill) now(n *int) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if *n > 0 {
		if *n--; *n == 0 {
			k.dead = true
			k.end()
		}
	}
	return k.dead
}

// killable is the world as a run sees it, until it dies.
type killable struct {
	*kill
	out  bytes.Buffer
	next http.RoundTripper

	unanswered int             // refreshes of which nobody could know whether they happened
	delivered  map[string]bool // refresh tokens whose answer came
	replayed   string          // one of them that was sent again
}

func (m *killable) Write(b []byte) (int, error) {
	for line := range bytes.Lines(b) {
		if m.now(&m.lines) {
			return 0, errKilled
		}
		m.out.Write(line)
	}
	return len(b), nil
}

func (m *killable) RoundTrip(req *http.Request) (*http.Response, error) {
	if m.now(&m.sent) {
		return nil, errKilled
	}
	if req.Method != http.MethodPost {
		resp, err := m.next.RoundTrip(req)
		if m.now(&m.answered) {
			return nil, errKilled
		}
		return resp, err
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.Body = io.NopCloser(bytes.NewReader(body))
	if m.delivered[string(body)] {
		m.replayed = string(body)
	}
	resp, err := m.next.RoundTrip(req)
	if m.now(&m.answered) {
		return nil, errKilled
	}
	if err != nil || resp.StatusCode >= http.StatusInternalServerError {
		m.unanswered++
	} else {
		m.delivered[string(body)] = true
	}
	return resp, err
}

// run is one sync. It keeps what the run said before it died.
func (s *soak) run(c protocol.ConfiguredCatalog, planned *kill) {
	s.figure.syncs++
	before, lost := s.server.Audit(), s.lost()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	m := &killable{kill: planned, next: inProcess{http.HandlerFunc(s.serve)}, delivered: map[string]bool{}}
	if planned == nil {
		m.kill = &kill{}
	}
	m.end = cancel
	if s.rng.IntN(20) == 0 {
		s.config["drilldowns"] = config.Request
	} else {
		s.config["drilldowns"] = config.Derive
	}
	r := &protocoltest.Run{Args: []string{
		"read", "--config", s.file("config", s.config), "--catalog", s.file("catalog", c), "--state", s.file("state", append([]json.RawMessage{}, slices.Collect(maps.Values(s.last))...)),
	}}
	var stderr bytes.Buffer
	r.Code = cli.RunSource(ctx, &source{http: m}, cli.Env{Args: r.Args, Stdout: m, Stderr: &stderr})
	if m.dead {
		r.Code = -1
		s.figure.kills++
	}
	r.Stdout, r.Stderr = m.out.Bytes(), stderr.Bytes()
	s.deliver(r)
	after := s.server.Audit()

	if n := after.SpentReplays - before.SpentReplays; n > 0 && !lost && m.unanswered == 0 || m.replayed != "" {
		s.t.Errorf("sync %d (%s): a spent refresh token was sent again: %s", s.figure.syncs, s.playing, r.Stdout)
	}
	sent := sum(after.Requests) - sum(before.Requests)
	if n := after.RateLimited - before.RateLimited; n > 3+sent/5 { // the narrowest window holds ten requests, and not always do headers tell of it
		s.t.Errorf("sync %d (%s): %d of %d requests were refused by the rate limit", s.figure.syncs, s.playing, n, sent)
	} else if n > s.figure.refused {
		s.figure.refused, s.figure.refusedOf = n, sent
	}
	switch {
	case r.Code == 0:
		s.figure.clean++
		s.compareWalked()
	case r.Code > 0:
		s.figure.failed++
		s.reconnect(r, lost)
	}
	if len(s.secrets) > 40 {
		s.secrets = s.secrets[len(s.secrets)-40:]
	}
}

// serve is WHOOP, and notes which refresh tokens are spent.
func (s *soak) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		before := s.server.Audit().Refreshes
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		defer func() {
			if form, err := url.ParseQuery(string(body)); err == nil && s.server.Audit().Refreshes > before {
				s.spent[form.Get("refresh_token")] = true
			}
		}()
	}
	s.server.ServeHTTP(w, r)
}

func (s *soak) file(name string, content any) string {
	raw, err := json.Marshal(content)
	if err != nil {
		s.t.Fatal(err)
	}
	path := filepath.Join(s.dir, name+".json")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// deliver gives a run's messages to the orchestrator and the destination. Of what
// follows the last state a destination may keep nothing, or everything.
func (s *soak) deliver(r *protocoltest.Run) {
	var lines [][]byte
	last := 0
	for line := range bytes.Lines(r.Stdout) {
		if bytes.HasPrefix(line, []byte(`{"type":"CONTROL"`)) {
			s.rotated(line)
		} else {
			lines = append(lines, line)
		}
		if bytes.HasPrefix(line, []byte(`{"type":"STATE"`)) {
			last = len(lines)
		}
	}
	s.figure.lines += len(lines)
	said := slices.Concat(append(lines, r.Stderr)...)
	for _, secret := range append(slices.Clone(s.secrets), "sandbox-client", "sandbox-secret") {
		if bytes.Contains(said, []byte(secret)) {
			s.t.Errorf("sync %d: a secret in the output: %s", s.figure.syncs, said)
		}
	}
	if r.Code != 0 || s.figure.syncs%10 == 0 { // the rules of the protocol; reading all of it would take most of the time
		r.Check(s.t)
	}
	dropped := len(lines) // from there on
	if r.Code != 0 && s.rng.IntN(2) == 0 {
		dropped = last
	}
	s.append.begin()
	for i, line := range lines {
		var m protocoltest.Message
		switch {
		case bytes.HasPrefix(line, []byte(`{"type":"RECORD"`)):
			s.parse(line, &m)
			s.append.stage(m.Record.Stream, m.Record.Data)
			if i < dropped {
				s.put(m.Record.Stream, m.Record.Data)
			}
		case bytes.HasPrefix(line, []byte(`{"type":"STATE"`)):
			s.parse(line, &m)
			state, err := protocol.ParseState(m.State)
			if err != nil {
				s.t.Fatal(err)
			}
			name := state.Stream.Name
			s.append.commit(s.t, name, !streamNamed(name).incremental() || bytes.Contains(s.last[name], []byte(`"anew":true`)))
			s.last[name] = m.State
			s.figure.states++
		}
	}
}

func (s *soak) parse(raw []byte, into any) {
	if err := json.Unmarshal(raw, into); err != nil {
		s.t.Fatalf("%v: %s", err, raw)
	}
}

func (s *soak) rotated(line []byte) {
	var m protocoltest.Message
	s.parse(line, &m)
	s.config = map[string]any{}
	s.parse(m.Control.ConnectorConfig.Config, &s.config)
	credentials := s.config["credentials"].(map[string]any)
	s.secrets = append(s.secrets, credentials["access_token"].(string), credentials["refresh_token"].(string))
}

// put keeps a row as append_dedup does.
func (s *soak) put(stream string, data json.RawMessage) {
	key, deleted := keyIn(s.t, stream, data)
	var row struct {
		Updated time.Time `json:"updated_at"`
	}
	s.parse(data, &row)
	if s.kept[stream] == nil {
		s.kept[stream] = map[string]dedupRow{}
	}
	if s.kept[stream][key].cursor.After(row.Updated) {
		return
	}
	s.kept[stream][key] = dedupRow{row.Updated, slices.Clone(data), deleted}
	s.figure.records++
	if deleted {
		s.figure.tombstones++
	}
}

// compareWalked compares what is kept of a stream with the truth after a sync in which
// it was walked completely and nothing stood in the way.
func (s *soak) compareWalked() {
	p := s.server.Profile()
	walked := fmt.Appendf(nil, `"walked":%q`, s.clock.Now().Format(time.RFC3339Nano))
	for _, st := range streams {
		if !st.incremental() || !bytes.Contains(s.last[st.name], walked) || bytes.Contains(s.last[st.name], []byte(`"anew":true`)) {
			continue // too much had changed: the next sync emits it
		}
		s.figure.walks++
		if p.Tick != 0 || p.Skew != 0 {
			continue // it was not one instant
		}
		s.figure.compared++
		s.checked[st.name] = true
		s.tables = tables{st.name: {}}
		for key, row := range s.kept[st.name] {
			if !row.deleted {
				s.tables[st.name][key] = row.data
			}
		}
		s.wantTruth(st.name)
	}
}

// reconnect consents again if the connection is lost, which it may be only for a
// reason.
func (s *soak) reconnect(r *protocoltest.Run, lost bool) {
	for _, e := range r.Errors() {
		if e.FailureType != protocol.ConfigError || !strings.Contains(e.Message, "refresh token") {
			continue
		}
		if !s.revoked && !lost && !s.lost() {
			s.t.Errorf("sync %d: the connection is lost: %s", s.figure.syncs, e.Message)
		}
		s.play(sandbox.Scenario{})
		s.consent()
		return
	}
}

func (s *soak) figures() string {
	f := &s.figure
	a := s.server.Audit()
	text := fmt.Sprintf("%d syncs: %d complete, %d failed and resumed, %d killed; %d requests, %d answers of 429 (at most %d of %d in one sync), %d faults injected\n"+
		"%d records (%d tombstones) and %d states in %d lines, %d full walks of a stream, %d of them compared with the truth\n"+
		"%d refreshes, %d refresh tokens replayed after a lost answer, %d consents\ndisturbances:",
		f.syncs, f.clean, f.failed, f.kills, sum(a.Requests), a.RateLimited, f.refused, f.refusedOf, a.Faults, f.records, f.tombstones, f.states, f.lines, f.walks, f.compared,
		a.Refreshes, a.SpentReplays, f.consents)
	for _, name := range slices.Sorted(maps.Keys(f.faults)) {
		text += fmt.Sprintf(" %s %d,", name, f.faults[name])
	}
	return strings.TrimSuffix(text, ",")
}

func sum(counts map[string]int) (n int) {
	for _, count := range counts {
		n += count
	}
	return n
}
