// Package tokens keeps a WHOOP member's pair of tokens alive.
//
// A WHOOP refresh token works once. Its use gives a new pair and ends the old
// one, the access token included; of two uses only the first succeeds. Whoever
// loses the answer, or stores it too late, has lost the connection until the
// member consents again. Therefore a [Keeper] refreshes only when it must, one
// at a time in the process and, as far as the [Store] can tell, across
// processes; it makes the new pair durable before it hands it out; and it never
// sends a refresh token that has been answered.
package tokens

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Credentials are a client of the WHOOP API and the pair of tokens a member
// gave it. Its JSON is the document that a token file or a secret holds.
type Credentials struct {
	ClientID     string    `json:"client_id"`
	ClientSecret string    `json:"client_secret"`
	AccessToken  string    `json:"access_token"`
	RefreshToken string    `json:"refresh_token"`
	ExpiresAt    time.Time `json:"expires_at,omitzero"` // of the access token; zero: not known
}

// Secrets returns the values that belong into no output.
func (c Credentials) Secrets() []string {
	return []string{c.ClientID, c.ClientSecret, c.AccessToken, c.RefreshToken}
}

// same tells whether two credentials are the same but for what is known of their
// expiry.
func (c Credentials) same(d Credentials) bool {
	c.ExpiresAt, d.ExpiresAt = time.Time{}, time.Time{}
	return c == d
}

// A Store is where credentials live. Its methods are called by one goroutine
// at a time.
type Store interface {
	// Load returns what is stored now. Its error is ErrNotStored if that is
	// nothing.
	Load(ctx context.Context) (Credentials, error)

	// Claim makes the caller the only one who may replace c. It waits while
	// another process that shares the store does so, and keeps the others out
	// until release is called or, at once or after a while, the process is dead.
	// Its error is ErrReplaced if c is not what is stored any more. It fails when
	// a Save could not succeed, since that must be known before a refresh token
	// is spent.
	Claim(ctx context.Context, c Credentials) (release func(), err error)

	// Save makes credentials durable: once it has returned, they survive the
	// process. Under a claim it replaces what was claimed, and is ErrReplaced if
	// somebody else has done that; without one it replaces whatever is there.
	Save(ctx context.Context, c Credentials) error
}

var (
	// ErrNotStored says that a store is empty, or holds a document without a
	// client.
	ErrNotStored = errors.New("there are no credentials yet")
	// ErrReplaced says that another process has replaced the credentials.
	ErrReplaced = errors.New("the credentials have been replaced")
	// ErrUnavailable says that a store cannot be reached now and may be later.
	ErrUnavailable = errors.New("it cannot be reached at the moment")
	// ErrNoRefreshToken says that the access token is of no more use and there
	// is no refresh token to get another. WHOOP gives one only for the scope
	// offline.
	ErrNoRefreshToken = errors.New("there is no refresh token")
)

// A RevokedError says that WHOOP no longer accepts the refresh token: it was
// spent by somebody else, expired, or the member withdrew the consent.
type RevokedError struct{ Err error }

func (e *RevokedError) Error() string { return fmt.Sprintf("the refresh token was refused: %v", e.Err) }
func (e *RevokedError) Unwrap() error { return e.Err }

// A ClientError says that WHOOP does not accept the client's id and secret.
type ClientError struct{ Err error }

func (e *ClientError) Error() string { return fmt.Sprintf("the client was refused: %v", e.Err) }
func (e *ClientError) Unwrap() error { return e.Err }

// A StoreError says that credentials could not be read or written. Its text
// names the place and, where that is known, the remedy, and no value.
type StoreError struct{ Err error }

func (e *StoreError) Error() string { return e.Err.Error() }
func (e *StoreError) Unwrap() error { return e.Err }
