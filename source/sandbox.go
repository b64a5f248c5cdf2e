package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/tokens"
)

// sandboxClock is the default of --clock. It is fixed, so that two runs serve the same
// records.
const sandboxClock = "2026-01-15T12:00:00Z"

const sandboxClientID = "sandbox-client-id"

// sandboxCommand is the verb that serves a made-up member, or advances the clock of a
// running sandbox, for machines without curl.
func sandboxCommand() cli.Command {
	return cli.Command{
		Name:    "sandbox",
		Summary: "serves a made-up WHOOP member to try things with",
		Details: "It prints the configuration with which the source reads that member, and serves until it is " +
			"stopped. With --advance it moves the clock of a sandbox that runs, and ends.",
		Examples: []string{"sandbox --config source.json", "sandbox --advance 24h"},
		New: func(flags *flag.FlagSet) func(context.Context, cli.Env) error {
			c := sandboxFlags{}
			flags.StringVar(&c.addr, "addr", "127.0.0.1:8080", "`ADDRESS` to listen on (port 0: any free port), or with --advance the address of a running sandbox")
			flags.Int64Var(&c.seed, "seed", 1, "`NUMBER` that selects the member")
			flags.IntVar(&c.years, "years", 1, "`NUMBER` of years of history")
			flags.StringVar(&c.clock, "clock", sandboxClock, "`TIME` at the sandbox; it stands still until you advance it")
			flags.StringVar(&c.config, "config", "", "write the configuration of a source for this sandbox to this `FILE` instead of printing it")
			flags.StringVar(&c.tokenFile, "token-file", "", "store the tokens in this `FILE` instead of the configuration")
			flags.IntVar(&c.perMinute, "requests-per-minute", 100, "`NUMBER` of requests allowed per minute, in addition to 10000 a day; negative: no limits")
			flags.DurationVar(&c.advance, "advance", 0, "advance the clock of the running sandbox at --addr by this `DURATION` and exit")
			return c.run
		},
	}
}

type sandboxFlags struct {
	addr, clock       string
	seed              int64
	years             int
	config, tokenFile string
	advance           time.Duration
	perMinute         int
}

func (c *sandboxFlags) run(ctx context.Context, env cli.Env) error {
	if c.config == "-" {
		return protocol.ConfigError.Errorf(nil, "--config needs the path of a file. Without it, the configuration is printed.")
	}
	if c.advance != 0 || strings.HasPrefix(c.addr, "http://") {
		return c.move(ctx, env)
	}
	return c.serve(ctx, env)
}

// move is the client of a running sandbox.
func (c *sandboxFlags) move(ctx context.Context, env cli.Env) error {
	url := strings.TrimSuffix(c.addr, "/") + "/sandbox/clock"
	if !strings.HasPrefix(url, "http://") {
		url = "http://" + url
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(fmt.Sprintf(`{"advance":%q}`, c.advance)))
	if err != nil {
		return protocol.ConfigError.Errorf(err, "--addr %s is not an address such as 127.0.0.1:8080.", c.addr)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return protocol.ConfigError.Errorf(err, "No sandbox answers at %s: %v. Start one with source sandbox, or give the address of one with --addr.", c.addr, err)
	}
	defer resp.Body.Close()
	var clock struct {
		Now time.Time `json:"now"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&clock); err != nil || resp.StatusCode != http.StatusOK {
		return protocol.ConfigError.Errorf(err, "What answers at %s is not a sandbox: POST %s got %s. Give the address of a sandbox with --addr.", c.addr, url, resp.Status)
	}
	_, err = fmt.Fprintf(env.Stdout, "it is now %s\n", clock.Now.Format(time.RFC3339))
	return err
}

func (c *sandboxFlags) serve(ctx context.Context, env cli.Env) error {
	member, err := c.member()
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.addr)
	if err != nil {
		return protocol.ConfigError.Errorf(err, "The sandbox cannot listen at %s: %v. Give another address with --addr, such as 127.0.0.1:0 for any free port.", c.addr, err)
	}
	url := "http://" + listener.Addr().String()
	handler := sandbox.New(member)
	document, err := c.writeConfig(url, member, handler.Issue())
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	// Standard output is the configuration, unless that has a file of its own.
	ready := env.Stderr
	if c.config != "" {
		ready = env.Stdout
	} else if _, err := fmt.Fprintf(env.Stdout, "%s\n", document); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(ready, "listening on %s\n", url); err != nil {
		return err
	}
	select {
	case err := <-goroutine.Start(func() error { return server.Serve(listener) }):
		return fmt.Errorf("serving the sandbox: %w", err)
	case <-ctx.Done():
		return server.Close()
	}
}

// member is the sandbox that the flags describe.
func (c *sandboxFlags) member() (sandbox.Config, error) {
	start, err := time.Parse(time.RFC3339, c.clock)
	if err != nil {
		return sandbox.Config{}, protocol.ConfigError.Errorf(nil, "--clock %q is not a time such as %s.", c.clock, sandboxClock)
	}
	if c.years < 1 {
		return sandbox.Config{}, protocol.ConfigError.Errorf(nil, "A member has at least one year of history, and --years is %d.", c.years)
	}
	member := sandbox.Config{
		Seed: c.seed, Years: c.years, Clock: sandbox.NewClock(start),
		ClientID: sandboxClientID, ClientSecret: "sandbox-client-secret",
		RedirectURIs:      []string{"http://127.0.0.1:8321/callback", "https://127.0.0.1:8321/callback"},
		RequestsPerMinute: c.perMinute,
	}
	if c.perMinute < 0 {
		member.RequestsPerDay = -1
	}
	return member, nil
}

// writeConfig returns the configuration of a source that reads the member, and
// writes the files that were asked for.
func (c *sandboxFlags) writeConfig(url string, member sandbox.Config, t sandbox.Tokens) ([]byte, error) {
	for _, path := range []string{c.config, c.tokenFile} {
		if path == "" {
			continue
		}
		if err := checkReplaceable(path); err != nil {
			return nil, err
		}
	}
	pair := tokens.Credentials{
		ClientID: member.ClientID, ClientSecret: member.ClientSecret,
		AccessToken: t.AccessToken, RefreshToken: t.RefreshToken,
	}
	credentials := map[string]string{
		"auth_type": config.OAuth,
		"client_id": pair.ClientID, "client_secret": pair.ClientSecret,
		"access_token": pair.AccessToken, "refresh_token": pair.RefreshToken,
	}
	if c.tokenFile != "" {
		path, err := filepath.Abs(c.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("--token-file %s: %w", c.tokenFile, err)
		}
		credentials = map[string]string{"auth_type": config.File, "path": path}
		if err := config.Write(c.tokenFile, pair); err != nil {
			return nil, unwritable("--token-file", err)
		}
	}
	// A sandbox needs no pace, and a request for every record would take hours under WHOOP's limits.
	document := map[string]any{"credentials": credentials, "api_url": url, "requests_per_second": 1000, "drilldowns": config.Derive}
	if c.config != "" {
		if err := config.Write(c.config, document); err != nil {
			return nil, unwritable("--config", err)
		}
	}
	return json.MarshalIndent(document, "", "  ")
}

func unwritable(flag string, err error) error {
	return protocol.ConfigError.Errorf(err, "The file that %s names cannot be written: %v. Name another one.", flag, err)
}

// checkReplaceable returns an error if a file exists that no sandbox wrote: it may hold
// the only refresh token that works.
func checkReplaceable(path string) error {
	switch was, err := os.ReadFile(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("writing %s: %w", path, err)
	case !isSandboxFile(was):
		return protocol.ConfigError.Errorf(nil, "%s exists and was not written by a sandbox. Name another file, or remove it first.", path)
	}
	return nil
}

// isSandboxFile reports whether a file is empty, or the configuration or the tokens of
// a sandbox.
func isSandboxFile(text []byte) bool {
	var file struct {
		URL      string `json:"api_url"`
		ClientID string `json:"client_id"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return len(bytes.TrimSpace(text)) == 0
	}
	return file.ClientID == sandboxClientID || config.IsLocal(file.URL)
}
