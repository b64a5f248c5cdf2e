package whoop

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// A StatusError is an answer other than 200 that retries cannot fix, or did not fix.
// Body is its beginning. WHOOP documents no error bodies, and many are empty.
type StatusError struct {
	Path   string
	Status int
	Body   string
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("GET %s: %d %s", e.Path, e.Status, http.StatusText(e.Status))
	if e.Body != "" {
		text += ": " + e.Body
	}
	return text
}

// NotFound reports whether WHOOP says that there is no such record. A page of HTML is not
// WHOOP's, but that of a front end or of another site.
func (e *StatusError) NotFound() bool {
	return e.Status == http.StatusNotFound && !strings.HasPrefix(strings.TrimSpace(e.Body), "<")
}

// Refused reports whether WHOOP refused a valid token, because the member's consent does
// not cover the request. A front end that refuses requests before WHOOP sees their token is
// an outage, and its error an UnavailableError.
func Refused(err error) bool {
	var offline *UnavailableError
	var status *StatusError
	return !errors.As(err, &offline) && errors.As(err, &status) &&
		(status.Status == http.StatusUnauthorized || status.Status == http.StatusForbidden)
}

// A QuotaError means that the client has used up a rate limit that is too long to wait
// for, such as 10,000 requests a day.
type QuotaError struct{ Until time.Time }

func (e *QuotaError) Error() string {
	return "the request quota is used up until " + e.Until.UTC().Format(time.RFC3339)
}

// An UnavailableError means that WHOOP did not answer properly, even after retries. Err
// is the error of the last attempt.
type UnavailableError struct {
	Path string
	Err  error
}

func (e *UnavailableError) Error() string {
	var status *StatusError
	if errors.As(e.Err, &status) { // it names the path itself
		return e.Err.Error()
	}
	return fmt.Sprintf("GET %s: %v", e.Path, e.Err)
}
func (e *UnavailableError) Unwrap() error { return e.Err }

// A PagingError means that a page token does not work: WHOOP refuses it, as if it had
// expired, or returns the same one again. The collection can still be read in windows
// that are small enough to need no token.
type PagingError struct {
	Path string
	Err  error
}

func (e *PagingError) Error() string { return fmt.Sprintf("GET %s: paging: %v", e.Path, e.Err) }
func (e *PagingError) Unwrap() error { return e.Err }

// A TokenError means that there is no access token.
type TokenError struct{ Err error }

func (e *TokenError) Error() string { return fmt.Sprintf("getting an access token: %v", e.Err) }
func (e *TokenError) Unwrap() error { return e.Err }
