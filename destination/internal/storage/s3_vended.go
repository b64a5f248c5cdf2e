package storage

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	iceio "github.com/apache/iceberg-go/io"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Properties by which a REST catalog says how the files of a table are reached.
// Source: https://github.com/apache/iceberg/blob/main/open-api/rest-catalog-open-api.yaml, LoadTableResult.
const (
	vendedKey       = "s3.access-key-id"
	vendedSecret    = "s3.secret-access-key"
	vendedToken     = "s3.session-token"
	vendedExpiry    = "s3.session-token-expires-at-ms"
	vendedEndpoint  = "s3.endpoint"
	vendedRegion    = "s3.region"
	vendedRegionToo = "client.region"
	vendedPathStyle = "s3.path-style-access"
	remoteSigning   = "s3.remote-signing-enabled"
)

// A vendedStorage reaches the files of each table as its catalog says.
type vendedStorage struct {
	config s3Config
	aws    aws.Config // without credentials
	files  *s3Files   // without client
}

// filesOf returns the files of a table that has some properties.
func (v *vendedStorage) filesOf(properties map[string]string) (*s3Files, error) {
	credentials, err := credentialsIn(properties)
	if err != nil {
		return nil, err
	}
	cfg := v.aws.Copy()
	endpoint := cmp.Or(v.config.Endpoint, properties[vendedEndpoint])
	cfg.Region = cmp.Or(v.config.Region, properties[vendedRegion], properties[vendedRegionToo], cfg.Region)
	if cfg.Region == "" && endpoint != "" {
		cfg.Region = "us-east-1"
	}
	if cfg.Region == "" {
		return nil, protocol.ConfigError.Errorf(nil, `The catalog does not tell the region of the bucket. Set "storage.region" in the configuration.`)
	}
	vended := &vendedCredentials{now: time.Now, current: credentials}
	cache := aws.NewCredentialsCache(vended)
	cfg.Credentials = cache
	cfg.APIOptions = append(cfg.APIOptions, vended.replaceRefused(cache))
	return &s3Files{
		client: newS3Client(cfg, endpoint, v.config.PathStyle || properties[vendedPathStyle] == "true"),
		vended: vended, encryption: v.files.encryption, kmsKey: v.files.kmsKey, scratch: v.files.scratch, uploads: v.files.uploads,
	}, nil
}

// credentialsIn returns the credentials in properties. If their end is not told, they
// expire at no time.
func credentialsIn(properties map[string]string) (aws.Credentials, error) {
	c := aws.Credentials{
		AccessKeyID: properties[vendedKey], SecretAccessKey: properties[vendedSecret], SessionToken: properties[vendedToken], Source: "Iceberg REST catalog",
	}
	switch {
	case c.HasKeys():
	case properties[remoteSigning] == "true":
		return c, protocol.ConfigError.Errorf(nil, `The catalog gives no credentials for its tables' files and wants to sign each request itself, which this program does not do. Set up the catalog to vend credentials, or remove "storage.vended" and give credentials for the bucket in "storage".`)
	default:
		return c, protocol.ConfigError.Errorf(nil, `The catalog gives no credentials for its tables' files. Set up the catalog to vend credentials, and allow that to the principal of "catalog.auth", or remove "storage.vended" and give credentials for the bucket in "storage".`)
	}
	if ms, err := strconv.ParseInt(properties[vendedExpiry], 10, 64); err == nil && ms > 0 {
		c.CanExpire, c.Expires = true, time.UnixMilli(ms)
	}
	return c, nil
}

// vendedCredentials are the credentials of one table's files. They are renewed before
// they end.
type vendedCredentials struct {
	now func() time.Time

	mu      sync.Mutex
	current aws.Credentials
	used    bool // current was returned
	load    func(context.Context) (iceio.IO, error)
}

const (
	// renewBefore is how long before their end credentials are renewed. What is left of
	// those with a short life is halved.
	renewBefore = 5 * time.Minute
	// renewUntold is when credentials are renewed whose end is not told. Those of AWS
	// live 15 minutes at least.
	renewUntold = 10 * time.Minute
	// renewAgain is how long after a failure it is tried again, while the old ones are
	// good.
	renewAgain = 20 * time.Second
)

// Retrieve implements [aws.CredentialsProvider]. The result expires when it is to be
// renewed.
func (v *vendedCredentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.used && v.load != nil {
		fresh, err := v.fetch(ctx)
		if err == nil {
			v.current = fresh
		} else if !v.current.CanExpire || v.now().Before(v.current.Expires) {
			again := v.current
			again.CanExpire, again.Expires = true, v.now().Add(renewAgain)
			return again, nil
		} else {
			return aws.Credentials{}, err
		}
	}
	v.used = true
	until := v.current
	if v.load == nil {
		return until, nil
	}
	if life := until.Expires.Sub(v.now()); until.CanExpire {
		until.Expires = until.Expires.Add(-min(renewBefore, life/2))
	} else {
		until.CanExpire, until.Expires = true, v.now().Add(renewUntold)
	}
	return until, nil
}

// refusedCredentials are what S3 answers to credentials that have ended, or that were withdrawn.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html.
var refusedCredentials = []string{"ExpiredToken", "TokenRefreshRequired", "InvalidToken", "InvalidAccessKeyId"}

// A vendedError is that of a request with vended credentials.
type vendedError struct{ error }

func (e vendedError) Unwrap() error { return e.error }

// An againError has the SDK send the request again.
type againError struct{ error }

func (e againError) Unwrap() error { return e.error }

// RetryableError is what the SDK looks for.
func (againError) RetryableError() bool { return true }

// replaceRefused has a client's requests sent again, with new credentials, when S3 does not accept the old ones: by its
// clock, they may end earlier than the catalog has told.
func (v *vendedCredentials) replaceRefused(cache *aws.CredentialsCache) func(*middleware.Stack) error {
	replace := func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
		out, metadata, err := next.HandleFinalize(ctx, in)
		if err == nil {
			return out, metadata, nil
		}
		if request, ok := in.Request.(*smithyhttp.Request); ok && isCode(err, refusedCredentials...) && v.refuse(request.Header.Get("Authorization"), cache) {
			err = againError{err}
		}
		return out, metadata, vendedError{err}
	}
	return func(stack *middleware.Stack) error {
		return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("ReplaceRefused", replace), "Signing", middleware.After)
	}
}

// refuse ends the credentials that a request was signed with, unless they have been replaced. It reports whether there is
// a catalog to ask for others.
func (v *vendedCredentials) refuse(authorization string, cache *aws.CredentialsCache) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if strings.Contains(authorization, "Credential="+v.current.AccessKeyID+"/") {
		v.current.CanExpire, v.current.Expires = true, v.now()
		cache.Invalidate()
	}
	return v.load != nil
}

// fetch asks the catalog for new credentials.
func (v *vendedCredentials) fetch(ctx context.Context) (aws.Credentials, error) {
	files, err := v.load(ctx)
	if err != nil {
		return aws.Credentials{}, err
	}
	of, ok := files.(*s3Files)
	if !ok || of.vended == nil {
		return aws.Credentials{}, protocol.ConfigError.Errorf(nil, "The catalog does not give credentials for its tables' files any more. Set it up to vend credentials.")
	}
	of.vended.mu.Lock()
	defer of.vended.mu.Unlock()
	return of.vended.current, nil
}

// Renew has the credentials of files renewed by loading the files again, if a catalog
// vends them. Other files are left as they are.
func Renew(files iceio.IO, load func(context.Context) (iceio.IO, error)) {
	if of, ok := files.(*s3Files); ok && of.vended != nil {
		of.vended.mu.Lock()
		defer of.vended.mu.Unlock()
		if of.vended.load == nil {
			of.vended.load = load
		}
	}
}
