package awsconfig

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// addCredentials asks for the credentials of the configuration, and for those of its
// role if it has one.
func (c Config) addCredentials(ctx context.Context, cfg *aws.Config, setting string) error {
	cfg.Credentials = explainedCredentials{cfg.Credentials, func(err error) error { return explainOwn(err, setting) }}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return err
	}
	if c.RoleARN == "" {
		return nil
	}
	if cfg.Region == "" {
		return protocol.ConfigError.Errorf(nil, "The region in which the role %s is to be assumed is not known. Set %q in the configuration, or AWS_REGION in the environment.", c.RoleARN, setting+".region")
	}
	role := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(*cfg), c.RoleARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = "destination-iceberg"
		if c.ExternalID != "" {
			o.ExternalID = aws.String(c.ExternalID)
		}
	})
	cached := aws.NewCredentialsCache(role, func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = time.Minute })
	cfg.Credentials = explainedCredentials{cached, func(err error) error { return c.explainRole(err, setting) }}
	_, err := cfg.Credentials.Retrieve(ctx)
	return err
}

// explainedCredentials finds the remedy for the errors of a source of credentials, also
// when these are renewed in the middle of a sync: the service that they are for would
// be taken for the one that fails.
type explainedCredentials struct {
	aws.CredentialsProvider
	explain func(error) error
}

// Retrieve returns the credentials, or an error that is a [protocol.Error].
func (c explainedCredentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	found, err := c.CredentialsProvider.Retrieve(ctx)
	if userError := (*protocol.Error)(nil); err != nil && !errors.As(err, &userError) && !errors.Is(err, context.Canceled) {
		err = c.explain(err)
	}
	return found, err
}

// explainOwn finds the remedy for an error of the credentials of this process.
func explainOwn(err error, setting string) error {
	if e := explainSTS(err, "the credentials of this process", setting); e != nil {
		return e
	}
	return &protocol.Error{Kind: protocol.ConfigError, Err: err, Message: "There are no AWS credentials for this process. " +
		"Give an access key in the configuration, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or run with the role of a container or machine."}
}

// explainRole finds the remedy for an error of the credentials of the role.
func (c Config) explainRole(err error, setting string) error {
	if e := explainSTS(err, "the credentials of the role "+c.RoleARN, setting); e != nil {
		return e
	}
	return &protocol.Error{Kind: protocol.ConfigError, Err: err, Message: fmt.Sprintf(
		"The role %s cannot be assumed. Its trust policy must name these AWS credentials, and the external ID must be the one that it requires, if it requires one.", c.RoleARN)}
}

// explainSTS finds the remedy for an error of STS that says nothing about the right to
// assume a role; nil: it is another one.
func explainSTS(err error, what, setting string) error {
	newError := func(kind protocol.Kind, format string, args ...any) error {
		return &protocol.Error{Kind: kind, Err: err, Message: fmt.Sprintf(format, args...)}
	}
	var operation *smithy.OperationError
	if errors.Is(err, context.DeadlineExceeded) {
		return newError(protocol.TransientError, "What gives %s, as AWS STS does, has not answered in time. Check the network and %q, then start again.", what, setting+".region")
	}
	if !errors.As(err, &operation) || operation.ServiceID != sts.ServiceID {
		return nil
	}
	var answer *awshttp.ResponseError
	if !errors.As(err, &answer) || answer.HTTPStatusCode() == 0 {
		return newError(protocol.TransientError, "AWS STS, which gives %s, cannot be reached: %v. Check the network and %q, then start again.", what, operation.Err, setting+".region")
	}
	code, said := "", ""
	if api := smithy.APIError(nil); errors.As(err, &api) {
		code, said = api.ErrorCode(), api.ErrorMessage()
	}
	switch status := answer.HTTPStatusCode(); {
	case status == http.StatusTooManyRequests, slices.Contains([]string{"Throttling", "ThrottlingException", "RequestLimitExceeded"}, code):
		return newError(protocol.TransientError, "AWS STS, which gives %s, asks to send fewer requests. Start again later; if that happens often, run fewer syncs at once.", what)
	case status >= http.StatusInternalServerError:
		return newError(protocol.TransientError, "AWS STS, which gives %s, fails with status %d. Start again when it works.", what, status)
	case slices.Contains([]string{"ExpiredToken", "ExpiredTokenException"}, code):
		return newError(protocol.ConfigError, "AWS STS gives no credentials, because those that ask for %s have expired. Give new ones under %q, or in the environment of this process.", what, setting)
	case slices.Contains([]string{"InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "IncompleteSignature", "MissingAuthenticationToken"}, code):
		return newError(protocol.ConfigError, "AWS STS does not accept the credentials that ask for %s (%s). Correct them under %q, or in the environment of this process.", what, code, setting)
	case code == "RegionDisabledException":
		return newError(protocol.ConfigError, "AWS STS gives no credentials in this region: %s. Activate it for the account, or set %q to another one.", said, setting+".region")
	}
	return nil
}
