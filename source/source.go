package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
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
		ConnectionSpecification: protocol.Reflect(config.Config{}, "WHOOP"),
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

// A session is one run against WHOOP with one configuration.
type session struct {
	config.Settings
	out    *protocol.Emitter
	keeper *tokens.Keeper
	client *whoop.Client

	waiting func(until time.Time) // told of waits for quota
	profile answer                // read once however many need it
}

// userAgent identifies this program. WHOOP's front end refuses the default agents
// of HTTP libraries.
var userAgent = "source-whoop/" + protocol.Version

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
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
			out.Logger().Warn("other users of this machine can read the token file; chmod 600 keeps it to its owner", "path", path, "mode", info.Mode().Perm().String())
		}
	}
	ses := &session{Settings: settings, out: out, waiting: func(time.Time) {}}
	ses.keeper = tokens.New(tokens.Config{
		Store:     settings.Store(out.Control),
		TokenURL:  settings.APIURL + "/oauth/oauth2/token",
		HTTP:      s.http,
		UserAgent: userAgent,
		Seen:      func(c tokens.Credentials) { out.Redact(c.Secrets()...) },
		Excerpt:   out.Excerpt,
		Log:       out.Logger(),
	})
	ses.client = whoop.New(whoop.Config{
		URL:               settings.APIURL,
		Tokens:            ses.keeper,
		RequestsPerSecond: settings.RequestsPerSecond,
		UserAgent:         userAgent,
		Excerpt:           out.Excerpt,
		HTTP:              s.http,
		Waiting:           func(until time.Time) { ses.waiting(until) },
		Log:               out.Logger(),
	})
	return ses, nil
}

// connect makes the first request. It shows whether the tokens work, and what
// time it is at WHOOP. Its error is one that ends the run: a profile that the
// consent does not cover is the concern of the streams that need it.
func (s *session) connect(ctx context.Context) error {
	raw, err := s.client.Get(ctx, whoop.ProfilePath)
	s.profile = answer{raw, err}
	if fatal(err) {
		return explain(err, nil)
	}
	if now := s.client.Now(); s.Start.After(now) {
		s.out.Logger().Warn("start_date is in the future: nothing that began before it is read", "start_date", s.Start, "now", now)
	}
	return nil
}

// row reads one row by its key; nil if WHOOP has none. It may come from another
// stream's path, so it is checked to be a row of this one. An answer that holds
// no record, or another one than was asked for, does not say that there is none.
func (s *session) row(ctx context.Context, st stream, path, key string) (*changes.Record, error) {
	raw, err := s.client.Get(ctx, at(path, key))
	var status *whoop.StatusError
	switch {
	case errors.As(err, &status) && status.NotFound():
		return nil, nil
	case err != nil:
		return nil, err
	}
	r := changes.ParseRecord(raw, st.key)
	switch {
	case r.Key == "":
		return nil, &whoop.UnavailableError{Path: at(path, key), Err: fmt.Errorf("the answer has no %s", st.key)}
	case path == st.item && !sameID(r.Key, key):
		return nil, &whoop.UnavailableError{Path: at(path, key), Err: fmt.Errorf("the answer has the %s %s", st.key, r.Key)}
	}
	if st.some != nil && !st.some(r) {
		return nil, nil
	}
	return &r, nil
}
