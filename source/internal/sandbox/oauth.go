package sandbox

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// serveOAuth registers the authorization and the token endpoint. They behave as
// Ory Hydra does, whose errors and rules WHOOP's share.
func (s *Server) serveOAuth() {
	s.mux.HandleFunc("GET /oauth/oauth2/auth", s.askConsent)
	s.mux.HandleFunc("POST /oauth/oauth2/auth", s.decideConsent)
	s.mux.HandleFunc("POST /oauth/oauth2/token", s.giveTokens)
}

// An oauthError is an error of RFC 6749.
type oauthError struct {
	status      int
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func invalidGrant(hint string) *oauthError {
	return &oauthError{http.StatusBadRequest, "invalid_grant", "The provided authorization grant (e.g., authorization code, " +
		"resource owner credentials) or refresh token is invalid, expired, revoked, does not match the redirection URI " +
		"used in the authorization request, or was issued to another client. " + hint}
}

func invalidClient(hint string) *oauthError {
	return &oauthError{http.StatusUnauthorized, "invalid_client", "Client authentication failed (e.g., unknown client, " +
		"no client authentication included, or unsupported authentication method). " + hint}
}

func invalidRequest(hint string) *oauthError {
	return &oauthError{http.StatusBadRequest, "invalid_request", "The request is missing a required parameter, includes an " +
		"invalid parameter value, includes a parameter more than once, or is otherwise malformed. " + hint}
}

func invalidScope(hint string) *oauthError {
	return &oauthError{http.StatusBadRequest, "invalid_scope", "The requested scope is invalid, unknown, or malformed. " + hint}
}

// giveTokens is the token endpoint: form parameters, client credentials among
// them, for authorization_code and refresh_token.
func (s *Server) giveTokens(w http.ResponseWriter, r *http.Request) {
	if s.Profile().TokenRequestsCount && !s.admit(w) {
		return
	}
	tokens, e := s.tokensFor(r)
	w.Header().Set("Cache-Control", "no-store")
	if e != nil {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(e.status)
		w.Write(encode(e)) //nolint:errcheck // the client went away
		return
	}
	writeJSON(w, tokens.encoded(s.Profile().ExpiresIn))
}

// encoded is the token response, with the lifetime told in some way.
func (t Tokens) encoded(as ExpiresIn) []byte {
	switch as {
	case ExpiresInText:
		return encode(struct {
			Tokens
			ExpiresIn string `json:"expires_in"`
		}{t, strconv.Itoa(t.ExpiresIn)})
	case ExpiresInMissing:
		return encode(struct {
			Tokens
			ExpiresIn int `json:"expires_in,omitzero"`
		}{t, 0})
	}
	return encode(t)
}

func (s *Server) tokensFor(r *http.Request) (Tokens, *oauthError) {
	if _, _, basic := r.BasicAuth(); basic {
		return Tokens{}, invalidClient("The OAuth 2.0 Client supports client authentication method 'client_secret_post', " +
			"but method 'client_secret_basic' was requested.")
	}
	if form, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); form != "application/x-www-form-urlencoded" {
		return Tokens{}, invalidRequest("The POST body must be application/x-www-form-urlencoded.")
	}
	if err := r.ParseForm(); err != nil {
		return Tokens{}, invalidRequest(err.Error())
	}
	params, now, profile := r.PostForm, s.Now(), s.Profile()
	if params.Get("client_id") != s.grants.clientID || params.Get("client_secret") != s.grants.clientSecret {
		return Tokens{}, invalidClient("The client id or the client secret is wrong.")
	}
	switch params.Get("grant_type") {
	case "authorization_code":
		tokens, e := s.grants.exchange(params.Get("code"), params.Get("redirect_uri"), params.Get("code_verifier"), now, profile)
		if e == nil {
			s.audit.count(func(a *Audit) { a.Exchanges++ })
		}
		return tokens, e
	case "refresh_token":
		tokens, replay, e := s.grants.refresh(params.Get("refresh_token"), strings.Fields(params.Get("scope")), now, profile)
		s.audit.count(func(a *Audit) {
			if replay {
				a.SpentReplays++
			} else if e == nil {
				a.Refreshes++
			}
		})
		return tokens, e
	}
	return Tokens{}, &oauthError{
		http.StatusBadRequest, "unsupported_grant_type",
		"The authorization grant type is not supported by the authorization server.",
	}
}
