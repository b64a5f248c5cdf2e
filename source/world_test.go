package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/ingest-connectors/whoop-iceberg/internal/rawjson"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member"
)

// A world is a member in a sandbox, a source that reads from it without a
// network, and a destination that keeps what it is told.
type world struct {
	t      *testing.T
	server *sandbox.Server
	clock  *sandbox.Clock
	twin   *sandbox.Server // gives out the same tokens, so that all of them are known
	tokens []sandbox.Tokens
	source *source
	config map[string]any
	states []json.RawMessage
	tables tables
}

// tables are rows by stream and key.
type tables map[string]map[string]json.RawMessage

var opening = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

func newWorld(t *testing.T, member sandbox.Config, changes map[string]any) *world {
	t.Helper()
	w := &world{t: t, clock: sandbox.NewClock(opening), tables: tables{}}
	member.Clock = w.clock
	if member.RequestsPerMinute == 0 {
		member.RequestsPerMinute, member.RequestsPerDay = -1, -1
	}
	w.server, w.twin = sandbox.New(member), sandbox.New(sandbox.Config{Seed: member.Seed})
	w.source = &source{http: inProcess{w.server}}
	w.config = map[string]any{
		"credentials":         credentialsOf(w.server.Issue()),
		"api_url":             "https://whoop.invalid",
		"requests_per_second": 1000,
		"drilldowns":          config.Derive,
	}
	maps.Copy(w.config, changes)
	return w
}

// young returns the world of a member who joined some days ago.
func young(t *testing.T, seed int64, days int, config map[string]any) *world {
	t.Helper()
	w := newWorld(t, sandbox.Config{Seed: seed}, config)
	w.clock.Advance(time.Duration(days) * day)
	w.config["credentials"] = credentialsOf(w.server.Issue())
	return w
}

func credentialsOf(t sandbox.Tokens) map[string]any {
	return map[string]any{
		"auth_type": config.OAuth, "client_id": "sandbox-client", "client_secret": "sandbox-secret",
		"access_token": t.AccessToken, "refresh_token": t.RefreshToken,
	}
}

// inProcess is a transport that calls a handler.
type inProcess struct{ handler http.Handler }

func (p inProcess) RoundTrip(req *http.Request) (resp *http.Response, err error) {
	w := httptest.NewRecorder()
	if req.Body == nil { // as a server would have it
		req = req.Clone(req.Context())
		req.Body = http.NoBody
	}
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			if err = req.Context().Err(); err == nil { // or the client gave up
				err = fmt.Errorf("connection reset by peer")
			}
		default:
			panic(p)
		}
	}()
	p.handler.ServeHTTP(w, req)
	return w.Result(), nil
}

// catalog configures streams, all of them if none are named: incremental where
// they can be.
func catalog(t testing.TB, mode protocol.SyncMode, chosen ...string) protocol.ConfiguredCatalog {
	t.Helper()
	var c protocol.ConfiguredCatalog
	for _, s := range streams {
		if len(chosen) > 0 && !slices.Contains(chosen, s.name) {
			continue
		}
		p, err := s.describe()
		if err != nil {
			t.Fatal(err)
		}
		m := mode
		if !s.incremental() {
			m = protocol.FullRefresh
		}
		c.Streams = append(c.Streams, protocol.ConfiguredStream{Stream: p, SyncMode: m, DestinationSyncMode: protocol.AppendDedup})
	}
	return c
}

// read runs one read from the states so far. A rotated configuration is kept.
func (w *world) read(c protocol.ConfiguredCatalog) *protocoltest.Run {
	w.t.Helper()
	states := w.states
	if states == nil {
		states = []json.RawMessage{}
	}
	r := protocoltest.Source(w.t, w.source, "read", "--config", protocoltest.File(w.t, w.config),
		"--catalog", protocoltest.File(w.t, c), "--state", protocoltest.File(w.t, states))
	w.wantNoToken(r)
	for _, m := range r.Messages {
		if m.Control != nil {
			wantValid(w.t, m.Control.ConnectorConfig.Config)
			w.config = map[string]any{}
			if err := json.Unmarshal(m.Control.ConnectorConfig.Config, &w.config); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	return r
}

// wantValid compares a configuration that the source hands over with its specification, as
// orchestrators do before they start it again.
func wantValid(t *testing.T, config json.RawMessage) {
	t.Helper()
	spec, err := json.Marshal((&source{}).Spec().ConnectionSpecification)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(spec))
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(config))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("spec.json", schema); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("spec.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := compiled.Validate(value); err != nil {
		t.Errorf("the configuration is not what the specification says: %v", err)
	}
}

// wantNoToken checks that no token which WHOOP ever gave out is shown, whether
// its answer came or was lost.
func (w *world) wantNoToken(r *protocoltest.Run) {
	w.t.Helper()
	const consents = 4 // given in one world, at most
	for len(w.tokens) < w.server.Audit().Refreshes+consents {
		w.tokens = append(w.tokens, w.twin.Issue())
	}
	said := slices.Clone(r.Stderr)
	if c := w.config["credentials"].(map[string]any); c["auth_type"] == config.OAuth &&
		!slices.ContainsFunc(w.tokens, func(t sandbox.Tokens) bool { return t.AccessToken == c["access_token"] }) {
		w.t.Error("the token in use is not one of those that are looked for")
	}
	for _, m := range r.Messages {
		if m.Control == nil {
			said = append(said, m.Raw...)
		}
	}
	for _, pair := range w.tokens {
		if bytes.Contains(said, []byte(pair.AccessToken)) || bytes.Contains(said, []byte(pair.RefreshToken)) {
			w.t.Errorf("a token is shown: %s", said)
		}
	}
}

// sync reads and keeps what it is told, as a destination with append_dedup does.
func (w *world) sync(c protocol.ConfiguredCatalog) *protocoltest.Run {
	w.t.Helper()
	r := w.read(c)
	if r.Code != 0 {
		w.t.Fatalf("read ended with %d: %v", r.Code, r.Errors())
	}
	w.keep(r.Messages)
	return r
}

// keep applies records and states in order.
func (w *world) keep(messages []protocoltest.Message) {
	w.t.Helper()
	for _, m := range messages {
		if m.Record != nil {
			w.tables.apply(w.t, m.Record.Stream, m.Record.Data)
		}
	}
	w.keepStates(messages)
}

// keepStates keeps the last state of each stream.
func (w *world) keepStates(messages []protocoltest.Message) {
	w.t.Helper()
	var newer []protocol.State
	for _, m := range messages {
		if m.Type == "STATE" {
			newer = append(newer, w.parseState(m.State))
		}
	}
	var older []protocol.State
	for _, raw := range w.states {
		older = append(older, w.parseState(raw))
	}
	w.states = nil
	all := append(older, newer...)
	for i, s := range all {
		if !slices.ContainsFunc(all[i+1:], func(later protocol.State) bool { return later.Stream == s.Stream }) {
			w.states = append(w.states, s.Raw)
		}
	}
}

func (w *world) parseState(raw json.RawMessage) protocol.State {
	w.t.Helper()
	s, err := protocol.ParseState(raw)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (ts tables) apply(t *testing.T, stream string, data json.RawMessage) {
	t.Helper()
	if ts[stream] == nil {
		ts[stream] = map[string]json.RawMessage{}
	}
	key, deleted := keyIn(t, stream, data)
	if deleted {
		delete(ts[stream], key)
	} else {
		ts[stream][key] = data
	}
}

// keyIn returns the key of a row as the oracle writes it, and whether the row is
// a tombstone.
func keyIn(t *testing.T, stream string, data json.RawMessage) (key string, deleted bool) {
	t.Helper()
	fields := map[string][]byte{}
	for name, value := range rawjson.Members(data) { // of a message that was decoded, so it is valid
		fields[string(name)] = value
	}
	key = strings.Trim(string(fields[streamNamed(stream).key]), `"`)
	if key == "" {
		t.Fatalf("%s: a record without its key: %s", stream, data)
	}
	_, deleted = fields[deletedAt]
	if deleted && (len(fields) != 3 || fields[cursor] == nil) {
		t.Errorf("%s: a tombstone is not its key, its cursor and its time: %s", stream, data)
	}
	return key, deleted
}

func streamNamed(name string) stream {
	for _, s := range streams {
		if s.name == name {
			return s
		}
	}
	panic("no stream is called " + name)
}

// wantTruth compares the tables with what is true now, byte by byte: those of
// the chosen streams, or all.
func (w *world) wantTruth(chosen ...string) {
	w.t.Helper()
	for _, s := range streams {
		if len(chosen) > 0 && !slices.Contains(chosen, s.name) {
			continue
		}
		want := w.server.Oracle().Records(s.name, w.clock.Now())
		got := w.tables[s.name]
		if s.name == "body_measurement" {
			got = withoutInjected(w.t, got, w.server.Oracle())
		}
		for key := range want {
			if !bytes.Equal(got[key], want[key]) {
				w.t.Errorf("%s at %v: row %s is\n%s, want\n%s", s.name, w.clock.Now(), key, got[key], want[key])
			}
		}
		for key := range got {
			if want[key] == nil {
				w.t.Errorf("%s at %v: row %s is not there any more", s.name, w.clock.Now(), key)
			}
		}
	}
}

// withoutInjected checks what the source adds to a body measurement, and takes
// it away.
func withoutInjected(t *testing.T, rows map[string]json.RawMessage, o *member.Oracle) map[string]json.RawMessage {
	t.Helper()
	plain := map[string]json.RawMessage{}
	for key, row := range rows {
		var injected struct {
			UserID     json.Number `json:"user_id"`
			ObservedAt time.Time   `json:"observed_at"`
		}
		if err := json.Unmarshal(row, &injected); err != nil {
			t.Fatal(err)
		}
		for user := range o.Records("profile", opening) {
			if injected.UserID.String() != user {
				t.Errorf("body_measurement has user_id %s, want %s", injected.UserID, user)
			}
		}
		_, rest, _ := bytes.Cut(row, []byte(`"observed_at":"`))
		_, rest, _ = bytes.Cut(rest, []byte(`",`))
		plain[key] = append([]byte("{"), rest...)
	}
	return plain
}

func count(messages []protocoltest.Message) map[string]int {
	n := map[string]int{}
	for _, m := range messages {
		if m.Record != nil {
			n[m.Record.Stream]++
		}
	}
	return n
}

func wantEqual(t *testing.T, what string, got, want any, options ...cmp.Option) {
	t.Helper()
	if diff := cmp.Diff(want, got, options...); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
