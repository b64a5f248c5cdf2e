package catalogs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	icebergglue "github.com/apache/iceberg-go/catalog/glue"
	"github.com/apache/iceberg-go/table"
	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/glue"
	"github.com/aws/aws-sdk-go-v2/service/glue/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/awsconfig"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// glueConfig is for the AWS Glue Data Catalog.
type glueConfig struct {
	awsconfig.Config
	Endpoint  string `json:"endpoint,omitempty" jsonschema:"title=Endpoint,example=http://127.0.0.1:5000"`
	CatalogID string `json:"catalog_id,omitempty" jsonschema:"title=Catalog ID,example=123456789012"`
}

// Descriptions describes the keys in the specification.
func (c glueConfig) Descriptions() map[string]string {
	d := c.Config.Descriptions()
	d["access_key_id"] = "A static key. Without one, the credentials of the storage are used if it is S3, or else those of the process."
	d["endpoint"] = "The address of a service that stands in for Glue."
	d["catalog_id"] = "The AWS account of the catalog. The default is that of the credentials."
	return d
}

func (c *glueConfig) validate() error {
	if err := awsconfig.ValidateEndpoint("catalog.endpoint", c.Endpoint); err != nil {
		return err
	}
	return c.Config.Validate("catalog")
}

func (*glueConfig) inWarehouse(string) bool { return false }

func (c *glueConfig) open(ctx context.Context, files *storage.Storage, create bool) (*Catalog, error) {
	if files.Directory() != "" {
		return nil, protocol.ConfigError.Errorf(nil, `The warehouse %s is on this machine, where nobody who asks Glue would find the tables. Use a warehouse on S3, or another type of catalog.`, files.Warehouse())
	}
	if create {
		if err := files.Make(); err != nil {
			return nil, err
		}
	}
	cfg, err := c.awsConfig(ctx, files)
	if err != nil {
		return nil, err
	}
	if c.Endpoint != "" {
		cfg.BaseEndpoint = aws.String(c.Endpoint)
	}
	cfg.APIOptions = append(slices.Clone(cfg.APIOptions), conformToGlue)
	properties := icebergglue.AwsProperties(files.Properties())
	var id *string
	if c.CatalogID != "" {
		id = &c.CatalogID
		properties[icebergglue.CatalogIdKey] = c.CatalogID
	}
	backend, err := icebergglue.NewCatalog(icebergglue.WithAwsConfig(cfg), icebergglue.WithAwsProperties(properties))
	if err != nil {
		return nil, fmt.Errorf("opening the Glue catalog: %w", err)
	}
	cat := glueCatalog{backend, glue.NewFromConfig(cfg), id}
	return &Catalog{
		Backend: cat, Closer: cat, classify: classifyGlue, clientRemovesMetadata: true, storage: files,
		name: "Glue", remedy: glueRemedy,
	}, nil
}

// awsConfig is that of the catalog, or what it leaves out that of the storage.
func (c *glueConfig) awsConfig(ctx context.Context, files *storage.Storage) (aws.Config, error) {
	own := c.Config
	own.Region = ""
	if shared := files.AWS(); shared != nil && own == (awsconfig.Config{}) {
		cfg := shared.Copy()
		if c.Region != "" {
			cfg.Region = c.Region
		}
		return cfg, nil
	}
	cfg, err := c.Load(ctx, "catalog")
	if err == nil && cfg.Region == "" {
		err = protocol.ConfigError.Errorf(nil, `The region of the Glue catalog is not known. Set "catalog.region" in the configuration, or AWS_REGION in the environment.`)
	}
	return cfg, err
}

// maxComment is the longest comment of a column that Glue takes, in characters.
// Source: https://docs.aws.amazon.com/glue/latest/webapi/API_Column.html.
const maxComment = 255

// conformToGlue makes the library's requests such that Glue takes them, and such that
// their outcome can be told. The comments of columns are cut to what Glue stores;
// the tables' metadata has them whole. A commit is sent once: if the answer to
// the first request were lost, the second would be told that another commit was
// quicker.
func conformToGlue(stack *middleware.Stack) error {
	if stack.ID() == "UpdateTable" {
		if _, err := stack.Finalize.Remove("Retry"); err != nil {
			return err
		}
	}
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("conformToGlue", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
		var input *types.TableInput
		switch request := in.Parameters.(type) {
		case *glue.CreateTableInput:
			input = request.TableInput
		case *glue.UpdateTableInput:
			input = request.TableInput
		}
		if input != nil && input.StorageDescriptor != nil {
			for i := range input.StorageDescriptor.Columns {
				column := &input.StorageDescriptor.Columns[i]
				if column.Comment != nil {
					column.Comment = aws.String(glueComment(*column.Comment))
				}
			}
		}
		return next.HandleInitialize(ctx, in)
	}), middleware.Before)
}

// glueComment is a text on one line, no longer than Glue takes.
func glueComment(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	if utf8.RuneCountInString(text) <= maxComment {
		return text
	}
	return string([]rune(text)[:maxComment-1]) + "…"
}

// glueCatalog is the library's catalog, but that it says which answers mean that
// nothing was committed.
type glueCatalog struct {
	*icebergglue.Catalog
	client *glue.Client
	id     *string
}

// IsCurrent asks which metadata file the catalog names, without reading it.
func (c glueCatalog) IsCurrent(ctx context.Context, t *table.Table) (bool, error) {
	location, err := c.metadataLocation(ctx, t.Identifier())
	if none := (*types.EntityNotFoundException)(nil); errors.As(err, &none) {
		return false, nil
	}
	return location == t.MetadataLocation(), err
}

// LoadTable says what to do about a table that is being renamed, which the library does in three requests.
func (c glueCatalog) LoadTable(ctx context.Context, id table.Identifier) (*table.Table, error) {
	t, err := c.Catalog.LoadTable(ctx, id)
	if errors.Is(err, table.ErrCommitFailed) {
		name := strings.Join(id, ".")
		err = protocol.TransientError.Errorf(err, "Table %s is being renamed in Glue. Start again later. If nothing renames it, a program was stopped while it did: the table has both names, and drop %[1]s --keep-files removes the old one.", name)
	}
	return t, err
}

// CreateTable makes a table whose name Glue keeps as it is.
func (c glueCatalog) CreateTable(ctx context.Context, id table.Identifier, schema *iceberg.Schema, options ...catalog.CreateTableOpt) (*table.Table, error) {
	if err := checkGlueNames(id); err != nil {
		return nil, err
	}
	return c.Catalog.CreateTable(ctx, id, schema, options...)
}

// ListNamespaces lists the databases. None is in another one.
func (c glueCatalog) ListNamespaces(ctx context.Context, parent table.Identifier) ([]table.Identifier, error) {
	if len(parent) > 0 {
		return nil, nil
	}
	return c.Catalog.ListNamespaces(ctx, nil)
}

// CreateNamespace makes a database whose name Glue keeps as it is.
func (c glueCatalog) CreateNamespace(ctx context.Context, id table.Identifier, properties iceberg.Properties) error {
	if err := checkGlueNames(id); err != nil {
		return err
	}
	return c.Catalog.CreateNamespace(ctx, id, properties)
}

func checkGlueNames(id table.Identifier) error {
	for _, name := range id {
		if name != strings.ToLower(name) || len(name) > 255 {
			return protocol.ConfigError.Errorf(nil, `Glue stores names in lower case and with at most 255 characters, and %q is another. Set "names" to "lowercase" and write "namespace" in lower case.`, name)
		}
	}
	return nil
}

// CommitTable does as [Catalog.CommitTable] says.
func (c glueCatalog) CommitTable(ctx context.Context, id table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	current, err := c.LoadTable(ctx, id)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", storage.ErrNotCommitted, err)
	}
	reqs = append(slices.Clone(reqs), refsStay{updates})
	for _, r := range reqs {
		if err := r.Validate(current.Metadata()); err != nil {
			return nil, "", fmt.Errorf("%w: %w", table.ErrCommitFailed, err)
		}
	}
	meta, location, err := c.Catalog.CommitTable(ctx, id, reqs, updates)
	if err != nil {
		err = commitOutcome(err)
	}
	return meta, location, err
}

// refsStay is the requirement that updates remove no snapshot which a branch or a tag names:
// the library asks it of the table that it then replaces.
type refsStay struct{ updates []table.Update }

// GetType is part of [table.Requirement].
func (refsStay) GetType() string { return "refs-stay" }

// Validate is part of [table.Requirement].
func (r refsStay) Validate(base table.Metadata) error {
	if base == nil {
		return nil // it was dropped
	}
	after, err := table.UpdateTableMetadata(base, r.updates, "")
	if err != nil {
		return nil //nolint:nilerr // the library says so when it makes the updates
	}
	return checkRefs(base, r.updates, after)
}

// unfinished are the errors of UpdateTable that have the status of a refusal and may
// come when the table was changed.
// Source: https://docs.aws.amazon.com/glue/latest/webapi/API_UpdateTable.html.
var unfinished = []string{"OperationTimeoutException", "FederationSourceException", "FederationSourceRetryableException"}

// commitOutcome marks an error of a commit with what is known of its outcome.
func commitOutcome(err error) error {
	var operation *smithy.OperationError
	var api smithy.APIError
	var userError *protocol.Error // of the credentials, without which the request was not sent
	code := ""
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	switch {
	case errors.Is(err, table.ErrCommitFailed):
		return err
	case !errors.As(err, &operation) || operation.ServiceID != glue.ServiceID || operation.OperationName != "UpdateTable":
		// Before the catalog was asked. Another commit may have come between.
		if strings.Contains(err.Error(), "requirement failed") {
			return fmt.Errorf("%w: %w", table.ErrCommitFailed, err)
		}
		return fmt.Errorf("%w: %w", storage.ErrNotCommitted, err)
	case code == "ThrottlingException", code == "ConcurrentModificationException":
		return fmt.Errorf("%w: %w", table.ErrCommitFailed, err)
	case errors.As(err, &userError):
		return fmt.Errorf("%w: %w", storage.ErrNotCommitted, err)
	case slices.Contains(unfinished, code):
		return err
	case statusOf(err) >= 400 && statusOf(err) < 500:
		return fmt.Errorf("%w: %w", storage.ErrNotCommitted, err)
	}
	return err
}

func statusOf(err error) int {
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) {
		return answer.HTTPStatusCode()
	}
	return 0
}

const glueRemedy = `Check the network, "catalog.region" and "catalog.endpoint", then start again.`

// classifyGlue finds the remedy for an error of Glue. Errors of the files are
// returned as they are.
func classifyGlue(err error) error {
	var operation *smithy.OperationError
	var userError *protocol.Error // of the credentials
	if errors.As(err, &userError) || !errors.As(err, &operation) || operation.ServiceID != glue.ServiceID {
		return err
	}
	code, said := "", ""
	if api := smithy.APIError(nil); errors.As(err, &api) {
		code, said = api.ErrorCode(), api.ErrorMessage()
	}
	switch status := statusOf(err); {
	case errors.Is(err, table.ErrCommitFailed):
		return err
	case code == "AccessDeniedException" || code == "AccessDenied":
		return protocol.ConfigError.Errorf(err, "Glue does not allow glue:%s: %s. Allow it to these credentials, on the catalog, the database and its tables; with Lake Formation, grant the rights there too.", operation.OperationName, said)
	case slices.Contains([]string{"UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "MissingAuthenticationTokenException", "IncompleteSignature"}, code):
		return protocol.ConfigError.Errorf(err, "Glue does not accept the credentials (%s). Correct them under \"catalog\" or \"storage\", or in the environment of this process.", code)
	case code == "ExpiredTokenException" || code == "ExpiredToken":
		return protocol.ConfigError.Errorf(err, "The session token for Glue has expired. Give a new one, or use a role, whose credentials are renewed.")
	case code == "EntityNotFoundException", code == "AlreadyExistsException":
		return err
	case code == "ThrottlingException", status == http.StatusTooManyRequests:
		return protocol.TransientError.Errorf(err, "Glue asks to send fewer requests. Start again later; if that happens often, run fewer syncs at once.")
	case code == "InvalidInputException", code == "ResourceNumberLimitExceededException", code == "GlueEncryptionException":
		return protocol.ConfigError.Errorf(err, "Glue refuses %s: %s: %s. Correct what it names.", operation.OperationName, code, said)
	case status >= 400 && status < 500 && !slices.Contains(unfinished, code):
		return protocol.ConfigError.Errorf(err, "Glue refuses %s: %s: %s. Check \"catalog.region\" and \"catalog.catalog_id\".", operation.OperationName, code, said)
	}
	return protocol.TransientError.Errorf(err, "Glue cannot be reached or fails: %v. %s", operation.Err, glueRemedy)
}
