//go:build acceptance

package acceptance

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// An authorizing is source authorize as it waits for a member.
type authorizing struct {
	t      testing.TB
	cmd    *exec.Cmd
	url    string // where the member consents
	config string // path of the configuration it is to write
	mu     sync.Mutex
	said   bytes.Buffer
	ended  chan struct{} // its standard error has
}

// authorize starts the program for a member and a new configuration.
func authorize(t testing.TB, m *member, args ...string) *authorizing {
	t.Helper()
	return authorizeInto(t, m, filepath.Join(t.TempDir(), "source.json"), args...)
}

func authorizeInto(t testing.TB, m *member, config string, args ...string) *authorizing {
	t.Helper()
	a := &authorizing{t: t, config: config, ended: make(chan struct{})}
	a.cmd = exec.CommandContext(t.Context(), source, append([]string{"authorize", "--api-url", m.url, "--config", a.config}, args...)...)
	// Without a screen it opens no browser; the member has one.
	a.cmd.Env = append(os.Environ(), "DISPLAY=", "WAYLAND_DISPLAY=", "WHOOP_CLIENT_ID=sandbox-client-id", "WHOOP_CLIENT_SECRET=sandbox-client-secret")
	stderr, err := a.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stderr)
	waiting := regexp.MustCompile(`http\S+/oauth2/auth\?\S+`)
	for a.url == "" {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("no address to consent at: %v: %s", err, a.said.Bytes())
		}
		a.said.WriteString(line)
		a.url = waiting.FindString(line)
	}
	go func() {
		defer close(a.ended)
		for {
			line, err := lines.ReadString('\n')
			a.mu.Lock()
			a.said.WriteString(line)
			a.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return a
}

// end waits for the program, checks its exit code and what it has said, and that it showed no secret.
func (a *authorizing) end(code int, want ...string) {
	a.t.Helper()
	<-a.ended
	_ = a.cmd.Wait() // the code says it
	said := a.said.String()
	if got := a.cmd.ProcessState.ExitCode(); got != code {
		a.t.Errorf("exit code %d, want %d: %s", got, code, said)
	}
	for _, text := range want {
		if !strings.Contains(said, text) {
			a.t.Errorf("%q is not said: %s", text, said)
		}
	}
	if strings.Contains(said, "sandbox-client-secret") {
		a.t.Errorf("the client's secret is shown: %s", said)
	}
	if _, err := os.Stat(a.config); (err == nil) != (code == 0) {
		a.t.Errorf("the configuration: %v", err)
	}
}

// play gives the sandbox a way of its own.
func (m *member) play(scenario map[string]any) {
	m.t.Helper()
	body, err := json.Marshal(scenario)
	if err != nil {
		m.t.Fatal(err)
	}
	resp, err := http.Post(m.url+"/sandbox/scenario", "application/json", bytes.NewReader(body))
	if err != nil {
		m.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		text, _ := io.ReadAll(resp.Body)
		m.t.Fatalf("playing %s: %s %s", body, resp.Status, text)
	}
}

// The consent of a member, in a browser as members have it: the sandbox's page, its buttons, the redirect.
func TestConsentInABrowser(t *testing.T) {
	b := newBrowser(t)
	m := newMember(t, t.TempDir(), nil)
	profile := func(ways map[string]any) map[string]any { return map[string]any{"profile": ways} }

	for _, redirect := range []string{"http://127.0.0.1:8321/callback", "https://127.0.0.1:8321/callback"} {
		scheme, _, _ := strings.Cut(redirect, ":")
		t.Run("authorized over "+scheme, func(t *testing.T) {
			a := authorize(t, m, "--redirect", redirect)
			b.open(a.url)
			b.screenshot("consent")
			b.click("#authorize")
			if h := b.text("h1"); !strings.HasPrefix(h, "Connected to WHOOP as ") {
				t.Errorf("the page says %q", h)
			}
			b.screenshot("authorized-" + scheme)
			a.end(0, "Connected to WHOOP as ", "Open:    profile, body_measurement", "source check --config "+a.config)

			var page struct {
				Open, Requests int
				Language, Role string
			}
			b.eval(`{open: document.querySelectorAll("td.open").length, requests: performance.getEntriesByType("resource").length,
				language: document.documentElement.lang, role: document.querySelector("main").getAttribute("role")}`, &page)
			if page.Open != 11 || page.Requests != 0 || page.Language != "en" || page.Role != "status" {
				t.Errorf("the page has %+v", page)
			}
			checked := speak(t, source, "check", "--config", a.config)
			if s := checked.Messages[len(checked.Messages)-1].ConnectionStatus; s == nil || s.Status != "SUCCEEDED" {
				t.Errorf("check: %s", checked.Stdout)
			}
		})
	}
	t.Run("some scopes only", func(t *testing.T) {
		m.play(profile(map[string]any{"withheld_scopes": []string{"read:cycles", "read:sleep"}}))
		defer m.play(map[string]any{})
		a := authorize(t, m)
		b.open(a.url)
		b.click("#authorize")
		if text := b.text("main"); !strings.Contains(text, "gave access to some of the streams") || strings.Count(text, "was not allowed") != 6 {
			t.Errorf("the page says %s", text)
		}
		b.screenshot("some-scopes")
		var light, dark string
		b.eval("getComputedStyle(document.body).backgroundColor", &light)
		b.prefer("dark")
		b.eval("getComputedStyle(document.body).backgroundColor", &dark)
		b.screenshot("some-scopes-dark")
		b.prefer("light")
		if light == dark {
			t.Errorf("the page is %s by day and by night", light)
		}
		a.end(0, "Closed:  sleep, which needs read:sleep", "Closed:  recovery_for_cycle, which needs read:cycles")
	})
	t.Run("denied", func(t *testing.T) {
		a := authorize(t, m)
		b.open(a.url)
		b.click("#deny")
		if h := b.text("main.bad h1"); h != "The access was not allowed" {
			t.Errorf("the page says %q", h)
		}
		if remedy := b.text("#remedy"); !strings.Contains(remedy, "Run source authorize again and allow it") {
			t.Errorf("the page says %q", remedy)
		}
		b.screenshot("denied")
		a.end(1, "The access was not allowed. WHOOP says: access_denied", "Run source authorize again and allow it")
	})
	t.Run("wrong state", func(t *testing.T) {
		m.play(profile(map[string]any{"forged_state": true}))
		defer m.play(map[string]any{})
		a := authorize(t, m)
		b.open(a.url)
		b.click("#authorize")
		if h := b.text("main.bad h1"); h != "This is not the answer to this consent" {
			t.Errorf("the page says %q", h)
		}
		b.screenshot("wrong-state")
		// Anybody may have sent that one; the member's own answer still counts.
		m.play(map[string]any{})
		b.open(a.url)
		b.click("#authorize")
		if h := b.text("h1"); !strings.HasPrefix(h, "Connected to WHOOP as ") {
			t.Errorf("the page says %q", h)
		}
		a.end(0, "Connected to WHOOP as ")
	})
	t.Run("no answer of WHOOP in time", func(t *testing.T) {
		m.play(map[string]any{"faults": []any{map[string]any{"path": "/oauth/oauth2/token", "action": "hang"}}})
		defer m.play(map[string]any{})
		a := authorize(t, m)
		b.open(a.url)
		b.click("#authorize")
		if h := b.text("main.bad h1"); h != "WHOOP did not answer in time" {
			t.Errorf("the page says %q", h)
		}
		b.screenshot("silent")
		a.end(1, "WHOOP did not answer in time", "Run source authorize again later")
	})
	t.Run("no answer of the member in time", func(t *testing.T) {
		a := authorize(t, m, "--timeout", "3s")
		b.open(a.url)
		a.end(1, "No consent came within 3s", "registered exactly the redirect URL http://127.0.0.1:8321/callback", "Run source authorize again")
		if err := b.try("POST", b.find("#authorize")+"/click", nil, nil); err == nil {
			if text := b.text("body"); strings.Contains(text, "Connected") {
				t.Errorf("after the time was up the page says %s", text)
			}
		}
	})
}
