// Package awsconfig is how the destination reaches an AWS service: the keys of the
// configuration that all of them share, and the client configuration made of them.
package awsconfig

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go/logging"
	"golang.org/x/net/http/httpguts"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Config is whose requests AWS gets. What is empty comes from the SDK's
// default chain: the environment, the shared files of the AWS CLI, a web identity,
// and the role of the container or machine.
type Config struct {
	Region          string `json:"region,omitempty" jsonschema:"title=Region,example=eu-central-1"`
	AccessKeyID     string `json:"access_key_id,omitempty" jsonschema:"title=Access key ID"`
	SecretAccessKey string `json:"secret_access_key,omitempty" jsonschema:"title=Secret access key" jsonschema_extras:"airbyte_secret=true"`
	SessionToken    string `json:"session_token,omitempty" jsonschema:"title=Session token" jsonschema_extras:"airbyte_secret=true"`
	Profile         string `json:"profile,omitempty" jsonschema:"title=Profile"`
	RoleARN         string `json:"role_arn,omitempty" jsonschema:"title=Role to assume,example=arn:aws:iam::123456789012:role/lake"`
	ExternalID      string `json:"external_id,omitempty" jsonschema:"title=External ID"`
}

// Descriptions describes the keys in the specification.
func (Config) Descriptions() map[string]string {
	return map[string]string{
		"region":            "The AWS region. The default is that of the environment or of the profile.",
		"access_key_id":     "A static key. Without one, the credentials of the process are used: from its environment, profile, web identity, container or machine.",
		"secret_access_key": "The secret of the static key.",
		"session_token":     "The session token, if the key is temporary. Temporary keys are not renewed; for long syncs use a role.",
		"profile":           "A profile of the shared AWS configuration files.",
		"role_arn":          "A role to assume with these credentials. Its own credentials are renewed as long as the sync lasts.",
		"external_id":       "The external ID that the role requires, if it requires one.",
	}
}

// Validate finds what is wrong without asking AWS. Setting is the path of the
// object in the configuration. The error is a config_error.
func (c Config) Validate(setting string) error {
	switch {
	case (c.AccessKeyID == "") != (c.SecretAccessKey == ""):
		return protocol.ConfigError.Errorf(nil, `The configuration has one of %q and %q. Give both, or neither.`, setting+".access_key_id", setting+".secret_access_key")
	case c.SessionToken != "" && c.AccessKeyID == "":
		return protocol.ConfigError.Errorf(nil, `The configuration has a %q without %q. Give the key that the token belongs to.`, setting+".session_token", setting+".access_key_id")
	case c.Profile != "" && c.AccessKeyID != "":
		return protocol.ConfigError.Errorf(nil, `The configuration has both %q and %q. Remove one of them.`, setting+".profile", setting+".access_key_id")
	case c.ExternalID != "" && c.RoleARN == "":
		return protocol.ConfigError.Errorf(nil, `The configuration has an %q without %q. Give the role that requires it.`, setting+".external_id", setting+".role_arn")
	}
	const unsendable = `The configuration's %q has a line break or another character that no header can have. Give it without that.`
	switch {
	case !httpguts.ValidHeaderFieldValue(c.AccessKeyID):
		return protocol.ConfigError.Errorf(nil, unsendable, setting+".access_key_id")
	case !httpguts.ValidHeaderFieldValue(c.SessionToken):
		return protocol.ConfigError.Errorf(nil, unsendable, setting+".session_token")
	}
	return nil
}

// ValidateEndpoint finds what is wrong with the address of a service that stands in
// for one of AWS. Setting is its path in the configuration. The error is a
// config_error.
func ValidateEndpoint(setting, endpoint string) error {
	u, err := url.Parse(endpoint)
	if endpoint == "" || err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil && u.RawQuery == "" {
		return nil
	}
	return protocol.ConfigError.Errorf(nil, `The configuration's %q is not an address. It must be as in "https://s3.example.com".`, setting)
}

// Timeouts of the parts of a request. A server that accepts a connection and
// never answers ends an attempt too. All attempts at a server to which nobody can
// connect take less than half a minute.
const (
	dialTimeout   = 3 * time.Second
	headerTimeout = time.Minute
	stallTimeout  = time.Minute // of a connection on which no byte moves
	maxAttempts   = 5
	maxBackoff    = 3 * time.Second
	// credentialsTimeout is how long the first credentials may take.
	credentialsTimeout = 25 * time.Second
)

// Load makes the configuration of a client. It asks for credentials at once, so
// that missing ones are told from a refusal. Setting is the path of the object in the
// configuration. The context ends nothing that is made later with the result.
func (c Config) Load(ctx context.Context, setting string) (aws.Config, error) {
	cfg, err := c.LoadWithoutCredentials(ctx)
	if err != nil {
		return cfg, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), credentialsTimeout)
	defer cancel()
	return cfg, c.addCredentials(ctx, &cfg, setting)
}

// LoadWithoutCredentials is Load for a client whose credentials come from elsewhere.
func (c Config) LoadWithoutCredentials(ctx context.Context) (aws.Config, error) {
	ctx = context.WithoutCancel(ctx)
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(timeouts)),
		config.WithLogger(logging.Nop{}), // the SDK would write to standard error, past what hides secrets
	}
	if c.Region != "" {
		options = append(options, config.WithRegion(c.Region))
	}
	if c.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(c.Profile))
	}
	if c.AccessKeyID != "" {
		options = append(options, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return cfg, &protocol.Error{Kind: protocol.ConfigError, Err: err, Message: fmt.Sprintf(
			"The AWS configuration of this machine cannot be used: %v. Correct the profile or the environment.", err)}
	}
	attempts := cmp.Or(cfg.RetryMaxAttempts, maxAttempts) // AWS_MAX_ATTEMPTS comes first
	cfg.Retryer = func() aws.Retryer {
		return limiter{retry.NewAdaptiveMode(func(o *retry.AdaptiveModeOptions) {
			o.StandardOptions = append(o.StandardOptions, func(o *retry.StandardOptions) {
				o.MaxAttempts, o.MaxBackoff = attempts, maxBackoff
			})
		})}
	}
	return cfg, nil
}

// A limiter sends fewer requests to a service that is busy. The SDK's rounds how long it
// waits down, in the end to nothing, and looks at the clock again: in a bubble of time
// it would do so for ever.
type limiter struct{ *retry.AdaptiveMode }

// GetAttemptToken waits until a request may be sent.
func (l limiter) GetAttemptToken(ctx context.Context) (release func(error) error, err error) {
	return l.AdaptiveMode.GetAttemptToken(momentary{ctx})
}

// A momentary context is waited for at least a moment.
type momentary struct{ context.Context } //nolint:containedctx // it is one

func (m momentary) Done() <-chan struct{} {
	time.Sleep(time.Nanosecond)
	return m.Context.Done()
}

// dial is a variable for the tests.
var dial = (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext

// timeouts sets those of the SDK's own transport, which knows AWS_CA_BUNDLE.
func timeouts(t *http.Transport) {
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return stallingConn{conn}, nil
	}
	t.TLSHandshakeTimeout = 10 * time.Second
	t.ResponseHeaderTimeout = headerTimeout
	t.MaxIdleConns, t.MaxIdleConnsPerHost, t.IdleConnTimeout = 64, 64, stallTimeout/2
	t.WriteBufferSize, t.ReadBufferSize = 64<<10, 64<<10
}

// stallingConn fails when no byte moves for a while. A byte that is written gives
// the answer its time: the transport always waits for a byte, also between
// requests.
type stallingConn struct{ net.Conn }

func (c stallingConn) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(stallTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

func (c stallingConn) Write(b []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(stallTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}
