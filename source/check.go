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

// tolerableSkew is the difference of clocks below which nobody needs to know.
const tolerableSkew = 2 * time.Minute

// Check tries whether new tokens could be written to the token file, the token,
// and each scope on a path that needs it. All that is wrong with the scopes is
// reported together.
func (s *source) Check(ctx context.Context, raw json.RawMessage, out *protocol.Emitter) error {
	ses, err := s.open(raw, out)
	if err != nil {
		return err
	}
	// Each claim adds versions to a secret, of which AWS keeps about a hundred a
	// day, and an orchestrator checks before each sync.
	if ses.Credentials.AuthType == config.File {
		if err := ses.keeper.CheckStore(ctx); err != nil {
			return explain(&whoop.TokenError{Err: err}, nil)
		}
	}
	if err := ses.connect(ctx); err != nil {
		return err
	}
	var findings []string
	var narrow bool // the consent
	kind := protocol.ConfigError
	tried := map[string]bool{}
	for _, st := range streams {
		path := st.object + st.collection
		if tried[path] {
			continue
		}
		tried[path] = true
		err := ses.try(ctx, st)
		if err == nil {
			continue
		}
		if refused(err) {
			narrow = true
			findings = append(findings, fmt.Sprintf("The consent does not include %s, which %s need.", st.scopes[0], strings.Join(needing(st.scopes[0]), ", ")))
			continue
		}
		explained := explain(err, st.scopes[:1])
		var known *protocol.Error
		if !errors.As(explained, &known) {
			return explained
		}
		if known.Kind != protocol.ConfigError {
			kind = known.Kind
		}
		findings = append(findings, known.Message)
		if fatal(err) || whoop.Unreachable(err) != "" { // the others would say the same
			break
		}
	}
	clock := ses.checkClock()
	if len(findings) == 0 {
		return nil
	}
	if narrow {
		findings = append(findings, consentAgain)
	}
	if clock != "" {
		findings = append(findings, clock)
	}
	return &protocol.Error{Kind: kind, Message: strings.Join(findings, " ")}
}

// try makes the smallest request that a stream's collection or object allows.
func (s *session) try(ctx context.Context, st stream) error {
	var err error
	switch {
	case st.object == whoop.ProfilePath:
		err = s.profile.err
	case st.object != "":
		_, err = s.client.Get(ctx, st.object)
	default:
		_, err = s.client.Any(ctx, st.collection, s.client.Now())
	}
	if st.object == bodyPath && missing(err) {
		return nil // a member without a body measurement is a member all the same
	}
	return err
}

// checkClock warns of a clock that is wrong, and returns the sentence that it
// does so with. It is no failure: the sync goes by WHOOP's clock, and this
// machine's only tells when to renew a token that another machine wrote down.
func (s *session) checkClock() string {
	skew, known := s.client.Skew()
	if !known || skew.Abs() <= tolerableSkew {
		return ""
	}
	finding := fmt.Sprintf("This machine's clock is %v away from WHOOP's; set it right.", skew.Abs().Round(time.Second))
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

func refused(err error) bool {
	var status *whoop.StatusError
	return errors.As(err, &status) && status.Refused()
}
