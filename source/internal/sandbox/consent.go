package sandbox

import (
	_ "embed"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member"
)

//go:embed consent.html
var consentHTML string

var consentPage = template.Must(template.New("consent").Parse(consentHTML))

// A consentView is what the page shows: a request or the reason why there is none.
type consentView struct {
	Client  string
	Members []member.Person
	Scopes  []scopeView
	Params  url.Values
	Error   *oauthError
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
	switch s.Profile().Consent {
	case ConsentGranted:
		s.grantConsent(w, r, params, requested, s.members[0])
		return
	case ConsentDenied:
		s.denyConsent(w, r, params)
		return
	}
	params.Del("decision") // it is the member's to make
	params.Del("member")
	view := consentView{Client: s.grants.clientID, Params: params}
	for _, m := range s.members {
		view.Members = append(view.Members, m.Person())
	}
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
	requested, ok := s.checkConsent(w, r, r.PostForm)
	if !ok {
		return
	}
	n := 0
	if text := r.PostForm.Get("member"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 0 || n >= len(s.members) {
			showPage(w, http.StatusBadRequest, consentView{Error: invalidRequest("There is no such member.")})
			return
		}
	}
	if r.PostForm.Get("decision") != "authorize" {
		s.denyConsent(w, r, r.PostForm)
		return
	}
	s.grantConsent(w, r, r.PostForm, requested, s.members[n])
}

func (s *Server) denyConsent(w http.ResponseWriter, r *http.Request, params url.Values) {
	code := "access_denied"
	if s.Profile().DenialIsForbidden {
		code = "request_forbidden"
	}
	s.redirectError(w, r, params, &oauthError{Code: code, Description: "The resource owner or authorization server denied the request."})
}

func (s *Server) grantConsent(w http.ResponseWriter, r *http.Request, params url.Values, requested []string, m *member.Member) {
	withheld := s.Profile().WithheldScopes
	granted := slices.DeleteFunc(slices.Clone(requested), func(scope string) bool { return slices.Contains(withheld, scope) })
	code := s.grants.consent(consent{
		grant:       &grant{member: m, scopes: granted},
		redirectURI: params.Get("redirect_uri"),
		challenge:   params.Get("code_challenge"),
		method:      params.Get("code_challenge_method"),
	}, s.Now())
	s.redirect(w, r, params, url.Values{"code": {code}, "scope": {strings.Join(granted, " ")}})
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
		s.redirectError(w, r, params, &oauthError{Code: "invalid_state", Description: "The state is missing or does not have enough " +
			"characters and is therefore considered too weak. Request parameter 'state' must be at least be 8 characters long to ensure sufficient entropy."})
	case params.Get("response_type") != "code":
		s.redirectError(w, r, params, &oauthError{
			Code:        "unsupported_response_type",
			Description: "The authorization server does not support obtaining a token using this method.",
		})
	case unknown >= 0:
		s.redirectError(w, r, params, invalidScope("The OAuth 2.0 Client is not allowed to request scope '"+requested[unknown]+"'."))
	case method != "" && method != "plain" && method != "S256":
		s.redirectError(w, r, params, invalidRequest("The code_challenge_method is not supported, use S256 instead."))
	default:
		return requested, true
	}
	return nil, false
}

func (s *Server) redirectError(w http.ResponseWriter, r *http.Request, params url.Values, e *oauthError) {
	s.redirect(w, r, params, url.Values{"error": {e.Code}, "error_description": {e.Description}})
}

// redirect sends the browser back to the client, with its state.
func (s *Server) redirect(w http.ResponseWriter, r *http.Request, params, answer url.Values) {
	target, err := url.Parse(params.Get("redirect_uri"))
	if err != nil {
		showPage(w, http.StatusBadRequest, consentView{Error: invalidRequest(err.Error())})
		return
	}
	answer.Set("state", params.Get("state"))
	if s.Profile().ForgedState {
		answer.Set("state", "00000000000000000000000000000000")
	}
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
