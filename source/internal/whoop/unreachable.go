package whoop

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
)

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
