package main

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/internal/osfile"
	"github.com/ingest-connectors/whoop-iceberg/internal/progress"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
	"github.com/ingest-connectors/whoop-iceberg/protocol/spec"
	"github.com/ingest-connectors/whoop-iceberg/schemas"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/changes"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/tokens"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/whoop"
)

// A source implements protocol.Source.
type source struct {
	http http.RoundTripper // nil: http.DefaultTransport
}

const documentation = "https://github.com/ingest-connectors/whoop-iceberg/blob/main/docs/source.md"

func (*source) Spec() protocol.Spec {
	return protocol.Spec{
		DocumentationURL:        documentation,
		ConnectionSpecification: spec.Reflect(config.Config{}, "WHOOP"),
		SupportsIncremental:     true,
	}
}

func (*source) Discover(_ context.Context, raw json.RawMessage, _ *protocol.Emitter) (protocol.Catalog, error) {
	var c protocol.Catalog
	if _, err := config.Parse(raw); err != nil {
		return c, err
	}
	for _, s := range streams {
		p, err := s.describe()
		if err != nil {
			return c, err
		}
		c.Streams = append(c.Streams, p)
	}
	return c, nil
}

const (
	cursor    = "updated_at"
	deletedAt = "_ab_cdc_deleted_at"
)

// describe returns the stream as discover shows it.
func (s stream) describe() (protocol.Stream, error) {
	schema, err := schemas.Get(s.schema)
	if err != nil {
		return protocol.Stream{}, err
	}
	p := protocol.Stream{
		Name:                    s.name,
		JSONSchema:              schema,
		SupportedSyncModes:      []protocol.SyncMode{protocol.FullRefresh},
		SourceDefinedPrimaryKey: [][]string{{s.key}},
	}
	if s.incremental() {
		p.SupportedSyncModes = append(p.SupportedSyncModes, protocol.Incremental)
		p.SourceDefinedCursor = true
		p.DefaultCursorField = []string{cursor}
		p.IsResumable = true
	}
	return p, nil
}

// A session is one connection to WHOOP with one configuration.
type session struct {
	config config.Settings
	out    *protocol.Emitter
	keeper *tokens.Keeper
	client *whoop.Client

	onWait  func(until time.Time) error // called before a wait for quota
	profile answer                      // read once, for all that need it
	member  json.RawMessage             // the id of the member whose tokens these are; nil: not known
	closed  bool                        // WHOOP refuses everything that would say whose they are
}

// A requestCounter counts the requests for the progress line.
type requestCounter struct {
	http.RoundTripper
	progress *progress.Progress
}

func (c requestCounter) RoundTrip(r *http.Request) (*http.Response, error) {
	c.progress.Add("requests", 1)
	return c.RoundTripper.RoundTrip(r)
}

// userAgent identifies this program. WHOOP's front end refuses the default agents
// of HTTP libraries.
var userAgent = "source-whoop/" + cli.Version

type answer struct {
	raw json.RawMessage
	err error
}

func (s *source) open(raw json.RawMessage, out *protocol.Emitter) (*session, error) {
	settings, err := config.Parse(raw)
	if err != nil {
		return nil, err
	}
	if path := settings.Credentials.Path; path != "" {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && osfile.OthersCanRead(info) {
			out.Logger().Warn("other users of this machine can read the token file; restrict it with chmod 600", "path", path, "mode", info.Mode().Perm().String())
		}
	}
	session := &session{config: settings, out: out, onWait: func(time.Time) error { return nil }}
	session.keeper = tokens.New(tokens.Config{
		Store:     settings.Store(session.beforeRefresh, session.emitConfig),
		TokenURL:  settings.APIURL + "/oauth/oauth2/token",
		HTTP:      s.http,
		UserAgent: userAgent,
		Seen:      func(c tokens.Credentials) { out.Redact(c.Secrets()...) },
		Excerpt:   out.Excerpt,
		Waiting:   func(until time.Time) error { return session.onWait(until) },
		Log:       out.Logger(),
	})
	session.client = whoop.New(whoop.Config{
		URL:               settings.APIURL,
		Tokens:            session.keeper,
		Endpoints:         endpoints(),
		RequestsPerSecond: settings.RequestsPerSecond,
		UserAgent:         userAgent,
		Excerpt:           out.Excerpt,
		HTTP:              requestCounter{cmp.Or(s.http, http.DefaultTransport), out.Progress()},
		Waiting:           func(until time.Time) error { return session.onWait(until) },
		Log:               out.Logger(),
	})
	return session, nil
}

// beforeRefresh says that a refresh token is about to be used. An orchestrator that has
// stopped reading would lose the new pair, so this message is written first.
func (s *session) beforeRefresh() error {
	if err := s.out.Log("INFO", "renewing the access token"); err != nil {
		return outputError{err}
	}
	return nil
}

// emitConfig gives a new configuration to the orchestrator.
func (s *session) emitConfig(config json.RawMessage) error {
	if err := s.out.Control(config); err != nil {
		return outputError{err}
	}
	return nil
}

// endpoints lists the paths of the objects and collections. Each has a scope of its own.
func endpoints() []string {
	var all []string
	for _, s := range streams {
		if path := s.object + s.collection; !slices.Contains(all, path) {
			all = append(all, path)
		}
	}
	return all
}

// connect makes the first request, which shows whether the tokens work and what
// time it is at WHOOP. It returns only errors that end the run; without a connection,
// every stream would wait for one. If the consent does not cover the profile, only the
// streams that need it fail.
func (s *session) connect(ctx context.Context) error {
	raw, err := s.client.Get(ctx, whoop.ProfilePath)
	s.profile = answer{raw, err}
	if end := runError(ctx, err); end != nil {
		return explain(end, nil)
	}
	if now := s.client.Now(); s.config.Start.After(now) {
		s.out.Logger().Warn("start_date is in the future: the source reads nothing that began before it", "start_date", s.config.Start, "now", now)
	}
	return nil
}

// identify finds out whose tokens these are. The profile says so, and any record does if the
// consent does not cover the profile or WHOOP does not answer with one. It leaves the member
// nil if there is no record either. Its error ends the run.
func (s *session) identify(ctx context.Context) error {
	if s.profile.err == nil {
		if id, err := userID(s.profile.raw); err == nil {
			s.member = id
			return nil
		}
	}
	s.closed = whoop.Refused(s.profile.err)
	for _, path := range collections() {
		record, err := s.client.NewestBefore(ctx, path, s.client.Now())
		s.closed = s.closed && whoop.Refused(err)
		if end := runError(ctx, err); end != nil {
			return explain(end, nil)
		}
		if id := changes.ParseRecord(record, "user_id").Key; id != "" {
			s.member = json.RawMessage(id)
			return nil
		}
	}
	return nil
}

// checkMember refuses states of another member. They come from tables that two connections
// share: this member's records would be mixed with the other's, whose rows would be taken
// for deleted. So if a state names a member, it must be known whose tokens these are.
func (s *session) checkMember(states []protocol.State) error {
	for _, state := range states {
		st, _ := changes.ParseState(state.StreamState())
		switch {
		case st.Member == nil:
		case s.closed:
			return explain(s.profile.err, []string{"read:profile"})
		case s.member == nil:
			return protocol.TransientError.Errorf(nil, "The state of stream %s is that of the WHOOP member %s, and WHOOP does not say whose tokens these are: it shows neither the profile nor a record. "+
				"Start again later. If the member has no records any more, begin without a state.", state.Stream, st.Member)
		case !sameID(string(st.Member), string(s.member)):
			return protocol.ConfigError.Errorf(nil, "The state of stream %s is that of the WHOOP member %s, and the tokens are those of member %s. Each member needs tables of their own: "+
				`set another "namespace" in the configuration of the destination, and another connection in an orchestrator. If the member has changed for good, begin without a state.`,
				state.Stream, st.Member, s.member)
		}
	}
	return nil
}
