package main

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
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
)

// A reply is WHOOP's answer as the browser brings it, and the way to tell the
// member what came of it.
type reply struct {
	params url.Values
	show   func(consent, error)
}

// await shows the member the way to the consent and waits for the answer. Its
// context's cause is the error when none comes.
func (a *authorization) await(ctx context.Context, request consentRequest) (reply, error) {
	consentURL := request.url()
	if a.paste {
		fmt.Fprintf(a.say, "Open this address in a browser on any machine and let the member consent:\n\n  %s\n\n"+
			"The browser then ends at an address that begins with %s, where nothing may be.\nCopy that whole address from the browser and paste it here:\n", consentURL, a.redirect)
		return a.awaitPaste(ctx)
	}
	redirect, err := parseRedirect(a.redirect)
	if err != nil {
		return reply{}, err
	}
	listener, err := listen(ctx, redirect)
	if err != nil {
		return reply{}, err
	}
	replies := make(chan reply)
	server := &http.Server{
		Handler:           &callback{path: redirect.EscapedPath(), state: request.state, replies: replies, clean: a.secrets.Clean},
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // a browser that mistrusts the certificate says so itself
	}
	served := protocol.Go(func() error { return server.Serve(listener) })
	fmt.Fprintf(a.say, "Open this address in a browser and let the member consent:\n\n  %s\n\nWaiting %v for the answer at %s\n", consentURL, a.timeout, a.redirect)
	if redirect.Scheme == "https" {
		fmt.Fprintln(a.say, "The browser will warn of a certificate that nobody vouches for: this program has just made it. Go on all the same.")
	}
	if err := a.browse(consentURL); err != nil {
		fmt.Fprintf(a.say, "No browser could be opened here (%v).\n", err)
	}
	select {
	case r := <-replies:
		shown := r.show
		r.show = func(c consent, err error) {
			shown(c, err)
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			server.Shutdown(ctx) //nolint:errcheck // the browser has its page, or has left
		}
		return r, nil
	case err := <-served:
		return reply{}, fmt.Errorf("waiting for the answer at %s: %w", redirect, err)
	case <-ctx.Done():
		server.Close() //nolint:errcheck // nobody is served
		return reply{}, context.Cause(ctx)
	}
}

// awaitPaste reads lines until one is the address with the answer.
func (a *authorization) awaitPaste(ctx context.Context) (reply, error) {
	lines := make(chan string)
	failed := protocol.Go(func() error { // it ends with the process, if nothing comes
		for {
			line, err := a.line()
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
			if u, err := url.Parse(strings.TrimSpace(line)); err == nil && isAnswer(u.Query()) {
				return reply{u.Query(), func(consent, error) {}}, nil
			}
			fmt.Fprintf(a.say, "That is not it: the address begins with %s and has a code and a state in it.\n", a.redirect)
		case err := <-failed:
			return reply{}, err
		case <-ctx.Done():
			return reply{}, context.Cause(ctx)
		}
	}
}

// parseRedirect accepts an address of this machine only: anywhere else somebody
// else would receive the code.
func parseRedirect(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || !config.HasValidPort(u) {
		return nil, fmt.Errorf("--redirect %q is not an address such as http://127.0.0.1:8321/callback", text)
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("--redirect %s does not lead to this machine (127.0.0.1, [::1] or localhost): with --paste the browser's address can be copied by hand", text)
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
		return nil, fmt.Errorf("nothing can be received at %s: %w. Stop what uses the port, register another redirect URL with the app and give it as --redirect, or use --paste", redirect, err)
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

// newCertificate makes a certificate for a day, whose key is never stored.
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

// A callback is the server at the redirect URL, for one answer.
type callback struct {
	path    string
	state   string // that the answer has to carry
	replies chan<- reply
	clean   func(string) string // of secrets
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
	case isAnswer(r.URL.Query()) && !carries(r.URL.Query(), c.state):
		// Any page in the browser can send one: the member's own is still to come.
		showPage(w, http.StatusBadRequest, page{Error: &consentError{"This is not the answer to this consent", "It does not carry the state that was sent with the question.", "Open the address that source authorize prints."}})
		return
	case !isAnswer(r.URL.Query()):
		showPage(w, http.StatusBadRequest, page{Error: &consentError{"Nothing to do here", "This address waits for WHOOP's answer.", "Open the address that source authorize prints."}})
		return
	}
	shown := make(chan struct{})
	pages := make(chan page, 1)
	defer close(shown)
	answer := reply{r.URL.Query(), func(granted consent, err error) {
		pages <- c.describe(granted, err)
		<-shown
	}}
	select {
	case c.replies <- answer:
	case <-r.Context().Done(): // the browser left, or the answer is there already
		return
	}
	p := <-pages
	status := http.StatusOK
	if p.Error != nil {
		status = http.StatusBadRequest
	}
	showPage(w, status, p)
}

// openBrowser opens the member's browser. A machine without a screen has none,
// and that is no error: the address is printed anyway.
func (a *authorization) openBrowser(url string) error {
	program := "xdg-open"
	switch {
	case runtime.GOOS == "darwin":
		program = "open"
	case a.env("DISPLAY") == "" && a.env("WAYLAND_DISPLAY") == "":
		return nil
	}
	path, err := exec.LookPath(program)
	if errors.Is(err, exec.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	cmd := exec.Command(path, url) //nolint:noctx // the browser outlives this program
	cmd.Env = withoutSecrets(os.Environ())
	if err := cmd.Start(); err != nil {
		return err
	}
	protocol.Go(cmd.Wait) // what it does is seen on the screen
	return nil
}

// withoutSecrets is an environment for a program that is no business of ours:
// without the variables whose names say that they may hold a secret.
func withoutSecrets(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(v string) bool {
		name, _, _ := strings.Cut(strings.ToUpper(v), "=")
		return slices.ContainsFunc([]string{"WHOOP_", "AWS_", "SECRET", "TOKEN", "PASSW", "CREDENTIAL", "_KEY"}, func(part string) bool {
			return strings.Contains(name, part)
		})
	})
}
