// Package whoop is a client of WHOOP's developer API, version 2. It knows the
// API's manners (tokens, pace, faults, pages) and nothing of what the records
// are for: they are handed on as the bytes they came as.
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

	"github.com/ingest-connectors/whoop-iceberg/internal/rawjson"
)

const (
	requestTimeout = 30 * time.Second
	largestBody    = 32 << 20
	attempts       = 6   // of one request that WHOOP fails to answer
	refusals       = 12  // of one request by the rate limit
	renewals       = 3   // of the token for one request
	errorBody      = 300 // bytes of an error's body worth showing
)

// ProfilePath is the path of the member's profile.
const ProfilePath = "/v2/user/profile/basic"

// Tokens give the access token. [Client] asks for it before every request, and
// for another one when WHOOP refuses it.
type Tokens interface {
	Token(ctx context.Context) (string, error)
	// Renew returns the token to use instead of a refused one; the same one if
	// there is no use in trying again.
	Renew(ctx context.Context, refused string) (string, error)
}

// Config describes a Client.
type Config struct {
	URL               string // origin, such as https://api.prod.whoop.com
	Tokens            Tokens
	RequestsPerSecond float64           // never exceeded
	UserAgent         string            // WHOOP's front door turns away some default ones
	HTTP              http.RoundTripper // nil: http.DefaultTransport
	// Waiting is told that no request goes before an instant, for want of
	// quota. It may be nil.
	Waiting func(until time.Time)
	Log     *slog.Logger // nil: slog.Default
	// Excerpt returns the beginning of a text, of most bytes at most and without
	// secrets. It is what errors show of answers; nil: they show nothing.
	Excerpt func(text string, most int) string
}

// A Client reads from the API. It is safe for concurrent use; all requests
// share one pace.
type Client struct {
	base   string
	tokens Tokens
	agent  string
	http   http.RoundTripper
	pace   *pacer
	log    *slog.Logger
	shown  func(text string, most int) string // of an answer; nil: nothing

	mu   sync.Mutex
	skew time.Duration // WHOOP's clock less this machine's
	seen bool          // skew is known
}

// New returns a Client. It does nothing yet.
func New(c Config) *Client {
	waiting := c.Waiting
	if waiting == nil {
		waiting = func(time.Time) {}
	}
	return &Client{
		shown:  c.Excerpt,
		base:   c.URL + "/developer",
		tokens: c.Tokens,
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

// Width is how many requests, made at once, keep up the pace: one, unless
// answers take longer than the time between two requests, and never more than
// four. More can be made; they wait for each other.
func (c *Client) Width() int { return c.pace.width() }

// Now returns the time on WHOOP's clock, to the second, from the Date of its
// last answer: what a window of time means is for WHOOP to say. It is this
// machine's time until there was an answer.
func (c *Client) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.skew).UTC()
}

// Skew returns how far WHOOP's clock is ahead of this machine's, to the second,
// and whether any answer has told.
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

// get asks until there is an answer or no hope of one. Only GETs come here, so
// asking again does no harm.
func (c *Client) get(ctx context.Context, path string, query url.Values) (json.RawMessage, error) {
	token, err := c.tokens.Token(ctx)
	if err != nil {
		return nil, c.tokenError(ctx, err)
	}
	var failed, refused, renewed int
	for {
		sent, err := c.pace.wait(ctx)
		if err != nil {
			return nil, err
		}
		status, body, err := c.once(ctx, sent, path, query, token)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err == nil && status == http.StatusOK:
			return body, nil
		case err == nil && status == http.StatusUnauthorized:
			// The token of this request may have been replaced while it was on its way.
			fresh, terr := c.tokens.Renew(ctx, token)
			if terr != nil {
				return nil, c.tokenError(ctx, terr)
			}
			if renewed++; fresh == token || renewed > renewals {
				return nil, &StatusError{path, status, c.excerpt(body)}
			}
			token = fresh
		case err == nil && status == http.StatusTooManyRequests:
			if refused++; refused == refusals {
				return nil, &UnavailableError{path, &StatusError{path, status, c.excerpt(body)}}
			}
			c.log.Debug("WHOOP's rate limit was met", "path", path)
		case err == nil && status < 500:
			return nil, &StatusError{path, status, c.excerpt(body)}
		default:
			if err == nil {
				err = &StatusError{path, status, c.excerpt(body)}
			}
			if failed++; failed == attempts {
				return nil, &UnavailableError{path, err}
			}
			c.log.Warn("WHOOP did not answer properly; asking again", "path", path, "attempt", failed, "error", err)
			pause := 250 * time.Millisecond << failed
			if err := sleep(ctx, pause/2+rand.N(pause)); err != nil {
				return nil, err
			}
		}
	}
}

func (c *Client) tokenError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &TokenError{err}
}

// once sends one request. An answer of 200 is a whole JSON object; anything else
// that calls itself 200 is an error, and so is a 403 that is a page for people:
// what stands in front of WHOOP gives it, and WHOOP itself was not asked.
func (c *Client) once(ctx context.Context, sent time.Time, path string, query url.Values, token string) (status int, body []byte, err error) {
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
	c.readClock(header)
	body, err = read(resp)
	switch {
	case resp.StatusCode == http.StatusForbidden && strings.HasPrefix(header.Get("Content-Type"), "text/html"):
		return resp.StatusCode, body, &StatusError{path, resp.StatusCode, c.excerpt(body)}
	case resp.StatusCode != http.StatusOK:
		return resp.StatusCode, body, nil // the status says enough, even if the body broke off
	case err != nil:
		return resp.StatusCode, nil, fmt.Errorf("reading the answer: %w", err)
	case !rawjson.Valid(body), !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")):
		return resp.StatusCode, nil, c.notObject(header.Get("Content-Type"), body)
	}
	return resp.StatusCode, body, nil
}

func read(resp *http.Response) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(int(min(max(resp.ContentLength, 0)+bytes.MinRead, largestBody)))
	_, err := b.ReadFrom(io.LimitReader(resp.Body, largestBody))
	return b.Bytes(), err
}

func (c *Client) notObject(contentType string, body []byte) error {
	if len(body) == 0 {
		return errors.New("an empty answer with status 200")
	}
	return fmt.Errorf("an answer of type %q that is no JSON object, with status 200: %s", contentType, c.excerpt(body))
}

func (c *Client) excerpt(body []byte) string {
	if c.shown == nil {
		return ""
	}
	return c.shown(string(body), errorBody)
}
