package tokens

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

var errSpent = errors.New("it has been used before")

// An endpoint is the token endpoint of WHOOP. The request is our own:
// oauth2.Config may send a single-use token twice to find out how the client
// authenticates, and sends no scope.
type endpoint struct {
	url  string
	http http.RoundTripper
}

const (
	attempts       = 4
	attemptTimeout = 30 * time.Second
	largestAnswer  = 1 << 20
)

// refresh exchanges the refresh token for a new pair. The token's Extra has
// the "scope" that was granted.
//
// When no answer comes, nobody knows whether the token was spent. It is sent
// again all the same: if it was, then the pair it gave is lost and a refusal
// costs nothing; if it was not, this saves the connection. An answer that says
// no, of whatever kind, ends the attempts.
func (e endpoint) refresh(ctx context.Context, c Credentials) (*oauth2.Token, error) {
	var err error
	for attempt := range attempts {
		if attempt > 0 {
			pause := time.Second << attempt
			time.Sleep(pause/2 + rand.N(pause/2)) // not to be interrupted: see Keeper.renew
		}
		var t *oauth2.Token
		t, err = e.post(ctx, c)
		var refusal *oauth2.RetrieveError
		switch {
		case err == nil:
			return t, nil
		case !errors.As(err, &refusal) || refusal.Response.StatusCode >= 500 || refusal.Response.StatusCode == http.StatusTooManyRequests:
			continue
		case refusal.ErrorCode == "invalid_grant":
			return nil, &RevokedError{refusal}
		case refusal.ErrorCode == "invalid_client" || refusal.ErrorCode == "unauthorized_client":
			return nil, &ClientError{refusal}
		default:
			return nil, refusal
		}
	}
	return nil, fmt.Errorf("refreshing the access token: %w", err)
}

// post sends the refresh token once. A refusal is an *oauth2.RetrieveError.
func (e endpoint) post(ctx context.Context, c Credentials) (*oauth2.Token, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	form := url.Values{
		"grant_type":    {"refresh_token"},
		"refresh_token": {c.RefreshToken},
		"client_id":     {c.ClientID},
		"client_secret": {c.ClientSecret},
		"scope":         {"offline"},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	resp, err := cmp.Or(e.http, http.DefaultTransport).RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, largestAnswer))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		return nil, Refusal(&oauth2.RetrieveError{Response: resp, Body: body})
	}
	return parseAnswer(body)
}

// Refusal returns the error of a token endpoint with no more of the answer than
// RFC 6749 says is for people: what else stands there may be a token.
func Refusal(e *oauth2.RetrieveError) *oauth2.RetrieveError {
	var answer struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(e.Body, &answer) != nil || answer.Code == "" {
		answer.Code, answer.Description = e.Response.Status, "" // which has to do
	}
	return &oauth2.RetrieveError{Response: e.Response, ErrorCode: shortened(answer.Code), ErrorDescription: shortened(answer.Description)}
}

func shortened(text string) string {
	const most = 200
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

func parseAnswer(body []byte) (*oauth2.Token, error) {
	var answer struct {
		AccessToken  string      `json:"access_token"`
		RefreshToken string      `json:"refresh_token"`
		TokenType    string      `json:"token_type"`
		ExpiresIn    json.Number `json:"expires_in"` // sent as a number or as a string
		Scope        string      `json:"scope"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("reading the token endpoint's answer: %w", err)
	}
	if answer.AccessToken == "" {
		return nil, errors.New("reading the token endpoint's answer: no access_token")
	}
	t := &oauth2.Token{AccessToken: answer.AccessToken, RefreshToken: answer.RefreshToken, TokenType: answer.TokenType}
	if n, err := answer.ExpiresIn.Float64(); err == nil {
		t.ExpiresIn = int64(n)
	}
	return t.WithExtra(map[string]any{"scope": answer.Scope}), nil
}

func isRevoked(err error) bool {
	var revoked *RevokedError
	return errors.As(err, &revoked)
}
