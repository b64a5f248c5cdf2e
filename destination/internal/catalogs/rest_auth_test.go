package catalogs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs/resttest"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// tokenServer is an authorization server whose tokens are 1, 2 and so on. answer says
// what comes with them.
func tokenServer(t *testing.T, answer func(form url.Values) (status int, body string)) (uri string, asked *atomic.Int64) {
	t.Helper()
	asked = &atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		status, body := answer(r.PostForm)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, strings.ReplaceAll(body, "$N", fmt.Sprint(n)))
	}))
	t.Cleanup(server.Close)
	return server.URL + "/token", asked
}

const twoHours = `{"access_token":"$N","token_type":"bearer","expires_in":7200}`

func oauth2With(tokens string) map[string]any {
	return map[string]any{"type": "oauth2", "client_id": "me", "client_secret": "open:sesame", "token_uri": tokens, "scope": "a b", "audience": "them", "resource": "it"}
}

// A token is sent as it is: one that cannot be is refused before anybody is asked.
func TestATokenThatCannotBeSentIsRefused(t *testing.T) {
	for token, valid := range map[string]bool{
		"sesame": true, "sesame.a-b_c~d+e/f==": true, "sesame\n": false, "sesame\r\n": false, "ses\name": false, "sesame\x00": false, "sesame\x7f": false,
	} {
		err := restWith("https://catalog.example.com", map[string]any{"auth": map[string]any{"type": "bearer", "token": token}}).Validate()
		if !valid {
			expectTold(t, err, protocol.ConfigError, `"catalog.auth.token"`)
		} else if err != nil {
			t.Errorf("%q: %v", token, err)
		}
	}
}

// A token that the catalog does not accept any more is replaced, and nobody notices.
func TestATokenThatExpiresIsReplaced(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, 419} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			tokens, asked := tokenServer(t, func(form url.Values) (int, string) {
				for key, want := range map[string]string{"grant_type": "client_credentials", "client_id": "me", "client_secret": "open:sesame", "scope": "a b", "audience": "them", "resource": "it"} {
					if form.Get(key) != want {
						t.Errorf("%s is %q", key, form.Get(key))
					}
				}
				return http.StatusOK, twoHours
			})
			var good atomic.Value
			good.Store("Bearer 1")
			uri, warehouse := restServerWith(t, &resttest.Server{}, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != good.Load() {
					refusal(status)(w, r)
				}
			})
			cat, id := openWith(t, restWith(uri, map[string]any{"auth": oauth2With(tokens)}), warehouse), table.Identifier{"ns", "t"}
			if err := cat.CreateNamespace(t.Context(), id[:1], nil); err != nil {
				t.Fatal(err)
			}
			if _, err := cat.CreateTable(t.Context(), id, schema); err != nil {
				t.Fatal(err)
			}
			good.Store("Bearer 2")
			if _, _, err := cat.CommitTable(t.Context(), id, nil, []table.Update{table.NewSetPropertiesUpdate(iceberg.Properties{"k": "v"})}); err != nil {
				t.Error(err)
			}
			if asked.Load() != 2 {
				t.Errorf("%d tokens", asked.Load())
			}
			good.Store("none")
			_, err := cat.LoadTable(t.Context(), id)
			expectTold(t, err, protocol.ConfigError, `Correct "catalog.auth"`)
		})
	}
}

// A token is renewed before its end; while it is good, a failure to do so is none.
func TestTokensAreRenewedInTime(t *testing.T) {
	for life, before := range map[int]time.Duration{7200: time.Minute, 2: time.Second} {
		t.Run(fmt.Sprint(life), func(t *testing.T) {
			failing := false
			tokens, asked := tokenServer(t, func(url.Values) (int, string) {
				if failing {
					return http.StatusServiceUnavailable, `{}`
				}
				return http.StatusOK, fmt.Sprintf(`{"access_token":"$N","token_type":"bearer","expires_in":%d}`, life)
			})
			made, err := (&oauth2Auth{ClientID: "me", ClientSecret: "sesame", TokenURI: tokens}).session(t.Context(), "", http.DefaultTransport)
			if err != nil {
				t.Fatal(err)
			}
			s := made.(*oauth2Session)
			now := time.Now()
			s.now = func() time.Time { return now }
			token := func() string {
				t.Helper()
				r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
				if err := s.authorize(r); err != nil {
					expectTold(t, err, protocol.TransientError, "Start again")
				}
				return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
			}
			if got := token(); got != "1" {
				t.Fatalf("the first token is %q", got)
			}
			renewAt, expires := s.renewAt, s.expires
			if early := expires.Sub(renewAt); early <= 0 || early > before+time.Minute/2 {
				t.Errorf("it is renewed %v before its end", early)
			}
			for _, step := range []struct {
				at      time.Time
				failing bool
				token   string
				asked   int64
			}{
				{renewAt.Add(-1), false, "1", 1},
				{renewAt, true, "1", 2},
				{expires.Add(-1), true, "1", 3},
				{expires, true, "", 4},
				{expires, false, "5", 5},
			} {
				now, failing = step.at, step.failing
				if got := token(); got != step.token || asked.Load() != step.asked {
					t.Errorf("%v before its end the token is %q after %d requests", expires.Sub(now), got, asked.Load())
				}
			}
		})
	}
}

func TestATokenEndpointThatRefusesIsExplained(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		body   string
		kind   protocol.Kind
		says   string
	}{
		"wrong secret":  {http.StatusUnauthorized, `{"error":"invalid_client","error_description":"open:sesame is wrong"}`, protocol.ConfigError, "invalid_client: *** is wrong"},
		"no endpoint":   {http.StatusNotFound, `{}`, protocol.ConfigError, `status 404). Set "catalog.auth.token_uri"`},
		"none offered":  {http.StatusNotImplemented, `{}`, protocol.ConfigError, `status 501). Set "catalog.auth.token_uri"`},
		"no JSON":       {http.StatusOK, `hello`, protocol.ConfigError, "not a token endpoint"},
		"no header":     {http.StatusOK, `{"access_token":"a\nb","token_type":"bearer"}`, protocol.ConfigError, `another character that no header can have. Correct "catalog.auth.token_uri"`},
		"broken":        {http.StatusBadGateway, `hello`, protocol.TransientError, "status 502"},
		"asks for less": {http.StatusTooManyRequests, `{}`, protocol.TransientError, "status 429"},
	} {
		t.Run(name, func(t *testing.T) {
			tokens, _ := tokenServer(t, func(url.Values) (int, string) { return tc.status, tc.body })
			uri, warehouse := restServerWith(t, &resttest.Server{}, func(http.ResponseWriter, *http.Request) {})
			_, err := Open(t.Context(), restWith(uri, map[string]any{"auth": oauth2With(tokens)}), at(t, warehouse))
			expectTold(t, err, tc.kind, tc.says)
		})
	}
}

// Nothing of a request goes elsewhere, wherever the catalog redirects to: headers of the configuration are secrets, too.
func TestARedirectIsNotFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("it got %s %s with %v", r.Method, r.URL, r.Header)
	}))
	defer elsewhere.Close()
	for name, redirect := range map[string]http.HandlerFunc{
		"with a page": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
		"without": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(http.StatusTemporaryRedirect)
		},
	} {
		t.Run(name, func(t *testing.T) {
			uri, warehouse := restServerWith(t, &resttest.Server{}, redirect)
			_, err := Open(t.Context(), restWith(uri, map[string]any{
				"auth": map[string]any{"type": "bearer", "token": "sesame"}, "headers": []any{map[string]any{"name": "X-Key", "value": "sesame"}},
			}), at(t, warehouse))
			expectTold(t, err, protocol.ConfigError, "redirects to "+elsewhere.URL)
		})
	}
}

// Nor does the secret of the client.
func TestARedirectOfTheTokenEndpointIsNotFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("it got %s %s", r.Method, r.URL)
	}))
	defer elsewhere.Close()
	tokens := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer tokens.Close()
	uri, warehouse := restServerWith(t, &resttest.Server{}, func(http.ResponseWriter, *http.Request) {})
	_, err := Open(t.Context(), restWith(uri, map[string]any{"auth": oauth2With(tokens.URL)}), at(t, warehouse))
	expectTold(t, err, protocol.ConfigError, "status 307")
}

// The signature of each request is that of AWS.
func TestRequestsAreSigned(t *testing.T) {
	for _, service := range []string{"glue", "s3tables", "execute-api"} {
		t.Run(service, func(t *testing.T) {
			requests := 0
			uri, warehouse := restServerWith(t, &resttest.Server{}, func(_ http.ResponseWriter, r *http.Request) {
				requests++
				verifySignature(t, r, service)
			})
			cat := openWith(t, restWith(uri, map[string]any{"auth": map[string]any{
				"type": "sigv4", "service": service, "region": "eu-central-1", "access_key_id": "key", "secret_access_key": "sesame",
			}}), warehouse)
			if err := cat.CreateNamespace(t.Context(), table.Identifier{"ns", "deeper"}, nil); err != nil {
				t.Error(err)
			}
			if _, err := cat.CreateTable(t.Context(), table.Identifier{"ns", "deeper", "t"}, schema); err != nil {
				t.Error(err)
			}
			if requests < 3 {
				t.Errorf("%d requests", requests)
			}
		})
	}
}

// verifySignature signs the parts of a request that were signed once more.
func verifySignature(t *testing.T, r *http.Request, service string) {
	t.Helper()
	got := r.Header.Get("Authorization")
	_, signed, _ := strings.Cut(got, "SignedHeaders=")
	signed, _, _ = strings.Cut(signed, ",")
	again := httptest.NewRequest(r.Method, "http://"+r.Host+r.URL.RequestURI(), http.NoBody)
	again.ContentLength = r.ContentLength
	again.Header = http.Header{}
	for name := range strings.SplitSeq(signed, ";") {
		if values := r.Header.Values(name); len(values) > 0 {
			again.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		t.Error(err)
	}
	if err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: "key", SecretAccessKey: "sesame"}, again, r.Header.Get("X-Amz-Content-Sha256"), service, "eu-central-1", at); err != nil {
		t.Error(err)
	}
	if want := again.Header.Get("Authorization"); got != want {
		t.Errorf("%s %s is signed\n%s, not\n%s", r.Method, r.URL, got, want)
	}
	hash := sha256.New()
	body, err := io.ReadAll(io.TeeReader(r.Body, hash))
	if err != nil || hex.EncodeToString(hash.Sum(nil)) != r.Header.Get("X-Amz-Content-Sha256") {
		t.Errorf("the hash of the body is wrong, %v", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
}
