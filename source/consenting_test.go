package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/tokens"
)

// A consenting is a member at a browser, a WHOOP to consent at, and a redirect
// that nobody else uses.
type consenting struct {
	t        *testing.T
	server   *sandbox.Server
	url      string
	redirect string
	env      map[string]string
	stdin    io.Reader
	decision string // authorize or deny; empty: the member does nothing

	page           chan string // what the browser ends at
	stdout, stderr bytes.Buffer
}

func newConsenting(t *testing.T, scheme string, profile sandbox.Profile) *consenting {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	c := &consenting{
		t: t, redirect: scheme + "://" + free.Addr().String() + "/back", decision: "authorize", stdin: strings.NewReader(""),
		page: make(chan string, 1),
		env:  map[string]string{"WHOOP_CLIENT_ID": "sandbox-client", "WHOOP_CLIENT_SECRET": "sandbox-secret"},
	}
	c.server = sandbox.New(sandbox.Config{Seed: 1, RedirectURIs: []string{c.redirect}, Profile: profile})
	whoop := httptest.NewServer(c.server)
	t.Cleanup(whoop.Close)
	c.url = whoop.URL
	return c
}

// authorize runs the verb with more arguments than those that lead to the
// sandbox.
func (c *consenting) authorize(args ...string) error {
	return c.run(c.t.Context(), &c.stderr, c.browse, args...)
}

func (c *consenting) run(ctx context.Context, stderr io.Writer, browse func(string) error, args ...string) error {
	a := &authorization{browse: browse}
	flags := flag.NewFlagSet("authorize", flag.ContinueOnError)
	a.register(flags)
	if err := flags.Parse(append([]string{"--api-url", c.url, "--redirect", c.redirect, "--timeout", "20s"}, args...)); err != nil {
		c.t.Fatal(err)
	}
	return a.run(ctx, protocol.Env{
		Stdin: c.stdin, Stdout: &c.stdout, Stderr: stderr,
		Getenv: func(name string) string { return c.env[name] },
	})
}

// browse decides in the browser, as the member would, and stays there to see
// what comes of it.
func (c *consenting) browse(address string) error {
	if c.decision == "" {
		return nil
	}
	go func() {
		page, err := decide(address, c.decision, true)
		if err != nil {
			page = err.Error()
		}
		c.page <- page
	}()
	return nil
}

// decide presses a button of the consent page at an address. It returns the page
// that the browser ends at, or, if it does not follow there, its address.
func decide(address, decision string, follow bool) (string, error) {
	browser := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: 30 * time.Second}
	if !follow {
		browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	asked, err := browser.Get(address)
	if err != nil {
		return "", err
	}
	asked.Body.Close()
	form := u.Query()
	form.Set("decision", decision)
	u.RawQuery = ""
	resp, err := browser.PostForm(u.String(), form)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if !follow {
		return resp.Header.Get("Location"), nil
	}
	page, err := io.ReadAll(resp.Body)
	return string(page), err
}

// quiet checks that no secret was shown, whatever happened.
func (c *consenting) quiet(secrets ...string) {
	c.t.Helper()
	secrets = append(secrets, "sandbox-secret")
	for _, out := range []string{c.stdout.String(), c.stderr.String()} {
		for _, secret := range secrets {
			if secret != "" && strings.Contains(out, secret) {
				c.t.Errorf("%q is shown in %s", secret, out)
			}
		}
	}
}

func readTokens(t *testing.T, path string) tokens.Credentials {
	t.Helper()
	c, err := tokens.NewFileStore(path).Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s has mode %v, %v", path, info.Mode(), err)
	}
	return c
}

// checked runs check with a configuration, in a hurry.
func checked(t *testing.T, path string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	config := map[string]any{}
	if err := json.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	config["requests_per_second"] = 1000
	r := protocoltest.Source(t, &source{}, "check", "--config", protocoltest.File(t, config))
	if last := r.Messages[len(r.Messages)-1]; last.ConnectionStatus == nil || last.ConnectionStatus.Status != "SUCCEEDED" {
		t.Errorf("check: %s", r.Stdout)
	}
}

// A pasting is a person who copies the address by hand: it writes into standard
// input when the address to open was printed.
type pasting struct {
	paste func(address string)
	said  bytes.Buffer // no embedded one: its ReadFrom would go past Write
	done  bool
}

func (p *pasting) Write(text []byte) (int, error) {
	n, err := p.said.Write(text)
	if address := regexp.MustCompile(`http\S+state=\S+`).FindString(p.said.String()); address != "" && !p.done {
		p.done = true
		go p.paste(address)
	}
	return n, err
}
