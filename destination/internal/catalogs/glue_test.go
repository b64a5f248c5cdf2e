package catalogs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	icebergglue "github.com/apache/iceberg-go/catalog/glue"
	"github.com/apache/iceberg-go/table"
	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/glue"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// glueError is an error of the SDK for an operation, as Glue answers it.
func glueError(operation string, status int, code string) error {
	return &smithy.OperationError{ServiceID: "Glue", OperationName: operation, Err: &awshttp.ResponseError{ResponseError: &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: &smithy.GenericAPIError{Code: code, Message: "for a reason"},
	}}}
}

// fakeGlue is Glue with one table, ns.t. before is called before it answers a GetTable.
type fakeGlue struct {
	location, version string
	before            func()
}

func (f *fakeGlue) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		VersionID  string `json:"VersionId"`
		TableInput struct{ Parameters map[string]string }
	}
	var answer any = struct{}{}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		w.WriteHeader(http.StatusInternalServerError)
	}
	switch {
	case strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".GetTable"):
		f.before()
		answer = map[string]any{"Table": map[string]any{
			"Name": "t", "DatabaseName": "ns", "VersionId": f.version, "TableType": "EXTERNAL_TABLE",
			"Parameters": map[string]string{"table_type": "ICEBERG", glueMetadata: f.location},
		}}
	case in.VersionID != f.version:
		w.WriteHeader(http.StatusBadRequest)
		answer = map[string]string{"__type": "ConcurrentModificationException"}
	default:
		f.location, f.version = in.TableInput.Parameters[glueMetadata], f.version+"1"
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// Whoever removes a snapshot has not seen a tag that was set on it a moment before, however short: the snapshot stays.
func TestASnapshotThatIsTaggedMeanwhileStaysInGlue(t *testing.T) {
	made := openWith(t, sqliteFile, "file://"+t.TempDir())
	id := table.Identifier{"ns", "t"}
	if err := made.CreateNamespace(t.Context(), id[:1], nil); err != nil {
		t.Fatal(err)
	}
	if _, err := made.CreateTable(t.Context(), id, schema); err != nil {
		t.Fatal(err)
	}
	server := &fakeGlue{version: "1", before: func() {}}
	for n := range int64(2) {
		snapshot := &table.Snapshot{SnapshotID: n + 1, SequenceNumber: n + 1, ManifestList: "none", TimestampMs: time.Now().UnixMilli(), Summary: &table.Summary{Operation: table.OpAppend}}
		_, location, err := made.CommitTable(t.Context(), id, nil, []table.Update{table.NewAddSnapshotUpdate(snapshot), table.NewSetSnapshotRefUpdate(table.MainBranch, n+1, table.BranchRef, 0, 0, 0)})
		if err != nil {
			t.Fatal(err)
		}
		server.location = location
	}
	listening := httptest.NewServer(server)
	defer listening.Close()
	cfg := aws.Config{Region: "us-east-1", BaseEndpoint: aws.String(listening.URL), Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "id", SecretAccessKey: "key"}, nil
	})}
	backend, err := icebergglue.NewCatalog(icebergglue.WithAwsConfig(cfg))
	if err != nil {
		t.Fatal(err)
	}
	cat := glueCatalog{backend, glue.NewFromConfig(cfg), nil}
	for at := range 2 { // GetTable of the commit
		gets, tag := 0, fmt.Sprint("audit", at)
		server.before = func() {
			if gets++; gets != at+1 {
				return
			}
			set := table.NewSetSnapshotRefUpdate(tag, 1, table.TagRef, 0, 0, 0)
			if _, _, err := cat.CommitTable(t.Context(), id, nil, []table.Update{set}); err != nil {
				t.Error(err)
			}
		}
		if _, _, err := cat.CommitTable(t.Context(), id, nil, []table.Update{table.NewRemoveSnapshotsUpdate([]int64{1}, false)}); !errors.Is(err, table.ErrCommitFailed) {
			t.Errorf("at %d: error %v", at, err)
		}
		server.before = func() {}
		loaded, err := cat.LoadTable(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if s := loaded.SnapshotByName(tag); s == nil || s.SnapshotID != 1 {
			t.Errorf("at %d: the tag is on %+v", at, s)
		}
		if _, _, err := cat.CommitTable(t.Context(), id, nil, []table.Update{table.NewRemoveSnapshotRefUpdate(tag)}); err != nil {
			t.Fatal(err)
		}
	}
	meta, _, err := cat.CommitTable(t.Context(), id, nil, []table.Update{table.NewRemoveSnapshotsUpdate([]int64{1}, false)})
	if err != nil || meta.SnapshotByID(1) != nil {
		t.Errorf("a snapshot without a tag was not removed: %v", err)
	}
}

// Whether a commit has landed is known after a refusal alone.
func TestWhatGlueAnswersToACommit(t *testing.T) {
	sts := protocol.ConfigError.Errorf(nil, "The role cannot be assumed.")
	for name, tc := range map[string]struct {
		err                 error
		again, notCommitted bool
		kind                protocol.Kind // of the error for the user; "": as it is
	}{
		"another was quicker": {glueError("UpdateTable", 400, "ConcurrentModificationException"), true, false, ""},
		"throttled":           {glueError("UpdateTable", 400, "ThrottlingException"), true, false, ""},
		"denied":              {glueError("UpdateTable", 400, "AccessDeniedException"), false, true, protocol.ConfigError},
		"no table":            {glueError("UpdateTable", 400, "EntityNotFoundException"), false, true, ""},
		"invalid":             {glueError("UpdateTable", 400, "InvalidInputException"), false, true, protocol.ConfigError},
		"timed out":           {glueError("UpdateTable", 400, "OperationTimeoutException"), false, false, protocol.TransientError},
		"another's table":     {glueError("UpdateTable", 400, "FederationSourceRetryableException"), false, false, protocol.TransientError},
		"broken":              {glueError("UpdateTable", 500, "InternalServiceException"), false, false, protocol.TransientError},
		"no answer":           {&smithy.OperationError{ServiceID: "Glue", OperationName: "UpdateTable", Err: errors.New("connection reset by peer")}, false, false, protocol.TransientError},
		"no credentials":      {&smithy.OperationError{ServiceID: "Glue", OperationName: "UpdateTable", Err: fmt.Errorf("get identity: %w", sts)}, false, true, protocol.ConfigError},
		"reading first":       {glueError("GetTable", 500, "InternalServiceException"), false, true, protocol.TransientError},
	} {
		t.Run(name, func(t *testing.T) {
			outcome := commitOutcome(tc.err)
			if again := errors.Is(outcome, table.ErrCommitFailed); again != tc.again {
				t.Errorf("another attempt may succeed: %v", again)
			}
			if not := errors.Is(outcome, storage.ErrNotCommitted); not != tc.notCommitted {
				t.Errorf("nothing was committed: %v", not)
			}
			var userError *protocol.Error
			if errors.As(classifyGlue(outcome), &userError); tc.kind != "" && (userError == nil || userError.Kind != tc.kind) || tc.kind == "" && userError != nil {
				t.Errorf("the user is told %v", userError)
			}
		})
	}
}
