package catalogs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"strings"

	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/catalog/rest"
	"github.com/apache/iceberg-go/table"
	"golang.org/x/net/http/httpguts"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/spec"
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

func (c *restConfig) auth() (authentication, error) {
	choice := spec.Choice(c.Auth)
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
		return protocol.ConfigError.Errorf(nil, `The configuration's "catalog.uri" is not the address of a REST catalog. It must be as in "https://catalog.example.com/iceberg".`)
	}
	for i, header := range c.Headers {
		if !httpguts.ValidHeaderFieldName(header.Name) || !httpguts.ValidHeaderFieldValue(header.Value) {
			return protocol.ConfigError.Errorf(nil, `The configuration's "catalog.headers[%d]" cannot be a header. Correct its name or its value.`, i)
		}
		if strings.EqualFold(header.Name, "Authorization") {
			return protocol.ConfigError.Errorf(nil, `The configuration's "catalog.headers[%d]" is an Authorization. Use "catalog.auth".`, i)
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
	server, err := c.server(ctx, a)
	if err != nil {
		return nil, err
	}
	server.vends = files.Vended()
	properties := maps.Clone(files.Properties())
	delete(properties, "warehouse") // it is another thing here
	options := []rest.Option{
		rest.WithCustomTransport(server), rest.WithHeaders(c.headers()), rest.WithWarehouseLocation(c.Warehouse), rest.WithPrefix(c.Prefix), rest.WithAdditionalProps(properties),
	}
	cat := &Catalog{
		classify: c.classify, storage: files,
		name: "The catalog at " + c.URI, remedy: `Check "catalog.uri" and the network, then start again.`,
	}
	backend, err := ask(ctx, cat, readTimeout, func(ctx context.Context) (*rest.Catalog, error) {
		return rest.NewCatalog(ctx, catalogName, c.URI, options...)
	})
	if err != nil {
		server.CloseIdleConnections()
		return nil, err
	}
	cat.Backend, cat.Closer, cat.mainOnly = restCatalog{backend}, restCloser{backend, server}, server.isNessie
	return cat, nil
}

func (c *restConfig) headers() map[string]string {
	headers := map[string]string{}
	for _, header := range c.Headers {
		headers[header.Name] = header.Value
	}
	return headers
}

// restCatalog is the library's catalog, but that it says which answers mean that
// nothing was committed, and that no namespace is in another one where the server
// refuses to be asked.
type restCatalog struct{ *rest.Catalog }

// CommitTable does as [Catalog.CommitTable] says.
func (c restCatalog) CommitTable(ctx context.Context, id table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	meta, location, err := c.Catalog.CommitTable(ctx, id, reqs, updates)
	if isRefusal(err) && !errors.Is(err, table.ErrCommitFailed) {
		err = fmt.Errorf("%w: %w", storage.ErrNotCommitted, err)
	}
	return meta, location, err
}

// ListNamespaces does as [Catalog.ListNamespaces] says.
func (c restCatalog) ListNamespaces(ctx context.Context, parent table.Identifier) ([]table.Identifier, error) {
	namespaces, err := c.Catalog.ListNamespaces(ctx, parent)
	if len(parent) > 0 && errors.Is(err, rest.ErrBadRequest) {
		return nil, nil
	}
	return namespaces, err
}

// isRefusal reports whether the catalog has answered that it does not do what it was
// asked. After other errors it may have done it.
func isRefusal(err error) bool {
	for _, answer := range []error{
		rest.ErrBadRequest, rest.ErrUnauthorized, rest.ErrForbidden, rest.ErrAuthorizationExpired, errNotSent,
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
		network   *url.Error
		dial      net.Error
		userError *protocol.Error
	)
	switch {
	case err == nil, errors.As(err, &userError):
		return err
	case errors.Is(err, table.ErrCommitFailed), errors.Is(err, catalog.ErrNoSuchTable), errors.Is(err, catalog.ErrNoSuchNamespace),
		errors.Is(err, catalog.ErrTableAlreadyExists), errors.Is(err, catalog.ErrNamespaceAlreadyExists), errors.Is(err, catalog.ErrNamespaceNotEmpty):
		return err
	case errors.Is(err, rest.ErrUnauthorized), errors.Is(err, rest.ErrAuthorizationExpired):
		return protocol.ConfigError.Errorf(err, "The catalog at %s does not accept the credentials. Correct \"catalog.auth\".", c.URI)
	case errors.Is(err, rest.ErrForbidden):
		return protocol.ConfigError.Errorf(err, "The catalog at %s does not allow this: %v. Grant the rights to create, read, change and drop tables in the namespace to the principal of \"catalog.auth\".", c.URI, err)
	case errors.Is(err, rest.ErrBadRequest):
		return protocol.ConfigError.Errorf(err, "The catalog at %s refuses a request: %v. Correct what it names; \"catalog.uri\" ends before /v1, and \"catalog.warehouse\" must be a warehouse that the catalog knows.", c.URI, err)
	case errors.Is(err, rest.ErrServiceUnavailable), errors.Is(err, rest.ErrServerError), errors.Is(err, rest.ErrCommitStateUnknown):
		return protocol.TransientError.Errorf(err, "The catalog at %s fails: %v. Start again when it works. If it names something that it does not know, correct the configuration.", c.URI, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &network), errors.As(err, &dial):
		return protocol.TransientError.Errorf(err, "The catalog at %s cannot be reached: %v. Check \"catalog.uri\" and the network, then start again.", c.URI, err)
	case errors.Is(err, rest.ErrEndpointNotSupported):
		return protocol.ConfigError.Errorf(err, "The catalog at %s does not offer what is needed: %v. Use a catalog that does.", c.URI, err)
	case errors.Is(err, rest.ErrRESTError):
		return protocol.ConfigError.Errorf(err, "The catalog at %s gives an answer that is not understood: %v. Check that \"catalog.uri\" is that of an Iceberg REST catalog; it ends before /v1.", c.URI, err)
	}
	return fmt.Errorf("using the catalog at %s: %w", c.URI, err)
}
