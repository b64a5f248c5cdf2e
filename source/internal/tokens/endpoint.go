package tokens

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/whoop"
)

var (
	errSpent         = errors.New("it has been used before")
	errRefusedBefore = errors.New("WHOOP refused it less than an hour ago")
	errNoAccessToken = errors.New("the token endpoint's answer has no access_token")
)

// An Endpoint is WHOOP's token endpoint. It does not use oauth2.Config, which may send a
// single-use token twice to find out how the client authenticates, sends no scope, and
// discards a pair if another field of the answer is invalid. It follows no redirects,
// because they would disclose the client's secret.
type Endpoint struct {
	URL  string
	HTTP http.RoundTripper // nil: http.DefaultTransport
	// UserAgent is that of every request.
	UserAgent string
	// Excerpt returns up to limit bytes of a text, without secrets, for errors about
	// answers. If it is nil, they show nothing.
	Excerpt func(text string, limit int) string
	// Waiting is called when a request must wait for quota until an instant. Its error ends
	// the wait. It may be nil.
	Waiting func(until time.Time) error
}

const (
	attempts       = 4
	attemptTimeout = 30 * time.Second
	largestAnswer  = 1 << 20
	longestReason  = 200              // bytes of what the endpoint says is wrong
	longestWait    = 90 * time.Second // for quota in one refresh, which claimExpiry must allow; a minute's window is shorter
	longestLife    = 1e9              // seconds, which is 31 years: a longer expires_in is a mistake
)

// refresh exchanges the refresh token for a new pair. The access token is empty if WHOOP
// answered with a refresh token alone, which must be kept too.
//
// If no answer comes, or one that does not say (5xx, unreadable), nobody knows whether the
// token was spent. It is sent again. If it was spent, its successor is lost and the old
// access token invalid, so a refusal costs nothing, nor does it if WHOOP revokes the consent
// because of the reuse; if not, this saves the connection. A refusal of any kind ends the
// attempts. A 429 says that nothing was done, so it counts for none. The context ends no
// request, but the attempts: the next process sends the same token.
func (e Endpoint) refresh(ctx context.Context, c Credentials) (TokenResponse, error) {
	var quota quotaWait
	for attempt := 1; ; {
		t, err := e.post(context.WithoutCancel(ctx), c, url.Values{
			"grant_type":    {"refresh_token"},
			"refresh_token": {c.RefreshToken},
			"scope":         {"offline"},
		})
		var answered *oauth2.RetrieveError
		switch {
		case err == nil:
			return t, nil
		case isTooMany(err, &answered):
			if err := quota.wait(ctx, answered.Response.Header, e.Waiting); err != nil {
				return TokenResponse{}, err
			}
			continue
		case errors.As(err, &answered) && answered.Response.StatusCode < 500:
			return TokenResponse{}, err
		case attempt == attempts:
			return TokenResponse{}, fmt.Errorf("in %d attempts: %w", attempts, err)
		}
		pause := time.Second << attempt
		if err := sleep(ctx, pause/2+rand.N(pause/2)); err != nil {
			return TokenResponse{}, err
		}
		attempt++
	}
}

// isTooMany reports whether an error is a 429, which answered is set to.
func isTooMany(err error, answered **oauth2.RetrieveError) bool {
	return errors.As(err, answered) && (*answered).Response.StatusCode == http.StatusTooManyRequests
}

// A quotaWait is how long a request for tokens has waited for quota, and how often.
type quotaWait struct {
	waited time.Duration
	times  int
}

// wait waits as long as a 429 says. Its error is a QuotaError if that is too long.
func (q *quotaWait) wait(ctx context.Context, h http.Header, waiting func(until time.Time) error) error {
	now := time.Now()
	pause := max(whoop.QuotaReset(h, now), time.Second<<q.times) + rand.N(500*time.Millisecond) // others wait for the same instant
	until := now.Add(pause)
	q.times++
	if q.waited += pause; q.waited > longestWait {
		return &whoop.QuotaError{Until: until}
	}
	if waiting != nil {
		if err := waiting(until); err != nil {
			return err
		}
	}
	return sleep(ctx, pause)
}

// Exchange exchanges an authorization code, with the verifier of its challenge (RFC
// 7636), for the first pair. A code works once, so it is sent once, and again only after a
// 429. Its errors are RevokedError, ClientError, whoop.QuotaError, the context's, that of
// Waiting, and those of an endpoint that did not answer properly.
func (e Endpoint) Exchange(ctx context.Context, c Credentials, code, verifier, redirect string) (TokenResponse, error) {
	var quota quotaWait
	for {
		t, err := e.post(ctx, c, url.Values{
			"grant_type":    {"authorization_code"},
			"code":          {code},
			"code_verifier": {verifier},
			"redirect_uri":  {redirect},
		})
		var answered *oauth2.RetrieveError
		switch {
		case isTooMany(err, &answered):
			if err := quota.wait(ctx, answered.Response.Header, e.Waiting); err != nil {
				return TokenResponse{}, err
			}
			continue
		case err == nil && t.AccessToken == "":
			err = errNoAccessToken
		}
		return t, err
	}
}

// post sends a form once, with the client's id and secret. A refusal wraps an
// *oauth2.RetrieveError.
func (e Endpoint) post(ctx context.Context, c Credentials, form url.Values) (TokenResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	form.Set("client_id", c.ClientID)
	form.Set("client_secret", c.ClientSecret)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return TokenResponse{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", e.UserAgent)
	resp, err := cmp.Or(e.HTTP, http.DefaultTransport).RoundTrip(req)
	if err != nil {
		return TokenResponse{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, largestAnswer))
	a, perr := parseAnswer(body)
	err = cmp.Or(err, perr) // a truncated body explains invalid JSON
	switch {
	case resp.StatusCode/100 != 2:
		return TokenResponse{}, e.responseError(resp, a)
	case a.RefreshToken != "", a.AccessToken != "" && err == nil:
		return a.TokenResponse, nil
	case a.Error != "":
		return TokenResponse{}, e.responseError(resp, a)
	case err != nil:
		return TokenResponse{}, fmt.Errorf("the token endpoint's answer (%s) cannot be read: %w", describe(resp), err)
	}
	return TokenResponse{}, errNoAccessToken
}

// describe returns the status of an answer and its media type.
func describe(resp *http.Response) string {
	status := fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	if mediaType, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err == nil && len(mediaType) < longestReason {
		status += ", " + mediaType
	}
	return status
}

// responseError returns the error of an answer without a pair. From the answer it contains only
// what RFC 6749 defines as text for people, because the rest may be a token.
func (e Endpoint) responseError(resp *http.Response, a answer) error {
	retrieveError := &oauth2.RetrieveError{Response: resp, ErrorCode: describe(resp)}
	if resp.StatusCode/100 == 3 {
		retrieveError.ErrorDescription = "redirects are not followed, since they would take the client's secret along"
	}
	if a.Error != "" && e.Excerpt != nil {
		retrieveError.ErrorCode, retrieveError.ErrorDescription = e.Excerpt(a.Error, longestReason), e.Excerpt(a.Description, longestReason)
	}
	switch status := resp.StatusCode; {
	case a.Error == "invalid_client", a.Error == "unauthorized_client":
		return &ClientError{retrieveError}
	case !isErrorCode.MatchString(a.Error), a.Error == "temporarily_unavailable", a.Error == "server_error",
		status >= 500, status == http.StatusTooManyRequests:
		return retrieveError
	}
	// RFC 6749 has invalid_grant for a refresh token or code that is spent. Ory Hydra, whose
	// errors WHOOP's share, says token_inactive, with status 401.
	return &RevokedError{retrieveError}
}

// isErrorCode matches the errors of OAuth, and no status text of a gateway.
var isErrorCode = regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)

// A TokenResponse is what the token endpoint grants: RFC 6749, 5.1.
type TokenResponse struct {
	AccessToken, RefreshToken string
	ExpiresIn                 time.Duration // of the access token; 0: not known
	Scope                     string        // empty: not known
}

// An answer is a TokenResponse or an error: RFC 6749, 5.2.
type answer struct {
	TokenResponse
	Error, Description string
}

// parseAnswer reads as much as it can of an answer, even of a truncated one: the old pair
// is spent, so a new one counts whatever else is invalid. Its error contains nothing of
// the answer.
func parseAnswer(body []byte) (answer, error) {
	members, err := readMembers(bytes.TrimPrefix(body, []byte(byteOrderMark)))
	text := func(name string) (s string) {
		if json.Unmarshal(members[name], &s) != nil {
			return "" // missing, or of another type
		}
		return s
	}
	var a answer
	a.AccessToken, a.RefreshToken, a.Scope = text("access_token"), text("refresh_token"), text("scope")
	a.Error, a.Description = text("error"), text("error_description")
	// A number, or a string that holds one.
	seconds, nerr := strconv.ParseFloat(strings.Trim(string(members["expires_in"]), `"`), 64)
	if nerr == nil && seconds > 0 && seconds < longestLife {
		a.ExpiresIn = time.Duration(seconds) * time.Second
	}
	return a, err
}

// readMembers returns the members of a JSON object, up to where it is broken.
func readMembers(body []byte) (map[string]json.RawMessage, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, errors.New("it is empty")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil, errors.New("it is not a JSON object")
	}
	members := map[string]json.RawMessage{}
	for d.More() {
		name, err := d.Token()
		var value json.RawMessage
		if err == nil {
			err = d.Decode(&value)
		}
		if err != nil {
			return members, errors.New("it is broken JSON")
		}
		members[name.(string)] = value
	}
	if _, err := d.Token(); err != nil {
		return members, errors.New("it is broken JSON")
	}
	return members, nil
}

func isRevoked(err error) bool {
	var revoked *RevokedError
	return errors.As(err, &revoked)
}
