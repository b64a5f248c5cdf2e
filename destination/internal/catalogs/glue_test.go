package catalogs

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/apache/iceberg-go/table"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
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

// Whether a commit has landed is known after a refusal alone.
func TestWhatGlueAnswersToACommit(t *testing.T) {
	sts := configError(nil, "The role cannot be assumed.")
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
