package storage

import (
	"cmp"
	"context"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/apache/iceberg-go"
	iceio "github.com/apache/iceberg-go/io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/uuid"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/awsconfig"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// s3Config is for Amazon S3 and what is compatible with it.
type s3Config struct {
	awsconfig.Config
	Endpoint   string `json:"endpoint,omitempty" jsonschema:"title=Endpoint,example=http://127.0.0.1:9000"`
	PathStyle  bool   `json:"path_style,omitempty" jsonschema:"title=Path style,default=false"`
	Encryption string `json:"encryption,omitempty" jsonschema:"title=Encryption,enum=AES256,enum=aws:kms"`
	KMSKeyID   string `json:"kms_key_id,omitempty" jsonschema:"title=KMS key"`
	Vended     bool   `json:"vended,omitempty" jsonschema:"title=Vended credentials,default=false"`
}

// Descriptions describes the keys in the specification.
func (c s3Config) Descriptions() map[string]string {
	d := c.Config.Descriptions()
	d["endpoint"] = "The address of a service that is compatible with S3. The default is that of AWS in the region."
	d["path_style"] = "Write the bucket into the path of a request and not into its host name, as most compatible services require."
	d["encryption"] = "What encrypts the objects. The default is what the bucket is set to."
	d["kms_key_id"] = "The KMS key of aws:kms. The default is the bucket's."
	d["vended"] = "Use the credentials that a REST catalog gives for each table. They are renewed as long as the sync lasts. The catalog's region and endpoint are used unless they are given here."
	return d
}

func (c *s3Config) validate(warehouse string) error {
	bucket, prefix, ok := splitS3(warehouse)
	if !ok || bucket == "" || strings.HasSuffix(warehouse, "/") || strings.Contains("/"+prefix, "//") || strings.ContainsAny(warehouse, "?#%") || !strings.HasPrefix(warehouse, "s3://") {
		return protocol.ConfigError.Errorf(nil, `The configuration's "warehouse" is %q. With "storage.type" "s3" it must be s3:// with a bucket and a prefix, as in "s3://my-bucket/lake".`, warehouse)
	}
	if u, err := url.Parse(warehouse); err != nil || u.EscapedPath() != u.Path {
		return protocol.ConfigError.Errorf(nil, `The configuration's "warehouse" is %q. Not every engine would find files there. Use a prefix without spaces and non-ASCII letters.`, warehouse)
	}
	if c.KMSKeyID != "" && c.Encryption != string(types.ServerSideEncryptionAwsKms) {
		return protocol.ConfigError.Errorf(nil, `The configuration has a "storage.kms_key_id". Set "storage.encryption" to "aws:kms", or remove the key.`)
	}
	if err := awsconfig.ValidateEndpoint("storage.endpoint", c.Endpoint); err != nil {
		return err
	}
	if own := c.Config; c.Vended && (own.AccessKeyID != "" || own.Profile != "" || own.RoleARN != "") {
		return protocol.ConfigError.Errorf(nil, `The configuration has "storage.vended" and credentials of its own. Remove one of them.`)
	}
	return c.Config.Validate("storage")
}

func (c *s3Config) open(ctx context.Context, warehouse, scratch string) (*Storage, error) {
	files := &s3Files{scratch: cmp.Or(scratch, os.TempDir()), encryption: types.ServerSideEncryption(c.Encryption), uploads: make(chan struct{}, maxUploads)}
	if c.KMSKeyID != "" {
		files.kmsKey = aws.String(c.KMSKeyID)
	}
	if c.Vended {
		cfg, err := c.LoadWithoutCredentials(ctx)
		if err != nil {
			return nil, err
		}
		vended := &vendedStorage{config: *c, aws: cfg, files: files}
		return &Storage{warehouse: warehouse, properties: iceberg.Properties{s3Property: registerS3(vended.filesOf)}}, nil
	}
	cfg, err := c.Load(ctx, "storage")
	if err != nil {
		return nil, err
	}
	if cfg.Region == "" && c.Endpoint != "" {
		cfg.Region = "us-east-1" // compatible services expect this one unless they are told otherwise
	}
	if cfg.Region == "" {
		return nil, protocol.ConfigError.Errorf(nil, `The region of the bucket is not known. Set "storage.region" in the configuration, or AWS_REGION in the environment.`)
	}
	files.client = newS3Client(cfg, c.Endpoint, c.PathStyle)
	of := func(map[string]string) (*s3Files, error) { return files, nil }
	return &Storage{warehouse: warehouse, files: files, properties: iceberg.Properties{s3Property: registerS3(of)}, aws: &cfg}, nil
}

// newS3Client makes a client of AWS, or of a compatible service at an endpoint.
func newS3Client(cfg aws.Config, endpoint string, pathStyle bool) *s3.Client {
	return s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = pathStyle
		// A conditional write that meets another of its name: no other program writes
		// there, so it is an earlier attempt of this one.
		// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html.
		o.Retryer = retry.AddWithErrorCodes(o.Retryer, repeatedCodes...)
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
			// Services that are only compatible do not know the newer checksums.
			o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
			o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		}
	})
}

// s3Property tells the library's registry of schemes which of the storages of this
// process a catalog uses.
const s3Property = "whoop-iceberg.storage"

// s3Source returns the files of a table that has some properties.
type s3Source func(properties map[string]string) (*s3Files, error)

var openedS3 sync.Map // an s3Source by each value of s3Property

// registerS3 has the library reach the objects of a catalog through what a source
// returns, and returns the value of the catalog's s3Property.
func registerS3(of s3Source) string {
	registerS3Schemes()
	id := uuid.NewString()
	openedS3.Store(id, of)
	return id
}

var registerS3Schemes = sync.OnceFunc(func() {
	for _, scheme := range []string{"s3", "s3a", "s3n"} {
		iceio.Register(scheme, func(_ context.Context, u *url.URL, properties map[string]string) (iceio.IO, error) {
			of, ok := openedS3.Load(properties[s3Property])
			if !ok {
				return nil, protocol.ConfigError.Errorf(nil, `The files at %s://%s are on S3, and the configuration's "storage.type" is another. Set it to "s3".`, u.Scheme, u.Host)
			}
			files, err := of.(s3Source)(properties)
			if err != nil {
				return nil, err
			}
			return files, nil
		})
	}
})

// s3Files are the objects of S3 as files. Their locations are s3://bucket/key;
// s3a and s3n, which other programs write, are the same.
type s3Files struct {
	client     *s3.Client
	vended     *vendedCredentials // nil: the credentials are the configuration's
	encryption types.ServerSideEncryption
	kmsKey     *string
	scratch    string // a directory of this machine

	uploads chan struct{} // a place in it for each part that is uploaded

	noConditions atomic.Bool // the service does not know conditional writes
	noBulkDelete atomic.Bool // nor to delete many objects at once
}

// splitS3 takes a location apart. Its key is taken as it stands: a location is not
// an encoded URL.
func splitS3(location string) (bucket, key string, ok bool) {
	scheme, rest, found := strings.Cut(location, "://")
	if !found || (scheme != "s3" && scheme != "s3a" && scheme != "s3n") {
		return "", "", false
	}
	bucket, key, _ = strings.Cut(rest, "/")
	return bucket, key, bucket != ""
}
