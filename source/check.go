package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/whoop"
)

// tolerableSkew is a difference of clocks that is not worth a warning.
const tolerableSkew = 2 * time.Minute

// Check tests whether new tokens can be stored, whether those that are stored work, and
// each scope with a request that needs it. It reports all scopes that are missing
// together, and ends with the first other failure.
func (s *source) Check(ctx context.Context, raw json.RawMessage, out *protocol.Emitter) error {
	session, err := s.open(raw, out)
	if err != nil {
		return err
	}
	if err := session.keeper.CheckStore(ctx); err != nil {
		return explain(&whoop.TokenError{Err: err}, nil)
	}
	if err := session.connect(ctx); err != nil {
		return err
	}
	var findings []string
	var missingScopes bool
	kind := protocol.ConfigError
	tried := map[string]bool{}
	for _, st := range streams {
		path := st.object + st.collection
		if tried[path] {
			continue
		}
		tried[path] = true
		err := session.probe(ctx, st)
		if err == nil {
			continue
		}
		if whoop.Refused(err) {
			missingScopes = true
			findings = append(findings, fmt.Sprintf("The consent does not include %s, needed for %s.", st.scopes[0], strings.Join(needing(st.scopes[0]), ", ")))
			continue
		}
		explained := explain(err, st.scopes[:1])
		var known *protocol.Error
		if !errors.As(explained, &known) {
			return explained
		}
		kind = known.Kind
		findings = append(findings, known.Message)
		break // the other requests would fail in the same way, or take minutes to tell
	}
	clock := session.checkClock()
	if len(findings) == 0 {
		return nil
	}
	if missingScopes {
		findings = append(findings, consentAgain)
	}
	if clock != "" {
		findings = append(findings, clock)
	}
	return &protocol.Error{Kind: kind, Message: strings.Join(findings, " ")}
}

// probe makes the smallest request that a stream's collection or object allows.
func (s *session) probe(ctx context.Context, st stream) error {
	var err error
	switch {
	case st.object == whoop.ProfilePath:
		err = s.profile.err
	case st.object != "":
		_, err = s.client.Get(ctx, st.object)
	default:
		_, err = s.client.NewestBefore(ctx, st.collection, s.client.Now())
	}
	if st.object == bodyPath && missing(err) {
		return nil // not every member has a body measurement
	}
	return err
}

// checkClock warns if this machine's clock is wrong, and returns the warning. It is
// no failure: a sync follows WHOOP's clock, and uses this machine's only to decide
// when to renew a token that another machine stored. A server on this machine shows
// another time on purpose, as the sandbox does.
func (s *session) checkClock() string {
	skew, known := s.client.Skew()
	if !known || skew.Abs() <= tolerableSkew || config.IsLocal(s.config.APIURL) {
		return ""
	}
	finding := fmt.Sprintf("This machine's clock differs from WHOOP's by %v; correct it.", skew.Abs().Round(time.Second))
	s.out.Logger().Warn(finding, "whoop_ahead_by", skew.Round(time.Second).String())
	return finding
}

func needing(scope string) []string {
	var names []string
	for _, st := range streams {
		if slices.Contains(st.scopes, scope) {
			names = append(names, st.name)
		}
	}
	return names
}
