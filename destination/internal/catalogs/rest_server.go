package catalogs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/apache/iceberg-go/catalog/rest"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// restServer is the way to a catalog. It authorizes requests, waits where the catalog
// asks for it, and reads what the catalog says of itself when it is opened, which the
// library does not show.
type restServer struct {
	*http.Transport
	uri     string          // as configured
	origins map[string]bool // that requests may go to
	session session         // nil: requests are sent as they are
	vends   bool            // the catalog is asked for credentials of the storage

	isNessie bool
}

// dial is a variable for the tests.
var dial = (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext

// server makes the way to the catalog.
func (c *restConfig) server(ctx context.Context, a authentication) (*restServer, error) {
	u, err := url.Parse(c.URI)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = dial
	s := &restServer{Transport: transport, uri: c.URI, origins: map[string]bool{originOf(u): true}}
	if s.session, err = a.session(ctx, c.URI, transport); err != nil {
		return nil, err
	}
	return s, nil
}

const (
	// maxAttempts is how often a request is sent to a catalog that is busy, or one that
	// changes nothing after its connection was lost.
	maxAttempts = 5
	// maxWaits is how long a request waits in all for a catalog that is busy.
	maxWaits = 20 * time.Second
)

// errNotSent marks a request that the catalog never got.
var errNotSent = errors.New("the request was not sent")

// RoundTrip sends a request, again if its token had expired, if the catalog has done
// nothing because it is busy, or if it changes nothing and its connection was lost.
func (s *restServer) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Body != nil {
		defer request.Body.Close()
	}
	var waited time.Duration
	renewed := false
	for attempt := 1; ; attempt++ {
		sent, err := s.prepare(request)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errNotSent, err)
		}
		response, err := s.Transport.RoundTrip(sent)
		if err != nil {
			if attempt == maxAttempts || !isLostRead(sent, err) || !pauses(request.Context(), (100*time.Millisecond)<<attempt) {
				return nil, err
			}
			continue
		}
		pause := pauseOf(response, attempt)
		switch {
		case isRefusedToken(response) && !renewed && s.session != nil && s.session.renew(sent):
			renewed = true
		case isBusy(response, request.Method) && attempt < maxAttempts && waited+pause <= maxWaits:
			waited += pause
			if !pauses(request.Context(), pause) {
				return nil, errors.Join(context.Cause(request.Context()), response.Body.Close())
			}
		default:
			return s.checked(request, response)
		}
		if err := response.Body.Close(); err != nil {
			return nil, err
		}
	}
}

// pauses waits. It reports false if ctx ends first.
func pauses(ctx context.Context, pause time.Duration) bool {
	select {
	case <-time.After(pause):
		return true
	case <-ctx.Done():
		return false
	}
}

// isLostRead reports whether a request that changes nothing had a connection, and no
// answer. An address that nobody listens at will hardly answer a moment later.
func isLostRead(sent *http.Request, err error) bool {
	var op *net.OpError
	return isRead(sent.Method) && (!errors.As(err, &op) || op.Op != "dial")
}

func isRead(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// prepare makes the request that is sent.
func (s *restServer) prepare(request *http.Request) (*http.Request, error) {
	// A redirect can lead anywhere, and headers and bodies are for the catalog alone.
	if origin := originOf(request.URL); !s.origins[origin] {
		return nil, protocol.ConfigError.Errorf(nil, "The catalog at %s redirects to %s. If that is the catalog, set \"catalog.uri\" to its address there.", s.uri, origin)
	}
	sent := request.Clone(request.Context())
	if request.GetBody != nil {
		var err error
		if sent.Body, err = request.GetBody(); err != nil {
			return nil, err
		}
	}
	if !s.vends {
		sent.Header.Del("X-Iceberg-Access-Delegation") // the library asks always
	}
	if s.session == nil {
		return sent, nil
	}
	return sent, s.session.authorize(sent)
}

func originOf(u *url.URL) string { return u.Scheme + "://" + u.Host }

func isRefusedToken(r *http.Response) bool {
	const authenticationTimeout = 419 // of the protocol, for a token that has expired
	return r.StatusCode == http.StatusUnauthorized || r.StatusCode == authenticationTimeout
}

// isBusy reports whether a request should be sent again later. A server that answers
// 503 may have done what it was asked, one that answers 429 has not.
func isBusy(r *http.Response, method string) bool {
	return r.StatusCode == http.StatusTooManyRequests ||
		r.StatusCode == http.StatusServiceUnavailable && isRead(method)
}

// pauseOf is how long the catalog asks to wait.
func pauseOf(r *http.Response, attempt int) time.Duration {
	after := r.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(after); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(after); err == nil {
		return max(0, time.Until(at))
	}
	return time.Second << (attempt - 1)
}

// checked returns an answer that the library understands, or says why it would not.
func (s *restServer) checked(request *http.Request, r *http.Response) (*http.Response, error) {
	isConfig := request.Method == http.MethodGet && strings.HasSuffix(request.URL.Path, "/v1/config")
	isPage := strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") && r.Header.Get("Location") == "" // a redirect can have one, too
	var err error
	switch {
	case r.StatusCode == http.StatusTooManyRequests:
		err = protocol.TransientError.Errorf(nil, "The catalog at %s asks to send fewer requests. Start again later; if that happens often, run fewer syncs at once.", s.uri)
	case r.StatusCode >= http.StatusInternalServerError && isPage:
		err = protocol.TransientError.Errorf(nil, "The catalog at %s, or a gateway before it, fails with status %d. Start again when it works.", s.uri, r.StatusCode)
	case isPage:
		err = protocol.ConfigError.Errorf(nil, "What answers at %s is a web page and not an Iceberg REST catalog (status %d). Correct \"catalog.uri\"; it ends before /v1.", s.uri, r.StatusCode)
	case isConfig && (r.StatusCode == http.StatusNotFound || r.StatusCode == http.StatusMethodNotAllowed):
		err = protocol.ConfigError.Errorf(nil, "There is no Iceberg REST catalog at %s, or it does not know the warehouse (status %d). Correct \"catalog.uri\", which ends before /v1, and \"catalog.warehouse\".", s.uri, r.StatusCode)
	case isConfig && r.StatusCode == http.StatusOK:
		return r, s.readServerConfig(r)
	default:
		return r, nil
	}
	return nil, errors.Join(err, r.Body.Close())
}

// maxConfig bounds what is read of an answer that should be short.
const maxConfig = 1 << 20

// readServerConfig reads what the catalog says of itself. What is not that is left to the library.
func (s *restServer) readServerConfig(r *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(r.Body, maxConfig))
	if err = errors.Join(err, r.Body.Close()); err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(text))
	var of struct{ Overrides map[string]string }
	_ = json.Unmarshal(text, &of) // the library says what is wrong with it
	if u, err := url.Parse(of.Overrides["uri"]); err == nil && u.Host != "" {
		s.origins[originOf(u)] = true
	}
	// Nessie has branches of the whole catalog, and refuses those of a table.
	// Source: catalog/format/iceberg/src/main/java/org/projectnessie/catalog/formats/iceberg/rest/IcebergMetadataUpdate.java of github.com/projectnessie/nessie.
	s.isNessie = of.Overrides["nessie.is-nessie-catalog"] == "true"
	return nil
}

// restCloser closes a catalog and the connections to it.
type restCloser struct {
	*rest.Catalog
	server *restServer
}

// Close closes both.
func (c restCloser) Close() error {
	err := c.Catalog.Close()
	c.server.CloseIdleConnections()
	return err
}
