package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/tokens"
)

// credentials is one of the forms below, told apart by AuthType.
type credentials struct {
	AuthType string `json:"auth_type"`
	oauthCredentials
	fileCredentials
	secretCredentials
}

type oauthCredentials struct {
	ClientID        string `json:"client_id" jsonschema:"required,title=Client ID" jsonschema_description:"Of the app that you made at developer.whoop.com."`
	ClientSecret    string `json:"client_secret" jsonschema:"required,title=Client secret" jsonschema_description:"Of the same app."`
	AccessToken     string `json:"access_token" jsonschema:"title=Access token" jsonschema_description:"Works for an hour. Without one the refresh token is used at once."`
	RefreshToken    string `json:"refresh_token" jsonschema:"required,title=Refresh token" jsonschema_description:"Works once: each use gives a new one, which this connector hands to its orchestrator as a new configuration. WHOOP gives one only when the consent includes the scope offline."`
	TokenExpiryDate string `json:"token_expiry_date" jsonschema:"title=Expiry of the access token" jsonschema_description:"Until then the access token is used as it is."`
}

type fileCredentials struct {
	Path string `json:"path" jsonschema:"required,title=Path of the token file,example=/secrets/whoop.json" jsonschema_description:"A JSON document with client_id, client_secret, access_token, refresh_token and expires_at. It is replaced when the tokens change, so its directory must be writable; mount the directory into a container, not the file."`
}

type secretCredentials struct {
	SecretID   string `json:"secret_id" jsonschema:"required,title=Secret,example=whoop/member" jsonschema_description:"Name or ARN. Its value is a JSON document with client_id, client_secret, access_token, refresh_token and expires_at, which is replaced when the tokens change."`
	Region     string `json:"region" jsonschema:"title=Region,example=eu-central-1" jsonschema_description:"Of the secret. Without one it is that of the ARN or of the environment."`
	RoleARN    string `json:"role_arn" jsonschema:"title=Role to assume,example=arn:aws:iam::123456789012:role/whoop" jsonschema_description:"With the AWS credentials of the process: of its environment, its profile, its container or its machine. Without a role those are used themselves."`
	ExternalID string `json:"external_id" jsonschema:"title=External ID" jsonschema_description:"That the role asks for, if it does."`
	Endpoint   string `json:"endpoint" jsonschema:"title=Endpoint,example=http://127.0.0.1:5000" jsonschema_description:"Of an emulator of AWS."`
}

const (
	authOAuth  = "oauth2"
	authFile   = "token_file"
	authSecret = "aws_secrets_manager"
)

// JSONSchema makes the alternatives out of the structs that hold them.
func (credentials) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{
		Type: "object",
		OneOf: []*jsonschema.Schema{
			variant(authOAuth, oauthCredentials{}, "In this configuration", func(s *jsonschema.Schema) {
				for _, name := range []string{"client_id", "client_secret", "access_token", "refresh_token"} {
					extra(property(s, name), "airbyte_secret", true)
				}
				instant(s, "token_expiry_date")
			}),
			variant(authFile, fileCredentials{}, "In a file", func(*jsonschema.Schema) {}),
			variant(authSecret, secretCredentials{}, "In AWS Secrets Manager", func(*jsonschema.Schema) {}),
		},
	}
}

// variant is one alternative of a oneOf, told apart by auth_type.
func variant(authType string, form any, title string, extend func(*jsonschema.Schema)) *jsonschema.Schema {
	s := protocol.Reflect(form, title)
	s.Version = ""
	s.Properties.Set("auth_type", &jsonschema.Schema{Type: "string", Const: authType})
	if err := s.Properties.MoveToFront("auth_type"); err != nil {
		panic(err) // it was set just now
	}
	s.Required = append([]string{"auth_type"}, s.Required...)
	extend(s)
	order(s)
	return s
}

func (c credentials) validate() error {
	switch c.AuthType {
	case authOAuth:
		for _, v := range []struct{ key, value string }{
			{"client_id", c.ClientID}, {"client_secret", c.ClientSecret}, {"refresh_token", c.RefreshToken},
		} {
			if v.value == "" {
				return wrong("credentials."+v.key, "is missing; auth_type %q needs client_id, client_secret and refresh_token, which source authorize gets", authOAuth)
			}
		}
		return nil
	case authFile:
		if c.Path == "" {
			return wrong("credentials.path", "is missing; auth_type %q needs the path of the token file", authFile)
		}
		if _, err := os.Stat(c.Path); err != nil {
			return wrong("credentials.path", "leads to no token file (%v); source authorize --token-file makes one", err)
		}
		return nil
	case authSecret:
		switch {
		case c.SecretID == "":
			return wrong("credentials.secret_id", "is missing; auth_type %q needs the name or the ARN of the secret", authSecret)
		case c.ExternalID != "" && c.RoleARN == "":
			return wrong("credentials.external_id", "belongs to a role, and role_arn is missing")
		case c.Endpoint != "" && !isOrigin(c.Endpoint):
			return wrong("credentials.endpoint", "must be a scheme and a host, such as http://127.0.0.1:5000; leave it away for AWS itself")
		case c.Endpoint != "" && !confidential(c.Endpoint):
			return wrong("credentials.endpoint", "begins with http://, which would show the tokens to whoever is on the way; only an address of this machine may, such as http://127.0.0.1:5000")
		}
		return nil
	case "":
		return wrong("credentials.auth_type", "is missing; it says where the tokens are kept: %q (in the configuration), %q or %q", authOAuth, authFile, authSecret)
	default:
		return wrong("credentials.auth_type", "is %q; it must be %q, %q or %q", c.AuthType, authOAuth, authFile, authSecret)
	}
}

// store returns where the tokens are kept. Rotated hands a new configuration
// to whoever keeps it, if that is where they are.
func (s settings) store(rotated func(json.RawMessage) error) tokens.Store {
	c := s.Credentials
	if store := c.store(); store != nil {
		return store
	}
	expires, _ := parseInstant("", c.TokenExpiryDate) // it was validated
	return tokens.NewConfigStore(tokens.Credentials{
		ClientID: c.ClientID, ClientSecret: c.ClientSecret,
		AccessToken: c.AccessToken, RefreshToken: c.RefreshToken, ExpiresAt: expires,
	}, func(t tokens.Credentials) error {
		raw, err := withTokens(s.raw, t)
		if err != nil {
			return err
		}
		return rotated(raw)
	})
}

// store returns the store outside the configuration; nil if there is none.
func (c credentials) store() tokens.Store {
	switch c.AuthType {
	case authFile:
		return tokens.NewFileStore(c.Path)
	case authSecret:
		return tokens.NewSecretStore(tokens.SecretConfig{
			ID: c.SecretID, Region: c.Region, RoleARN: c.RoleARN, ExternalID: c.ExternalID, Endpoint: c.Endpoint,
		})
	}
	return nil
}

// withTokens returns a configuration with other tokens in it, and everything
// else as it was. Keys are found in any spelling that was read.
func withTokens(raw json.RawMessage, t tokens.Credentials) (json.RawMessage, error) {
	values := map[string]any{"access_token": t.AccessToken, "refresh_token": t.RefreshToken, "token_expiry_date": nil}
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
	for key, value := range values {
		if err := setMember(credentials, key, value); err != nil {
			return nil, fmt.Errorf("putting new tokens into the configuration: %w", err)
		}
	}
	if err := setMember(config, "credentials", credentials); err != nil {
		return nil, fmt.Errorf("putting new tokens into the configuration: %w", err)
	}
	return json.Marshal(config)
}

// setMember sets a member of a JSON object in the place of all that
// encoding/json would take for it.
func setMember(object map[string]json.RawMessage, name string, value any) error {
	encoded, err := json.Marshal(value)
	if err != nil {
		return err
	}
	maps.DeleteFunc(object, func(key string, _ json.RawMessage) bool { return strings.EqualFold(key, name) })
	object[name] = encoded
	return nil
}
