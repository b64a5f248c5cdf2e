package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage/s3test"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

// A refusal is what S3 answers to some operations, as AWS documents it.
type refusal struct {
	operations    string // their names; "" is all
	after         int32  // so many of them are done before
	times         int32  // so many are refused; 0: all others
	status        int
	code, message string
}

func (f *refusal) front(h http.Handler) http.Handler {
	var seen atomic.Int32
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A connection that is kept would keep time from passing.
		w.Header().Set("Connection", "close")
		if f.operations == "" || slices.Contains(strings.Fields(f.operations), s3test.Operation(r)) {
			if n := seen.Add(1); n > f.after && (f.times == 0 || n <= f.after+f.times) {
				s3test.Refuse(w, f.status, f.code, f.message)
				return
			}
		}
		h.ServeHTTP(w, r)
	})
}

// patience is how long a run may take to say what is wrong. It is several times what the SDK
// waits for one request: a check removes what it has made.
const patience = time.Minute

// Whatever is wrong with S3: check and write say so in time, and what to do.
func TestWhatS3RefusesIsExplained(t *testing.T) {
	denied := func(operations string) refusal {
		return refusal{operations: operations, status: http.StatusForbidden, code: "AccessDenied", message: "Access Denied"}
	}
	const puts = "PutObject CreateMultipartUpload UploadPart CompleteMultipartUpload"
	for name, tc := range map[string]struct {
		refusal
		kind protocol.Kind
		says string
		only string // the verb, if not both
	}{
		"wrong key":             {refusal{status: 403, code: "InvalidAccessKeyId", message: "The AWS Access Key Id you provided does not exist in our records."}, protocol.ConfigError, `"storage.access_key_id"`, ""},
		"wrong secret":          {refusal{status: 403, code: "SignatureDoesNotMatch", message: "The request signature we calculated does not match the signature you provided. Check your key and signing method."}, protocol.ConfigError, `"storage.secret_access_key"`, ""},
		"no bucket":             {refusal{status: 404, code: "NoSuchBucket", message: "The specified bucket does not exist"}, protocol.ConfigError, `"warehouse"`, ""},
		"another's bucket":      {refusal{status: 403, code: "AllAccessDisabled", message: "All access to this object has been disabled"}, protocol.ConfigError, "s3:ListBucket", ""},
		"no listing":            {denied("ListObjectsV2"), protocol.ConfigError, "s3:ListBucket", ""},
		"no reading":            {denied("GetObject HeadObject"), protocol.ConfigError, "s3:GetObject", ""},
		"no writing":            {denied(puts), protocol.ConfigError, "s3:PutObject", ""},
		"no removing":           {denied("DeleteObject DeleteObjects"), protocol.ConfigError, "s3:DeleteObject", "check"},
		"wrong clock":           {refusal{status: 403, code: "RequestTimeTooSkewed", message: "The difference between the request time and the current time is too large."}, protocol.ConfigError, "clock", ""},
		"broken":                {refusal{status: 500, code: "InternalError", message: "We encountered an internal error. Please try again."}, protocol.TransientError, "Start again later", ""},
		"broken later":          {refusal{after: 9, status: 500, code: "InternalError", message: "We encountered an internal error. Please try again."}, protocol.TransientError, "Start again later", ""},
		"expired token":         {refusal{status: 400, code: "ExpiredToken", message: "The provided token has expired."}, protocol.ConfigError, `"storage.session_token"`, ""},
		"token expires":         {refusal{after: 3, status: 400, code: "ExpiredToken", message: "The provided token has expired."}, protocol.ConfigError, `"storage.session_token"`, ""},
		"token expires, later":  {refusal{after: 6, status: 400, code: "ExpiredToken", message: "The provided token has expired."}, protocol.ConfigError, `"storage.session_token"`, ""},
		"wrong token":           {refusal{status: 400, code: "InvalidToken", message: "The provided token is malformed or otherwise invalid."}, protocol.ConfigError, `"storage.session_token"`, ""},
		"another region":        {refusal{status: 301, code: "PermanentRedirect", message: "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint."}, protocol.ConfigError, `"storage.region"`, ""},
		"another region, auth":  {refusal{status: 400, code: "AuthorizationHeaderMalformed", message: "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'"}, protocol.ConfigError, "eu-west-1", ""},
		"no key of KMS":         {refusal{operations: puts, status: 403, code: "AccessDenied", message: "User: arn:aws:iam::123456789012:user/lake is not authorized to perform: kms:GenerateDataKey on resource: arn:aws:kms:eu-west-1:123456789012:key/1"}, protocol.ConfigError, "kms:GenerateDataKey", ""},
		"no key of KMS to read": {refusal{operations: "GetObject", status: 403, code: "AccessDenied", message: "User: arn:aws:iam::123456789012:user/lake is not authorized to perform: kms:Decrypt on the resource associated with this ciphertext"}, protocol.ConfigError, "kms:Decrypt", ""},
		"disabled key of KMS":   {refusal{operations: puts, status: 400, code: "KMS.DisabledException", message: "key is disabled"}, protocol.ConfigError, "enabled", ""},
	} {
		for _, verb := range []string{"check", "write"} {
			if tc.only != "" && tc.only != verb {
				continue
			}
			t.Run(name+"/"+verb, func(t *testing.T) {
				t.Parallel()
				f := tc.refusal
				s3Lake(t, s3test.Config(s3test.Start(f.front))).inBubble(verb).expect(verb, tc.kind, tc.says)
			})
		}
	}
}

// What asks for patience gets some.
func TestABusyS3IsWaitedFor(t *testing.T) {
	const puts = "PutObject CreateMultipartUpload UploadPart CompleteMultipartUpload"
	for _, tc := range []struct {
		operations   string
		after, times int32
	}{
		{"", 0, 0}, {"", 0, 3}, {puts, 2, 0}, {puts, 2, 3},
	} {
		for _, verb := range []string{"check", "write"} {
			t.Run(fmt.Sprintf("%s/%d of %q after %d", verb, tc.times, tc.operations, tc.after), func(t *testing.T) {
				t.Parallel()
				f := refusal{operations: tc.operations, after: tc.after, times: tc.times, status: 503, code: "SlowDown", message: "Please reduce your request rate."}
				r := s3Lake(t, s3test.Config(s3test.Start(f.front))).inBubble(verb)
				if tc.times == 0 {
					r.expect(verb, protocol.TransientError, "fewer requests")
				} else if strings.Contains(r.output, "FAILED") || r.code != 0 {
					t.Errorf("exit code %d: %s", r.code, r.output)
				}
			})
		}
	}
}

// timedRun is a run of a verb.
type timedRun struct {
	t      *testing.T
	code   int
	took   time.Duration
	output string
	kinds  []protocol.Kind // of the errors on stdout
	told   []string        // and their messages, or that of the status
}

// inBubble runs a verb in a bubble of time. The server answers outside of it, in none.
func (l *lakeUnderTest) inBubble(verb string) (r timedRun) {
	l.t.Helper()
	if err := laketest.StartZstd(); err != nil {
		l.t.Fatal(err)
	}
	stream := l.stream(protocol.AppendDedup, 0, 0, "")
	synctest.Test(l.t, func(*testing.T) { r = l.timed(verb, stream) })
	if r.took > patience {
		l.t.Errorf("it took %v", r.took)
	}
	return r
}

func (l *lakeUnderTest) timed(verb, stream string) timedRun {
	r := timedRun{t: l.t}
	args, input := []string{verb, "--config", l.config}, ""
	if verb == "write" {
		args, input = append(args, "--catalog", stream), records(`{"id":1,"v":"a"}`)+stateOf(1)+records(`{"id":2,"v":"a"}`)+stateOf(2)+fedComplete
	}
	start := time.Now()
	var stdout, stderr bytes.Buffer
	r.code = l.d.run(context.Background(), cli.Env{Args: args, Stdin: strings.NewReader(input), Stdout: &stdout, Stderr: &stderr})
	r.took = time.Since(start)
	r.output = stdout.String() + stderr.String()
	for line := range strings.Lines(stdout.String()) {
		var m struct {
			Trace struct {
				Error struct {
					Message string
					Kind    protocol.Kind `json:"failure_type"`
				}
			}
			Status struct{ Message string } `json:"connectionStatus"`
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			l.t.Error(err)
		}
		if m.Trace.Error.Message != "" {
			r.kinds, r.told = append(r.kinds, m.Trace.Error.Kind), append(r.told, m.Trace.Error.Message)
		}
		if m.Status.Message != "" {
			r.told = append(r.told, m.Status.Message)
		}
	}
	return r
}

// expect checks that the run has failed and says why, and no secret.
func (r timedRun) expect(verb string, kind protocol.Kind, says string) {
	r.t.Helper()
	if len(r.told) == 0 || !slices.ContainsFunc(r.told, func(told string) bool { return strings.Contains(told, says) }) {
		r.t.Errorf("it does not say %q (exit code %d): %s", says, r.code, r.output)
	}
	if verb == "write" && (r.code == 0 || !slices.Equal(slices.Compact(r.kinds), []protocol.Kind{kind})) {
		r.t.Errorf("exit code %d, errors %q", r.code, r.kinds)
	}
	for _, secret := range []string{"sesame"} {
		if strings.Contains(r.output, secret) {
			r.t.Errorf("the output has a secret: %s", r.output)
		}
	}
	r.t.Logf("after %v: %q", r.took, r.told)
}

// What is at the endpoint is not S3, or not in the way that it is spoken to.
func TestEndpointsThatAreWrongAreExplained(t *testing.T) {
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secure.Close)
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		fmt.Fprint(w, "<!doctype html><title>Welcome</title>")
	}))
	t.Cleanup(page.Close)
	open := s3test.Start((&refusal{operations: "none"}).front)
	for name, tc := range map[string]struct {
		endpoint string
		kind     protocol.Kind
		says     []string
	}{
		"nobody listens":      {closed.URL, protocol.TransientError, []string{`"storage.endpoint"`, "refused"}},
		"another certificate": {secure.URL, protocol.ConfigError, []string{"certificate", "AWS_CA_BUNDLE"}},
		"http to https":       {strings.Replace(secure.URL, "https:", "http:", 1), protocol.TransientError, []string{`"storage.endpoint"`, "https://"}},
		"https to http":       {strings.Replace(open, "http:", "https:", 1), protocol.ConfigError, []string{`"storage.endpoint"`, "http://"}},
		"a web page":          {page.URL, protocol.ConfigError, []string{`"storage.endpoint"`}},
	} {
		for _, verb := range []string{"check", "write"} {
			t.Run(name+"/"+verb, func(t *testing.T) {
				t.Parallel()
				told := s3Lake(t, s3test.Config(tc.endpoint)).inBubble(verb)
				for _, says := range tc.says {
					told.expect(verb, tc.kind, says)
				}
			})
		}
	}
}
