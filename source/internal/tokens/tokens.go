// Package tokens keeps a WHOOP member's pair of tokens valid.
//
// A WHOOP refresh token works once. Using it returns a new pair and invalidates the old
// one, including the access token; a second use fails. If the answer is lost, or stored
// too late, the connection is lost until the member consents again. Therefore a
// [Keeper] refreshes only if it must, one at a time in the process and, as far as the
// [Store] can ensure it, across processes. It makes the new pair durable before it
// returns it, and never sends a refresh token again that WHOOP has exchanged for it or
// refused.
//
// Glossary:
//   - pair: an access token and the refresh token that was issued with it.
//   - claim: the right to replace the stored pair, which one process has at a time.
//   - spent: said of a refresh token that was used.
package tokens

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/net/http/httpguts"
)

// Credentials are a client of the WHOOP API and the pair of tokens that a member gave
// it. Their JSON is the document in a token file or a secret.
type Credentials struct {
	ClientID     string    `json:"client_id"`
	ClientSecret string    `json:"client_secret"`
	AccessToken  string    `json:"access_token"`
	RefreshToken string    `json:"refresh_token"`
	ExpiresAt    time.Time `json:"expires_at,omitzero"` // of the access token; zero: not known
}

// Secrets returns the values that must not appear in any output.
func (c Credentials) Secrets() []string {
	return []string{c.ClientID, c.ClientSecret, c.AccessToken, c.RefreshToken}
}

// Unsendable returns the name of a value that has a line break, as of a file that it was
// copied from, or another control character; "" if there is none. No header can have such
// an access token, and WHOOP does not issue such values.
func (c Credentials) Unsendable() string {
	for _, v := range []struct{ name, value string }{
		{"client_id", c.ClientID}, {"client_secret", c.ClientSecret}, {"access_token", c.AccessToken}, {"refresh_token", c.RefreshToken},
	} {
		if !httpguts.ValidHeaderFieldValue(v.value) {
			return v.name
		}
	}
	return ""
}

// same reports whether two credentials are equal, apart from their expiry.
func (c Credentials) same(d Credentials) bool {
	c.ExpiresAt, d.ExpiresAt = time.Time{}, time.Time{}
	return c == d
}

// A Store is where credentials are kept. One goroutine at a time calls its methods.
type Store interface {
	// Load returns what is stored now. Its error is ErrNotStored if there is nothing.
	Load(ctx context.Context) (Credentials, error)

	// Check returns why a Save could not succeed, as far as that can be known without
	// a claim. It is no error that another process has one.
	Check(ctx context.Context) error

	// Claim gives the caller the right to replace c. It waits while another process
	// that shares the store has a claim, and excludes the others until release is
	// called or the process has died. Its error is ErrReplaced if c is no longer
	// stored. It fails if a Save could not succeed, because that must be known
	// before a refresh token is spent. Release is told whether WHOOP has refused the
	// refresh token of c; a store that remembers it answers a later claim with a
	// RevokedError for some time.
	Claim(ctx context.Context, c Credentials) (release func(refused bool), err error)

	// Save makes credentials durable: after it has returned, they survive the
	// process. With a claim it replaces what was claimed, or returns ErrReplaced if
	// another process has done that. Without one it replaces whatever is stored.
	Save(ctx context.Context, c Credentials) error
}

var (
	// ErrNotStored means that a store is empty, or holds a document without a
	// client.
	ErrNotStored = errors.New("there are no credentials yet")
	// ErrReplaced means that another process has replaced the credentials.
	ErrReplaced = errors.New("the credentials have been replaced")
	// ErrUnavailable means that a store cannot be reached now, but may be later.
	ErrUnavailable = errors.New("it cannot be reached at the moment")
	// ErrNoRefreshToken means that the access token is no longer valid and there is
	// no refresh token. WHOOP issues one only for the scope offline.
	ErrNoRefreshToken = errors.New("there is no refresh token")
)

// A RevokedError means that WHOOP no longer accepts the refresh token: it was
// spent by somebody else, expired, or the member withdrew the consent.
type RevokedError struct{ Err error }

func (e *RevokedError) Error() string { return fmt.Sprintf("the refresh token was refused: %v", e.Err) }
func (e *RevokedError) Unwrap() error { return e.Err }

// A ClientError means that WHOOP does not accept the client's id and secret.
type ClientError struct{ Err error }

func (e *ClientError) Error() string { return fmt.Sprintf("the client was refused: %v", e.Err) }
func (e *ClientError) Unwrap() error { return e.Err }

// A StoreError means that credentials could not be read or written. Its text
// names the place and, where that is known, the remedy, and no value.
type StoreError struct{ Err error }

func (e *StoreError) Error() string { return e.Err.Error() }
func (e *StoreError) Unwrap() error { return e.Err }

// A DocumentError means that what is stored is not a document with credentials. Its text
// shows no value, since any may be secret.
type DocumentError string

func (e DocumentError) Error() string { return string(e) }
