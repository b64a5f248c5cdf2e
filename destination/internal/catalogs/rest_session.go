package catalogs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"golang.org/x/net/http/httpguts"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A session authorizes requests, as long as a sync lasts.
type session interface {
	// authorize makes a request one that the catalog accepts.
	authorize(r *http.Request) error
	// renew is told that the catalog does not accept a request that was authorized.
	// It reports whether the next one may be.
	renew(refused *http.Request) bool
}

// bearerSession is a token that is not renewed.
type bearerSession string

func (s bearerSession) authorize(r *http.Request) error {
	r.Header.Set("Authorization", "Bearer "+string(s))
	return nil
}

func (bearerSession) renew(*http.Request) bool { return false }

// oauth2Session asks for a token when there is none, when half of its life or all but
// a minute of it is over, and when the catalog does not accept it any more.
type oauth2Session struct {
	config clientcredentials.Config
	client *http.Client // that asks for tokens
	now    func() time.Time

	mu               sync.Mutex
	token            string    // "": none
	renewAt, expires time.Time // of the token; zero: it was not told
}

const renewBefore = time.Minute

func (s *oauth2Session) authorize(r *http.Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == "" || !s.expires.IsZero() && !s.now().Before(s.renewAt) {
		// While the old token is good a failure is none: the next request tries again.
		if err := s.fetchToken(r.Context()); err != nil && (s.token == "" || !s.now().Before(s.expires)) {
			return err
		}
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	return nil
}

func (s *oauth2Session) renew(refused *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if refused.Header.Get("Authorization") == "Bearer "+s.token { // else another request has renewed it
		s.token = ""
	}
	return true
}

// fetchToken gets a token.
func (s *oauth2Session) fetchToken(ctx context.Context) error {
	token, err := s.config.Token(context.WithValue(ctx, oauth2.HTTPClient, s.client))
	if err != nil {
		return s.explain(err)
	}
	if !httpguts.ValidHeaderFieldValue(token.AccessToken) {
		return protocol.ConfigError.Errorf(nil, "The token that the token endpoint %s issues has a line break or another character that no header can have. Correct \"catalog.auth.token_uri\", or have whoever runs the endpoint correct its tokens.", s.config.TokenURL)
	}
	s.token, s.expires = token.AccessToken, token.Expiry
	s.renewAt = s.expires.Add(-min(renewBefore, s.expires.Sub(s.now())/2))
	return nil
}

// explain finds the remedy for an error of the token endpoint. What the endpoint says
// may repeat the secret.
func (s *oauth2Session) explain(err error) error {
	var (
		answer  *oauth2.RetrieveError
		network *url.Error
	)
	switch {
	case errors.As(err, &answer) && answer.ErrorCode == "" &&
		slices.Contains([]int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented}, answer.Response.StatusCode):
		return protocol.ConfigError.Errorf(nil, "There is no token endpoint at %s (status %d). Set \"catalog.auth.token_uri\" to the address of the one that issues tokens for this catalog.", s.config.TokenURL, answer.Response.StatusCode)
	case errors.As(err, &answer) && (answer.Response.StatusCode == http.StatusTooManyRequests || answer.Response.StatusCode >= http.StatusInternalServerError):
		return protocol.TransientError.Errorf(nil, "The token endpoint %s fails with status %d. Start again when it works.", s.config.TokenURL, answer.Response.StatusCode)
	case errors.As(err, &answer):
		said := strings.ReplaceAll(strings.TrimSuffix(answer.ErrorCode+": "+answer.ErrorDescription, ": "), s.config.ClientSecret, "***")
		return protocol.ConfigError.Errorf(nil, "The token endpoint %s gives no token to this client (status %d, %q). Correct \"catalog.auth.client_id\", \"catalog.auth.client_secret\" and \"catalog.auth.scope\"; if tokens come from elsewhere, set \"catalog.auth.token_uri\".",
			s.config.TokenURL, answer.Response.StatusCode, said)
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return protocol.TransientError.Errorf(context.DeadlineExceeded, "The token endpoint %s has not answered in time. Check \"catalog.auth.token_uri\" and the network, then start again.", s.config.TokenURL)
	case errors.As(err, &network):
		return protocol.TransientError.Errorf(network.Err, "The token endpoint %s cannot be reached. Check \"catalog.auth.token_uri\" and the network, then start again.", s.config.TokenURL)
	}
	return protocol.ConfigError.Errorf(err, "What answers at %s is not a token endpoint. Correct \"catalog.auth.token_uri\".", s.config.TokenURL)
}

// sigv4Session signs requests as AWS does. The SDK renews the credentials.
type sigv4Session struct {
	signer  *v4.Signer
	cfg     aws.Config
	service string
}

func (s *sigv4Session) authorize(r *http.Request) error {
	credentials, err := s.cfg.Credentials.Retrieve(r.Context())
	if err != nil {
		return err
	}
	hash := sha256.New()
	if r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			return err
		}
		if _, err := io.Copy(hash, body); err != nil {
			return fmt.Errorf("signing a request: %w", err)
		}
	}
	sum := hex.EncodeToString(hash.Sum(nil))
	r.Header.Set("X-Amz-Content-Sha256", sum)
	return s.signer.SignHTTP(r.Context(), credentials, r, sum, s.service, s.cfg.Region, time.Now())
}

func (*sigv4Session) renew(*http.Request) bool { return false }
