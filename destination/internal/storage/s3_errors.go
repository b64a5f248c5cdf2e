package storage

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// permissions are what the policies must allow, by the operation that was refused.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html.
var permissions = map[string]string{
	"GetObject":               "s3:GetObject",
	"HeadObject":              "s3:GetObject",
	"PutObject":               "s3:PutObject",
	"CreateMultipartUpload":   "s3:PutObject",
	"UploadPart":              "s3:PutObject",
	"CompleteMultipartUpload": "s3:PutObject",
	"AbortMultipartUpload":    "s3:AbortMultipartUpload",
	"ListObjectsV2":           "s3:ListBucket",
	"ListMultipartUploads":    "s3:ListBucketMultipartUploads",
	"DeleteObject":            "s3:DeleteObject",
	"DeleteObjects":           "s3:DeleteObject",
}

// missingCodes say that there is no such object, as [fs.ErrNotExist] does.
var missingCodes = []string{"NoSuchKey", "NotFound"}

// repeatedCodes are the errors that are gone when the request is made again, besides those that
// the client knows: another request for the same object was under way, or the body was damaged
// on its way.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html.
var repeatedCodes = []string{"ConditionalRequestConflict", "OperationAborted", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch"}

// transientCodes are what S3 answers when something went wrong that a new attempt does not meet.
var transientCodes = append([]string{"RequestTimeout", "InternalError", "InvalidPart", "PreconditionFailed"}, repeatedCodes...)

// isS3Failure reports whether S3, or the way there, has failed for a request.
func isS3Failure(err error) bool {
	var operation *smithy.OperationError
	return errors.As(err, &operation) && operation.ServiceID == "S3" && !isCode(err, missingCodes...) && !errors.Is(err, context.Canceled)
}

// explainS3 finds the remedy for an error of S3, or of the way there, as [Explain] does.
func explainS3(err error, what string) (kind protocol.Kind, message string) {
	var operation *smithy.OperationError
	if !isS3Failure(err) || !errors.As(err, &operation) {
		return "", ""
	}
	if userError := (*protocol.Error)(nil); errors.As(operation.Err, &userError) { // of the credentials
		return userError.Kind, userError.Message
	}
	status := 0
	if answer := (*awshttp.ResponseError)(nil); errors.As(err, &answer) {
		status = answer.HTTPStatusCode()
	}
	code, said := "", ""
	if api := smithy.APIError(nil); errors.As(err, &api) {
		code, said = api.ErrorCode(), api.ErrorMessage()
	}
	vended := errors.As(err, new(vendedError))
	switch {
	case vended && (slices.Contains(refusedCredentials, code) || code == "SignatureDoesNotMatch"):
		return protocol.ConfigError, fmt.Sprintf(`S3 does not accept the credentials that the catalog gives for the files of %s (%s). Correct how the catalog gets them, or remove "storage.vended" and give credentials for the bucket in "storage".`, what, code)
	case code == "NoSuchBucket":
		return protocol.ConfigError, fmt.Sprintf(`The bucket of %s does not exist. Create it, or correct the configuration's "warehouse". A compatible service may need "storage.path_style": true.`, what)
	case code == "NoSuchUpload":
		return protocol.TransientError, fmt.Sprintf("A file of %s was being written in parts, and its upload was aborted by another program, by maintenance because it was a day old, or by a lifecycle rule of the bucket. Start again.", what)
	case slices.Contains([]string{"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidClientTokenId"}, code):
		return protocol.ConfigError, fmt.Sprintf(`S3 does not accept the credentials for the files of %s (%s). Correct "storage.access_key_id" and "storage.secret_access_key", or the credentials of this process.`, what, code)
	case code == "InvalidToken":
		return protocol.ConfigError, fmt.Sprintf(`S3 does not accept the session token for the files of %s. Correct "storage.session_token", or the credentials of this process.`, what)
	case code == "ExpiredToken", code == "TokenRefreshRequired":
		return protocol.ConfigError, fmt.Sprintf(`The session token for the files of %s has expired. Give a new "storage.session_token" and the key that belongs to it, or set "storage.role_arn" to a role, whose credentials are renewed.`, what)
	case code == "RequestTimeTooSkewed":
		return protocol.ConfigError, fmt.Sprintf("S3 refuses requests for the files of %s because this machine's clock is wrong. Set it.", what)
	case status == http.StatusMovedPermanently, slices.Contains([]string{"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}, code):
		return protocol.ConfigError, fmt.Sprintf(`The bucket of %s is in another region than the configured one%s. Set "storage.region" to the bucket's region.`, what, inBrackets(said))
	case strings.HasPrefix(code, "KMS"), status == http.StatusForbidden && strings.Contains(strings.ToLower(said), "kms"):
		return protocol.ConfigError, fmt.Sprintf("The KMS key for the files of %s cannot be used%s. Its policy must allow kms:GenerateDataKey and kms:Decrypt for these credentials, and it must be enabled.", what, inBrackets(said))
	case status == http.StatusForbidden, code == "AccessDenied", code == "AllAccessDisabled":
		permission := cmp.Or(permissions[operation.OperationName], operation.OperationName)
		if vended {
			return protocol.ConfigError, fmt.Sprintf(`S3 does not allow %s for the files of %s with the credentials that the catalog gives. Allow it to the role that the catalog assumes, and the catalog to give it, `+
				`or remove "storage.vended" and give credentials for the bucket in "storage".`, permission, what)
		}
		return protocol.ConfigError, fmt.Sprintf("S3 does not allow %s for the files of %s. Allow it to these credentials, in their policy and in that of the bucket.", permission, what)
	case status == http.StatusServiceUnavailable, status == http.StatusTooManyRequests, code == "SlowDown", code == "ThrottlingException":
		return protocol.TransientError, fmt.Sprintf("S3 asks to send fewer requests for the files of %s. Start again later; if that happens often, run fewer syncs at once.", what)
	case status >= 500, status == http.StatusConflict, slices.Contains(transientCodes, code):
		return protocol.TransientError, fmt.Sprintf("S3 failed for the files of %s%s. Start again later.", what, inBrackets(code))
	case code != "":
		return protocol.ConfigError, fmt.Sprintf("S3 refuses a request for the files of %s (%s: %s). Correct what it names.", what, code, said)
	}
	return explainConnection(err, what)
}

// explainConnection finds the remedy for a request that S3 has not answered, or
// something that is not S3.
func explainConnection(err error, what string) (kind protocol.Kind, message string) {
	var send *smithyhttp.RequestSendError
	var network net.Error
	var unknown *net.DNSError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &certificate):
		return protocol.ConfigError, fmt.Sprintf(`The certificate of what should be S3 is not trusted for the files of %s%s. Set AWS_CA_BUNDLE to a file with the certificate of its authority, `+
			`or correct "storage.endpoint"; a bucket with dots in its name needs "storage.path_style".`, what, inBrackets(certificate.Err.Error()))
	case errors.Is(err, http.ErrSchemeMismatch):
		return protocol.ConfigError, fmt.Sprintf(`What should be S3 for the files of %s does not speak TLS. Correct "storage.endpoint": it must begin with http://, or have another port.`, what)
	case errors.As(err, &unknown) && unknown.IsNotFound:
		return protocol.TransientError, fmt.Sprintf(`The address of S3 for the files of %s is not known%s. Check the network, "storage.endpoint" and "storage.region"; `+
			`a compatible service may need "storage.path_style": true.`, what, inBrackets(unknown.Error()))
	case errors.Is(err, context.DeadlineExceeded):
		return protocol.TransientError, fmt.Sprintf(`S3 has not answered in time for the files of %s. Check the network, "storage.endpoint" and "storage.region", then start again.`, what)
	case errors.As(err, &send):
		return protocol.TransientError, fmt.Sprintf(`S3 cannot be reached for the files of %s%s. Check the network, "storage.endpoint" and "storage.region", then start again.`, what, inBrackets(send.Err.Error()))
	case errors.As(err, &network), errors.Is(err, io.ErrUnexpectedEOF):
		return protocol.TransientError, fmt.Sprintf(`The answer of S3 for the files of %s broke off. Check the network, and whether "storage.endpoint" must begin with https://, then start again.`, what)
	case errors.As(err, new(*smithy.DeserializationError)):
		return protocol.ConfigError, fmt.Sprintf(`What answered for the files of %s is not S3. Correct "storage.endpoint": whether it begins with http:// or https://, its host and its port.`, what)
	}
	return "", ""
}

func inBrackets(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}
