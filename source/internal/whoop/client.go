// Package whoop is a client of WHOOP's developer API, version 2. It handles tokens,
// rate limits, failures and pages. It does not interpret records, and returns them as
// the bytes that WHOOP sent.
package whoop

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/ingest-connectors/whoop-iceberg/internal/rawjson"
)

const (
	requestTimeout = 30 * time.Second
	largestBody    = 32 << 20
	attempts       = 6                // of one request that WHOOP fails to answer
	reachTimeout   = 30 * time.Second // for its attempts if there is no connection
	refusals       = 12               // of one request by the rate limit
	renewals       = 3                // of the token for one request
	errorBody      = 300              // bytes of an error's body worth showing
)

// ProfilePath is the path of the member's profile.
const ProfilePath = "/v2/user/profile/basic"

// Tokens provide the access token. [Client] asks for it before every request, and for
// another one if WHOOP refuses it.
type Tokens interface {
	Token(ctx context.Context) (string, error)
	// TokenInsteadOf returns the token to use instead of a refused one. It returns the
	// same one if another attempt would be useless. Elsewhere reports whether WHOOP
	// accepts the refused token for any other request.
	TokenInsteadOf(ctx context.Context, refused string, elsewhere func(context.Context) (bool, error)) (string, error)
}

// Config describes a Client.
type Config struct {
	URL               string // origin, such as https://api.prod.whoop.com
	Tokens            Tokens
	Endpoints         []string          // a path for each scope, where a token is tried that was refused for another
	RequestsPerSecond float64           // never exceeded
	UserAgent         string            // WHOOP's front end refuses some default ones
	HTTP              http.RoundTripper // nil: http.DefaultTransport
	// Waiting is called when the client must wait for quota until an instant, and again
	// every two minutes. Its error ends the request. It may be nil.
	Waiting func(until time.Time) error
	Log     *slog.Logger // nil: slog.Default
	// Excerpt returns up to limit bytes of a text, without secrets, for errors about
	// answers. If it is nil, they show nothing.
	Excerpt func(text string, limit int) string
}

// A Client reads from the API. It is safe for concurrent use; all requests
// share one pace.
type Client struct {
	base   string
	tokens Tokens
	others []string // the paths where a refused token is tried
	agent  string
	http   http.RoundTripper
	pace   *pacer
	log    *slog.Logger
	shown  func(text string, limit int) string // of an answer; nil: nothing

	mu   sync.Mutex
	skew time.Duration // WHOOP's clock less this machine's
	seen bool          // skew is known
}

// New returns a Client. It does nothing yet.
func New(c Config) *Client {
	waiting := c.Waiting
	if waiting == nil {
		waiting = func(time.Time) error { return nil }
	}
	return &Client{
		shown:  c.Excerpt,
		base:   c.URL + "/developer",
		tokens: c.Tokens,
		others: c.Endpoints,
		agent:  c.UserAgent,
		http:   cmp.Or(c.HTTP, http.DefaultTransport),
		pace:   newPacer(c.RequestsPerSecond, waiting),
		log:    cmp.Or(c.Log, slog.Default()),
	}
}

// Get reads one JSON object, such as "/v2/cycle/93845". Its errors are
// StatusError, QuotaError, UnavailableError, TokenError and the context's.
func (c *Client) Get(ctx context.Context, path string) (json.RawMessage, error) {
	return c.get(ctx, path, nil)
}

// Width is how many requests must run at once to use the whole rate: one, unless
// answers take longer than the time between two requests, and at most four. Further
// requests wait for each other.
func (c *Client) Width() int { return c.pace.width() }

// Now returns the time on WHOOP's clock, to the second, from the Date of its last
// answer, because WHOOP interprets start and end by its own clock. Before the first
// answer, it is this machine's time.
func (c *Client) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.skew).UTC()
}

// Skew returns how far WHOOP's clock is ahead of this machine's, to the second, and
// whether that is known from an answer.
func (c *Client) Skew() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.skew, c.seen
}

func (c *Client) readClock(h http.Header) {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skew, c.seen = time.Until(date), true
}

// get repeats a request until it succeeds or cannot succeed. It is always a GET, so
// repeating it is safe.
func (c *Client) get(ctx context.Context, path string, query url.Values) (json.RawMessage, error) {
	token, err := c.tokens.Token(ctx)
	if err != nil {
		return nil, c.tokenError(ctx, err)
	}
	var failed, refused, renewed int
	var valid bool       // the token is, although the request was refused with it
	var giveUp time.Time // if there is no connection by then
	for {
		sent, err := c.pace.wait(ctx)
		if err != nil {
			return nil, err
		}
		status, body, err := c.sendOnce(ctx, sent, path, query, token)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err == nil && status == http.StatusOK:
			return body, nil
		case err == nil && status == http.StatusUnauthorized:
			if valid { // WHOOP has refused the request twice, so that is no mistake
				return nil, c.statusError(path, status, body)
			}
			// The token of this request may have been replaced while it was on its way.
			fresh, terr := c.tokens.TokenInsteadOf(ctx, token, func(ctx context.Context) (bool, error) {
				return c.acceptedElsewhere(ctx, path, token)
			})
			if terr != nil {
				return nil, c.tokenError(ctx, terr)
			}
			if renewed++; renewed > renewals {
				return nil, c.statusError(path, status, body)
			}
			valid, token = fresh == token, fresh
		case err == nil && status == http.StatusTooManyRequests:
			if refused++; refused == refusals {
				return nil, &UnavailableError{path, c.statusError(path, status, body)}
			}
			c.log.Debug("WHOOP's rate limit was reached", "path", path)
		case err == nil && isRefusal(status):
			return nil, c.statusError(path, status, body)
		default:
			if err == nil {
				err = c.statusError(path, status, body)
			}
			if failed == 0 {
				giveUp = time.Now().Add(reachTimeout)
				c.logFailure(path, err)
			}
			if failed++; failed == attempts || !worthRetrying(err) || Unreachable(err) != "" && time.Now().After(giveUp) {
				return nil, &UnavailableError{path, err}
			}
			c.log.Debug("a request failed; trying again", "path", path, "attempt", failed, "error", err)
			pause := (250 * time.Millisecond) << failed
			if err := sleep(ctx, pause/2+rand.N(pause)); err != nil {
				return nil, err
			}
		}
	}
}

// isRefusal reports whether another attempt would get the same answer. A success that is
// not 200 is none of WHOOP's.
func isRefusal(status int) bool {
	return status >= 300 && status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooEarly
}

func (c *Client) statusError(path string, status int, body []byte) *StatusError {
	if status < 300 { // it may be a member's record
		body = nil
	}
	return &StatusError{path, status, c.excerpt(body)}
}

// logFailure reports the first failure of a request, for a person who would otherwise
// wait for the last attempt without knowing why.
func (c *Client) logFailure(path string, err error) {
	switch cause := Unreachable(err); {
	case cause == "":
		c.log.Warn("WHOOP did not answer properly; trying again", "path", path, "error", err)
	case worthRetrying(err):
		c.log.Warn("WHOOP cannot be reached: " + cause + ". Trying again")
	}
}

func (c *Client) tokenError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if quota := (*QuotaError)(nil); errors.As(err, &quota) {
		return quota
	}
	return &TokenError{err}
}

// acceptedElsewhere reports whether WHOOP accepts a token for another path than the one
// that it was refused for. WHOOP answers 401 both to a token that is no longer valid and
// to a request that the member's consent does not cover.
func (c *Client) acceptedElsewhere(ctx context.Context, refused, token string) (bool, error) {
	for _, path := range c.others {
		if path == refused {
			continue
		}
		for range refusals {
			sent, err := c.pace.wait(ctx)
			if err != nil {
				return false, err
			}
			status, _, err := c.sendOnce(ctx, sent, path, nil, token)
			if ctx.Err() != nil {
				return false, ctx.Err()
			}
			if err == nil && status == http.StatusOK {
				return true, nil
			}
			if status != http.StatusTooManyRequests {
				break
			}
		}
	}
	return false, nil
}

// sendOnce sends one request. The body of a 200 is a complete JSON object; if it is not,
// sendOnce returns an error. It also does so for a 403 of WHOOP's front end, because the
// request never reached the API.
func (c *Client) sendOnce(ctx context.Context, sent time.Time, path string, query url.Values, token string) (status int, body []byte, err error) {
	var header http.Header
	defer func() { c.pace.answered(sent, status, header) }()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.agent)
	resp, err := c.http.RoundTrip(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	header = resp.Header
	body, err = read(resp)
	if resp.StatusCode == http.StatusOK {
		c.readClock(header)
	}
	switch {
	case resp.StatusCode == http.StatusForbidden && isFrontEnd(header, body):
		return resp.StatusCode, body, c.statusError(path, resp.StatusCode, body)
	case resp.StatusCode != http.StatusOK:
		return resp.StatusCode, body, nil // the status says enough, even if the body broke off
	case err != nil:
		return resp.StatusCode, nil, fmt.Errorf("reading the answer: %w", err)
	case !rawjson.Valid(body), !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")):
		return resp.StatusCode, nil, c.notObject(header.Get("Content-Type"), body)
	}
	return resp.StatusCode, body, nil
}

// isFrontEnd reports whether an answer is that of Cloudflare, which sends people a page and
// programs a line such as "error code: 1010".
func isFrontEnd(h http.Header, body []byte) bool {
	return strings.HasPrefix(h.Get("Content-Type"), "text/html") || bytes.HasPrefix(body, []byte("error code: "))
}

func read(resp *http.Response) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(int(min(max(resp.ContentLength, 0)+bytes.MinRead, largestBody)))
	_, err := b.ReadFrom(io.LimitReader(resp.Body, largestBody))
	return b.Bytes(), err
}

// notObject is the error of a 200 that is no answer of WHOOP's. It shows nothing of what may
// be a member's record.
func (c *Client) notObject(contentType string, body []byte) error {
	what := "not a JSON object: " + c.excerpt(body)
	switch text := bytes.TrimSpace(body); {
	case len(text) == 0:
		return errors.New("an empty answer with status 200")
	case text[0] != '{' && text[0] != '[':
	case !utf8.Valid(text):
		what = "not in UTF-8"
	case !rawjson.Valid(text):
		what = "broken JSON, or was cut off"
	default:
		what = "a list, not an object"
	}
	return fmt.Errorf("an answer with status 200, of type %q and %d bytes, that is %s", contentType, len(body), what)
}

func (c *Client) excerpt(body []byte) string {
	if c.shown == nil {
		return ""
	}
	return strings.Join(strings.Fields(c.shown(string(body), errorBody)), " ") // on one line
}
