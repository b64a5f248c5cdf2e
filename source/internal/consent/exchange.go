package consent

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

// An authorizationRequest is what the consent page is opened with, and what only
// its sender knows.
type authorizationRequest struct {
	oauth           oauth2.Config
	state, verifier string
}

func newRequest(client tokens.Credentials, apiURL, redirect string, scopes []string) authorizationRequest {
	state := make([]byte, 32) // 256 bits, so that no other response has it
	rand.Read(state)          // never fails
	return authorizationRequest{
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

func (r authorizationRequest) url() string {
	return r.oauth.AuthCodeURL(r.state, oauth2.S256ChallengeOption(r.verifier))
}

// A grant is what a member consented to.
type grant struct {
	tokens     tokens.Credentials
	scopes     []string
	memberName string // empty if the scopes do not cover the profile
}

// missingScope returns a scope that a stream lacks, or "".
func (g grant) missingScope(st Stream) string {
	for _, scope := range st.Scopes {
		if !slices.Contains(g.scopes, scope) {
			return scope
		}
	}
	return ""
}

// redeem checks an authorization response, exchanges its code for tokens, tries
// them and stores them.
func (a *authorization) redeem(ctx context.Context, r authorizationRequest, params url.Values, to *target) (grant, error) {
	if err := checkResponse(params, r.state); err != nil {
		return grant{}, err
	}
	code := params.Get("code")
	a.secrets.Add(code)
	g, err := a.exchange(ctx, r, code)
	if err != nil {
		return g, err
	}
	if g.memberName, err = a.verify(ctx, to.apiURL, g); err != nil {
		return g, err
	}
	// From here on, an interruption would lose the tokens, and with them the consent.
	if err := to.save(context.WithoutCancel(ctx), g.tokens); err != nil {
		return g, &problem{"The tokens could not be stored", err.Error() + ".", "Fix that and run source authorize again."}
	}
	return g, nil
}

// exchange exchanges the code for the first tokens.
func (a *authorization) exchange(ctx context.Context, r authorizationRequest, code string) (grant, error) {
	g := grant{tokens: tokens.Credentials{ClientID: r.oauth.ClientID, ClientSecret: r.oauth.ClientSecret}}
	endpoint := tokens.Endpoint{
		URL: r.oauth.Endpoint.TokenURL, HTTP: a.http, UserAgent: a.userAgent, Excerpt: a.secrets.Excerpt,
		Waiting: func(until time.Time) error {
			fmt.Fprintf(a.terminal, "WHOOP gets more requests than it answers. Trying again at %s.\n", until.Format(time.TimeOnly))
			return nil
		},
	}
	asked := time.Now()
	t, err := endpoint.Exchange(ctx, g.tokens, code, r.verifier, r.oauth.RedirectURL)
	var revoked *tokens.RevokedError
	var client *tokens.ClientError
	switch {
	case err == nil:
	case errors.As(err, &client):
		return g, &problem{
			"WHOOP does not accept the client", "The client id and the client secret do not belong together.",
			"Compare both with those of the app at developer.whoop.com and run source authorize again.",
		}
	case errors.As(err, &revoked):
		return g, &problem{
			"WHOOP no longer accepts this consent", fmt.Sprintf("Its code has expired or was used before (%v).", revoked.Err),
			"Run source authorize again and consent within a few minutes.",
		}
	case ctx.Err() != nil:
		return g, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return g, &problem{
			"WHOOP did not answer in time", "The consent came, but WHOOP's token endpoint did not answer for " + requestTimeout.String() + ".",
			"Run source authorize again later.",
		}
	case whoop.Unreachable(err) != "":
		return g, &problem{
			"WHOOP cannot be reached", "The consent came, but its token endpoint cannot be reached: " + whoop.Unreachable(err) + ".",
			"Run source authorize again later.",
		}
	default:
		return g, &problem{
			"WHOOP gave no tokens", "Its token endpoint did not answer properly: " + err.Error() + ".",
			"Run source authorize again later.",
		}
	}
	a.secrets.Add(t.AccessToken, t.RefreshToken)
	if t.RefreshToken == "" {
		return g, &problem{
			"The consent would end within the hour", "WHOOP issued no refresh token. It issues one only for the scope offline.",
			"Run source authorize again and leave offline granted.",
		}
	}
	g.tokens.AccessToken, g.tokens.RefreshToken = t.AccessToken, t.RefreshToken
	if t.ExpiresIn > 0 {
		g.tokens.ExpiresAt = asked.Add(t.ExpiresIn).UTC().Truncate(time.Second)
	}
	g.scopes = r.oauth.Scopes // a response without scopes means those of the request: RFC 6749, 5.1
	if t.Scope != "" {
		g.scopes = strings.Fields(t.Scope)
	}
	return g, nil
}

// verify makes the first request with the new tokens and returns the member's
// name. It is an error if WHOOP refuses them, but not if WHOOP does not answer,
// because the tokens may work all the same.
func (a *authorization) verify(ctx context.Context, apiURL string, g grant) (string, error) {
	if !slices.Contains(g.scopes, "read:profile") {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	client := whoop.New(whoop.Config{
		URL: apiURL, Tokens: fixedToken(g.tokens.AccessToken), RequestsPerSecond: 1,
		UserAgent: a.userAgent, HTTP: a.http, Excerpt: a.secrets.Excerpt,
		Log: slog.New(slog.DiscardHandler), // the outcome is reported below
	})
	raw, err := client.Get(ctx, whoop.ProfilePath)
	if whoop.Refused(err) {
		return "", &problem{
			"WHOOP does not accept its own tokens", fmt.Sprintf("The first request with them was refused: %v.", err),
			"Run source authorize again.",
		}
	}
	if err != nil {
		fmt.Fprintf(a.terminal, "The tokens could not be tried (%v). They are stored anyway; try them later with source check.\n", err)
		return "", nil
	}
	return memberName(raw), nil
}

// A fixedToken is a token that cannot be renewed.
type fixedToken string

func (t fixedToken) Token(context.Context) (string, error) { return string(t), nil }

func (t fixedToken) TokenInsteadOf(context.Context, string, func(context.Context) (bool, error)) (string, error) {
	return string(t), nil
}

// isResponse reports whether parameters are those of an authorization response.
func isResponse(params url.Values) bool { return params.Has("code") || params.Has("error") }

// carries reports whether an answer has the state that was sent.
func hasState(params url.Values, state string) bool {
	return subtle.ConstantTimeCompare([]byte(params.Get("state")), []byte(state)) == 1
}

// checkResponse returns an error unless the response is a consent.
func checkResponse(params url.Values, state string) error {
	if !hasState(params, state) {
		return &problem{
			"This answer belongs to another request", "Its state is not the one that was sent. It may come from an earlier attempt, or somebody may be trying to connect an account that is not yours. Nothing was stored.",
			"Run source authorize again and use the address that it prints.",
		}
	}
	reason := params.Get("error")
	if description := strings.TrimSpace(params.Get("error_description")); description != "" {
		reason += ": " + description
	}
	switch params.Get("error") {
	case "":
		return nil
	case "access_denied", "request_forbidden": // WHOOP has been seen to send the latter
		return &problem{
			"The access was not allowed", "WHOOP says: " + reason,
			"Run source authorize again and allow it as the member who owns the data. An app that WHOOP has not approved may have ten members.",
		}
	case "invalid_scope":
		return &problem{
			"WHOOP does not accept the scopes", "It says: " + reason,
			"Give the app these scopes at developer.whoop.com, or ask for fewer with --scopes.",
		}
	default:
		return &problem{
			"WHOOP could not ask for the consent", "It says: " + reason,
			"Compare the app's redirect URL and scopes at developer.whoop.com with the flags of source authorize, and run it again.",
		}
	}
}

// memberName reads the name from a profile. It returns "" if there is none.
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
