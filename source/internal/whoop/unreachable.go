package whoop

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// dialTimeout is how long an address that does not answer at all holds up an attempt.
const dialTimeout = 10 * time.Second

// NewTransport returns http.DefaultTransport's settings with a shorter time for a
// connection to come about.
func NewTransport() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	return t
}

// worthRetrying reports whether a failed request may succeed soon. A certificate that
// is not trusted stays so.
func worthRetrying(err error) bool {
	return !errors.As(err, new(*tls.CertificateVerificationError))
}

// Unreachable returns why there was no connection to WHOOP, and what to check. It
// is empty if there was a connection.
func Unreachable(err error) string {
	var (
		dial        *net.OpError
		name        *net.DNSError
		certificate *tls.CertificateVerificationError
	)
	switch isDial := errors.As(err, &dial); {
	case isDial && dial.Op == "proxyconnect":
		return fmt.Sprintf("the proxy that HTTPS_PROXY or HTTP_PROXY names does not answer (%v)", dial.Err)
	case errors.As(err, &name):
		return fmt.Sprintf("the name %s is not known (%s); check api_url and this machine's network and DNS", name.Name, name.Err)
	case isDial && dial.Op == "dial":
		return fmt.Sprintf("its address does not answer (%v); check api_url and this machine's network", dial)
	case errors.As(err, &certificate):
		return fmt.Sprintf("its certificate is not trusted (%v); behind a proxy that decrypts connections, SSL_CERT_FILE must name a file with the proxy's certificate", certificate.Err)
	}
	return ""
}
