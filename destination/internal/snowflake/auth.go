package snowflake

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/url"
	"strings"

	"github.com/invopop/jsonschema"
	sf "github.com/snowflakedb/gosnowflake/v2"
	"github.com/youmark/pkcs8"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/spec"
)

// auth is one of the ways of authentication.
type auth spec.Choice

// An authentication is what one way of it needs.
type authentication interface {
	validate(*Connection) []error
	apply(*sf.Config) error
	// remedy says what to do if Snowflake refuses the credentials.
	remedy(user string) string
}

var authentications = spec.Forms[authentication]{
	{Type: "key_pair", Title: "Key pair", New: func() authentication { return &keyPair{} }},
	{Type: "pat", Title: "Programmatic access token", New: func() authentication { return &accessToken{} }},
	{Type: "oauth", Title: "OAuth 2.0 client credentials", New: func() authentication { return &oauth{} }},
}

// JSONSchema is the oneOf of all ways.
func (auth) JSONSchema() *jsonschema.Schema { return authentications.Schema() }

// UnmarshalJSON keeps the type that a has if there is none in raw.
func (a *auth) UnmarshalJSON(raw []byte) error {
	return authentications.Unmarshal(raw, (*spec.Choice)(a))
}

func (a auth) chosen() (authentication, error) {
	if a.Type == "" {
		return nil, protocol.ConfigError.Errorf(nil, `The configuration has no "snowflake.auth.type". Set it to "key_pair", "pat" or "oauth".`)
	}
	return authentications.Chosen("snowflake.auth", spec.Choice(a))
}

// needsUser returns an error if the connection has no user.
func needsUser(c *Connection) error {
	if c.User == "" {
		return protocol.ConfigError.Errorf(nil, `The configuration has no "snowflake.user". Give the user to log in as.`)
	}
	return nil
}

type keyPair struct {
	PrivateKey string `json:"private_key" jsonschema:"required,title=Private key" jsonschema_extras:"airbyte_secret=true,multiline=true"`
	Passphrase string `json:"passphrase,omitempty" jsonschema:"title=Passphrase" jsonschema_extras:"airbyte_secret=true"`
}

// Descriptions describes the keys in the specification.
func (keyPair) Descriptions() map[string]string {
	return map[string]string{
		"private_key": "The RSA key as PEM, of the kind PRIVATE KEY or ENCRYPTED PRIVATE KEY (PKCS #8). Snowflake knows its public key as the user's RSA_PUBLIC_KEY.",
		"passphrase":  "The passphrase of an encrypted key.",
	}
}

func (k *keyPair) validate(c *Connection) []error {
	_, err := k.key()
	return []error{needsUser(c), err}
}

// key reads the private key. Its errors show nothing of it.
func (k *keyPair) key() (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(strings.TrimSpace(strings.ReplaceAll(k.PrivateKey, `\n`, "\n"))))
	if block == nil {
		return nil, protocol.ConfigError.Errorf(nil, `The configuration's "snowflake.auth.private_key" is not a key as PEM. Give the whole text of the file, from -----BEGIN to -----END.`)
	}
	var parsed any
	var err error
	switch {
	case block.Type == "ENCRYPTED PRIVATE KEY" && k.Passphrase == "":
		return nil, protocol.ConfigError.Errorf(nil, `The configuration's "snowflake.auth.private_key" is encrypted. Give its "snowflake.auth.passphrase".`)
	case block.Type == "ENCRYPTED PRIVATE KEY":
		parsed, _, err = pkcs8.ParsePrivateKey(block.Bytes, []byte(k.Passphrase))
		if err != nil {
			return nil, protocol.ConfigError.Errorf(nil, `The configuration's "snowflake.auth.passphrase" does not open "snowflake.auth.private_key", or the key is broken.`)
		}
	case block.Type == "PRIVATE KEY":
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		return nil, protocol.ConfigError.Errorf(nil, `The configuration's "snowflake.auth.private_key" is of the kind %q, which Snowflake does not take. Convert it: openssl pkcs8 -topk8 -in KEY.`, block.Type)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok {
		return nil, protocol.ConfigError.Errorf(nil, `The configuration's "snowflake.auth.private_key" is not an RSA key, or it is broken.`)
	}
	return key, nil
}

func (k *keyPair) apply(cfg *sf.Config) (err error) {
	cfg.Authenticator = sf.AuthTypeJwt
	cfg.PrivateKey, err = k.key()
	return err
}

func (k *keyPair) remedy(user string) string {
	key, err := k.key()
	if err != nil {
		return err.Error()
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("Correct the account, the user or the key, and see that the clock of this machine is right. An administrator makes the key known with:\nALTER USER %s SET RSA_PUBLIC_KEY = '%s';",
		userSQL(user), base64.StdEncoding.EncodeToString(public))
}

// userSQL writes a user's name.
func userSQL(user string) string {
	if plainIdentifier.MatchString(user) {
		return quote(strings.ToUpper(user))
	}
	return quote(user)
}

type accessToken struct {
	Token string `json:"token" jsonschema:"required,title=Token" jsonschema_extras:"airbyte_secret=true"`
}

// Descriptions describes the keys in the specification.
func (accessToken) Descriptions() map[string]string {
	return map[string]string{"token": "A programmatic access token of the user. It expires, and the user needs a network policy."}
}

func (a *accessToken) validate(c *Connection) []error {
	if a.Token == "" {
		return []error{needsUser(c), protocol.ConfigError.Errorf(nil, `The configuration has no "snowflake.auth.token". Give the token, or set "snowflake.auth.type" to another way.`)}
	}
	return []error{needsUser(c)}
}

func (a *accessToken) apply(cfg *sf.Config) error {
	cfg.Authenticator, cfg.Token = sf.AuthTypePat, a.Token
	return nil
}

func (*accessToken) remedy(user string) string {
	return fmt.Sprintf("The token may have expired, be restricted to another role, or the user may have no network policy. An administrator makes a new one with:\nALTER USER %s ADD PROGRAMMATIC ACCESS TOKEN whoop_iceberg;", userSQL(user))
}

type oauth struct {
	ClientID     string `json:"client_id" jsonschema:"required,title=Client ID"`
	ClientSecret string `json:"client_secret" jsonschema:"required,title=Client secret" jsonschema_extras:"airbyte_secret=true"`
	TokenURI     string `json:"token_uri" jsonschema:"required,title=Token endpoint,example=https://login.example.com/oauth2/token"`
	Scope        string `json:"scope,omitempty" jsonschema:"title=Scope,example=session:role:LOADER"`
}

// Descriptions describes the keys in the specification.
func (oauth) Descriptions() map[string]string {
	return map[string]string{
		"client_id":     "The client that the authorization server knows.",
		"client_secret": "The secret of the client.",
		"token_uri":     "The token endpoint of the authorization server, which Snowflake trusts by a security integration.",
		"scope":         "The scopes to ask for, separated by spaces. The default is session:role: with the role.",
	}
}

func (o *oauth) validate(*Connection) []error {
	u, err := url.Parse(o.TokenURI)
	switch {
	case o.ClientID == "" || o.ClientSecret == "" || o.TokenURI == "":
		return []error{protocol.ConfigError.Errorf(nil, `The configuration needs "snowflake.auth.client_id", "snowflake.auth.client_secret" and "snowflake.auth.token_uri" for "oauth".`)}
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())):
		return []error{protocol.ConfigError.Errorf(nil, `The configuration's "snowflake.auth.token_uri" is not an address. It must be as in "https://login.example.com/oauth2/token".`)}
	}
	return nil
}

func (o *oauth) apply(cfg *sf.Config) error {
	cfg.Authenticator = sf.AuthTypeOAuthClientCredentials
	cfg.OauthClientID, cfg.OauthClientSecret, cfg.OauthTokenRequestURL, cfg.OauthScope = o.ClientID, o.ClientSecret, o.TokenURI, o.Scope
	return nil
}

func (*oauth) remedy(string) string {
	return "Snowflake must trust the authorization server by a security integration of the type EXTERNAL_OAUTH, whose mapping leads from the token to a user that has the role."
}
