package tokens

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
)

const (
	// expiryMargin is how long before its expiry a token counts as expired: the time
	// that a request can take.
	expiryMargin = time.Minute
	// justIssued is the age below which a token from this process is not refreshed
	// again: if WHOOP refuses it, it would refuse another one too.
	justIssued = time.Minute
	// slowClaim is how long a claim may take before the log says so.
	slowClaim = 5 * time.Second
	// savePatience is how long a new pair is tried to be stored: longer than a disk is
	// full by mistake or AWS restarts a service, and shorter than the pair would be valid.
	savePatience = 10 * time.Minute
	// longestPause is between two attempts to store it.
	longestPause = 15 * time.Second
)

// Config describes a Keeper.
type Config struct {
	Store    Store
	TokenURL string            // absolute URL of the token endpoint
	HTTP     http.RoundTripper // nil: http.DefaultTransport
	// UserAgent is that of every request.
	UserAgent string
	// Seen is called with all credentials as soon as they are known, before they can
	// appear in any output. It may be nil.
	Seen func(Credentials)
	// Excerpt is as in Endpoint.
	Excerpt func(text string, most int) string
	// Waiting is as in Endpoint.
	Waiting func(until time.Time) error
	Log     *slog.Logger // nil: slog.Default
}

// A Keeper provides the access token. It is safe for concurrent use.
type Keeper struct {
	store    Store
	endpoint Endpoint
	seen     func(Credentials)
	log      *slog.Logger

	mu      sync.Mutex // held throughout a refresh: others wait for its outcome
	current Credentials
	loaded  bool
	expires time.Time       // when current counts as expired; zero: not known
	issued  time.Time       // when this process was given current; zero: it was loaded
	spent   map[string]bool // refresh tokens that WHOOP has exchanged or refused
	unsaved error           // why the pair that WHOOP gave for current was not stored
}

// New returns a Keeper over a store. It does nothing yet.
func New(c Config) *Keeper {
	seen := c.Seen
	if seen == nil {
		seen = func(Credentials) {}
	}
	return &Keeper{
		store:    c.Store,
		endpoint: Endpoint{URL: c.TokenURL, HTTP: c.HTTP, UserAgent: c.UserAgent, Excerpt: c.Excerpt, Waiting: c.Waiting},
		seen:     seen,
		log:      cmp.Or(c.Log, slog.Default()),
		spent:    map[string]bool{},
	}
}

// Token returns the access token to use now, a new one if the stored one has
// expired. Its errors are RevokedError, ClientError, StoreError,
// ErrNoRefreshToken, whoop.QuotaError, the context's, that of Waiting, and those of a
// network that did not answer.
func (k *Keeper) Token(ctx context.Context) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.load(ctx); err != nil {
		return "", err
	}
	if k.usable() {
		return k.current.AccessToken, nil
	}
	return k.refreshOrAdopt(ctx)
}

// TokenInsteadOf returns the access token to use instead of one that WHOOP refused for a
// request. It returns the same one if nobody has replaced it since and another would be
// refused too, because this process got it only just now, or because WHOOP accepts it
// elsewhere, so that the refusal is about the request. Elsewhere asks WHOOP that; it is
// called if the token should still be valid.
func (k *Keeper) TokenInsteadOf(ctx context.Context, refused string, elsewhere func(context.Context) (bool, error)) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.load(ctx); err != nil {
		return "", err
	}
	switch {
	case k.current.AccessToken != refused && k.usable():
		return k.current.AccessToken, nil // somebody has renewed it since
	case k.current.AccessToken == refused && k.usable():
		c, err := k.store.Load(ctx)
		if err != nil {
			return "", storeError(ctx, err)
		}
		if !c.same(k.current) {
			if k.adopt(c); k.usable() {
				return c.AccessToken, nil
			}
			break
		}
		good := !k.issued.IsZero() && time.Since(k.issued) < justIssued
		if !good {
			if good, err = elsewhere(ctx); err != nil {
				return "", err
			}
		}
		if good {
			return refused, nil
		}
	}
	return k.refreshOrAdopt(ctx)
}

// CheckStore returns why a new pair could not be stored. Otherwise that would be known
// only when the current one expires.
func (k *Keeper) CheckStore(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.store.Check(ctx); err != nil {
		return storeError(ctx, err)
	}
	return nil
}

func (k *Keeper) usable() bool {
	return k.current.AccessToken != "" && (k.expires.IsZero() || time.Now().Before(k.expires))
}

func (k *Keeper) load(ctx context.Context) error {
	if k.loaded {
		return nil
	}
	c, err := k.store.Load(ctx)
	if err != nil {
		return storeError(ctx, err)
	}
	k.adopt(c)
	return nil
}

// adopt makes stored credentials the current ones.
func (k *Keeper) adopt(c Credentials) {
	k.seen(c)
	k.current, k.loaded, k.issued, k.expires, k.unsaved = c, true, time.Time{}, time.Time{}, nil
	if !c.ExpiresAt.IsZero() {
		k.expires = c.ExpiresAt.Add(-expiryMargin)
	}
}

// refreshOrAdopt replaces the current pair, or adopts the one that another process has
// stored in its place. The caller holds the lock.
func (k *Keeper) refreshOrAdopt(ctx context.Context) (string, error) {
	for {
		token, err := k.refreshWithClaim(ctx)
		if !errors.Is(err, ErrReplaced) && !isRevoked(err) {
			return token, err
		}
		// Even a refused token may have been spent by another process, one that
		// does not use claims.
		before := k.current
		c, lerr := k.store.Load(ctx)
		if lerr != nil {
			return "", storeError(ctx, lerr)
		}
		switch changed := !c.same(before); {
		case changed:
			k.adopt(c)
			if c.AccessToken != before.AccessToken && k.usable() {
				return c.AccessToken, nil
			}
		case isRevoked(err):
			return "", err
		default: // the store shows the change to some sooner than to others
			if err := sleep(ctx, time.Second); err != nil {
				return "", err
			}
		}
	}
}

// refreshWithClaim refreshes while this process has the claim. After a refresh token was
// sent, nothing may interrupt the process until the answer is stored, least of all a
// signal. So the context ends only the waits for the claim, for quota and between attempts.
func (k *Keeper) refreshWithClaim(ctx context.Context) (token string, err error) {
	switch {
	case k.current.RefreshToken == "":
		return "", ErrNoRefreshToken
	case k.unsaved != nil:
		return "", &StoreError{k.unsaved}
	case k.spent[k.current.RefreshToken]:
		return "", &RevokedError{errSpent}
	}
	slow := time.AfterFunc(slowClaim, func() {
		defer goroutine.Recover(new(error)) // the log line is not essential
		k.log.Info("waiting for the right to refresh the tokens: another process has it, or the place where they are stored is slow")
	})
	release, err := k.store.Claim(ctx, k.current)
	slow.Stop()
	switch {
	case isRevoked(err):
		return "", err
	case err != nil:
		return "", storeError(ctx, err)
	}
	defer func() { release(isRevoked(err)) }()
	if err := ctx.Err(); err != nil { // not every claim waits, and a run that was told to stop begins no refresh
		return "", err
	}
	return k.refreshAndSave(ctx)
}

// storeError distinguishes a store's failure from one that the context caused.
func storeError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &StoreError{err}
}

// refreshAndSave spends the current refresh token and stores the new pair.
func (k *Keeper) refreshAndSave(ctx context.Context) (string, error) {
	old, asked := k.current, wallClock()
	t, err := k.endpoint.refresh(ctx, old)
	if err != nil {
		if isRevoked(err) {
			k.spent[old.RefreshToken] = true
		}
		return "", err
	}
	c := old
	c.AccessToken, c.ExpiresAt = t.AccessToken, time.Time{}
	if t.RefreshToken != "" && t.RefreshToken != old.RefreshToken { // otherwise the old one stays valid, as OAuth defines it
		k.spent[old.RefreshToken] = true
		c.RefreshToken = t.RefreshToken
	}
	if t.ExpiresIn > 0 {
		c.ExpiresAt = asked.Add(t.ExpiresIn).UTC().Truncate(time.Second)
	}
	k.seen(c)
	if err := k.save(context.WithoutCancel(ctx), c); err != nil {
		if !errors.Is(err, ErrReplaced) {
			k.unsaved = err
		}
		return "", &StoreError{err}
	}
	k.current, k.issued, k.expires = c, wallClock(), time.Time{}
	if t.ExpiresIn > 0 {
		k.expires = asked.Add(t.ExpiresIn - min(expiryMargin, t.ExpiresIn/4)) // a token that lives for seconds is used too
	}
	if c.AccessToken == "" { // the next attempt has a valid refresh token
		return "", errNoAccessToken
	}
	var known []any
	if !c.ExpiresAt.IsZero() {
		known = []any{"expires_at", c.ExpiresAt}
	}
	k.log.Info("the access token was renewed", known...)
	return c.AccessToken, nil
}

// wallClock is the time of day. The time that Go measures durations with does not pass
// while a machine sleeps, and tokens expire meanwhile.
func wallClock() time.Time { return time.Now().Round(0) }

// save retries for long: if it fails finally, the connection is lost.
func (k *Keeper) save(ctx context.Context, c Credentials) error {
	deadline := time.Now().Add(savePatience)
	for pause := time.Second; ; pause = min(2*pause, longestPause) {
		err := k.store.Save(ctx, c)
		if err == nil || errors.Is(err, ErrReplaced) || errors.As(err, new(finalError)) || time.Now().Add(pause).After(deadline) {
			return err
		}
		k.log.Error("the new tokens could not be stored; trying again", "error", err, "until", deadline.UTC().Truncate(time.Second))
		time.Sleep(pause)
	}
}
