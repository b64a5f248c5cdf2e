package consent

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/consent/consenttest"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/tokens"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/whoop"
)

// streams are those of the source.
var streams = []Stream{
	{"profile", []string{"read:profile"}},
	{"body_measurement", []string{"read:body_measurement", "read:profile"}},
	{"cycles", []string{"read:cycles"}},
	{"recovery", []string{"read:recovery"}},
	{"sleep", []string{"read:sleep"}},
	{"workout", []string{"read:workout"}},
	{"cycle_by_id", []string{"read:cycles"}},
	{"recovery_for_cycle", []string{"read:recovery", "read:cycles"}},
	{"sleep_for_cycle", []string{"read:sleep", "read:cycles"}},
	{"sleep_by_id", []string{"read:sleep"}},
	{"workout_by_id", []string{"read:workout"}},
}

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
	api := httptest.NewServer(c.server)
	t.Cleanup(api.Close)
	c.url = api.URL
	return c
}

// authorize runs the verb with more arguments than those that lead to the
// sandbox.
func (c *consenting) authorize(args ...string) error {
	return c.run(c.t.Context(), &c.stderr, c.browse, args...)
}

func (c *consenting) run(ctx context.Context, stderr io.Writer, browse func(string) error, args ...string) error {
	a := &authorization{browse: browse, streams: streams, userAgent: "test-agent"}
	flags := flag.NewFlagSet("authorize", flag.ContinueOnError)
	a.register(flags)
	if err := flags.Parse(append([]string{"--api-url", c.url, "--redirect", c.redirect, "--timeout", "1h"}, args...)); err != nil {
		c.t.Fatal(err)
	}
	return a.run(ctx, cli.Env{
		Name:  "bin/source",
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
		page, err := consenttest.Decide(address, c.decision, true)
		if err != nil {
			page = err.Error()
		}
		c.page <- page
	}()
	return nil
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

// checked reads the profile with a configuration, as the source would.
func checked(t *testing.T, path string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	settings, err := config.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	client := whoop.New(whoop.Config{
		URL: settings.APIURL, RequestsPerSecond: 1000, UserAgent: "test-agent",
		Tokens: tokens.New(tokens.Config{
			Store:    settings.Store(func() error { return nil }, func(json.RawMessage) error { t.Error("the new tokens were spent at once"); return nil }),
			TokenURL: settings.APIURL + "/oauth/oauth2/token",
		}),
	})
	if _, err := client.Get(t.Context(), whoop.ProfilePath); err != nil {
		t.Errorf("the stored tokens do not work: %v", err)
	}
}

func wantEqual(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
