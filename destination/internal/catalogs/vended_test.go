package catalogs

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs/resttest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage/s3test"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

func openStorage(t *testing.T, config string) *storage.Storage {
	t.Helper()
	var c storage.Config
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		t.Fatal(err)
	}
	files, err := storage.Open(t.Context(), c, "s3://"+s3test.Bucket+"/lake", "")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// The files of a table that is open are reached with new credentials when the old ones
// have come to their end.
func TestCredentialsOfAnOpenTableAreRenewed(t *testing.T) {
	for _, inConfig := range []bool{true, false} {
		t.Run(fmt.Sprintf("in config %t", inConfig), func(t *testing.T) {
			var valid atomic.Value
			valid.Store("first")
			endpoint := s3test.Start(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if of := r.Header.Get("Authorization"); !strings.Contains(of, "Credential=key/") && !strings.Contains(of, "Credential="+valid.Load().(string)+"/") {
						w.WriteHeader(http.StatusForbidden)
						return
					}
					next.ServeHTTP(w, r)
				})
			})
			server := (&resttest.Server{Files: openStorage(t, s3test.Config(endpoint)).Files(), Warehouse: "s3://" + s3test.Bucket + "/lake", Access: func(*http.Request) resttest.Access {
				config := map[string]string{
					"s3.access-key-id": valid.Load().(string), "s3.secret-access-key": "sesame", "s3.endpoint": endpoint, "s3.path-style-access": "true",
					"s3.session-token-expires-at-ms": fmt.Sprint(time.Now().Add(-time.Minute).UnixMilli()),
				}
				if inConfig {
					return resttest.Access{Config: config}
				}
				return resttest.Access{Credentials: []resttest.Credential{{Prefix: "s3://" + s3test.Bucket, Config: config}}}
			}}).Start()
			cat, err := Open(t.Context(), configure("rest", "uri", server.URL), openStorage(t, `{"type":"s3","vended":true}`))
			if err != nil {
				t.Fatal(err)
			}
			defer cat.Close()
			if err := cat.CreateNamespace(t.Context(), table.Identifier{"ns"}, nil); err != nil {
				t.Fatal(err)
			}
			created, err := cat.CreateTable(t.Context(), table.Identifier{"ns", "t"}, schema)
			if err != nil {
				t.Fatal(err)
			}
			files, err := created.FS(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, credentials := range []string{"first", "second", "third"} {
				valid.Store(credentials)
				if err := files.(iceio.WriteFileIO).WriteFile(created.Location()+"/data/"+credentials, []byte("x")); err != nil {
					t.Errorf("with the %s credentials: %v", credentials, err)
				}
			}
		})
	}
}

func TestOnlyARESTCatalogVends(t *testing.T) {
	_, err := Open(t.Context(), configure("sqlite", "path", t.TempDir()+"/catalog.db"), openStorage(t, `{"type":"s3","vended":true}`))
	expectTold(t, err, protocol.ConfigError, `"storage.vended"`)
}
