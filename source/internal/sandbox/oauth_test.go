package sandbox

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

func (b *bench) post(t *testing.T, path string, form url.Values) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", b.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.send(t, r)
}

func (b *bench) refresh(t *testing.T, token string) reply {
	t.Helper()
	return b.post(t, "/oauth/oauth2/token", url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {token}, "scope": {"offline"},
		"client_id": {"client"}, "client_secret": {"secret"},
	})
}

func (b *bench) alive(t *testing.T, access string) bool {
	t.Helper()
	return b.request(t, "GET", "/developer/v2/user/profile/basic", access).status == http.StatusOK
}

func authorization() url.Values {
	return url.Values{
		"response_type": {"code"}, "client_id": {"client"}, "redirect_uri": {redirectURI},
		"scope": {"read:cycles read:profile offline"}, "state": {"12345678"},
	}
}

func exchange(code string) url.Values {
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI},
		"client_id": {"client"}, "client_secret": {"secret"},
	}
}

// code goes through the consent and returns the code.
func (b *bench) code(t *testing.T, params url.Values) string {
	t.Helper()
	params.Set("decision", "authorize")
	return location(t, b.post(t, "/oauth/oauth2/auth", params)).Get("code")
}

func location(t *testing.T, r reply) url.Values {
	t.Helper()
	to, err := url.Parse(r.header.Get("Location"))
	if err != nil || r.status != http.StatusSeeOther || !strings.HasPrefix(to.String(), redirectURI+"?") {
		t.Fatalf("not redirected back: %d %s", r.status, r.body)
	}
	return to.Query()
}

func TestConsentPageListsTheScopes(t *testing.T) {
	b := newBench(t, Config{})
	got := b.request(t, "GET", "/oauth/oauth2/auth?"+authorization().Encode(), "")
	for _, want := range []string{"read:cycles", "read:profile", "offline", `id="authorize" name="decision" value="authorize"`, `id="deny" name="decision" value="deny"`, `name="state" value="12345678"`} {
		if !strings.Contains(got.body, want) {
			t.Errorf("page has no %q", want)
		}
	}
	if strings.Contains(got.body, "read:sleep") {
		t.Error("page lists a scope that was not asked for")
	}
}

func TestConsentGivesTokens(t *testing.T) {
	b := newBench(t, Config{Profile: Profile{AccessTokenTTL: 2 * hours}})
	params := authorization()
	params.Set("decision", "authorize")
	back := location(t, b.post(t, "/oauth/oauth2/auth", params))
	if back.Get("state") != "12345678" || strings.Count(back.Get("code"), ".") != 1 {
		t.Fatalf("redirected with %v", back)
	}
	got := b.post(t, "/oauth/oauth2/token", exchange(back.Get("code")))
	tokens := parse[Tokens](t, got.body)
	if tokens.TokenType != "bearer" || tokens.ExpiresIn != 7200 || tokens.Scope != "read:cycles read:profile offline" {
		t.Errorf("tokens: %s", got.body)
	}
	if tokens.RefreshToken == "" || !b.alive(t, tokens.AccessToken) {
		t.Error("the tokens do not work")
	}
	if again := b.post(t, "/oauth/oauth2/token", exchange(back.Get("code"))); again.status != http.StatusBadRequest {
		t.Errorf("second use of the code: %d", again.status)
	}
	if b.alive(t, tokens.AccessToken) {
		t.Error("a code that came twice should end the tokens it gave")
	}
}

func TestNoRefreshTokenWithoutOffline(t *testing.T) {
	b := newBench(t, Config{})
	params := authorization()
	params.Set("scope", "read:cycles")
	got := b.post(t, "/oauth/oauth2/token", exchange(b.code(t, params)))
	if tokens := parse[Tokens](t, got.body); tokens.AccessToken == "" || strings.Contains(got.body, "refresh_token") {
		t.Errorf("tokens: %s", got.body)
	}
}

func TestRefusedConsentsRedirectWithTheError(t *testing.T) {
	for _, test := range []struct{ name, param, value, want string }{
		{"denied", "decision", "deny", "access_denied"},
		{"state too short", "state", "1234567", "invalid_state"},
		{"token instead of code", "response_type", "token", "unsupported_response_type"},
		{"unknown scope", "scope", "read:workouts", "invalid_scope"},
		{"unknown challenge method", "code_challenge_method", "S512", "invalid_request"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, Config{})
			params := authorization()
			params.Set("decision", "authorize")
			params.Set(test.param, test.value)
			back := location(t, b.post(t, "/oauth/oauth2/auth", params))
			if back.Get("error") != test.want || back.Get("code") != "" || back.Get("state") != params.Get("state") {
				t.Errorf("redirected with %v, want error %s", back, test.want)
			}
		})
	}
}

func TestUnregisteredClientOrRedirectIsNotRedirected(t *testing.T) {
	b := newBench(t, Config{})
	for param, value := range map[string]string{
		"client_id": "another", "redirect_uri": redirectURI + "/",
	} {
		params := authorization()
		params.Set(param, value)
		got := b.request(t, "GET", "/oauth/oauth2/auth?"+params.Encode(), "")
		if got.status < 400 || got.header.Get("Location") != "" || strings.Contains(got.body, "<form") {
			t.Errorf("wrong %s: %d %s", param, got.status, got.body)
		}
	}
}

func TestCodesExpireAndBelongToTheirRedirect(t *testing.T) {
	b := newBench(t, Config{})
	code := b.code(t, authorization())
	other := exchange(code)
	other.Set("redirect_uri", "http://127.0.0.1:1/")
	if got := b.post(t, "/oauth/oauth2/token", other); got.status != http.StatusBadRequest {
		t.Errorf("other redirect: %d", got.status)
	}
	b.clock.Advance(codeLifetime)
	if got := b.post(t, "/oauth/oauth2/token", exchange(code)); got.status != http.StatusBadRequest {
		t.Errorf("expired code: %d", got.status)
	}
}

func TestPKCEIsHonouredWhenUsed(t *testing.T) {
	b := newBench(t, Config{})
	sum := sha256.Sum256([]byte("verifier"))
	params := authorization()
	params.Set("code_challenge", base64.RawURLEncoding.EncodeToString(sum[:]))
	params.Set("code_challenge_method", "S256")
	form := exchange(b.code(t, params))
	form.Set("code_verifier", "wrong")
	if got := b.post(t, "/oauth/oauth2/token", form); got.status != http.StatusBadRequest {
		t.Errorf("wrong verifier: %d", got.status)
	}
	form.Set("code_verifier", "verifier")
	if got := b.post(t, "/oauth/oauth2/token", form); got.status != http.StatusOK {
		t.Errorf("right verifier: %d %s", got.status, got.body)
	}
}

func TestTokenEndpointWantsItsOwnKindOfRequest(t *testing.T) {
	b := newBench(t, Config{})
	b.tokens = b.Issue("read:cycles", "offline")
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {b.tokens.RefreshToken}}
	send := func(content, body, user string) reply {
		r, err := http.NewRequestWithContext(t.Context(), "POST", b.url+"/oauth/oauth2/token", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", content)
		if user != "" {
			r.SetBasicAuth(user, "secret")
		}
		return b.send(t, r)
	}
	const formType = "application/x-www-form-urlencoded"
	secret := "&client_id=client&client_secret="
	for _, test := range []struct {
		name   string
		got    reply
		status int
		code   string
	}{
		{"credentials in the header", send(formType, form.Encode(), "client"), 401, "invalid_client"},
		{"no credentials", send(formType, form.Encode(), ""), 401, "invalid_client"},
		{"wrong secret", send(formType, form.Encode()+secret+"x", ""), 401, "invalid_client"},
		{"JSON", send("application/json", `{"grant_type":"refresh_token"}`, ""), 400, "invalid_request"},
		{"other grant", send(formType, "grant_type=password"+secret+"secret", ""), 400, "unsupported_grant_type"},
	} {
		if got := parse[oauthError](t, test.got.body); test.got.status != test.status || got.Code != test.code {
			t.Errorf("%s: %d %s, want %d %s", test.name, test.got.status, test.got.body, test.status, test.code)
		}
	}
	if got := send(formType, form.Encode()+secret+"secret&scope=read:sleep", ""); got.status != 400 || parse[oauthError](t, got.body).Code != "invalid_scope" {
		t.Errorf("scope that was not granted: %d %s", got.status, got.body)
	}
	if got := b.refresh(t, b.tokens.RefreshToken); got.status != http.StatusOK {
		t.Errorf("a refused request spent the refresh token: %d %s", got.status, got.body)
	}
}

func TestRefreshKillsTheOldPair(t *testing.T) {
	b := newBench(t, Config{})
	old := b.tokens
	fresh := parse[Tokens](t, b.refresh(t, old.RefreshToken).body)
	if fresh.AccessToken == old.AccessToken || fresh.RefreshToken == old.RefreshToken || fresh.Scope != old.Scope {
		t.Errorf("refreshed to %+v", fresh)
	}
	if b.alive(t, old.AccessToken) {
		t.Error("the old access token still works")
	}
	if !b.alive(t, fresh.AccessToken) {
		t.Error("the new access token does not work")
	}
	if got := b.Audit(); got.Refreshes != 1 || got.DeadTokens != 1 || got.SpentReplays != 0 {
		t.Errorf("audit: %+v", got)
	}
}

func TestAccessTokensExpire(t *testing.T) {
	b := newBench(t, Config{})
	b.clock.Advance(time.Hour - time.Second)
	if !b.alive(t, b.tokens.AccessToken) {
		t.Error("expired too early")
	}
	b.clock.Advance(time.Second)
	if b.alive(t, b.tokens.AccessToken) {
		t.Error("not expired")
	}
	if got := b.refresh(t, b.tokens.RefreshToken); got.status != http.StatusOK {
		t.Errorf("refreshing: %d", got.status)
	}
}

func TestReplayedRefreshToken(t *testing.T) {
	for _, test := range []struct {
		name      string
		mode      ReuseMode
		after     time.Duration
		status    int
		newestOK  bool
		siblingOK bool
	}{
		{"refused", ReuseRefused, 0, 400, true, false},
		{"ends the family", ReuseRevokesFamily, 0, 400, false, false},
		{"inactive", ReuseInactive, 0, 401, true, false},
		{"within grace", ReuseGrace, gracePeriod - 1, 200, true, true},
		{"after grace", ReuseGrace, gracePeriod, 400, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, Config{Profile: Profile{Reuse: test.mode}})
			newest := parse[Tokens](t, b.refresh(t, b.tokens.RefreshToken).body)
			b.clock.Advance(test.after)
			replay := b.refresh(t, b.tokens.RefreshToken)
			if replay.status != test.status {
				t.Fatalf("replay: %d %s", replay.status, replay.body)
			}
			if e, want := parse[oauthError](t, replay.body), map[int]string{400: "invalid_grant", 401: "token_inactive"}; e.Code != want[test.status] {
				t.Errorf("replay: %s", replay.body)
			}
			if got := b.alive(t, newest.AccessToken); got != test.newestOK {
				t.Errorf("newest access token works: %v", got)
			}
			if got := b.alive(t, parse[Tokens](t, replay.body).AccessToken); got != test.siblingOK {
				t.Errorf("access token of the replay works: %v", got)
			}
			if got := b.refresh(t, newest.RefreshToken).status == 200; got != test.newestOK {
				t.Errorf("newest refresh token works: %v", got)
			}
			if got := b.Audit().SpentReplays; got != 1 {
				t.Errorf("audit counts %d replays", got)
			}
		})
	}
}

func TestConcurrentRefreshesHaveOneWinner(t *testing.T) {
	b := newBench(t, Config{})
	const clients = 20
	var all sync.WaitGroup
	statuses := make([]int, clients)
	for i := range clients {
		all.Go(func() {
			answer, err := http.PostForm(b.url+"/oauth/oauth2/token", url.Values{
				"grant_type": {"refresh_token"}, "refresh_token": {b.tokens.RefreshToken},
				"client_id": {"client"}, "client_secret": {"secret"},
			})
			if err != nil {
				t.Error(err)
				return
			}
			answer.Body.Close()
			statuses[i] = answer.StatusCode
		})
	}
	all.Wait()
	won := 0
	for _, status := range statuses {
		if status == http.StatusOK {
			won++
		}
	}
	if got := b.Audit(); won != 1 || got.Refreshes != 1 || got.SpentReplays != clients-1 {
		t.Errorf("%d won; audit: %+v", won, got)
	}
}

func TestTokensAreAFunctionOfTheSeed(t *testing.T) {
	a, b, other := New(Config{Seed: 5}), New(Config{Seed: 5}), New(Config{Seed: 6})
	first := a.Issue()
	if first != b.Issue() {
		t.Error("same seed, other tokens")
	}
	if first.AccessToken == other.Issue().AccessToken || first.AccessToken == a.Issue().AccessToken {
		t.Error("a token came twice")
	}
}
