package awsconfig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

const lakeRole = "arn:aws:iam::123456789012:role/lake"

var withRole = Config{Region: "eu-west-1", AccessKeyID: "key", SecretAccessKey: "sesame", RoleARN: lakeRole, ExternalID: "outside"}

// wantTold expects an error for the user that says something and holds no secret.
func wantTold(t *testing.T, err error, kind protocol.Kind, says string) {
	t.Helper()
	var userError *protocol.Error
	if !errors.As(err, &userError) || userError.Kind != kind || !strings.Contains(userError.Message, says) || strings.Contains(userError.Message, "sesame") {
		t.Errorf("error %v", err)
	}
}

// A role that cannot be assumed because STS is not there is not one that does not trust.
func TestSTSThatIsNotThereIsNamed(t *testing.T) {
	real := dial
	t.Cleanup(func() { dial = real })
	for name, tc := range map[string]struct {
		dial func(ctx context.Context) (net.Conn, error)
		says string
	}{
		"refused":   {func(context.Context) (net.Conn, error) { return nil, syscall.ECONNREFUSED }, "cannot be reached"},
		"no answer": {func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }, "has not answered in time"},
		"never ends": {func(context.Context) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, theirs) }() // until ours is closed
			return ours, nil
		}, "has not answered in time"},
	} {
		t.Run(name, func(t *testing.T) {
			dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return tc.dial(ctx) }
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				_, err := withRole.Load(t.Context(), "storage")
				if took := time.Since(start); took > 30*time.Second {
					t.Errorf("it took %v", took)
				}
				wantTold(t, err, protocol.TransientError, tc.says)
				wantTold(t, err, protocol.TransientError, `the role `+lakeRole)
				wantTold(t, err, protocol.TransientError, `Check the network and "storage.region"`)
				time.Sleep(time.Hour) // what the SDK left behind gives up
			})
		})
	}
}

// serveSTS starts a stand-in for STS that refuses.
func serveSTS(t *testing.T, answer http.HandlerFunc) {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	t.Setenv("AWS_ENDPOINT_URL_STS", server.URL)
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
}

func refuses(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(status)
		fmt.Fprintf(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>for a reason</Message></Error><RequestId>1</RequestId></ErrorResponse>`, code)
	}
}

func TestWhatSTSAnswersIsExplained(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		code   string
		kind   protocol.Kind
		says   string
	}{
		"no trust":     {403, "AccessDenied", protocol.ConfigError, "Its trust policy must name these AWS credentials"},
		"wrong key":    {403, "InvalidClientTokenId", protocol.ConfigError, `does not accept the credentials`},
		"wrong secret": {403, "SignatureDoesNotMatch", protocol.ConfigError, `Correct them under "catalog"`},
		"expired":      {403, "ExpiredToken", protocol.ConfigError, "have expired"},
		"disabled":     {403, "RegionDisabledException", protocol.ConfigError, `"catalog.region"`},
		"throttled":    {400, "Throttling", protocol.TransientError, "fewer requests"},
		"broken":       {500, "InternalFailure", protocol.TransientError, "fails with status 500"},
	} {
		t.Run(name, func(t *testing.T) {
			serveSTS(t, refuses(tc.status, tc.code))
			_, err := withRole.Load(t.Context(), "catalog")
			wantTold(t, err, tc.kind, tc.says)
		})
	}
	t.Run("no region", func(t *testing.T) {
		t.Setenv("AWS_REGION", "")
		t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
		of := withRole
		of.Region = ""
		_, err := of.Load(t.Context(), "catalog")
		wantTold(t, err, protocol.ConfigError, `Set "catalog.region"`)
	})
}

// In the middle of a sync, too, it is STS that is named and not the service that the credentials are for.
func TestCredentialsThatCannotBeRenewedAreExplained(t *testing.T) {
	var asked int
	serveSTS(t, func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked > 1 {
			refuses(500, "InternalFailure")(w, r)
			return
		}
		fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>a</AccessKeyId><SecretAccessKey>b</SecretAccessKey><SessionToken>c</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`,
			time.Now().Add(time.Second).UTC().Format(time.RFC3339)) // which is soon enough to be renewed at once
	})
	cfg, err := withRole.Load(t.Context(), "storage")
	if err != nil {
		t.Fatal(err)
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) { o.BaseEndpoint = aws.String("http://127.0.0.1:9") })
	_, err = client.ListBuckets(t.Context(), nil)
	wantTold(t, err, protocol.TransientError, "AWS STS, which gives the credentials of the role "+lakeRole+", fails with status 500")
}

// A machine that refuses its metadata gives no credentials. The SDK would say more about that
// on standard error, which is for what this program says.
func TestTheSDKWritesNothingOfItsOwn(t *testing.T) {
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	t.Cleanup(metadata.Close)
	for name, value := range map[string]string{
		"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.URL, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": "",
		"AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "",
		"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "",
	} {
		t.Setenv(name, value)
	}
	path := filepath.Join(t.TempDir(), "stderr")
	stderr, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	real := os.Stderr
	os.Stderr = stderr
	_, err = Config{Region: "eu-west-1"}.Load(t.Context(), "storage")
	os.Stderr = real
	if err == nil || !strings.Contains(err.Error(), "There are no AWS credentials") {
		t.Errorf("error %v", err)
	}
	if err := stderr.Close(); err != nil {
		t.Fatal(err)
	}
	if written, err := os.ReadFile(path); err != nil || len(written) > 0 {
		t.Errorf("%s (%v)", written, err)
	}
}
