package storage

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage/s3test"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

func TestErrorsOfS3HaveRemedies(t *testing.T) {
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	for _, tc := range []struct {
		status        int
		code, message string
		kind          protocol.Kind
		says          string
	}{
		{404, "NoSuchBucket", "The specified bucket does not exist", protocol.ConfigError, `"warehouse"`},
		{403, "AccessDenied", "Access Denied", protocol.ConfigError, "s3:ListBucket"},
		{404, "NoSuchUpload", "The specified upload does not exist.", protocol.TransientError, "lifecycle rule"},
		{403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", protocol.ConfigError, `"storage.access_key_id"`},
		{403, "SignatureDoesNotMatch", "The request signature we calculated does not match", protocol.ConfigError, `"storage.secret_access_key"`},
		{400, "ExpiredToken", "The provided token has expired.", protocol.ConfigError, "has expired"},
		{403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.", protocol.ConfigError, "clock"},
		{301, "PermanentRedirect", "The bucket you are attempting to access must be addressed using the specified endpoint.", protocol.ConfigError, `"storage.region"`},
		{400, "AuthorizationHeaderMalformed", "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'", protocol.ConfigError, "eu-west-1"},
		{403, "AccessDenied", "User is not authorized to perform: kms:GenerateDataKey on resource", protocol.ConfigError, "kms:Decrypt"},
		{503, "SlowDown", "Please reduce your request rate.", protocol.TransientError, "fewer requests"},
		{500, "InternalError", "We encountered an internal error.", protocol.TransientError, "Start again later"},
		{409, "OperationAborted", "A conflicting conditional operation is currently in progress against this resource.", protocol.TransientError, "Start again later"},
		{409, "ConditionalRequestConflict", "The conditional request cannot succeed due to a conflicting operation.", protocol.TransientError, "Start again later"},
		{409, "SomethingNewer", "It conflicts.", protocol.TransientError, "Start again later"},
		{400, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header.", protocol.TransientError, "Start again later"},
		{400, "BadDigest", "The Content-MD5 you specified did not match what we received.", protocol.TransientError, "Start again later"},
		{400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.", protocol.TransientError, "Start again later"},
		{400, "RequestTimeout", "Your socket connection to the server was not read from or written to within the timeout period.", protocol.TransientError, "Start again later"},
		{400, "InvalidPart", "One or more of the specified parts could not be found.", protocol.TransientError, "Start again later"},
		{412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", protocol.TransientError, "Start again later"},
		{400, "InvalidArgument", "Something is 100% wrong", protocol.ConfigError, "100% wrong"},
	} {
		t.Run(tc.code, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s3test.Refuse(w, tc.status, tc.code, tc.message) }))
			defer server.Close()
			s, err := Open(t.Context(), s3At(server.URL), "s3://bucket/lake", "")
			if err != nil {
				t.Fatal(err)
			}
			err = s.Make()
			e := Explain(err, "the probe table")
			if e == nil || e.Kind != tc.kind || !strings.Contains(e.Message, tc.says) || !strings.Contains(e.Message, "the probe table") {
				t.Errorf("error %v\nexplained %v", err, e)
			}
			if !IsFailure(err) {
				t.Errorf("error %v is no failure of the storage", err)
			}
		})
	}
}

func TestFailuresOfAStorage(t *testing.T) {
	of := func(code string) error {
		return &smithy.OperationError{ServiceID: s3.ServiceID, OperationName: "GetObject", Err: &smithy.GenericAPIError{Code: code}}
	}
	for name, tc := range map[string]struct {
		err     error
		failure bool
	}{
		"none":                   {nil, false},
		"scratch":                {&scratchError{"/tmp", fs.ErrExist}, true},
		"no space":               {syscall.ENOSPC, true},
		"a limit of sizes":       {syscall.EFBIG, true},
		"no permission":          {fs.ErrPermission, true},
		"read-only":              {syscall.EROFS, true},
		"refused by S3":          {of("AccessDenied"), true},
		"failed by S3":           {of("InternalError"), true},
		"a file is missing":      {&fs.PathError{Op: "open", Path: "/a", Err: fs.ErrNotExist}, false},
		"an object is missing":   {fileError(of("NoSuchKey")), false},
		"the same, of a HEAD":    {fileError(of("NotFound")), false},
		"cancelled":              {&smithy.OperationError{ServiceID: s3.ServiceID, Err: &smithy.CanceledError{Err: context.Canceled}}, false},
		"an answer of Glue":      {&smithy.OperationError{ServiceID: "Glue", Err: &smithy.GenericAPIError{Code: "AccessDenied"}}, false},
		"nothing of a storage's": {errors.New("no"), false},
	} {
		if got := IsFailure(tc.err); got != tc.failure {
			t.Errorf("%s: a failure: %t", name, got)
		}
		if e := Explain(tc.err, "table a.b"); (e != nil) != tc.failure {
			t.Errorf("%s: explained %v", name, e)
		}
	}
}

func TestAnS3ThatIsNotThereIsTransient(t *testing.T) {
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	s, err := Open(t.Context(), s3At(server.URL), "s3://bucket/lake", "")
	if err != nil {
		t.Fatal(err)
	}
	if e := Explain(s.Make(), "the probe table"); e == nil || e.Kind != protocol.TransientError || !strings.Contains(e.Message, `"storage.endpoint"`) {
		t.Errorf("explained %v", e)
	}
}

// silent is an HTTP client to which nobody answers.
type silent struct{}

func (silent) Do(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestASilentS3IsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := &s3Files{client: s3.New(s3.Options{
			Region: "eu-west-1", HTTPClient: silent{}, Credentials: credentials.NewStaticCredentialsProvider("key", "sesame", ""),
		})}
		err := s.reachable("s3://bucket/lake")
		if e := Explain(err, "the warehouse"); e == nil || e.Kind != protocol.TransientError || !strings.Contains(e.Message, `"storage.endpoint"`) {
			t.Errorf("error %v, explained %v", err, e)
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestAnAddressThatIsNotKnown(t *testing.T) {
	err := &smithy.OperationError{ServiceID: s3.ServiceID, OperationName: "PutObject", Err: &smithyhttp.RequestSendError{
		Err: &net.DNSError{Err: "no such host", Name: "bucket.s3.example.com", IsNotFound: true},
	}}
	if e := Explain(err, "table a.b"); e == nil || e.Kind != protocol.TransientError ||
		!strings.Contains(e.Message, `"storage.path_style"`) || !strings.Contains(e.Message, "bucket.s3.example.com") {
		t.Errorf("explained %v", e)
	}
}
