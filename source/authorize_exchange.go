package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/tokens"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/whoop"
)

// A consentRequest is an authorization request and what only its sender knows.
type consentRequest struct {
	oauth           oauth2.Config
	state, verifier string
}

func newRequest(client tokens.Credentials, apiURL, redirect string, scopes []string) consentRequest {
	state := make([]byte, 32) // 256 bits tell the answer to this request from any other
	rand.Read(state)          // never fails: it would end the program
	return consentRequest{
		oauth: oauth2.Config{
			ClientID: client.ClientID, ClientSecret: client.ClientSecret,
			Endpoint: oauth2.Endpoint{
				AuthURL:  apiURL + "/oauth/oauth2/auth",
				TokenURL: apiURL + "/oauth/oauth2/token",
			},
			RedirectURL: redirect,
			Scopes:      scopes,
		},
		state:    base64.RawURLEncoding.EncodeToString(state),
		verifier: oauth2.GenerateVerifier(),
	}
}

func (r consentRequest) url() string {
	return r.oauth.AuthCodeURL(r.state, oauth2.S256ChallengeOption(r.verifier))
}

// A consent is what a member gave.
type consent struct {
	pair   tokens.Credentials
	scopes []string
	name   string // of the member; empty when the consent does not tell
}

// closedBy returns the scope that a stream lacks, or "".
func (c consent) closedBy(st stream) string {
	for _, scope := range st.scopes {
		if !slices.Contains(c.scopes, scope) {
			return scope
		}
	}
	return ""
}

// finish turns WHOOP's answer into tokens where the source finds them.
func (a *authorization) finish(ctx context.Context, r consentRequest, params url.Values, to *target) (consent, error) {
	if err := checkAnswer(params, r.state); err != nil {
		return consent{}, err
	}
	code := params.Get("code")
	a.secrets.Add(code)
	c, err := a.exchange(ctx, r, code)
	if err != nil {
		return c, err
	}
	if c.name, err = a.verify(ctx, to.apiURL, c); err != nil {
		return c, err
	}
	// The tokens are all that came of the consent: no interruption from here on.
	if err := to.save(context.WithoutCancel(ctx), c.pair); err != nil {
		return c, &consentError{"The tokens could not be stored", err.Error() + ".", "Mend that and run source authorize again."}
	}
	return c, nil
}

// exchange trades the code for the first pair.
func (a *authorization) exchange(ctx context.Context, r consentRequest, code string) (consent, error) {
	c := consent{pair: tokens.Credentials{ClientID: r.oauth.ClientID, ClientSecret: r.oauth.ClientSecret}}
	endpoint := tokens.Endpoint{URL: r.oauth.Endpoint.TokenURL, HTTP: named{a.http}, Excerpt: a.secrets.Excerpt}
	asked := time.Now()
	t, err := endpoint.Exchange(ctx, c.pair, code, r.verifier, r.oauth.RedirectURL)
	var revoked *tokens.RevokedError
	var client *tokens.ClientError
	switch {
	case err == nil:
	case errors.As(err, &client):
		return c, &consentError{
			"WHOOP does not accept the client", "The client id and the client secret do not belong together.",
			"Compare both with those of the app at developer.whoop.com and run source authorize again.",
		}
	case errors.As(err, &revoked):
		return c, &consentError{
			"WHOOP no longer accepts this consent", "Its code has expired or was used before.",
			"Run source authorize again and consent within a few minutes.",
		}
	case ctx.Err() != nil:
		return c, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return c, &consentError{
			"WHOOP did not answer in time", "The consent came, but WHOOP's token endpoint was silent for " + answerTimeout.String() + ".",
			"Run source authorize again later.",
		}
	case unreachable(err) != "":
		return c, &consentError{
			"WHOOP cannot be reached", "The consent came, but of its token endpoint " + unreachable(err) + ".",
			"Run source authorize again later.",
		}
	default:
		return c, &consentError{
			"WHOOP gave no tokens", "Its token endpoint did not answer properly: " + err.Error() + ".",
			"Run source authorize again later.",
		}
	}
	a.secrets.Add(t.AccessToken, t.RefreshToken)
	if t.RefreshToken == "" {
		return c, &consentError{
			"The consent would end within the hour", "WHOOP gave no refresh token, which it does for the scope offline only.",
			"Run source authorize again and leave offline granted.",
		}
	}
	c.pair.AccessToken, c.pair.RefreshToken = t.AccessToken, t.RefreshToken
	if t.ExpiresIn > 0 {
		c.pair.ExpiresAt = asked.Add(t.ExpiresIn).UTC().Truncate(time.Second)
	}
	c.scopes = r.oauth.Scopes // what an answer without scopes means: RFC 6749, 5.1
	if t.Scope != "" {
		c.scopes = strings.Fields(t.Scope)
	}
	return c, nil
}

// verify makes the first request with the new token and returns the member's
// name. Tokens that WHOOP refuses are an error; a WHOOP that does not answer is
// not, since the tokens may be as good as any.
func (a *authorization) verify(ctx context.Context, apiURL string, c consent) (string, error) {
	profile := streams[slices.IndexFunc(streams, func(st stream) bool { return st.object == profilePath })]
	if c.closedBy(profile) != "" {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	client := whoop.New(whoop.Config{
		URL: apiURL, Tokens: fixedToken(c.pair.AccessToken), RequestsPerSecond: 1,
		UserAgent: userAgent, HTTP: a.http, Excerpt: a.secrets.Excerpt,
		Log: slog.New(slog.DiscardHandler), // what comes of it in the end is told
	})
	raw, err := client.Get(ctx, profilePath)
	var status *whoop.StatusError
	var offline *whoop.UnavailableError
	if !errors.As(err, &offline) && errors.As(err, &status) && status.Refused() {
		return "", &consentError{
			"WHOOP does not accept its own tokens", fmt.Sprintf("The first request with them was refused: %v.", err),
			"Run source authorize again.",
		}
	}
	if err != nil {
		fmt.Fprintf(a.say, "The tokens could not be tried (%v). They are kept all the same; try them later with source check.\n", err)
		return "", nil
	}
	return memberName(raw), nil
}

// A fixedToken is the only token there is.
type fixedToken string

func (t fixedToken) Token(context.Context) (string, error)         { return string(t), nil }
func (t fixedToken) Renew(context.Context, string) (string, error) { return string(t), nil }

// isAnswer tells whether parameters are those of an authorization response.
func isAnswer(params url.Values) bool { return params.Has("code") || params.Has("error") }

// carries reports whether an answer has the state that was sent.
func carries(params url.Values, state string) bool {
	return subtle.ConstantTimeCompare([]byte(params.Get("state")), []byte(state)) == 1
}

// checkAnswer tells a consent from everything else.
func checkAnswer(params url.Values, state string) error {
	if !carries(params, state) {
		return &consentError{
			"This answer belongs to another request", "Its state is not the one that was sent: it may be of an earlier attempt, or somebody may be trying to connect an account that is not yours. Nothing was stored.",
			"Run source authorize again and use the address that it prints.",
		}
	}
	says := params.Get("error")
	if description := strings.TrimSpace(params.Get("error_description")); description != "" {
		says += ": " + description
	}
	switch params.Get("error") {
	case "":
		return nil
	case "access_denied", "request_forbidden": // the latter is what WHOOP has been seen to send
		return &consentError{
			"The access was not allowed", "WHOOP says: " + says,
			"Run source authorize again to allow it, as the member whose data it is; an app that WHOOP has not approved may have ten members.",
		}
	case "invalid_scope":
		return &consentError{
			"WHOOP does not know what was asked for", "It says: " + says,
			"Give the app these scopes at developer.whoop.com, or ask for fewer with --scopes.",
		}
	default:
		return &consentError{
			"WHOOP could not ask for the consent", "It says: " + says,
			"Compare the app's redirect URL and scopes at developer.whoop.com with what source authorize was given, and run it again.",
		}
	}
}

// memberName reads the name from a profile, or returns "".
func memberName(profile json.RawMessage) string {
	var p struct {
		First string `json:"first_name"`
		Last  string `json:"last_name"`
	}
	if err := json.Unmarshal(profile, &p); err != nil {
		return ""
	}
	return strings.TrimSpace(p.First + " " + p.Last)
}
