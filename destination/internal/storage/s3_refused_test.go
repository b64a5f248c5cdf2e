package storage

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	iceio "github.com/apache/iceberg-go/io"
	"golang.org/x/sync/errgroup"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage/s3test"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// vendedFiles are the files of a table on a server, with credentials that a catalog has given.
func vendedFiles(t *testing.T, endpoint, key string) *s3Files {
	t.Helper()
	s, err := (&s3Config{Vended: true}).open(t.Context(), "s3://"+s3test.Bucket+"/lake", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	of, ok := openedS3.Load(s.Properties()[s3Property])
	if !ok {
		t.Fatal("the storage is not registered")
	}
	files, err := of.(s3Source)(map[string]string{
		"s3.access-key-id": key, "s3.secret-access-key": "sesame", "s3.endpoint": endpoint, "s3.path-style-access": "true", "s3.region": "us-east-1",
	})
	if err != nil {
		t.Fatal(err)
	}
	files.withoutPauses()
	return files
}

// Whatever S3 has against credentials before their end: the catalog is asked for others, once for all requests that are
// under way.
func TestVendedCredentialsThatS3RefusesAreReplaced(t *testing.T) {
	for code, tc := range map[string]struct {
		status int
		loads  int32
	}{
		"ExpiredToken": {400, 1}, "TokenRefreshRequired": {400, 1}, "InvalidToken": {400, 1}, "InvalidAccessKeyId": {403, 1},
		"InternalError": {500, 0}, // that has nothing to do with them
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			const writers = 8
			var refused sync.Map // by path: each writer's first request
			var loads atomic.Int32
			endpoint := s3test.Start(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.Contains(r.Header.Get("Authorization"), "Credential=first/") {
						if _, again := refused.LoadOrStore(r.URL.Path, true); !again {
							s3test.Refuse(w, tc.status, code, "no")
							return
						}
					}
					next.ServeHTTP(w, r)
				})
			})
			files := vendedFiles(t, endpoint, "first")
			Renew(files, func(context.Context) (iceio.IO, error) {
				loads.Add(1)
				return vendedFiles(t, endpoint, "second"), nil
			})
			var group errgroup.Group
			for i := range writers {
				group.Go(func() error { return files.WriteFile(fmt.Sprintf("s3://%s/lake/%d", s3test.Bucket, i), []byte("x")) })
			}
			if err := group.Wait(); err != nil {
				t.Error(err)
			}
			if n := loads.Load(); n != tc.loads {
				t.Errorf("the catalog was asked %d times, want %d", n, tc.loads)
			}
		})
	}
}

func TestErrorsOfVendedCredentialsHaveRemedies(t *testing.T) {
	t.Setenv("AWS_MAX_ATTEMPTS", "2")
	for _, tc := range []struct {
		status        int
		code, message string
		says          string
	}{
		{400, "ExpiredToken", "The provided token has expired.", `"storage.vended"`},
		{403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", `"storage.vended"`},
		{403, "SignatureDoesNotMatch", "The request signature we calculated does not match", `"storage.vended"`},
		{403, "AccessDenied", "Access Denied", "Allow it to the role that the catalog assumes"},
		{403, "AccessDenied", "User is not authorized to perform: kms:GenerateDataKey on resource", "kms:Decrypt"},
		{404, "NoSuchBucket", "The specified bucket does not exist", `"warehouse"`},
	} {
		t.Run(tc.code, func(t *testing.T) {
			endpoint := s3test.Start(func(http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { s3test.Refuse(w, tc.status, tc.code, tc.message) })
			})
			files := vendedFiles(t, endpoint, "first")
			Renew(files, func(context.Context) (iceio.IO, error) { return vendedFiles(t, endpoint, "second"), nil })
			err := files.WriteFile("s3://"+s3test.Bucket+"/lake/file", []byte("x"))
			e := Explain(err, "table a.b")
			if e == nil || e.Kind != protocol.ConfigError || !strings.Contains(e.Message, tc.says) || !strings.Contains(e.Message, "table a.b") {
				t.Errorf("error %v\nexplained %v", err, e)
			}
		})
	}
}

// A catalog gives credentials for what is below a table's location, not for an object that has the location as its name.
func TestATreeIsRemovedWithoutItsRoot(t *testing.T) {
	var asked strings.Builder
	s := openS3(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s3test.Operation(r) == "DeleteObjects" {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				asked.Write(body)
				r.Body = io.NopCloser(bytes.NewReader(body))
			}
			next.ServeHTTP(w, r)
		})
	})
	location := s.Warehouse() + "/t"
	for _, file := range []string{"/data/a", "/data/b"} {
		if err := s.Files().WriteFile(location+file, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemoveTree(s.Files(), location); err != nil {
		t.Error(err)
	}
	if n := strings.Count(asked.String(), "<Key>"); n != 2 || strings.Contains(asked.String(), "/t</Key>") {
		t.Errorf("asked to remove %s", asked.String())
	}
}
