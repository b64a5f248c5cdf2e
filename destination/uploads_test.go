package main

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage/s3test"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// s3Lake is a lake with its files on S3, by the storage's configuration, and its
// catalog on this machine.
func s3Lake(t *testing.T, storage string) *lakeUnderTest {
	t.Helper()
	return &lakeUnderTest{t: t, d: unsignalled(), config: protocoltest.File(t, fmt.Sprintf(
		`{"warehouse":"s3://%s/lake","catalog":{"type":"sqlite","path":"%s/catalog.db"},"storage":%s}`, s3test.Bucket, t.TempDir(), storage))}
}

// lookedForOrphans sets the time at which maintenance after a write last did so.
func (l *lakeUnderTest) lookedForOrphans(at time.Time, tables ...string) {
	l.t.Helper()
	raw, err := os.ReadFile(l.config)
	if err != nil {
		l.t.Fatal(err)
	}
	config, err := parseConfig(raw)
	if err != nil {
		l.t.Fatal(err)
	}
	cat, err := config.openExisting(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	defer cat.Close()
	update := table.NewSetPropertiesUpdate(iceberg.Properties{lake.OrphansKey: at.UTC().Format(time.RFC3339)})
	for _, name := range tables {
		if _, _, err := cat.CommitTable(l.t.Context(), table.Identifier{"airbyte", name}, nil, []table.Update{update}); err != nil {
			l.t.Fatal(err)
		}
	}
}

// A process that is killed while it writes an object in parts leaves an upload that
// nobody sees and that takes room.
func TestMaintenanceAbortsUploads(t *testing.T) {
	maintain := []string{"maintain"}
	for name, tc := range map[string]struct {
		verb    []string // nil: a write
		refuse  string   // the operation that is refused
		status  int
		code    string
		aborted int // of the old ones in the table: two of this program, one of another
		says    string
	}{
		"after a write":           {nil, "", 0, "", 2, "2 orphans removed"},
		"on demand":               {maintain, "", 0, "", 2, "2 orphans removed"},
		"of all programs":         {[]string{"maintain", "--orphans", "all"}, "", 0, "", 3, "3 orphans removed"},
		"a dry run":               {[]string{"maintain", "--dry-run"}, "", 0, "", 0, "would be done: 2 orphans removed"},
		"listing is forbidden":    {maintain, "ListMultipartUploads", http.StatusForbidden, "AccessDenied", 0, "s3:ListBucketMultipartUploads"},
		"... after a write":       {nil, "ListMultipartUploads", http.StatusForbidden, "AccessDenied", 0, "s3:ListBucketMultipartUploads"},
		"listing is unknown":      {maintain, "ListMultipartUploads", http.StatusNotImplemented, "NotImplemented", 0, "nothing to do"},
		"aborting is forbidden":   {maintain, "AbortMultipartUpload", http.StatusForbidden, "AccessDenied", 0, "s3:AbortMultipartUpload"},
		"aborted in the meantime": {maintain, "AbortMultipartUpload", http.StatusNotFound, "NoSuchUpload", 0, "2 orphans removed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			endpoint := s3test.Start(func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if s3test.Operation(r) == tc.refuse && r.Header.Get("Authorization") != "" { // of the destination, not of the test
						s3test.Refuse(w, tc.status, tc.code, "")
						return
					}
					h.ServeHTTP(w, r)
				})
			})
			l := s3Lake(t, s3test.Config(endpoint))
			write := func() string {
				return l.succeeds(records(`{"id":1,"v":"a"}`)+stateOf(1)+fedComplete, "write", "--catalog", l.stream(protocol.Append, 0, 0, ""))
			}
			write()
			l.lookedForOrphans(time.Now().Add(-25*time.Hour), "items")
			var want []string
			for i, upload := range []struct {
				key string
				age time.Duration
			}{
				{"lake/airbyte.db/items/data/" + filenames.New(".parquet"), 25 * time.Hour},
				{"lake/airbyte.db/items/metadata/" + filenames.New(".avro"), 25 * time.Hour},
				{"lake/airbyte.db/items/data/theirs.parquet", 25 * time.Hour},
				{"lake/airbyte.db/items/data/" + filenames.New(".parquet"), 23 * time.Hour},
				{"lake/airbyte.db/items2/data/" + filenames.New(".parquet"), 25 * time.Hour},
				{"elsewhere/" + filenames.New(".parquet"), 25 * time.Hour},
			} {
				if err := s3test.BeginUpload(endpoint, upload.key, time.Now().Add(-upload.age)); err != nil {
					t.Fatal(err)
				}
				if i >= tc.aborted {
					want = append(want, upload.key)
				}
			}
			var out string
			if tc.verb == nil {
				out = write()
			} else {
				out = l.succeeds("", tc.verb...)
			}
			if !strings.Contains(out, tc.says) {
				t.Errorf("it does not say %q: %s", tc.says, out)
			}
			got, err := s3test.Uploads(endpoint)
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("open uploads (-want +got):\n%s", diff)
			}
		})
	}
}
