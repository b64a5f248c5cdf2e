package consent

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
)

// A response is an authorization response as the browser brings it, and the way
// to show the member the outcome.
type response struct {
	params url.Values
	show   func(grant, error)
}

// receive asks the member to open the consent page, and waits for the response.
// If none comes, its error is the cause of the context's end.
func (a *authorization) receive(ctx context.Context, request authorizationRequest) (response, error) {
	consentURL := request.url()
	if a.paste {
		fmt.Fprintf(a.terminal, "Open this address in a browser on any machine and let the member consent:\n\n  %s\n\n"+
			"The browser then ends at an address that begins with %s. It may show an error there.\nCopy that whole address from the browser and paste it here:\n", consentURL, a.redirect)
		return a.receivePasted(ctx)
	}
	redirect, err := parseRedirect(a.redirect)
	if err != nil {
		return response{}, err
	}
	listener, err := listen(ctx, redirect)
	if err != nil {
		return response{}, err
	}
	responses := make(chan response)
	server := &http.Server{
		Handler:           &callback{path: redirect.EscapedPath(), state: request.state, streams: a.streams, responses: responses, clean: a.secrets.Clean},
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // a browser that mistrusts the certificate says so itself
	}
	served := goroutine.Start(func() error { return server.Serve(listener) })
	fmt.Fprintf(a.terminal, "Open this address in a browser and let the member consent:\n\n  %s\n\nWaiting %v for the answer at %s\n", consentURL, a.timeout, a.redirect)
	if redirect.Scheme == "https" {
		fmt.Fprintln(a.terminal, "The browser will warn about the certificate, because this program has just made it. Continue anyway.")
	}
	if err := a.browse(consentURL); err != nil {
		fmt.Fprintf(a.terminal, "No browser could be opened here (%v).\n", err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		a.progress.Waiting("the member's consent", deadline)
	}
	select {
	case r := <-responses:
		shown := r.show
		r.show = func(g grant, err error) {
			shown(g, err)
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			server.Shutdown(ctx) //nolint:errcheck // the browser has its page, or is gone
		}
		return r, nil
	case err := <-served:
		return response{}, fmt.Errorf("waiting for the answer at %s: %w", redirect, err)
	case <-ctx.Done():
		server.Close() //nolint:errcheck // nobody is served
		return response{}, context.Cause(ctx)
	}
}

// receivePasted reads lines until one is the address with the response.
func (a *authorization) receivePasted(ctx context.Context) (response, error) {
	lines := make(chan string)
	failed := goroutine.Start(func() error { // if nothing comes, it ends with the process
		for {
			line, err := a.readLine()
			if err == nil && line == "" {
				err = errors.New("the input ended before the address came; run source authorize again and paste the address that the browser ends at")
			}
			if err != nil {
				return err
			}
			select {
			case lines <- line:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	})
	for {
		select {
		case line := <-lines:
			if u, err := url.Parse(strings.TrimSpace(line)); err == nil && isResponse(u.Query()) {
				return response{u.Query(), func(grant, error) {}}, nil
			}
			fmt.Fprintf(a.terminal, "This is not the address: it begins with %s and contains a code and a state.\n", a.redirect)
		case err := <-failed:
			return response{}, err
		case <-ctx.Done():
			return response{}, context.Cause(ctx)
		}
	}
}

// parseRedirect accepts only addresses of this machine. At any other, somebody
// else would receive the code.
func parseRedirect(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || !config.HasValidPort(u) {
		return nil, fmt.Errorf("--redirect %q is not an address such as http://127.0.0.1:8321/callback", text)
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("--redirect %s does not lead to this machine (127.0.0.1, [::1] or localhost); with --paste, you can copy the address from the browser instead", text)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}

// listen opens the redirect's port on loopback, whatever its host resolves to.
func listen(ctx context.Context, redirect *url.URL) (net.Listener, error) {
	host, port := redirect.Hostname(), redirect.Port()
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[redirect.Scheme]
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("cannot listen at %s: %w. Stop the program that uses the port, or register another redirect URL with the app and give it as --redirect, or use --paste", redirect, err)
	}
	if redirect.Scheme == "http" {
		return listener, nil
	}
	certificate, err := newCertificate(redirect.Hostname())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making a certificate for %s: %w", redirect, err), listener.Close())
	}
	return tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}), nil
}

// newCertificate makes a self-signed certificate for one day. Its key is never stored.
func newCertificate(host string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	description := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "source authorize"},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		description.IPAddresses = []net.IP{ip}
	} else {
		description.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, description, description, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// A callback is the server at the redirect URL, for one response.
type callback struct {
	path      string
	state     string // that the response must have
	streams   []Stream
	responses chan<- response
	clean     func(string) string // of secrets
}

func (c *callback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.EscapedPath() != c.path:
		http.NotFound(w, r)
		return
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "GET only", http.StatusMethodNotAllowed)
		return
	case isResponse(r.URL.Query()) && !hasState(r.URL.Query(), c.state):
		// Any page in the browser can send one. The member's own may still come.
		showPage(w, http.StatusBadRequest, page{Error: &problem{"This is not the answer to this consent", "It does not contain the state that was sent with the question.", "Open the address that source authorize prints."}})
		return
	case !isResponse(r.URL.Query()):
		showPage(w, http.StatusBadRequest, page{Error: &problem{"Nothing to do here", "This address waits for WHOOP's answer.", "Open the address that source authorize prints."}})
		return
	}
	shown := make(chan struct{})
	pages := make(chan page, 1)
	defer close(shown)
	answer := response{r.URL.Query(), func(g grant, err error) {
		pages <- c.describe(g, err)
		<-shown
	}}
	select {
	case c.responses <- answer:
	case <-r.Context().Done(): // the browser is gone, or another response came first
		return
	}
	p := <-pages
	status := http.StatusOK
	if p.Error != nil {
		status = http.StatusBadRequest
	}
	showPage(w, status, p)
}
