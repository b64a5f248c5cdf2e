package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// A connection that is lost in the middle of a run ends it: one error, soon, and one
// warning before, and what was read is not lost.
func TestALostConnectionEndsTheRunOnce(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		lost    error
		takes   time.Duration // of the answer that there is no connection
		reason  string
		warned  int
		longest time.Duration
	}{
		"refused":       {&net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}, 0, "its address does not answer", 1, 30 * time.Second},
		"no answer":     {&net.OpError{Op: "dial", Net: "tcp", Err: errors.New("i/o timeout")}, 10 * time.Second, "its address does not answer", 1, 45 * time.Second},
		"not certified": {&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, 0, "its certificate is not trusted", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := young(t, 1, 40, nil)
				answered, lostAt := 0, time.Time{}
				w.source.http = roundTrip(func(r *http.Request) (*http.Response, error) {
					if answered++; answered > 4 { // two objects and the first collection
						if lostAt.IsZero() {
							lostAt = time.Now()
						}
						time.Sleep(test.takes)
						return nil, test.lost
					}
					return inProcess{w.server}.RoundTrip(r)
				})
				r := protocoltest.Source(t, w.source, "read", "--config", protocoltest.File(t, w.config), "--catalog", protocoltest.File(t, catalog(t, protocol.Incremental)))
				told := r.Errors()
				if r.Code != 1 || len(told) != 1 || told[0].FailureType != protocol.TransientError || !strings.HasPrefix(told[0].Message, "WHOOP cannot be reached: "+test.reason) {
					t.Errorf("exit code %d, %+v", r.Code, told)
				}
				if warned := strings.Count(string(r.Stderr), "warning: WHOOP cannot be reached: "+test.reason); warned != test.warned {
					t.Errorf("%d warnings, want %d:\n%s", warned, test.warned, r.Stderr)
				}
				if took := time.Since(lostAt); took > test.longest {
					t.Errorf("the run ended %v after the connection was lost, want at most %v", took, test.longest)
				}
				if len(r.States()) == 0 {
					t.Error("no state covers what was read before")
				}
			})
		})
	}
}
