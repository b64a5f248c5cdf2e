package sandbox

import (
	_ "embed"
	"html/template"
	"mime"
	"net/http"
	"net/url"
	"slices"
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

//go:embed consent.html
var consentHTML string

var consentPage = template.Must(template.New("consent").Parse(consentHTML))

// A consentView is what the page shows: a request or the reason why there is none.
type consentView struct {
	Client string
	Member profile
	Scopes []scopeView
	Params url.Values
	Error  *oauthError
}

type scopeView struct{ Name, Meaning string }

var meanings = map[string]string{
	"read:recovery":         "Recovery: score, heart rate variability, resting heart rate",
	"read:cycles":           "Cycles: day strain and average heart rate",
	"read:workout":          "Workouts: activity strain and heart rate zones",
	"read:sleep":            "Sleep: stages, need and performance",
	"read:profile":          "Profile: name and email address",
	"read:body_measurement": "Body measurements: height, weight and maximum heart rate",
	"offline":               "Stay connected while you are away",
}

func (s *Server) askConsent(w http.ResponseWriter, r *http.Request) {
	params := r.URL.Query()
	requested, ok := s.checkConsent(w, r, params)
	if !ok {
		return
	}
	params.Del("decision") // it is the member's to make
	view := consentView{Client: s.grants.clientID, Member: s.member.profile(), Params: params}
	for _, scope := range requested {
		view.Scopes = append(view.Scopes, scopeView{scope, meanings[scope]})
	}
	showPage(w, http.StatusOK, view)
}

func (s *Server) decideConsent(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		showPage(w, http.StatusBadRequest, consentView{Error: invalidRequest(err.Error())})
		return
	}
	granted, ok := s.checkConsent(w, r, r.PostForm)
	if !ok {
		return
	}
	if r.PostForm.Get("decision") != "authorize" {
		redirectError(w, r, r.PostForm, &oauthError{Code: "access_denied", Description: "The resource owner or authorization server denied the request."})
		return
	}
	code := s.grants.consent(consent{
		grant:       &grant{scopes: granted},
		redirectURI: r.PostForm.Get("redirect_uri"),
		challenge:   r.PostForm.Get("code_challenge"),
		method:      r.PostForm.Get("code_challenge_method"),
	})
	redirect(w, r, r.PostForm, url.Values{"code": {code}, "scope": {strings.Join(granted, " ")}})
}

// checkConsent returns the scopes that a well-formed request asks for, and
// answers any other. A client or redirect that is not registered is told to the
// member, never redirected to.
func (s *Server) checkConsent(w http.ResponseWriter, r *http.Request, params url.Values) (requested []string, ok bool) {
	if params.Get("client_id") != s.grants.clientID {
		showPage(w, http.StatusUnauthorized, consentView{Error: invalidClient("The requested OAuth 2.0 Client does not exist.")})
		return nil, false
	}
	if !slices.Contains(s.redirectURIs, params.Get("redirect_uri")) {
		showPage(w, http.StatusBadRequest, consentView{Error: invalidRequest(
			"The 'redirect_uri' parameter does not match any of the OAuth 2.0 Client's pre-registered redirect urls.")})
		return nil, false
	}
	requested = strings.Fields(params.Get("scope"))
	unknown := slices.IndexFunc(requested, func(scope string) bool { return !slices.Contains(scopes, scope) })
	method := params.Get("code_challenge_method")
	switch {
	case len(params.Get("state")) < 8:
		redirectError(w, r, params, &oauthError{Code: "invalid_state", Description: "The state is missing or does not have enough " +
			"characters and is therefore considered too weak. Request parameter 'state' must be at least be 8 characters long to ensure sufficient entropy."})
	case params.Get("response_type") != "code":
		redirectError(w, r, params, &oauthError{
			Code:        "unsupported_response_type",
			Description: "The authorization server does not support obtaining a token using this method.",
		})
	case unknown >= 0:
		redirectError(w, r, params, invalidScope("The OAuth 2.0 Client is not allowed to request scope '"+requested[unknown]+"'."))
	case method != "" && method != "plain" && method != "S256":
		redirectError(w, r, params, invalidRequest("The code_challenge_method is not supported, use S256 instead."))
	default:
		return requested, true
	}
	return nil, false
}

func redirectError(w http.ResponseWriter, r *http.Request, params url.Values, e *oauthError) {
	redirect(w, r, params, url.Values{"error": {e.Code}, "error_description": {e.Description}})
}

// redirect sends the browser back to the client, with its state.
func redirect(w http.ResponseWriter, r *http.Request, params, answer url.Values) {
	target, err := url.Parse(params.Get("redirect_uri"))
	if err != nil {
		showPage(w, http.StatusBadRequest, consentView{Error: invalidRequest(err.Error())})
		return
	}
	answer.Set("state", params.Get("state"))
	query := target.Query()
	for name := range answer {
		query.Set(name, answer.Get(name))
	}
	target.RawQuery = query.Encode()
	http.Redirect(w, r, target.String(), http.StatusSeeOther)
}

func showPage(w http.ResponseWriter, status int, view consentView) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	consentPage.Execute(w, view) //nolint:errcheck // the browser went away
}

// giveTokens is the token endpoint: form parameters, client credentials among
// them, for authorization_code and refresh_token.
func (s *Server) giveTokens(w http.ResponseWriter, r *http.Request) {
	tokens, e := s.tokensFor(r)
	w.Header().Set("Cache-Control", "no-store")
	if e != nil {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(e.status)
		w.Write(encode(e)) //nolint:errcheck // the client went away
		return
	}
	writeJSON(w, encode(tokens))
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
	params := r.PostForm
	if params.Get("client_id") != s.grants.clientID || params.Get("client_secret") != s.grants.clientSecret {
		return Tokens{}, invalidClient("The client id or the client secret is wrong.")
	}
	switch params.Get("grant_type") {
	case "authorization_code":
		tokens, e := s.grants.exchange(params.Get("code"), params.Get("redirect_uri"), params.Get("code_verifier"))
		if e == nil {
			s.audit.count(func(a *Audit) { a.Exchanges++ })
		}
		return tokens, e
	case "refresh_token":
		tokens, replay, e := s.grants.refresh(params.Get("refresh_token"), strings.Fields(params.Get("scope")))
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
