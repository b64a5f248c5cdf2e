package storage

import (
	"context"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/apache/iceberg-go"
	iceio "github.com/apache/iceberg-go/io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/uuid"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/awsconfig"
)

// s3Config is for Amazon S3 and what is compatible with it.
type s3Config struct {
	awsconfig.Config
	Endpoint   string `json:"endpoint,omitempty" jsonschema:"title=Endpoint,example=http://127.0.0.1:9000"`
	PathStyle  bool   `json:"path_style,omitempty" jsonschema:"title=Path style,default=false"`
	Encryption string `json:"encryption,omitempty" jsonschema:"title=Encryption,enum=AES256,enum=aws:kms"`
	KMSKeyID   string `json:"kms_key_id,omitempty" jsonschema:"title=KMS key"`
}

// Descriptions describes the keys in the specification.
func (c s3Config) Descriptions() map[string]string {
	d := c.Config.Descriptions()
	d["endpoint"] = "The address of a service that is compatible with S3. The default is that of AWS in the region."
	d["path_style"] = "Write the bucket into the path of a request and not into its host name, as most compatible services require."
	d["encryption"] = "What encrypts the objects. The default is what the bucket is set to."
	d["kms_key_id"] = "The KMS key of aws:kms. The default is the bucket's."
	return d
}

func (c *s3Config) validate(warehouse string) error {
	bucket, prefix, ok := splitS3(warehouse)
	if !ok || bucket == "" || strings.HasSuffix(warehouse, "/") || strings.Contains("/"+prefix, "//") || strings.ContainsAny(warehouse, "?#%") || !strings.HasPrefix(warehouse, "s3://") {
		return configError(nil, `The configuration's "warehouse" is %q. With "storage.type" "s3" it must be s3:// with a bucket and a prefix, as in "s3://my-bucket/lake".`, warehouse)
	}
	if u, err := url.Parse(warehouse); err != nil || u.EscapedPath() != u.Path {
		return configError(nil, `The configuration's "warehouse" is %q. Not every engine would find files there. Use a prefix without spaces and non-ASCII letters.`, warehouse)
	}
	if c.KMSKeyID != "" && c.Encryption != string(types.ServerSideEncryptionAwsKms) {
		return configError(nil, `The configuration has a "storage.kms_key_id". Set "storage.encryption" to "aws:kms", or remove the key.`)
	}
	if err := awsconfig.ValidateEndpoint("storage.endpoint", c.Endpoint); err != nil {
		return err
	}
	return c.Config.Validate("storage")
}

func (c *s3Config) open(ctx context.Context, warehouse string) (*Storage, error) {
	cfg, err := c.Load(ctx)
	if err != nil {
		return nil, err
	}
	if cfg.Region == "" && c.Endpoint != "" {
		cfg.Region = "us-east-1" // compatible services expect this one unless they are told otherwise
	}
	if cfg.Region == "" {
		return nil, configError(nil, `The region of the bucket is not known. Set "storage.region" in the configuration, or AWS_REGION in the environment.`)
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = c.PathStyle
		if c.Endpoint != "" {
			o.BaseEndpoint = aws.String(c.Endpoint)
			// Services that are only compatible do not know the newer checksums.
			o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
			o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		}
	})
	files := &s3Files{client: client, encryption: types.ServerSideEncryption(c.Encryption), uploads: make(chan struct{}, maxUploads)}
	if c.KMSKeyID != "" {
		files.kmsKey = aws.String(c.KMSKeyID)
	}
	return &Storage{warehouse: warehouse, files: files, properties: iceberg.Properties{s3Property: registerS3(files)}, aws: &cfg}, nil
}

// s3Property tells the library's registry of schemes which of the s3Files of this
// process a catalog uses.
const s3Property = "whoop-iceberg.storage"

var openedS3 sync.Map // s3Files by the values of s3Property

// registerS3 has the library reach the objects of a catalog through files, and
// returns the value of the catalog's s3Property.
func registerS3(files *s3Files) string {
	registerS3Schemes()
	id := uuid.NewString()
	openedS3.Store(id, files)
	return id
}

var registerS3Schemes = sync.OnceFunc(func() {
	for _, scheme := range []string{"s3", "s3a", "s3n"} {
		iceio.Register(scheme, func(_ context.Context, u *url.URL, properties map[string]string) (iceio.IO, error) {
			files, ok := openedS3.Load(properties[s3Property])
			if !ok {
				return nil, configError(nil, `The files at %s://%s are on S3, and the configuration's "storage.type" is another. Set it to "s3".`, u.Scheme, u.Host)
			}
			return files.(*s3Files), nil
		})
	}
})

// s3Files are the objects of S3 as files. Their locations are s3://bucket/key;
// s3a and s3n, which other programs write, are the same.
type s3Files struct {
	client     *s3.Client
	encryption types.ServerSideEncryption
	kmsKey     *string

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
