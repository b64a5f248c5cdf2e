//go:build acceptance

package acceptance

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/acceptance/servers"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// An issuer is an OpenID provider that gives tokens to one client.
type issuer struct {
	*httptest.Server
	key *rsa.PrivateKey
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key}
	mux := http.NewServeMux()
	answer := func(path string, with func(r *http.Request) (status int, value map[string]any)) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			status, value := with(r)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(value)
		})
	}
	answer("/.well-known/openid-configuration", func(*http.Request) (int, map[string]any) {
		return http.StatusOK, map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys", "token_endpoint": i.URL + "/token", "authorization_endpoint": i.URL + "/authorize"}
	})
	answer("/keys", func(*http.Request) (int, map[string]any) {
		exponent := big.NewInt(int64(key.E)).Bytes()
		return http.StatusOK, map[string]any{"keys": []any{map[string]any{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1", "n": encode(key.N.Bytes()), "e": encode(exponent)}}}
	})
	answer("/token", func(r *http.Request) (int, map[string]any) {
		id, secret, ok := r.BasicAuth()
		if !ok {
			id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
		}
		if r.PostFormValue("grant_type") != "client_credentials" || id != "loader" || secret != "sesame" {
			return http.StatusUnauthorized, map[string]any{"error": "invalid_client"}
		}
		return http.StatusOK, map[string]any{"access_token": token(t, i.URL, key), "token_type": "Bearer", "expires_in": 3600}
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// token is a JSON Web Token of an issuer, signed with a key.
func token(t *testing.T, issuer string, key *rsa.PrivateKey) string {
	t.Helper()
	claims, err := json.Marshal(map[string]any{"iss": issuer, "sub": "loader", "aud": "nessie", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()})
	if err != nil {
		t.Error(err)
	}
	signed := encode([]byte(`{"alg":"RS256","typ":"JWT","kid":"1"}`)) + "." + encode(claims)
	hash := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, hash[:])
	if err != nil {
		t.Error(err)
	}
	return signed + "." + encode(signature)
}

// Nessie lets in who has a token of its OpenID provider: the destination gets one as OAuth2 client. Others are told what to
// correct.
func TestNessieChecksTokens(t *testing.T) {
	t.Parallel()
	provider := newIssuer(t)
	store := serve(t, programs().VersityGW)
	nessie := serve(t, func(ctx context.Context) (*servers.Server, error) {
		return programs().Nessie(ctx, store, "-Dnessie.server.authentication.enabled=true", "-Dquarkus.oidc.auth-server-url="+provider.URL, "-Dquarkus.oidc.client-id=nessie")
	})
	lakeWith := func(auth map[string]any) *lake {
		return newLake(t, t.TempDir(), map[string]any{
			"warehouse": servers.NessieWarehouse, "storage": store.Storage(), "catalog": map[string]any{"type": "rest", "uri": nessie.Endpoint, "auth": auth},
		})
	}
	client := func(secret string) map[string]any {
		return map[string]any{"type": "oauth2", "client_id": "loader", "client_secret": secret, "token_uri": provider.URL + "/token"}
	}
	f := feed{lengths: map[string]int{"log": 1000, "accounts": 1000}, version: 1}
	l := lakeWith(client("sesame"))
	if a := f.try(l, f.configure(l), nil, stop{}); a.run.Code != 0 {
		t.Fatalf("exit code %d: %s", a.run.Code, last(a.run.Stdout, 4000))
	}
	l.wantFeed(1000, 1000)
	forger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, auth := range map[string]map[string]any{
		"a wrong secret": client("pepper"),
		"a forged token": {"type": "bearer", "token": token(t, provider.URL, forger)},
		"no token":       {"type": "none"},
	} {
		t.Run(name, func(t *testing.T) {
			l := lakeWith(auth)
			a := f.try(l, f.configure(l), nil, stop{})
			if a.run.Code == 0 || len(a.run.Errors()) == 0 {
				t.Fatalf("exit code %d: %s", a.run.Code, last(a.run.Stdout, 4000))
			}
			for _, e := range a.run.Errors() {
				if e.FailureType != protocol.ConfigError || !strings.Contains(e.Message, `"catalog.auth`) {
					t.Errorf("%s: %s", e.FailureType, e.Message)
				}
			}
		})
	}
}
