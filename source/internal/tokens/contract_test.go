package tokens

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/tokens/secretstest"
)

// A place is where credentials are kept. Any process can open
// a store over it.
type place struct {
	Kind string
	Path string // of the file, or the name of the secret
	URL  string // of Secrets Manager

	Expiry time.Duration       // of claims on a secret
	aws    *secretstest.Server // that holds the secret; nil: that at URL does
}

const (
	inConfig = "config"
	inFile   = "token_file"
	inSecret = "aws_secrets_manager"
)

// kinds are all kinds of store.
var kinds = []string{inConfig, inFile, inSecret}

// shared reports whether processes know of each other.
func (p place) shared() bool { return p.Kind != inConfig }

// expireClaims lets the claims of processes that have died expire: by the clock
// of AWS, or soon where nobody can move that.
func (p *place) expireClaims() {
	if p.aws != nil {
		p.aws.Advance(2 * p.Expiry)
	} else {
		p.Expiry = 4 * time.Second
	}
}

// newPlace makes an empty place. Secrets are at SECRETS_MANAGER_URL, if that is
// set, and else in this process.
func newPlace(t *testing.T, kind string) place {
	t.Helper()
	if kind != inSecret {
		return place{Kind: kind, Path: filepath.Join(t.TempDir(), "whoop.json")}
	}
	p := place{Kind: kind, URL: os.Getenv("SECRETS_MANAGER_URL"), Path: fmt.Sprintf("%s/%d", t.Name(), time.Now().UnixNano()), Expiry: 24 * time.Hour}
	if p.URL == "" {
		p.aws = &secretstest.Server{}
		server := httptest.NewServer(p.aws)
		t.Cleanup(server.Close)
		p.URL = server.URL
	}
	return p
}

// filled makes a place that holds credentials.
func filled(t *testing.T, kind string, c Credentials) place {
	t.Helper()
	p := newPlace(t, kind)
	if err := p.open().Save(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return p
}

// open returns a store over the place. That of the configuration has a good
// orchestrator: it keeps what it is handed, in a file.
func (p place) open() Store {
	switch p.Kind {
	case inFile:
		return NewFileStore(p.Path)
	case inSecret:
		s := NewSecretStore(SecretConfig{ID: p.Path, Endpoint: p.URL}).(*secretStore)
		s.expiry, s.poll = p.Expiry, 20*time.Millisecond
		return s
	}
	var c Credentials
	data, err := os.ReadFile(p.Path)
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		panic(err)
	}
	return NewConfigStore(c, listening, func(c Credentials) error {
		data, err := json.Marshal(c)
		if err != nil {
			return err
		}
		return WriteFile(p.Path, data)
	})
}

// The contract of a store, whatever its kind.
func TestStores(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Run("gives back what was saved", func(t *testing.T) {
				want := Credentials{"id", "secret", "a", "r", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
				p := filled(t, kind, Credentials{ClientID: "id", ClientSecret: "secret"})
				if err := p.open().Save(t.Context(), want); err != nil {
					t.Fatal(err)
				}
				got, err := p.open().Load(t.Context())
				if diff := cmp.Diff(want, got); err != nil || diff != "" {
					t.Errorf("%v %s", err, diff)
				}
			})
			t.Run("replaces under a claim", func(t *testing.T) { replaces(t, kind) })
			t.Run("gives no claim on what was replaced", func(t *testing.T) {
				a := &authority{}
				p := filled(t, kind, a.credentials())
				s, old := p.open(), a.credentials()
				a.generation++
				if err := s.Save(t.Context(), a.credentials()); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Claim(t.Context(), old); !errors.Is(err, ErrReplaced) {
					t.Errorf("error %v", err)
				}
			})
			t.Run("lets one refresh do for all who find the token refused", func(t *testing.T) { refreshesOnce(t, kind) })
			t.Run("is checked without a trace", func(t *testing.T) {
				if kind == inSecret { // which is asked over the network, and waits for nobody
					leavesNoTrace(t, kind)
					return
				}
				synctest.Test(t, func(t *testing.T) { leavesNoTrace(t, kind) })
			})
			t.Run("begins no refresh for a run that was told to stop", func(t *testing.T) { stopsBefore(t, kind) })
			if kind == inConfig { // no two processes share it
				return
			}
			t.Run("says that it is empty", func(t *testing.T) {
				if _, err := newPlace(t, kind).open().Load(t.Context()); !errors.Is(err, ErrNotStored) {
					t.Errorf("error %v", err)
				}
			})
			t.Run("keeps others out until a claim is released", func(t *testing.T) { excludes(t, kind) })
			t.Run("keeps a consent that was stored during a refresh", func(t *testing.T) { consentWins(t, kind) })
			t.Run("lets one refresh do for all processes", func(t *testing.T) { processesRefreshOnce(t, kind) })
		})
	}
}

func replaces(t *testing.T, kind string) {
	a := &authority{}
	p := filled(t, kind, a.credentials())
	s := p.open()
	for range 3 {
		release, err := s.Claim(t.Context(), a.credentials())
		if err != nil {
			t.Fatal(err)
		}
		a.generation++
		if err := s.Save(t.Context(), a.credentials()); err != nil {
			t.Fatal(err)
		}
		release(false)
		if got, err := p.open().Load(t.Context()); err != nil || got != a.credentials() {
			t.Fatalf("%+v, %v", got, err)
		}
	}
}

// refreshesOnce: many goroutines, some of a second Keeper, at one instant.
func refreshesOnce(t *testing.T, kind string) {
	a := &authority{}
	p := filled(t, kind, a.credentials())
	keepers := []*Keeper{keeper(p.open(), a)}
	if p.shared() {
		keepers = append(keepers, keeper(p.open(), a))
	}
	var wg sync.WaitGroup
	for n := range 50 {
		wg.Go(func() {
			if got, err := keepers[n%len(keepers)].TokenInsteadOf(t.Context(), "access-0", nowhere); err != nil || got != "access-1" {
				t.Errorf("%s, %v", got, err)
			}
		})
	}
	wg.Wait()
	a.want(t, 1, 0)
	if got, err := p.open().Load(t.Context()); err != nil || got.RefreshToken != "refresh-1" {
		t.Errorf("stored: %+v, %v", got, err)
	}
}

// leavesNoTrace: a check changes nothing, and waits for nobody's claim for long.
func leavesNoTrace(t *testing.T, kind string) {
	a := &authority{}
	p := filled(t, kind, a.credentials())
	s := p.open()
	check := func() {
		t.Helper()
		if err := s.Check(t.Context()); err != nil {
			t.Error(err)
		}
	}
	versions := func() (n int) {
		if p.aws != nil {
			_, n = p.aws.Value(p.Path)
		}
		return n
	}
	check()
	before := versions()
	check()
	if n := versions(); n != before {
		t.Errorf("%d versions of the secret, before %d", n, before)
	}
	release, err := p.open().Claim(t.Context(), a.credentials())
	if err != nil {
		t.Fatal(err)
	}
	check()
	release(false)
	if got, err := p.open().Load(t.Context()); err != nil || got != a.credentials() {
		t.Errorf("%+v, %v", got, err)
	}
	release, err = s.Claim(t.Context(), a.credentials()) // a check left no claim
	if err != nil {
		t.Fatal(err)
	}
	release(false)
}

// stopsBefore: the token has expired by the time that the run is told to stop.
func stopsBefore(t *testing.T, kind string) {
	a := &authority{}
	k := keeper(filled(t, kind, a.credentials()).open(), a)
	if _, err := k.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.expires = time.Now().Add(-time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := k.Token(ctx); got != "" || !errors.Is(err, context.Canceled) {
		t.Errorf("%s, %v", got, err)
	}
	a.want(t, 0, 0)
	k.expires = time.Now().Add(-time.Hour)
	if got, err := k.Token(t.Context()); err != nil || got != "access-1" { // nothing keeps the next one from it
		t.Errorf("%s, %v", got, err)
	}
}

func excludes(t *testing.T, kind string) {
	a := &authority{}
	p := filled(t, kind, a.credentials())
	one, other := p.open(), p.open()
	for range 3 { // a claim that was released can be had again, long before it would expire
		release, err := one.Claim(t.Context(), a.credentials())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if _, err := other.Claim(ctx, a.credentials()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a second claim: %v", err)
		}
		cancel()
		release(false)
		one, other = other, one
	}
}

// consentWins: a member consents again while another process waits for WHOOP's answer to a
// refresh. The tokens of the old consent must not come back, and that process uses the new.
func consentWins(t *testing.T, kind string) {
	a := &authority{}
	p := filled(t, kind, a.credentials())
	consent := Credentials{ClientID: "id", ClientSecret: "secret", AccessToken: "access-consent", RefreshToken: "refresh-consent"}
	saved := make(chan error, 1)
	a.answer = func(http.ResponseWriter) bool {
		a.answer = nil
		go func() { saved <- p.open().Save(t.Context(), consent) }()
		select { // a store may let it wait for the refresh
		case err := <-saved:
			saved <- err
		case <-time.After(200 * time.Millisecond):
		}
		return false
	}
	k := keeper(p.open(), a)
	got, err := k.TokenInsteadOf(t.Context(), "access-0", nowhere)
	if err != nil || got != "access-1" && got != "access-consent" {
		t.Errorf("%s, %v", got, err)
	}
	if err := <-saved; err != nil {
		t.Error(err)
	}
	if stored, err := p.open().Load(t.Context()); err != nil || stored != consent {
		t.Errorf("stored: %+v, %v", stored, err)
	}
	accepted := func(context.Context) (bool, error) { return true, nil }
	if got, err := k.TokenInsteadOf(t.Context(), got, accepted); err != nil || got != "access-consent" {
		t.Errorf("%s, %v: the tokens of the old consent are used", got, err)
	}
	a.want(t, 1, 0)
}

// processesRefreshOnce: several processes of many goroutines each find the token
// expired at the same instant.
func processesRefreshOnce(t *testing.T, kind string) {
	a := &authority{}
	c := a.credentials()
	c.ExpiresAt = time.Now().Add(-time.Hour).UTC()
	p := filled(t, kind, c)
	server := httptest.NewServer(a)
	defer server.Close()
	children := make([]*child, 5)
	for n := range children {
		children[n] = spawn(t, order{Place: p, TokenURL: server.URL, Goroutines: 8})
	}
	for _, c := range children { // all of them stand ready
		c.start()
	}
	for _, c := range children {
		r := c.wait()
		if r.Error != "" || len(r.Tokens) != 8 || strings.Trim(strings.Join(r.Tokens, ""), " ") != strings.Repeat("access-1", 8) {
			t.Errorf("%+v", r)
		}
	}
	a.want(t, 1, 0)
}

// A process dies at each step of a refresh, and another one comes after it. The
// one window in which the connection is lost lies between WHOOP's answer and the
// end of the write.
func TestConnectionSurvivesAProcessThatDies(t *testing.T) {
	for _, kind := range kinds {
		for _, step := range []struct {
			name string
			lost bool
		}{
			{beforeClaim, false},
			{afterClaim, false},
			{beforeRequest, false},
			{afterAnswer, true},
			{beforeWrite, true},
			{afterWrite, false},
			{afterRelease, false},
		} {
			t.Run(kind+" "+step.name, func(t *testing.T) {
				t.Parallel()
				a := &authority{}
				p := filled(t, kind, a.credentials())
				server := httptest.NewServer(a)
				defer server.Close()
				victim := spawn(t, order{Place: p, TokenURL: server.URL, Goroutines: 1, DieAt: step.name})
				victim.start()
				victim.waitKilled()
				p.expireClaims()

				heir := spawn(t, order{Place: p, TokenURL: server.URL, Goroutines: 1})
				heir.start()
				r := heir.wait()
				if step.lost {
					if !r.Revoked {
						t.Errorf("%+v, want that the refresh token was refused", r)
					}
					a.want(t, 1, 1)
					return
				}
				if r.Error != "" || len(r.Tokens) != 1 || r.Tokens[0] != "access-1" {
					t.Errorf("%+v", r)
				}
				a.want(t, 1, 0)
			})
		}
	}
}

// want checks what the authority has seen.
func (a *authority) want(t *testing.T, refreshes, replays int) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refreshes != refreshes || a.replays != replays {
		t.Errorf("%d refreshes and %d replays, want %d and %d", a.refreshes, a.replays, refreshes, replays)
	}
}
