package catalogs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/catalog/rest"
	"github.com/apache/iceberg-go/table"
	"github.com/invopop/jsonschema"
	"golang.org/x/net/http/httpguts"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/awsconfig"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// restConfig is for a catalog that speaks the Iceberg REST protocol.
type restConfig struct {
	URI       string       `json:"uri" jsonschema:"required,title=URI,example=https://catalog.example.com/iceberg"`
	Warehouse string       `json:"warehouse,omitempty" jsonschema:"title=Warehouse"`
	Prefix    string       `json:"prefix,omitempty" jsonschema:"title=Prefix"`
	Headers   []restHeader `json:"headers,omitempty" jsonschema:"title=Headers"`
	Auth      restAuth     `json:"auth,omitempty" jsonschema:"title=Authentication"`
}

// Descriptions describes the keys in the specification.
func (restConfig) Descriptions() map[string]string {
	return map[string]string{
		"uri":       "The address of the catalog, without the /v1 that its requests begin with.",
		"warehouse": "What the catalog calls the warehouse, if it has several. It is not the location of the files.",
		"prefix":    "The prefix of the catalog's paths. The default is the one that the catalog tells.",
		"headers":   "Headers to send with each request.",
		"auth":      "How this program proves to the catalog who it is.",
	}
}

// restHeader is a header of each request. Its value may be a secret.
type restHeader struct {
	Name  string `json:"name" jsonschema:"required,title=Name,example=X-Tenant"`
	Value string `json:"value" jsonschema:"required,title=Value" jsonschema_extras:"airbyte_secret=true"`
}

// Descriptions describes the keys in the specification.
func (restHeader) Descriptions() map[string]string {
	return map[string]string{"name": "The name of the header.", "value": "It is treated as a secret."}
}

// restAuth is one of the ways of authentication.
type restAuth protocol.Choice

// An authentication is what one way of it needs.
type authentication interface {
	validate() error
	options(ctx context.Context) ([]rest.Option, error)
}

var authentications = protocol.Forms[authentication]{
	{Type: "none", Title: "None", New: func() authentication { return &noAuth{} }},
	{Type: "bearer", Title: "Bearer token", New: func() authentication { return &bearerAuth{} }},
	{Type: "oauth2", Title: "OAuth 2.0 client credentials", New: func() authentication { return &oauth2Auth{} }},
	{Type: "sigv4", Title: "AWS signature", New: func() authentication { return &sigv4Auth{} }},
}

// JSONSchema is the oneOf of all ways.
func (restAuth) JSONSchema() *jsonschema.Schema { return authentications.Schema() }

// UnmarshalJSON keeps the type that a has if there is none in raw.
func (a *restAuth) UnmarshalJSON(raw []byte) error {
	return authentications.Unmarshal(raw, (*protocol.Choice)(a))
}

type noAuth struct{}

func (*noAuth) validate() error                                { return nil }
func (*noAuth) options(context.Context) ([]rest.Option, error) { return nil, nil }

type bearerAuth struct {
	Token string `json:"token" jsonschema:"required,title=Token" jsonschema_extras:"airbyte_secret=true"`
}

func (bearerAuth) Descriptions() map[string]string {
	return map[string]string{"token": "It is sent as it is, and not renewed."}
}

func (a *bearerAuth) validate() error {
	if a.Token == "" {
		return configError(nil, `The configuration has no "catalog.auth.token". Give the token, or set "catalog.auth.type" to another way.`)
	}
	return nil
}

func (a *bearerAuth) options(context.Context) ([]rest.Option, error) {
	return []rest.Option{rest.WithOAuthToken(a.Token)}, nil
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
		return configError(nil, `The configuration needs both "catalog.auth.client_id" and "catalog.auth.client_secret" for "oauth2".`)
	}
	return awsconfig.ValidateEndpoint("catalog.auth.token_uri", a.TokenURI)
}

func (a *oauth2Auth) options(context.Context) ([]rest.Option, error) {
	options := []rest.Option{
		rest.WithCredential(a.ClientID + ":" + a.ClientSecret),
		rest.WithScope(a.Scope), rest.WithAudience(a.Audience), rest.WithResource(a.Resource),
	}
	if a.TokenURI != "" {
		u, err := url.Parse(a.TokenURI)
		if err != nil {
			return nil, err
		}
		options = append(options, rest.WithAuthURI(u))
	}
	return options, nil
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

func (a *sigv4Auth) options(ctx context.Context) ([]rest.Option, error) {
	cfg, err := a.Load(ctx)
	if err != nil {
		return nil, err
	}
	if cfg.Region == "" {
		return nil, configError(nil, `The region of the catalog is not known. Set "catalog.auth.region" in the configuration, or AWS_REGION in the environment.`)
	}
	service := a.Service
	if service == "" {
		service = "glue"
	}
	return []rest.Option{rest.WithAwsConfig(cfg), rest.WithSigV4RegionSvc(cfg.Region, service)}, nil
}

func (c *restConfig) auth() (authentication, error) {
	choice := protocol.Choice(c.Auth)
	if choice.Type == "" {
		choice.Type = "none"
	}
	a, err := authentications.Chosen("catalog.auth", choice)
	if err != nil {
		return nil, err
	}
	return a, a.validate()
}

func (c *restConfig) validate() error {
	if u, err := url.Parse(c.URI); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return configError(nil, `The configuration's "catalog.uri" is not the address of a REST catalog. It must be as in "https://catalog.example.com/iceberg".`)
	}
	for i, header := range c.Headers {
		if !httpguts.ValidHeaderFieldName(header.Name) || !httpguts.ValidHeaderFieldValue(header.Value) {
			return configError(nil, `The configuration's "catalog.headers[%d]" cannot be a header. Correct its name or its value.`, i)
		}
		if strings.EqualFold(header.Name, "Authorization") {
			return configError(nil, `The configuration's "catalog.headers[%d]" is an Authorization. Use "catalog.auth".`, i)
		}
	}
	_, err := c.auth()
	return err
}

func (*restConfig) inWarehouse(string) bool { return false }

func (c *restConfig) open(ctx context.Context, files *storage.Storage, _ bool) (*Catalog, error) {
	a, err := c.auth()
	if err != nil {
		return nil, err
	}
	options, err := a.options(ctx)
	if err != nil {
		return nil, err
	}
	properties := maps.Clone(files.Properties())
	delete(properties, "warehouse") // it is another thing here
	server := &restServer{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	options = append(options, rest.WithCustomTransport(server), rest.WithHeaders(c.headers()), rest.WithWarehouseLocation(c.Warehouse), rest.WithPrefix(c.Prefix), rest.WithAdditionalProps(properties))
	limited, cancel := context.WithTimeoutCause(ctx, answerTimeout, errNoAnswer)
	defer cancel()
	backend, err := rest.NewCatalog(limited, catalogName, c.URI, options...)
	if err != nil {
		return nil, c.classify(err)
	}
	return &Catalog{
		Backend: restCatalog{backend}, Closer: restCloser{backend, server},
		classify: c.classify, mainOnly: server.isNessie, storage: files,
	}, nil
}

// restServer is the way to a catalog. It reads what the catalog says of itself when it is
// opened, which the library does not show.
type restServer struct {
	*http.Transport
	isNessie bool
}

// RoundTrip sends a request.
func (s *restServer) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := s.Transport.RoundTrip(request)
	if err != nil || response.StatusCode != http.StatusOK || !strings.HasSuffix(request.URL.Path, "/v1/config") {
		return response, err
	}
	text, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(text))
	var of struct{ Overrides map[string]string }
	if json.Unmarshal(text, &of) != nil {
		return response, nil // the library says what is wrong with it
	}
	// Nessie has branches of the whole catalog, and refuses those of a table.
	// Source: catalog/format/iceberg/src/main/java/org/projectnessie/catalog/formats/iceberg/rest/IcebergMetadataUpdate.java of github.com/projectnessie/nessie.
	s.isNessie = of.Overrides["nessie.is-nessie-catalog"] == "true"
	return response, nil
}

// restCloser closes a catalog and the connections to it.
type restCloser struct {
	*rest.Catalog
	server *restServer
}

// Close closes both.
func (c restCloser) Close() error {
	err := c.Catalog.Close()
	c.server.CloseIdleConnections()
	return err
}

func (c *restConfig) headers() map[string]string {
	headers := map[string]string{}
	for _, header := range c.Headers {
		headers[header.Name] = header.Value
	}
	return headers
}

// restCatalog is the library's catalog, but that it says which answers mean that
// nothing was committed.
type restCatalog struct{ *rest.Catalog }

// CommitTable does as [Catalog.CommitTable] says.
func (c restCatalog) CommitTable(ctx context.Context, id table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	meta, location, err := c.Catalog.CommitTable(ctx, id, reqs, updates)
	if refused(err) && !errors.Is(err, table.ErrCommitFailed) {
		err = fmt.Errorf("%w: %w", storage.ErrNotCommitted, err)
	}
	return meta, location, err
}

// refused reports whether the catalog has answered that it does not do what it was
// asked. After other errors it may have done it.
func refused(err error) bool {
	for _, answer := range []error{
		rest.ErrBadRequest, rest.ErrUnauthorized, rest.ErrForbidden, rest.ErrAuthorizationExpired, rest.ErrOAuthError,
		catalog.ErrNoSuchTable, table.ErrCommitFailed,
	} {
		if errors.Is(err, answer) {
			return true
		}
	}
	return false
}

// classify finds the remedy for an error of the catalog.
func (c *restConfig) classify(err error) error {
	var (
		network *url.Error
		dial    net.Error
		syntax  *json.SyntaxError
		told    *protocol.Error
	)
	switch {
	case err == nil, errors.As(err, &told):
		return err
	case errors.Is(err, table.ErrCommitFailed), errors.Is(err, catalog.ErrNoSuchTable), errors.Is(err, catalog.ErrNoSuchNamespace),
		errors.Is(err, catalog.ErrTableAlreadyExists), errors.Is(err, catalog.ErrNamespaceAlreadyExists), errors.Is(err, catalog.ErrNamespaceNotEmpty):
		return err
	case errors.Is(err, rest.ErrOAuthError):
		return configError(err, "The catalog at %s gives no token to this client: %v. Correct \"catalog.auth\".", c.URI, err)
	case errors.Is(err, rest.ErrUnauthorized), errors.Is(err, rest.ErrAuthorizationExpired):
		return configError(err, "The catalog at %s does not accept the credentials. Correct \"catalog.auth\".", c.URI)
	case errors.Is(err, rest.ErrForbidden):
		return configError(err, "The catalog at %s does not allow this: %v. Grant the rights to create, read, change and drop tables in the namespace to the principal of \"catalog.auth\".", c.URI, err)
	case errors.Is(err, rest.ErrBadRequest):
		return configError(err, "The catalog at %s refuses a request: %v. Correct what it names; \"catalog.warehouse\" must be a warehouse that the catalog knows.", c.URI, err)
	case errors.Is(err, rest.ErrServiceUnavailable), errors.Is(err, rest.ErrServerError), errors.Is(err, rest.ErrCommitStateUnknown):
		return transientError(err, "The catalog at %s fails: %v. Start again when it works.", c.URI, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &network), errors.As(err, &dial):
		return transientError(err, "The catalog at %s cannot be reached: %v. Check \"catalog.uri\" and the network, then start again.", c.URI, err)
	case errors.As(err, &syntax):
		return configError(err, "What answers at %s is not an Iceberg REST catalog: %v. Correct \"catalog.uri\"; it ends before /v1.", c.URI, err)
	}
	return fmt.Errorf("using the catalog at %s: %w", c.URI, err)
}
