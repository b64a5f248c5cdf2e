package snowflake

import (
	"encoding/pem"
	"strings"
	"testing"

	sf "github.com/snowflakedb/gosnowflake/v2"
	"github.com/youmark/pkcs8"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

func TestAuthentications(t *testing.T) {
	t.Parallel()
	w := newReadyWorld(t, "OBJECT_STORE")
	w.account.Users["LOADER"].Token = "pat-secret"
	w.account.ClientID, w.account.ClientSecret, w.account.OAuthUser = "client", "client-secret", "LOADER"
	encrypted, err := pkcs8.MarshalPrivateKey(loaderKey(), []byte("pass-phrase"), &pkcs8.Opts{Cipher: pkcs8.TripleDESCBC, KDFOpts: pkcs8.PBKDF2Opts{SaltSize: 8, IterationCount: 2048, HMACHash: 5}})
	if err != nil {
		t.Fatal(err)
	}
	sealed := string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: encrypted}))
	for name, tc := range map[string]struct {
		auth    map[string]any
		refused string // "": it is let in
	}{
		"key pair":             {map[string]any{"type": "key_pair", "private_key": pemOf(t, loaderKey())}, ""},
		"key pair on one line": {map[string]any{"type": "key_pair", "private_key": strings.ReplaceAll(pemOf(t, loaderKey()), "\n", `\n`)}, ""},
		"encrypted key pair":   {map[string]any{"type": "key_pair", "private_key": sealed, "passphrase": "pass-phrase"}, ""},
		"access token":         {map[string]any{"type": "pat", "token": "pat-secret"}, ""},
		"wrong access token":   {map[string]any{"type": "pat", "token": "other-secret"}, "ADD PROGRAMMATIC ACCESS TOKEN"},
		"OAuth":                {map[string]any{"type": "oauth", "client_id": "client", "client_secret": "client-secret", "token_uri": w.account.URL + "/oauth/token"}, ""},
		"wrong client":         {map[string]any{"type": "oauth", "client_id": "client", "client_secret": "other-secret", "token_uri": w.account.URL + "/oauth/token"}, `"snowflake.auth.client_secret"`},
	} {
		t.Run(name, func(t *testing.T) {
			err := w.check(map[string]any{"auth": tc.auth, "role": "loaders"})
			if tc.refused == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			expectError(t, err, protocol.ConfigError, tc.refused)
			if strings.Contains(err.Error(), "other-secret") {
				t.Errorf("a secret is in %v", err)
			}
		})
	}
}

func TestKeysThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	encrypted, err := pkcs8.MarshalPrivateKey(loaderKey(), []byte("right"), nil)
	if err != nil {
		t.Fatal(err)
	}
	sealed := string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: encrypted}))
	for name, tc := range map[string]struct {
		key  keyPair
		want string
	}{
		"no PEM":           {keyPair{PrivateKey: "secret-text"}, "not a key as PEM"},
		"no passphrase":    {keyPair{PrivateKey: sealed}, `Give its "snowflake.auth.passphrase"`},
		"wrong passphrase": {keyPair{PrivateKey: sealed, Passphrase: "secret-text"}, `"snowflake.auth.passphrase" does not open`},
		"another kind":     {keyPair{PrivateKey: string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte("x")}))}, "openssl pkcs8"},
		"broken":           {keyPair{PrivateKey: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}))}, "broken"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tc.key.key()
			expectError(t, err, protocol.ConfigError, tc.want)
			if strings.Contains(err.Error(), "secret-text") {
				t.Errorf("the secret is in %v", err)
			}
		})
	}
}

// What Snowflake says of a login leads to the setting that is wrong.
func TestRefusedLoginsNameTheSetting(t *testing.T) {
	t.Parallel()
	c := Connection{Account: "myorg-account", User: "loader", Role: "loaders", Warehouse: "w"}
	if err := c.Auth.UnmarshalJSON([]byte(`{"type":"pat","token":"x"}`)); err != nil {
		t.Fatal(err)
	}
	for number, want := range map[int]string{
		roleMissing:        `GRANT ROLE "LOADERS" TO USER "LOADER";`,
		warehouseMissing:   `GRANT USAGE ON WAREHOUSE "W" TO ROLE "LOADERS";`,
		wrongAccount:       `"snowflake.account"`,
		sf.ErrFailedToAuth: `"snowflake.account"`,
		wrongPassword:      "does not let user loader of account myorg-account in",
		expiredToken:       "does not let user loader of account myorg-account in",
	} {
		expectError(t, c.explainLogin(&sf.SnowflakeError{Number: number, Message: "no"}), protocol.ConfigError, want)
	}
	expectError(t, c.explainLogin(&sf.SnowflakeError{Number: sf.ErrCodeServiceUnavailable, Message: "later"}), protocol.TransientError, "cannot be reached")
	c.Role = ""
	expectError(t, c.explainLogin(&sf.SnowflakeError{Number: warehouseMissing}), protocol.ConfigError, `TO ROLE "<role>";`)
}

// A table that Snowflake does not create for want of a virtual warehouse names the
// setting.
func TestWithoutAVirtualWarehouse(t *testing.T) {
	t.Parallel()
	err := (&registerConfig{}).explain(&sf.SnowflakeError{Number: noWarehouse, Message: "No active warehouse selected in the current session."}, tableName{"LAKE", "WHOOP", "SLEEP"}, "LOADERS")
	expectError(t, err, protocol.ConfigError, "LAKE.WHOOP.SLEEP", `"snowflake.warehouse"`, "LOADERS")
}
