package tokens

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
)

// requestTimeout is that of one attempt; the SDK makes three.
const requestTimeout = 30 * time.Second

// open makes the client at the first use. It gets its AWS credentials at once,
// so that missing credentials are told from a refusal.
func (s *secretStore) open(ctx context.Context) error {
	if s.client != nil {
		return nil
	}
	c := s.config
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(requestTimeout)),
		config.WithLogger(logging.Nop{}), // the SDK would write to standard error, past what hides secrets
	}
	if a, err := arn.Parse(c.ID); err == nil {
		options = append(options, config.WithRegion(cmp.Or(c.Region, a.Region)))
	} else if c.Region != "" {
		options = append(options, config.WithRegion(c.Region))
	}
	if c.Endpoint != "" {
		options = append(options, config.WithBaseEndpoint(c.Endpoint))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return fmt.Errorf("the configuration of AWS on this machine cannot be used: %w", err)
	}
	if cfg.Region == "" {
		return errors.New("its region is not known: set region in the configuration or AWS_REGION in the environment")
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return fmt.Errorf("there are no AWS credentials for this process (AWS_ACCESS_KEY_ID, a profile, or a role of the container or machine): %w", err)
	}
	if c.RoleARN != "" {
		role := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), c.RoleARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = "source-whoop"
			if c.ExternalID != "" {
				o.ExternalID = aws.String(c.ExternalID)
			}
		})
		cfg.Credentials = aws.NewCredentialsCache(role)
		if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
			return fmt.Errorf("assuming the role %s: %w", c.RoleARN, explainAWS(ctx, err, "the role's trust policy must name these AWS credentials, and external_id must be what it asks for, if it asks for one"))
		}
	}
	s.client = secretsmanager.NewFromConfig(cfg)
	return nil
}

const (
	mayUse  = "the policy must allow secretsmanager:GetSecretValue and secretsmanager:PutSecretValue on this secret, and the use of its KMS key if it has one of its own"
	mayMake = "the policy must allow secretsmanager:CreateSecret; or let somebody who may make the secret first, with a value such as {}"
)

// explainAWS gives an error of AWS its cause and remedy. Denied is what to do
// when AWS does not allow what was asked for.
func explainAWS(ctx context.Context, err error, denied string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var (
		missing *types.ResourceNotFoundException
		binned  *types.InvalidRequestException
		api     smithy.APIError
		answer  *awshttp.ResponseError
	)
	switch {
	case errors.As(err, &missing):
		return fmt.Errorf("it does not exist in this account and region, or has no value: %w", ErrNotStored)
	case errors.As(err, &binned):
		return fmt.Errorf("it cannot be used as it is, for example because it is marked for deletion: %s", binned.ErrorMessage())
	case errors.As(err, &answer) && (answer.HTTPStatusCode() >= 500 || answer.HTTPStatusCode() == http.StatusTooManyRequests):
		return fmt.Errorf("AWS did not answer properly (%d): %w", answer.HTTPStatusCode(), ErrUnavailable)
	case !errors.As(err, &api):
		return fmt.Errorf("AWS did not answer (%w): %w", err, ErrUnavailable)
	}
	code := api.ErrorCode()
	_, throttled := retry.DefaultThrottleErrorCodes[code]
	switch {
	case code == "LimitExceededException": // to the SDK it is a throttle, but this one lasts
		return fmt.Errorf("AWS keeps about a hundred versions of it in 24 hours and takes no other now (%s): %w", api.ErrorMessage(), ErrUnavailable)
	case throttled, code == "InternalServiceError":
		return fmt.Errorf("AWS did not answer properly (%s): %w", code, ErrUnavailable)
	case code == "AccessDeniedException", code == "AccessDenied":
		return fmt.Errorf("AWS does not allow it (%s); %s", api.ErrorMessage(), denied)
	default:
		return fmt.Errorf("AWS refuses it: %s: %s", code, api.ErrorMessage())
	}
}
