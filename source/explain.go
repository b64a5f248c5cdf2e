package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/internal/osfile"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/tokens"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/whoop"
)

const consentAgain = "Let the member consent again, with all scopes: source authorize --config FILE, with the file of this configuration, replaces the tokens."

// An outputError means that a message cannot be written, most likely because nobody
// reads the messages any more.
type outputError struct{ error }

func (e outputError) Unwrap() error { return e.error }

// missing reports whether an error means that there is no such record.
func missing(err error) bool {
	var status *whoop.StatusError
	return errors.As(err, &status) && status.NotFound()
}

// runError returns the error that ends the run, nil if err ends a stream at most. It is
// err if all other streams would fail in the same way, as without a connection. A
// request that timed out is no such error: it may be of one endpoint. Once the run was
// told to stop, it is that: the next run meets any other failure again.
func runError(ctx context.Context, err error) error {
	var token *whoop.TokenError
	var quota *whoop.QuotaError
	var output outputError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &token), errors.As(err, &quota), errors.As(err, &output), whoop.Unreachable(err) != "":
		return err
	}
	return ctx.Err()
}

// explain turns an error of the API into one for the user. Scopes are those that
// the request needs.
func explain(err error, scopes []string) error {
	var (
		known   *protocol.Error
		token   *whoop.TokenError
		quota   *whoop.QuotaError
		status  *whoop.StatusError
		offline *whoop.UnavailableError
		paging  *whoop.PagingError
		output  outputError
	)
	say := func(kind protocol.Kind, format string, args ...any) error {
		return &protocol.Error{Kind: kind, Message: fmt.Sprintf(format, args...), Err: err}
	}
	switch {
	case errors.As(err, &known), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &output): // before token, whose store it may be
		return output
	case errors.As(err, &token):
		return explainToken(token, say)
	case errors.As(err, &quota):
		return say(protocol.TransientError, "WHOOP's request quota is used up. Start again after %s; nothing that was read is lost.", quota.Until.UTC().Format(time.RFC3339))
	case whoop.Unreachable(err) != "":
		return say(protocol.TransientError, "WHOOP cannot be reached: %s. Start again later; nothing that was read is lost.", whoop.Unreachable(err))
	case errors.As(err, &offline), errors.As(err, &paging): // before status, which they may hold
		return say(protocol.TransientError, "WHOOP did not answer properly, even after retries (%v). Start again later; nothing that was read is lost.", err)
	case whoop.Refused(err) && errors.As(err, &status):
		return say(protocol.ConfigError, "WHOOP refuses %s with a token that it has just accepted or issued, so the member's consent does not include %s. %s",
			status.Path, strings.Join(scopes, " or "), consentAgain)
	case errors.As(err, &status) && (status.Status == http.StatusNotFound || status.Status/100 == 3):
		return say(protocol.ConfigError, "The address in api_url does not serve WHOOP's API, or not all of it (%v). Check api_url; its default is %s.", err, config.Default().APIURL)
	case errors.As(err, &status):
		return say(protocol.SystemError, "WHOOP refused a request of this connector (%v). That is a fault of the source: please report it with this line.", err)
	}
	return err
}

func explainToken(err error, say func(protocol.Kind, string, ...any) error) error {
	var (
		revoked  *tokens.RevokedError
		client   *tokens.ClientError
		store    *tokens.StoreError
		document tokens.DocumentError
	)
	switch {
	case errors.As(err, &revoked):
		return say(protocol.ConfigError, "WHOOP no longer accepts the refresh token: it was used elsewhere, has expired, WHOOP's answer to the last refresh was lost, or the member revoked the access. %s", consentAgain)
	case errors.As(err, &client):
		return say(protocol.ConfigError, "WHOOP does not accept the client_id with this client_secret. Compare both with the app at developer.whoop.com.")
	case errors.Is(err, tokens.ErrNoRefreshToken):
		return say(protocol.ConfigError, "WHOOP no longer accepts the access token, and there is no refresh token to get another. %s", consentAgain)
	case errors.As(err, &store) && (errors.Is(err, tokens.ErrUnavailable) || osfile.NoSpace(err)):
		return say(protocol.TransientError, "The tokens cannot be read or stored: %v. Start again later.", store)
	case errors.As(err, &store) && (errors.As(err, &document) || errors.Is(err, tokens.ErrNotStored)):
		return say(protocol.ConfigError, "The tokens cannot be read or stored: %v. They must be a JSON document with client_id, client_secret and refresh_token, such as source authorize makes.", store)
	case errors.As(err, &store):
		return say(protocol.ConfigError, "The tokens cannot be read or stored: %v.", store)
	}
	if cause := whoop.Unreachable(err); cause != "" {
		return say(protocol.TransientError, "WHOOP's token endpoint cannot be reached: %s. Start again later.", cause)
	}
	return say(protocol.TransientError, "WHOOP's token endpoint did not answer properly (%v). Start again later.", err)
}
