package main

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/youmark/pkcs8"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snowflake/snowflaketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage/s3test"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Whatever Snowflake says, no output has a key, a passphrase or a token in it, neither
// one of the configuration nor one that was made of it.
func TestSecretsOfSnowflakeAreNotPrinted(t *testing.T) {
	if argsInBubble != nil {
		mainInBubble(t)
	}
	const passphrase, pat, clientSecret = "passphrase-of-the-key", "pat-of-the-loader", "secret-of-the-client"
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := pkcs8.MarshalPrivateKey(key, []byte(passphrase), nil)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: sealed}))
	// The beginning of a token that is signed, and the names that the stand-in gives to those of sessions and of OAuth.
	secrets := []string{passphrase, pat, clientSecret, "eyJ", "session-", "oauth-token-"}
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if !strings.HasPrefix(line, "-----") {
			secrets = append(secrets, line)
		}
	}
	const tooBusy = "too busy"
	situations := map[string]struct {
		spoil func(*snowflaketest.Account)
		says  string
	}{
		"works": {func(*snowflaketest.Account) {}, "Snowflake shows what was committed"},
		"the credentials are refused": {func(a *snowflaketest.Account) {
			a.Users["LOADER"].PublicKey, a.Users["LOADER"].Token, a.ClientSecret = nil, "", "another"
		}, "Snowflake does not show all that is committed"},
		"the statements are refused": {func(a *snowflaketest.Account) {
			a.Read = func(string) ([]snowflaketest.Column, error) { return nil, errors.New("access denied") }
		}, "access denied"},
		tooBusy: {func(a *snowflaketest.Account) {
			a.Fault = func(string) snowflaketest.Fault { return snowflaketest.Unavailable }
		}, "Snowflake does not show all that is committed"},
	}
	for way, auth := range map[string]map[string]string{
		"key_pair": {"private_key": text, "passphrase": passphrase},
		"pat":      {"token": pat},
		"oauth":    {"client_id": "client", "client_secret": clientSecret},
	} {
		for name, situation := range situations {
			t.Run(way+", "+name, func(t *testing.T) {
				t.Parallel()
				endpoint, variable := s3test.Start(nil), asDestination+"=1"
				if name == tooBusy { // the driver tries again for seconds
					endpoint, variable = s3test.Start((&refusal{operations: "none"}).front), asDestinationInBubble+"="+strings.Split(t.Name(), "/")[0]
				}
				account := s3Account(t, endpoint)
				account.Users["LOADER"] = &snowflaketest.User{PublicKey: &key.PublicKey, Token: pat, Roles: []string{"LOADERS"}}
				account.ClientID, account.ClientSecret, account.OAuthUser = "client", clientSecret, "LOADER"
				given := map[string]string{"type": way}
				for key, value := range auth {
					given[key] = value
				}
				if way == "oauth" {
					given["token_uri"] = account.URL + "/oauth/token"
				}
				raw, err := json.Marshal(given)
				if err != nil {
					t.Fatal(err)
				}
				situation.spoil(account)
				l := shownS3Lake(t, account, endpoint, string(raw))
				written, err := l.processAs(variable, records(`{"id":1,"v":"a"}`)+stateOf(1)+fedComplete, func(*os.Process) {}, "write", "--catalog", l.stream(protocol.Append, 0, 0, ""))
				if err != nil || !strings.Contains(written, situation.says) {
					t.Errorf("%v: %s", err, written)
				}
				checked, err := l.processAs(variable, "", func(*os.Process) {}, "check")
				if err != nil || strings.Contains(checked, `"SUCCEEDED"`) != (name == "works") {
					t.Errorf("%v: %s", err, checked)
				}
				for _, secret := range secrets {
					if strings.Contains(written+checked, secret) {
						t.Errorf("%s was printed: %s%s", secret, written, checked)
					}
				}
			})
		}
	}
}
