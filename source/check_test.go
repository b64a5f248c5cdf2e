package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox"
)

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(w *world)
		want  []string // of the message; none: it succeeds
	}{
		"good":   {func(*world) {}, nil},
		"no app": {func(w *world) { w.credential("client_id", "another"); w.clock.Advance(day) }, []string{"client_id"}},
		"wrong secret": {
			func(w *world) { w.credential("client_secret", "wrong"); w.clock.Advance(day) },
			[]string{"does not accept the client_id with this client_secret"},
		},
		"revoked":   {func(w *world) { w.server.Revoke() }, []string{"no longer accepts the refresh token", "consent again"}},
		"spent":     {func(w *world) { w.credential("refresh_token", "spent-1234567"); w.clock.Advance(day) }, []string{"used elsewhere"}},
		"expired":   {func(w *world) { w.clock.Advance(day) }, nil},
		"no access": {func(w *world) { w.credential("access_token", "") }, nil},
		"two scopes": {func(w *world) {
			w.grant("read:cycles", "read:profile", "read:recovery", "read:body_measurement", "offline")
		}, []string{"read:sleep, needed for sleep, sleep_for_cycle, sleep_by_id.", "read:workout, needed for workout, workout_by_id."}},
		"no profile": {func(w *world) {
			w.grant("read:cycles", "read:sleep", "read:workout", "read:recovery", "read:body_measurement", "offline")
		}, []string{"read:profile, needed for profile, body_measurement."}},
		"two scopes and a clock": {func(w *world) {
			w.clock.Advance(2 * time.Hour)
			w.grant("read:cycles", "read:profile", "read:body_measurement", "read:workout", "offline")
		}, []string{
			"read:recovery, needed for recovery, recovery_for_cycle.", "read:sleep, needed for sleep, sleep_for_cycle, sleep_by_id.",
			"source authorize --config", "clock differs from WHOOP's by ", "correct it",
		}},
		"no body": {func(w *world) {
			w.server.SetFaults(sandbox.Fault{Path: "/developer/v2/user/measurement", Action: sandbox.Replace, Status: 404, Times: -1})
		}, nil},
		"another server": {func(w *world) {
			w.server.SetFaults(sandbox.Fault{Path: "/developer", Action: sandbox.Replace, Status: 404, Times: -1})
		}, []string{"does not serve WHOOP's API, or not all of it (GET /v2/user/profile/basic: 404 Not Found). Check api_url"}},
		"another version": {func(w *world) {
			w.server.SetFaults(sandbox.Fault{Path: "/developer/v2/cycle", Action: sandbox.Replace, Status: 404, Times: -1})
		}, []string{"does not serve WHOOP's API, or not all of it (GET /v2/cycle: 404 Not Found)"}},
		"a redirect": {func(w *world) {
			w.server.SetFaults(sandbox.Fault{Path: "/developer", Action: sandbox.Replace, Status: 302, Header: map[string]string{"Location": "http://whoop.invalid/"}, Times: -1})
		}, []string{"does not serve WHOOP's API, or not all of it (GET /v2/user/profile/basic: 302 Found)"}},
		"out of order": {func(w *world) {
			w.server.SetFaults(sandbox.Fault{Path: "/developer", Action: sandbox.Replace, Status: 502, Times: -1})
		}, []string{"did not answer properly"}},
		"blocked by a front end": {func(w *world) {
			w.server.SetFaults(sandbox.Fault{
				Path: "/developer", Action: sandbox.Replace, Status: 403, Times: -1,
				Header: map[string]string{"Content-Type": "text/html; charset=UTF-8"}, Body: "<html>\n\t<title>Attention Required! | Cloudflare</title>\n</html>",
			})
		}, []string{"WHOOP did not answer properly, even after retries (GET /v2/user/profile/basic: 403 Forbidden: <html> <title>Attention Required! | Cloudflare</title> </html>)."}},
		"a scope, and then blocked": {func(w *world) {
			w.grant("read:cycles", "read:sleep", "read:workout", "read:recovery", "read:body_measurement", "offline")
			w.server.SetFaults(sandbox.Fault{
				Path: "/developer/v2/cycle", Action: sandbox.Replace, Status: 403, Times: -1, Header: map[string]string{"Content-Type": "text/html"},
			})
		}, []string{"read:profile, needed for profile, body_measurement.", "did not answer properly", "source authorize --config"}},
		"token endpoint out of order": {
			func(w *world) {
				w.clock.Advance(day)
				w.server.SetFaults(sandbox.Fault{Path: "/oauth", Action: sandbox.Replace, Status: 500, Times: -1})
			}, []string{"token endpoint did not answer"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := young(t, 1, 2, nil)
				c.spoil(w)
				r := protocoltest.Source(t, w.source, "check", "--config", protocoltest.File(t, w.config))
				var status *protocoltest.ConnectionStatus
				for _, m := range r.Messages {
					if m.ConnectionStatus != nil {
						status = m.ConnectionStatus
					}
				}
				if r.Code != 0 || status == nil || (status.Status == "SUCCEEDED") != (c.want == nil) {
					t.Fatalf("exit code %d, %+v, %v", r.Code, status, r.Errors())
				}
				for _, want := range c.want {
					if strings.Count(status.Message, want) != 1 {
						t.Errorf("message %q, want %q once", status.Message, want)
					}
				}
				if strings.Contains(status.Message, "\n") {
					t.Errorf("message %q has several lines", status.Message)
				}
				for _, once := range []string{"did not answer properly", "does not serve", "read:cycles", "Let the member consent again"} {
					if strings.Count(status.Message, once) > 1 {
						t.Errorf("message %q says %q more than once", status.Message, once)
					}
				}
				if a := w.server.Audit(); a.SpentReplays > 0 || a.Refreshes > 1 {
					t.Errorf("%d refreshes and %d replays", a.Refreshes, a.SpentReplays)
				}
			})
		})
	}
}

// A consent that does not cover everything costs no refresh token, however often it is read
// and checked, and a token that is dead is still replaced.
func TestAMissingScopeSpendsNoRefreshToken(t *testing.T) {
	for name, scopes := range map[string][]string{
		"without the profile":  {"read:cycles", "read:sleep", "read:recovery", "read:workout", "offline"},
		"without the workouts": {"read:profile", "read:cycles", "read:sleep", "read:recovery", "read:body_measurement", "offline"},
		"the workouts alone":   {"read:workout", "offline"},
	} {
		for _, expiry := range []time.Duration{0, 48 * time.Hour} { // 0: not known
			t.Run(fmt.Sprintf("%s, expires after %v", name, expiry), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := young(t, 1, 20, nil)
					w.grant(scopes...)
					if expiry > 0 {
						w.credential("token_expiry_date", time.Now().Add(expiry).UTC().Format(time.RFC3339))
					}
					run := func() {
						protocoltest.Source(t, w.source, "check", "--config", protocoltest.File(t, w.config))
						if r := w.read(catalog(t, protocol.Incremental)); len(r.Records(protocol.StreamID{Name: "cycles"}))+len(r.Records(protocol.StreamID{Name: "workout"})) == 0 {
							t.Error("nothing was read")
						}
					}
					for range 3 {
						run()
					}
					if a := w.server.Audit(); a.Refreshes != 0 {
						t.Errorf("%d refreshes", a.Refreshes)
					}
					w.clock.Advance(day) // by which WHOOP goes, and the source does not
					w.read(catalog(t, protocol.Incremental))
					run()
					if a := w.server.Audit(); a.Refreshes != 1 || a.SpentReplays != 0 {
						t.Errorf("%d refreshes and %d replays of a dead token", a.Refreshes, a.SpentReplays)
					}
				})
			})
		}
	}
}

// A host that cannot be reached is named with what to look at, once, and not asked for stream after stream.
func TestAHostThatCannotBeReachedIsExplained(t *testing.T) {
	_, refused := net.Dial("tcp", "127.0.0.1:1")
	name := &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "whoop.invalid", Server: "192.0.2.53:53", IsNotFound: true}}
	for cause, test := range map[string]struct {
		err  error
		want string
	}{
		"a name that is not known": {name, "the name whoop.invalid is not known (no such host); check api_url and this machine's network and DNS"},
		"nobody there":             {refused, "its address does not answer (dial tcp 127.0.0.1:1: connect: connection refused); check api_url"},
		"a proxy that is not known": {
			&net.OpError{Op: "proxyconnect", Net: "tcp", Err: name},
			"the proxy that HTTPS_PROXY or HTTP_PROXY names does not answer (dial tcp: lookup whoop.invalid",
		},
		"a proxy with a certificate of its own": {&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, "its certificate is not trusted (x509: certificate signed by unknown authority); behind a proxy"},
	} {
		for token, verb := range map[string]string{"a-token-1234": "WHOOP cannot be reached: ", "": "WHOOP's token endpoint cannot be reached: "} {
			t.Run(cause+" "+token, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					paths := map[string]bool{}
					s := &source{http: roundTrip(func(r *http.Request) (*http.Response, error) {
						paths[r.URL.Path] = true
						return nil, test.err
					})}
					r := protocoltest.Source(t, s, "check", "--config", protocoltest.File(t, map[string]any{"credentials": map[string]any{
						"auth_type": config.OAuth, "client_id": "id-1234", "client_secret": "secret-1234", "access_token": token, "refresh_token": "refresh-1234",
					}}))
					var message string
					for _, m := range r.Messages {
						if m.ConnectionStatus != nil && m.ConnectionStatus.Status == "FAILED" {
							message = m.ConnectionStatus.Message
						}
					}
					if !strings.Contains(message, verb+test.want) || strings.Count(message, "cannot be reached") != 1 || len(paths) != 1 {
						t.Errorf("%q, after requests of %v", message, paths)
					}
				})
			})
		}
	}
}

func TestCheckWarnsOfAWrongClock(t *testing.T) {
	w := young(t, 1, 2, nil)
	w.clock.Set(time.Now().Add(time.Hour))
	w.config["credentials"] = credentialsOf(w.server.Issue())
	r := protocoltest.Source(t, w.source, "check", "--config", protocoltest.File(t, w.config))
	var warned bool
	for _, m := range r.Messages {
		warned = warned || m.Log != nil && m.Log.Level == "WARN" && strings.Contains(m.Log.Message, "clock")
	}
	if !warned || r.Code != 0 {
		t.Errorf("exit code %d, messages %s", r.Code, r.Stdout)
	}
}

func (w *world) credential(key, value string) {
	w.config["credentials"].(map[string]any)[key] = value
}

func (w *world) grant(scopes ...string) {
	w.config["credentials"] = credentialsOf(w.server.Issue(scopes...))
}
