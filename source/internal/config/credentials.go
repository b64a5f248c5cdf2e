package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/ingest-connectors/whoop-iceberg/protocol/spec"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/tokens"
)

// Credentials is one of the forms below. AuthType says which.
type Credentials struct {
	AuthType string `json:"auth_type"`
	OAuthCredentials
	FileCredentials
	SecretCredentials
}

// OAuthCredentials are tokens in the configuration itself.
type OAuthCredentials struct {
	ClientID        string `json:"client_id" jsonschema:"required,title=Client ID"`
	ClientSecret    string `json:"client_secret" jsonschema:"required,title=Client secret"`
	AccessToken     string `json:"access_token" jsonschema:"title=Access token"`
	RefreshToken    string `json:"refresh_token" jsonschema:"required,title=Refresh token"`
	TokenExpiryDate string `json:"token_expiry_date" jsonschema:"title=Expiry of the access token"`
}

// Descriptions describes the properties in forms.
func (OAuthCredentials) Descriptions() map[string]string {
	return map[string]string{
		"client_id":         "The client ID of your app at developer.whoop.com.",
		"client_secret":     "The client secret of the same app.",
		"access_token":      "It is valid for an hour. Without one, the source uses the refresh token at once.",
		"refresh_token":     "It works once. Each use returns a new one, and the source hands it to its orchestrator in a new configuration. WHOOP issues one only if the consent includes the scope offline.",
		"token_expiry_date": "The source uses the access token until then.",
	}
}

// FileCredentials are tokens in a file.
type FileCredentials struct {
	Path string `json:"path" jsonschema:"required,title=Path of the token file,example=/secrets/whoop.json"`
}

// Descriptions describes the properties in forms.
func (FileCredentials) Descriptions() map[string]string {
	return map[string]string{
		"path": "The file is a JSON document with client_id, client_secret, access_token, refresh_token and expires_at. The source replaces it when the tokens change, so its directory must be writable. In a container, mount the directory and not the file.",
	}
}

// SecretCredentials are tokens in AWS Secrets Manager.
type SecretCredentials struct {
	SecretID   string `json:"secret_id" jsonschema:"required,title=Secret,example=whoop/member"`
	Region     string `json:"region" jsonschema:"title=Region,example=eu-central-1"`
	RoleARN    string `json:"role_arn" jsonschema:"title=Role to assume,example=arn:aws:iam::123456789012:role/whoop"`
	ExternalID string `json:"external_id" jsonschema:"title=External ID"`
	Endpoint   string `json:"endpoint" jsonschema:"title=Endpoint,example=http://127.0.0.1:5000"`
}

// Descriptions describes the properties in forms.
func (SecretCredentials) Descriptions() map[string]string {
	return map[string]string{
		"secret_id":   "Name or ARN of the secret. Its value is a JSON document with client_id, client_secret, access_token, refresh_token and expires_at. The source replaces it when the tokens change.",
		"region":      "Region of the secret. The default is that of the ARN or of the environment.",
		"role_arn":    "The source assumes this role with the AWS credentials of the process, which come from its environment, profile, container or machine. Without a role, it uses those credentials themselves.",
		"external_id": "The external ID that the role requires, if it requires one.",
		"endpoint":    "Address of an AWS emulator.",
	}
}

// The values of auth_type.
const (
	OAuth  = "oauth2"
	File   = "token_file"
	Secret = "aws_secrets_manager"
)

// JSONSchema lists the forms as alternatives.
func (Credentials) JSONSchema() *jsonschema.Schema {
	oauth := spec.Alternative("auth_type", OAuth, "In this configuration", OAuthCredentials{})
	for _, name := range []string{"client_id", "client_secret", "access_token", "refresh_token"} {
		property(oauth, name).Extras = map[string]any{"airbyte_secret": true}
	}
	instant(oauth, "token_expiry_date")
	return &jsonschema.Schema{
		Type: "object",
		OneOf: []*jsonschema.Schema{
			oauth,
			spec.Alternative("auth_type", File, "In a file", FileCredentials{}),
			spec.Alternative("auth_type", Secret, "In AWS Secrets Manager", SecretCredentials{}),
		},
	}
}

// Validate returns a ConfigError that names the key and the remedy.
func (c Credentials) Validate() error {
	switch c.AuthType {
	case OAuth:
		for _, v := range []struct{ key, value string }{
			{"client_id", c.ClientID}, {"client_secret", c.ClientSecret}, {"refresh_token", c.RefreshToken},
		} {
			if v.value == "" {
				return invalid("credentials."+v.key, "is missing. The auth_type %q needs client_id, client_secret and refresh_token; source authorize gets them", OAuth)
			}
		}
		if key := c.tokens().Unsendable(); key != "" {
			return invalid("credentials."+key, "has a line break or another control character. Give it without that")
		}
		return nil
	case File:
		if c.Path == "" {
			return invalid("credentials.path", "is missing. The auth_type %q needs the path of the token file", File)
		}
		if _, err := os.Stat(c.Path); err != nil {
			return invalid("credentials.path", "leads to no token file (%v). Make one with source authorize --token-file", err)
		}
		return nil
	case Secret:
		switch {
		case c.SecretID == "":
			return invalid("credentials.secret_id", "is missing. The auth_type %q needs the name or the ARN of the secret", Secret)
		case c.ExternalID != "" && c.RoleARN == "":
			return invalid("credentials.external_id", "belongs to a role, and role_arn is missing")
		case c.Endpoint != "" && !IsOrigin(c.Endpoint):
			return invalid("credentials.endpoint", "must be a scheme and a host, such as http://127.0.0.1:5000. Leave it empty for AWS itself")
		case c.Endpoint != "" && !IsConfidential(c.Endpoint):
			return invalid("credentials.endpoint", "begins with http://, which would show the tokens to others on the network. Only an address of this machine may, such as http://127.0.0.1:5000")
		}
		return nil
	case "":
		return invalid("credentials.auth_type", "is missing. It says where the tokens are kept: %q (in the configuration), %q or %q", OAuth, File, Secret)
	default:
		return invalid("credentials.auth_type", "is %q. It must be %q, %q or %q", c.AuthType, OAuth, File, Secret)
	}
}

// Store returns where the tokens are kept. If that is the configuration, ready is called
// before they change and rotated with the new configuration, as [tokens.NewConfigStore] says.
func (s Settings) Store(ready func() error, rotated func(json.RawMessage) error) tokens.Store {
	c := s.Credentials
	if store := c.Store(); store != nil {
		return store
	}
	return tokens.NewConfigStore(c.tokens(), ready, func(t tokens.Credentials) error {
		raw, err := withTokens(s.raw, t)
		if err != nil {
			return err
		}
		return rotated(raw)
	})
}

// tokens are those in the configuration.
func (c OAuthCredentials) tokens() tokens.Credentials {
	expires, _ := parseInstant("", c.TokenExpiryDate) // Parse tells of another form
	return tokens.Credentials{
		ClientID: c.ClientID, ClientSecret: c.ClientSecret,
		AccessToken: c.AccessToken, RefreshToken: c.RefreshToken, ExpiresAt: expires,
	}
}

// Store returns the store outside the configuration; nil if there is none.
func (c Credentials) Store() tokens.Store {
	switch c.AuthType {
	case File:
		return tokens.NewFileStore(c.Path)
	case Secret:
		return tokens.NewSecretStore(tokens.SecretConfig{
			ID: c.SecretID, Region: c.Region, RoleARN: c.RoleARN, ExternalID: c.ExternalID, Endpoint: c.Endpoint,
		})
	}
	return nil
}

// withTokens returns a configuration with other tokens and everything else as it
// was. It finds keys in any spelling that Parse accepts. What is not known is left out,
// because the schema has no null.
func withTokens(raw json.RawMessage, t tokens.Credentials) (json.RawMessage, error) {
	values := map[string]any{"access_token": t.AccessToken, "refresh_token": t.RefreshToken}
	if !t.ExpiresAt.IsZero() {
		values["token_expiry_date"] = t.ExpiresAt
	}
	var config map[string]json.RawMessage
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, fmt.Errorf("putting new tokens into the configuration: %w", err)
	}
	credentials := map[string]json.RawMessage{}
	for key, value := range config {
		if !strings.EqualFold(key, "credentials") {
			continue
		}
		var given map[string]json.RawMessage
		if err := json.Unmarshal(value, &given); err != nil {
			return nil, fmt.Errorf("putting new tokens into the configuration: %w", err)
		}
		maps.Copy(credentials, given)
	}
	maps.DeleteFunc(credentials, func(key string, _ json.RawMessage) bool { return strings.EqualFold(key, "token_expiry_date") })
	for key, value := range values {
		if err := SetMember(credentials, key, value); err != nil {
			return nil, fmt.Errorf("putting new tokens into the configuration: %w", err)
		}
	}
	if err := SetMember(config, "credentials", credentials); err != nil {
		return nil, fmt.Errorf("putting new tokens into the configuration: %w", err)
	}
	return json.Marshal(config)
}

// SetMember sets a member of a JSON object. It replaces every member that
// encoding/json would take for it, in whatever spelling.
func SetMember(object map[string]json.RawMessage, name string, value any) error {
	encoded, err := json.Marshal(value)
	if err != nil {
		return err
	}
	maps.DeleteFunc(object, func(key string, _ json.RawMessage) bool { return strings.EqualFold(key, name) })
	object[name] = encoded
	return nil
}
