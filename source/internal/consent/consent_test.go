package consent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/consent/consenttest"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/tokens/secretstest"
)

func TestConsentMakesAConfigurationThatWorks(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			c := newConsenting(t, scheme, sandbox.Profile{DefaultAgentsBlocked: true}) // no request has a library's agent
			path := filepath.Join(t.TempDir(), "source.json")
			if err := c.authorize("--config", path); err != nil {
				t.Fatal(err)
			}
			page := <-c.page
			for _, want := range []string{"Connected to WHOOP as ", "gave access to every stream", "workout_by_id"} {
				if !strings.Contains(page, want) {
					t.Errorf("the page lacks %q: %s", want, page)
				}
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", path, info, err)
			}
			checked(t, path)
			for _, want := range []string{"Connected to WHOOP as ", "Open:    profile, body_measurement, cycles, recovery", "Next:    bin/source check --config " + path} {
				if !strings.Contains(c.stderr.String(), want) {
					t.Errorf("no %q in %s", want, c.stderr.String())
				}
			}
			var config struct {
				Credentials struct {
					Access  string `json:"access_token"`
					Refresh string `json:"refresh_token"`
				}
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(raw, &config); err != nil {
				t.Fatal(err)
			}
			c.quiet(config.Credentials.Access, config.Credentials.Refresh)
			if c.stdout.Len() > 0 {
				t.Errorf("stdout has %s", c.stdout.String())
			}
		})
	}
}

func TestRequestForConsentIsAsItShouldBe(t *testing.T) {
	c := newConsenting(t, "http", sandbox.Profile{})
	c.decision = ""
	var states []string
	for range 2 {
		c.stderr.Reset()
		if err := c.authorize("--print-tokens", "--timeout", "50ms"); err == nil {
			t.Fatal("no error without a consent")
		}
		u, err := url.Parse(regexp.MustCompile(`http\S+state=\S+`).FindString(c.stderr.String()))
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		states = append(states, q.Get("state"))
		wantEqual(t, "scope", q.Get("scope"), "read:body_measurement read:cycles read:profile read:recovery read:sleep read:workout offline")
		wantEqual(t, "response_type", q.Get("response_type"), "code")
		wantEqual(t, "redirect_uri", q.Get("redirect_uri"), c.redirect)
		wantEqual(t, "code_challenge_method", q.Get("code_challenge_method"), "S256")
		if len(q.Get("state")) < 22 || len(q.Get("code_challenge")) != 43 || q.Has("client_secret") || u.Path != "/oauth/oauth2/auth" {
			t.Errorf("request %s", u)
		}
	}
	if states[0] == states[1] {
		t.Error("two requests have one state")
	}
}

func TestConsentKeepsTheRestOfAConfiguration(t *testing.T) {
	c := newConsenting(t, "http", sandbox.Profile{})
	c.env = nil
	path := protocoltest.File(t, map[string]any{
		"lookback_days": 3, "api_url": c.url, "_by_orchestrator": "kept",
		"credentials": map[string]any{"auth_type": config.OAuth, "client_id": "sandbox-client", "client_secret": "sandbox-secret", "refresh_token": "dead"},
	})
	if err := c.authorize("--config", path); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	credentials := got["credentials"].(map[string]any)
	if credentials["refresh_token"] == "dead" || credentials["token_expiry_date"] == nil {
		t.Errorf("credentials %v", credentials)
	}
	delete(got, "credentials")
	wantEqual(t, "the rest", got, map[string]any{"lookback_days": 3.0, "api_url": c.url, "_by_orchestrator": "kept"})
	checked(t, path)
}

// What a configuration takes from the environment is used, and is not written into the file.
func TestConsentKeepsReferencesToTheEnvironment(t *testing.T) {
	c := newConsenting(t, "http", sandbox.Profile{})
	c.env = map[string]string{"MY_ID": "sandbox-client", "MY_SECRET": "sandbox-secret", "OLD": "dead"}
	path := protocoltest.File(t, map[string]any{"credentials": map[string]any{
		"auth_type": config.OAuth, "client_id": "${MY_ID}", "client_secret": "${MY_SECRET}", "refresh_token": "${OLD}",
	}})
	if err := c.authorize("--config", path); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Credentials map[string]string }
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if got := got.Credentials; got["client_id"] != "${MY_ID}" || got["client_secret"] != "${MY_SECRET}" || got["refresh_token"] == "${OLD}" {
		t.Errorf("configuration %s", raw)
	}

	// The place of the tokens that is given now counts.
	file := filepath.Join(t.TempDir(), "whoop.json")
	c.env["ELSEWHERE"] = filepath.Join(t.TempDir(), "other.json")
	path = protocoltest.File(t, map[string]any{"credentials": map[string]any{"auth_type": config.File, "path": "${ELSEWHERE}"}})
	if err := c.authorize("--config", path, "--client-id", "sandbox-client", "--client-secret", "sandbox-secret", "--token-file", file); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(path); err != nil || !bytes.Contains(raw, []byte(file)) {
		t.Errorf("configuration %s, %v", raw, err)
	}
}

func TestTokensGoWhereTheyAreTold(t *testing.T) {
	dir := t.TempDir()
	t.Run("a new token file", func(t *testing.T) {
		c := newConsenting(t, "http", sandbox.Profile{})
		file, config := filepath.Join(dir, "whoop.json"), filepath.Join(dir, "source.json")
		if err := c.authorize("--token-file", file, "--config", config); err != nil {
			t.Fatal(err)
		}
		got := readTokens(t, file)
		c.quiet(got.AccessToken, got.RefreshToken)
		checked(t, config)
		raw, err := os.ReadFile(config)
		if err != nil || bytes.Contains(raw, []byte(got.RefreshToken)) || !bytes.Contains(raw, []byte(file)) {
			t.Errorf("configuration %s, %v", raw, err)
		}

		// The member revokes the access, and consents again. The file has the client.
		c.server.Revoke()
		c.env = nil
		if err := c.authorize("--config", config); err != nil {
			t.Fatal(err)
		}
		if again := readTokens(t, file); again.RefreshToken == got.RefreshToken {
			t.Error("the old refresh token is still there")
		}
		checked(t, config)
	})
	t.Run("a secret", func(t *testing.T) {
		for name, value := range secretstest.Environment() {
			t.Setenv(name, value)
		}
		aws := &secretstest.Server{}
		server := httptest.NewServer(aws)
		defer server.Close()
		c := newConsenting(t, "http", sandbox.Profile{})
		config := protocoltest.File(t, map[string]any{"credentials": map[string]any{
			"auth_type": config.Secret, "secret_id": "whoop", "region": "eu-central-1", "endpoint": server.URL,
		}})
		if err := c.authorize("--config", config); err != nil {
			t.Fatal(err)
		}
		value, versions := aws.Value("whoop")
		if versions != 1 || !strings.Contains(value, "sandbox-secret") {
			t.Errorf("%d versions", versions)
		}
		checked(t, config)
	})
	t.Run("standard output", func(t *testing.T) {
		c := newConsenting(t, "http", sandbox.Profile{})
		if err := c.authorize("--print-tokens"); err != nil {
			t.Fatal(err)
		}
		config := filepath.Join(t.TempDir(), "source.json")
		if err := os.WriteFile(config, c.stdout.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		checked(t, config)
	})
}

func TestConsentThatIsNone(t *testing.T) {
	for name, test := range map[string]struct {
		profile  sandbox.Profile
		fault    *sandbox.Fault
		decision string
		env      map[string]string
		args     []string
		want     string // of the error
		page     string // in the browser; empty: there is none
	}{
		"denied": {
			decision: "deny", want: "The access was not allowed. WHOOP says: access_denied: The resource owner",
			page: "The access was not allowed",
		},
		"denied as WHOOP does it": {
			profile: sandbox.Profile{DenialIsForbidden: true}, decision: "deny",
			want: "WHOOP says: request_forbidden", page: "The access was not allowed",
		},
		"nobody there": {
			args: []string{"--timeout", "50ms"}, want: "No consent came within 50ms. If WHOOP showed an error instead of a question: the app must have registered exactly the redirect URL http",
		},
		"no offline": {
			profile: sandbox.Profile{WithheldScopes: []string{"offline"}}, decision: "authorize",
			want: "The consent would end within the hour", page: "leave offline granted",
		},
		"wrong client secret": {
			env: map[string]string{"WHOOP_CLIENT_SECRET": "wrong-1234"}, decision: "authorize",
			want: "do not belong together. Compare both with those of the app", page: "Compare both",
		},
		"token endpoint out of order": {
			fault: &sandbox.Fault{Path: "/oauth/oauth2/token", Action: sandbox.Replace, Status: 502, Times: -1}, decision: "authorize",
			want: "WHOOP gave no tokens", page: "Run source authorize again later",
		},
		"tokens that do not work": {
			fault: &sandbox.Fault{Path: "/developer", Action: sandbox.Replace, Status: 401, Times: -1}, decision: "authorize",
			want: "WHOOP does not accept its own tokens", page: "The first request with them was refused",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newConsenting(t, "http", test.profile)
			if test.fault != nil {
				c.server.SetFaults(*test.fault)
			}
			for name, value := range test.env {
				c.env[name] = value
			}
			c.decision = test.decision
			path := filepath.Join(t.TempDir(), "source.json")
			err := c.authorize(append([]string{"--config", path}, test.args...)...)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %s", err, test.want)
			}
			if test.page != "" {
				if page := <-c.page; !strings.Contains(page, test.page) || strings.Contains(page, "sandbox-secret") {
					t.Errorf("page %s", page)
				}
			}
			if _, err := os.Stat(path); err == nil {
				t.Error("a configuration was written")
			}
			c.quiet("wrong-1234")
		})
	}
}

// An answer with the state of another consent is not taken, and the right one is waited for.
func TestTheAnswerToAnotherConsentIsNotTaken(t *testing.T) {
	c := newConsenting(t, "http", sandbox.Profile{ForgedState: true})
	ctx, cancel := context.WithCancelCause(t.Context())
	seen := errors.New("the page was seen")
	var page string
	go func() {
		page = <-c.page
		cancel(seen)
	}()
	path := filepath.Join(t.TempDir(), "source.json")
	if err := c.run(ctx, &c.stderr, c.browse, "--config", path); err == nil || err.Error() != seen.Error() {
		t.Errorf("error %v", err)
	}
	<-ctx.Done()
	if !strings.Contains(page, "This is not the answer to this consent") || strings.Contains(page, "sandbox-secret") {
		t.Errorf("page %s", page)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a configuration was written")
	}
	c.quiet()
}

// A consent is the member's work: only tokens that WHOOP refuses are thrown away.
func TestTokensThatCannotBeTriedAreKept(t *testing.T) {
	for name, test := range map[string]struct {
		status      int
		contentType string
		refused     bool
	}{
		"refused": {401, "text/plain", true}, "forbidden": {403, "application/json", true},
		"turned away before WHOOP": {403, "text/html", false}, "no profile": {404, "", false},
		"out of order": {502, "text/html", false}, "busy": {429, "", false}, "no answer": {0, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &authorization{terminal: io.Discard, http: roundTrip(func(r *http.Request) (*http.Response, error) {
					if test.status == 0 {
						return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
					}
					w := httptest.NewRecorder()
					w.Header().Set("Content-Type", test.contentType)
					w.WriteHeader(test.status)
					return w.Result(), nil
				})}
				_, err := a.verify(t.Context(), "http://whoop.invalid", grant{scopes: []string{"read:profile"}})
				if (err != nil) != test.refused {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A file that is there keeps its mode.
func TestTokensThatOthersCanReadAreToldOf(t *testing.T) {
	for _, mode := range []os.FileMode{0o600, 0o644} {
		c := newConsenting(t, "http", sandbox.Profile{})
		path := filepath.Join(t.TempDir(), "whoop.json")
		if err := os.WriteFile(path, []byte("{}"), mode); err != nil {
			t.Fatal(err)
		}
		if err := c.authorize("--token-file", path); err != nil {
			t.Fatal(err)
		}
		if warned := strings.Contains(c.stderr.String(), "Run chmod 600 "+path); warned != (mode == 0o644) {
			t.Errorf("mode %v: %s", mode, c.stderr.String())
		}
	}
}

func TestNarrowConsentIsKeptAndExplained(t *testing.T) {
	c := newConsenting(t, "http", sandbox.Profile{WithheldScopes: []string{"read:cycles"}})
	path := filepath.Join(t.TempDir(), "whoop.json")
	if err := c.authorize("--token-file", path, "--scopes", "read:cycles,read:recovery,read:sleep"); err != nil {
		t.Fatal(err)
	}
	readTokens(t, path)
	for _, want := range []string{
		"Granted: read:recovery read:sleep offline\n", "Open:    recovery, sleep, sleep_by_id\n",
		"Closed:  profile, which needs read:profile\n", "Closed:  recovery_for_cycle, which needs read:cycles\n",
	} {
		if !strings.Contains(c.stderr.String(), want) {
			t.Errorf("no %q in %s", want, c.stderr.String())
		}
	}
	if page := <-c.page; !strings.Contains(page, "gave access to some of the streams") || strings.Count(page, `class="closed"`) != 8 {
		t.Errorf("page %s", page)
	}
}

// A favicon, a curious person or a wrong method do not use up the redirect.
func TestOnlyAnAnswerIsTakenForOne(t *testing.T) {
	c := newConsenting(t, "http", sandbox.Profile{})
	path := filepath.Join(t.TempDir(), "whoop.json")
	err := c.run(t.Context(), &c.stderr, func(address string) error {
		for _, probe := range []struct {
			method, path string
			want         int
		}{
			{"GET", "/favicon.ico", 404},
			{"GET", "", 400},
			{"GET", "?code=x&state=y", 400}, // any page can send one; the wait goes on
			{"HEAD", "?code=x&state=y", 405},
			{"POST", "?code=x&state=y", 405},
		} {
			address := c.redirect + probe.path
			if strings.HasPrefix(probe.path, "/") {
				address = strings.TrimSuffix(c.redirect, "/back") + probe.path
			}
			req, err := http.NewRequest(probe.method, address, nil)
			if err != nil {
				return err
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			resp.Body.Close()
			if resp.StatusCode != probe.want {
				t.Errorf("%s %s: %s", probe.method, probe.path, resp.Status)
			}
		}
		return c.browse(address)
	}, "--token-file", path)
	if err != nil {
		t.Fatal(err)
	}
	readTokens(t, path)
	<-c.page
}

func TestPageIsSafeWhateverWHOOPSays(t *testing.T) {
	w := httptest.NewRecorder()
	c := &callback{clean: strings.NewReplacer("hush", "****").Replace}
	showPage(w, 400, c.describe(grant{}, checkResponse(url.Values{
		"state": {"s"}, "error": {"access_denied"}, "error_description": {`<script>alert("hush")</script>`},
	}, "s")))
	page := w.Body.String()
	if strings.Contains(page, "<script") || strings.Contains(page, "hush") || !strings.Contains(page, "&lt;script&gt;") {
		t.Errorf("page %s", page)
	}
	if p := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(p, "default-src 'none'") {
		t.Errorf("policy %q", p)
	}
	if regexp.MustCompile(`(src|href)=|url\(|@import`).MatchString(page) {
		t.Error("the page needs something else")
	}
}

func TestClientIsAskedForWhereItIsNotKnown(t *testing.T) {
	c := newConsenting(t, "http", sandbox.Profile{})
	c.env = nil
	c.stdin = strings.NewReader("sandbox-client\r\nsandbox-secret")
	path := filepath.Join(t.TempDir(), "whoop.json")
	if err := c.authorize("--token-file", path); err != nil {
		t.Fatal(err)
	}
	if got := readTokens(t, path); got.ClientID != "sandbox-client" || got.ClientSecret != "sandbox-secret" {
		t.Errorf("client %q %q", got.ClientID, got.ClientSecret)
	}
	c.quiet()
}

func TestAddressCanBePasted(t *testing.T) {
	c := newConsenting(t, "http", sandbox.Profile{})
	in, out := io.Pipe()
	terminal := &consenttest.Terminal{Open: func(address string) {
		end, err := consenttest.Decide(address, "authorize", false)
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(out, "\nwhat?\n  %s \n", end)
		out.Close()
	}}
	c.stdin = in
	path := filepath.Join(t.TempDir(), "whoop.json")
	if err := c.run(t.Context(), terminal, nil, "--paste", "--token-file", path); err != nil {
		t.Fatal(err)
	}
	readTokens(t, path)
	if strings.Count(terminal.String(), "This is not the address") != 2 {
		t.Errorf("stderr %s", terminal.String())
	}
}

func TestInterruptionLeavesNothing(t *testing.T) {
	c := newConsenting(t, "http", sandbox.Profile{})
	ctx, cancel := context.WithCancel(t.Context())
	path := filepath.Join(t.TempDir(), "whoop.json")
	err := c.run(ctx, &c.stderr, func(string) error { cancel(); return nil }, "--token-file", path)
	if err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("error %v", err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestRedirectLeadsToThisMachine(t *testing.T) {
	for text, ok := range map[string]bool{
		"http://127.0.0.1:8321/callback": true, "https://localhost:8321/": true, "http://[::1]:1/x": true, "http://127.9.9.9/": true,
		"http://example.com/callback": false, "http://0.0.0.0:8321/": false, "whoop://callback": false, "http://10.0.0.1/": false,
		"http://127.0.0.1.example.com/": false, "http://127.0.0.1:8321/?a=b": false, "": false,
	} {
		if _, err := parseRedirect(text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestScopesOfTheStreams(t *testing.T) {
	want := strings.Fields("read:body_measurement read:cycles read:profile read:recovery read:sleep read:workout")
	if got := (&authorization{streams: streams}).allScopes(); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

// tokenEndpoint answers the exchange of the code in a way of its own.
func (c *consenting) tokenEndpoint(answer http.HandlerFunc) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/oauth/oauth2/token" {
			answer(w, r)
			return
		}
		c.server.ServeHTTP(w, r)
	}))
	c.t.Cleanup(server.Close)
	c.url = server.URL
}

func TestTheCodeIsExchangedByThisProgramAndWithWHOOPAlone(t *testing.T) {
	elsewhere := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere = true }))
	defer other.Close()
	for name, tt := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"redirect":         {http.StatusTemporaryRedirect, "", "WHOOP gave no tokens"},
		"a body of tokens": {http.StatusBadRequest, `<html>"access_token":"opensesame"</html>`, "400 Bad Request"},
		"a used code":      {http.StatusUnauthorized, `{"error":"token_inactive","error_description":"Token is inactive."}`, "WHOOP no longer accepts this consent"},
		"an error":         {http.StatusBadRequest, `{"error":"odd","error_description":"` + strings.Repeat("x", 100_000) + `","access_token":"opensesame"}`, "odd"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newConsenting(t, "http", sandbox.Profile{})
			agent := ""
			c.tokenEndpoint(func(w http.ResponseWriter, r *http.Request) {
				agent = r.UserAgent()
				w.Header().Set("Location", other.URL)
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(tt.status)
				io.WriteString(w, tt.body) //nolint:errcheck // the client checks it
			})
			err := c.authorize("--print-tokens")
			if err == nil || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 2000 {
				t.Errorf("error %v, want %s", err, tt.want)
			}
			page := <-c.page
			if strings.Contains(page+err.Error()+c.stderr.String(), "opensesame") {
				t.Errorf("a token is shown: %s\n%v\n%s", page, err, &c.stderr)
			}
			if elsewhere {
				t.Error("the client secret went elsewhere")
			}
			if agent != "test-agent" {
				t.Errorf("User-Agent %q", agent)
			}
		})
	}
}

// The browser is no business of ours: it gets no secret by its environment.
func TestTheBrowserGetsNoSecret(t *testing.T) {
	dir := t.TempDir()
	seen := filepath.Join(dir, "environment")
	if err := syscall.Mkfifo(seen, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"xdg-open", "open"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\nset > "+seen+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	t.Setenv("XDG_SESSION_TYPE", "it-needs-this")
	for _, name := range []string{"WHOOP_CLIENT_SECRET", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "DB_PASSWORD", "OPENAI_API_KEY", "my_token"} {
		t.Setenv(name, "must-not-be-seen")
	}
	a := &authorization{getenv: func(name string) string { return map[string]string{"DISPLAY": ":0"}[name] }}
	if err := a.openBrowser("http://127.0.0.1/"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(seen) // until the browser has ended
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(got, []byte("must-not-be-seen")) || !bytes.Contains(got, []byte("it-needs-this")) {
		t.Errorf("the browser's environment is\n%s", got)
	}
}
