package catalogs

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/invopop/jsonschema"
	"golang.org/x/net/http/httpguts"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/awsconfig"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/spec"
)

// restAuth is one of the ways of authentication.
type restAuth spec.Choice

// An authentication is what one way of it needs.
type authentication interface {
	validate() error
	// session makes what authorizes requests; nil: nothing does. Tokens are asked for
	// through way.
	session(ctx context.Context, catalogURI string, way http.RoundTripper) (session, error)
}

var authentications = spec.Forms[authentication]{
	{Type: "none", Title: "None", New: func() authentication { return &noAuth{} }},
	{Type: "bearer", Title: "Bearer token", New: func() authentication { return &bearerAuth{} }},
	{Type: "oauth2", Title: "OAuth 2.0 client credentials", New: func() authentication { return &oauth2Auth{} }},
	{Type: "sigv4", Title: "AWS signature", New: func() authentication { return &sigv4Auth{} }},
}

// JSONSchema is the oneOf of all ways.
func (restAuth) JSONSchema() *jsonschema.Schema { return authentications.Schema() }

// UnmarshalJSON keeps the type that a has if there is none in raw.
func (a *restAuth) UnmarshalJSON(raw []byte) error {
	return authentications.Unmarshal(raw, (*spec.Choice)(a))
}

type noAuth struct{}

func (*noAuth) validate() error { return nil }

func (*noAuth) session(context.Context, string, http.RoundTripper) (session, error) { return nil, nil }

type bearerAuth struct {
	Token string `json:"token" jsonschema:"required,title=Token" jsonschema_extras:"airbyte_secret=true"`
}

func (bearerAuth) Descriptions() map[string]string {
	return map[string]string{"token": "It is sent as it is, and not renewed."}
}

func (a *bearerAuth) validate() error {
	if a.Token == "" {
		return protocol.ConfigError.Errorf(nil, `The configuration has no "catalog.auth.token". Give the token, or set "catalog.auth.type" to another way.`)
	}
	if !httpguts.ValidHeaderFieldValue(a.Token) {
		return protocol.ConfigError.Errorf(nil, `The configuration's "catalog.auth.token" has a line break or another character that no header can have. Give the token without it.`)
	}
	return nil
}

func (a *bearerAuth) session(context.Context, string, http.RoundTripper) (session, error) {
	return bearerSession(a.Token), nil
}

type oauth2Auth struct {
	ClientID     string `json:"client_id" jsonschema:"required,title=Client ID"`
	ClientSecret string `json:"client_secret" jsonschema:"required,title=Client secret" jsonschema_extras:"airbyte_secret=true"`
	TokenURI     string `json:"token_uri,omitempty" jsonschema:"title=Token endpoint,example=https://login.example.com/oauth2/token"`
	Scope        string `json:"scope,omitempty" jsonschema:"title=Scope,example=PRINCIPAL_ROLE:ALL"`
	Audience     string `json:"audience,omitempty" jsonschema:"title=Audience"`
	Resource     string `json:"resource,omitempty" jsonschema:"title=Resource"`
}

func (oauth2Auth) Descriptions() map[string]string {
	return map[string]string{
		"client_id":     "The client that the catalog, or its authorization server, knows.",
		"client_secret": "The secret of the client.",
		"token_uri":     "The token endpoint. The default is the catalog's own, /v1/oauth/tokens.",
		"scope":         "The scopes to ask for, separated by spaces. The default is catalog.",
		"audience":      "The audience to ask for, if the authorization server wants one.",
		"resource":      "The resource to ask for, if the authorization server wants one.",
	}
}

func (a *oauth2Auth) validate() error {
	if a.ClientID == "" || a.ClientSecret == "" {
		return protocol.ConfigError.Errorf(nil, `The configuration needs both "catalog.auth.client_id" and "catalog.auth.client_secret" for "oauth2".`)
	}
	return awsconfig.ValidateEndpoint("catalog.auth.token_uri", a.TokenURI)
}

func (a *oauth2Auth) session(_ context.Context, catalogURI string, way http.RoundTripper) (session, error) {
	config := clientcredentials.Config{
		ClientID: a.ClientID, ClientSecret: a.ClientSecret, AuthStyle: oauth2.AuthStyleInParams,
		TokenURL: cmp.Or(a.TokenURI, strings.TrimSuffix(catalogURI, "/")+"/v1/oauth/tokens"),
		Scopes:   strings.Fields(cmp.Or(a.Scope, "catalog")), EndpointParams: url.Values{},
	}
	for name, value := range map[string]string{"audience": a.Audience, "resource": a.Resource} {
		if value != "" {
			config.EndpointParams.Set(name, value)
		}
	}
	client := &http.Client{Transport: way, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // the request has the secret, and is for the token endpoint alone
	}}
	return &oauth2Session{config: config, client: client, now: time.Now}, nil
}

type sigv4Auth struct {
	awsconfig.Config
	Service string `json:"service,omitempty" jsonschema:"title=Service,enum=glue,enum=s3tables,enum=execute-api,default=glue"`
}

func (a sigv4Auth) Descriptions() map[string]string {
	d := a.Config.Descriptions()
	d["service"] = "The service that requests are signed for."
	return d
}

func (a *sigv4Auth) validate() error { return a.Validate("catalog.auth") }

func (a *sigv4Auth) session(ctx context.Context, _ string, _ http.RoundTripper) (session, error) {
	cfg, err := a.Load(ctx, "catalog.auth")
	if err != nil {
		return nil, err
	}
	if cfg.Region == "" {
		return nil, protocol.ConfigError.Errorf(nil, `The region of the catalog is not known. Set "catalog.auth.region" in the configuration, or AWS_REGION in the environment.`)
	}
	return &sigv4Session{signer: v4.NewSigner(), cfg: cfg, service: cmp.Or(a.Service, "glue")}, nil
}
