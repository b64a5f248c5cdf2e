package whoop

import (
	"fmt"
	"net/http"
	"time"
)

// A StatusError is an answer other than 200 that retrying does not mend, or did
// not. Body is its beginning; WHOOP documents no error bodies, and many are
// empty.
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

// NotFound tells whether there is no such record.
func (e *StatusError) NotFound() bool { return e.Status == http.StatusNotFound }

// Refused tells whether WHOOP refused a token that is otherwise good: the
// member's consent does not reach this far.
func (e *StatusError) Refused() bool {
	return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden
}

// A QuotaError says that the client has used up a window of its rate limit
// that is too long to wait for: WHOOP counts 10,000 requests a day.
type QuotaError struct{ Until time.Time }

func (e *QuotaError) Error() string {
	return "the quota of requests is spent until " + e.Until.UTC().Format(time.RFC3339)
}

// An UnavailableError says that WHOOP did not answer properly however often it
// was asked. Err is what came of the last attempt.
type UnavailableError struct {
	Path string
	Err  error
}

func (e *UnavailableError) Error() string { return fmt.Sprintf("GET %s: %v", e.Path, e.Err) }
func (e *UnavailableError) Unwrap() error { return e.Err }

// A PagingError says that a page token leads nowhere: WHOOP refuses it, as if
// it had expired, or gives the same one again. The collection can still be read
// in windows that are small enough to need none.
type PagingError struct {
	Path string
	Err  error
}

func (e *PagingError) Error() string { return fmt.Sprintf("GET %s: paging: %v", e.Path, e.Err) }
func (e *PagingError) Unwrap() error { return e.Err }

// A TokenError says that there is no access token to be had.
type TokenError struct{ Err error }

func (e *TokenError) Error() string { return fmt.Sprintf("getting an access token: %v", e.Err) }
func (e *TokenError) Unwrap() error { return e.Err }
